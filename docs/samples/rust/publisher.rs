//! An app that publishes its events to Tenure: nothing is lost, whatever stops or fails in between.
//!
//! ```sh
//! cargo run --example sample-publisher -- add acme/c-1 "Bluebird Bakery"
//! cargo run --example sample-publisher -- invite acme/c-1
//! cargo run --example sample-publisher -- send               # only send what is waiting
//! cargo run --example sample-publisher -- - < commands.txt   # one command per line
//! ```
//!
//! The app's data is in `app.db`. A command changes it and writes the event into the table `outbox`, in one transaction. Then
//! `send` publishes the outbox. An event leaves the outbox when RabbitMQ has confirmed it, so it may be sent twice but never
//! zero times. Tenure recognizes the second one by its `source` and `id`.
//!
//! Environment: `AMQP_URL` (default: a RabbitMQ on this machine), `APP_DB` (default: app.db).
#![allow(clippy::disallowed_methods, reason = "an app has the time of its machine")]

use std::time::Duration;

use anyhow::{Context as _, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

const EXCHANGE: &str = "tenure.events";
/// The name of this app. Never change it: (source, id) names an event forever.
const SOURCE: &str = "/partner-space";
const PERSISTENT: u8 = 2;

const SCHEMA: &str = "
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text not null, status text not null, version integer not null
    );
    create table if not exists outbox (
        number integer primary key autoincrement, type text not null, client text not null, body text not null
    );";

// --- The app: it changes its own data, and says so ---------------------------------------------------------------------

async fn add(db: &mut SqliteConnection, client: &str, name: &str) -> anyhow::Result<()> {
    let mut both = db.begin().await?; // One transaction: the client and its event, or neither.
    let added: Option<i64> = sqlx::query_scalar(
        "insert into clients values (?, ?, 'draft', 1) on conflict do nothing returning version",
    )
    .bind(client)
    .bind(name)
    .fetch_optional(&mut *both)
    .await?;
    if let Some(version) = added {
        write_event(
            &mut both,
            "client.added",
            client,
            version,
            json!({ "name": name }),
        )
        .await?;
    }
    Ok(both.commit().await?)
}

async fn invite(db: &mut SqliteConnection, client: &str) -> anyhow::Result<()> {
    let mut both = db.begin().await?;
    let invited: Option<i64> = sqlx::query_scalar(
        "update clients set status = 'invited', version = version + 1 where client = ? and status = 'draft'
         returning version",
    )
    .bind(client)
    .fetch_optional(&mut *both)
    .await?;
    if let Some(version) = invited {
        write_event(&mut both, "client.invited", client, version, json!({})).await?;
    } else {
        println!("{client} is not a draft: nothing to do");
    }
    Ok(both.commit().await?)
}

/// Writes an event into the outbox. It gets its id and time here, once, however often it is sent.
async fn write_event(
    db: &mut SqliteConnection,
    kind: &str,
    client: &str,
    version: i64,
    data: Value,
) -> anyhow::Result<()> {
    let event = json!({
        "specversion": "1.0",
        "id": uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
        "source": SOURCE,
        "type": kind,
        "subject": client, // partner/client
        "time": chrono::Utc::now().to_rfc3339(), // When it happened.
        "sequence": version.to_string(), // Orders two events of the same time.
        "partitionkey": client,
        "datacontenttype": "application/json",
        "data": data,
    });
    sqlx::query("insert into outbox (type, client, body) values (?, ?, ?)")
        .bind(kind)
        .bind(client)
        .bind(event.to_string())
        .execute(db)
        .await?;
    Ok(())
}

// --- The sender: in a real app, a background task that runs after each commit and every few seconds ----------------------

struct Event {
    number: i64,
    kind: String,
    client: String,
    body: String,
}

/// Publishes the outbox until it is empty. After a failure it waits longer each time, up to 30 seconds, and connects again.
async fn send(db: &mut SqliteConnection, amqp_url: &str) -> anyhow::Result<()> {
    let mut failures = 0;
    while next_event(db).await?.is_some() {
        if let Err(error) = send_while_connected(db, amqp_url, &mut failures).await {
            let seconds = rand::random_range(0.5..1.0) * f64::from(2_u32.pow(failures).min(30));
            eprintln!("not published yet, next attempt in {seconds:.1} s: {error:#}");
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            failures = (failures + 1).min(5);
        }
    }
    Ok(())
}

async fn send_while_connected(
    db: &mut SqliteConnection,
    amqp_url: &str,
    failures: &mut u32,
) -> anyhow::Result<()> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    while let Some(event) = next_event(db).await? {
        publish(&channel, &event).await?;
        sqlx::query("delete from outbox where number = ?")
            .bind(event.number)
            .execute(&mut *db)
            .await?;
        *failures = 0;
    }
    connection.close(200, "OK".into()).await?;
    Ok(())
}

/// The oldest event. One at a time keeps the order: Tenure does not need it, but late events cause corrections.
async fn next_event(db: &mut SqliteConnection) -> anyhow::Result<Option<Event>> {
    let oldest = sqlx::query_as("select number, type, client, body from outbox order by number limit 1");
    let found = oldest.fetch_optional(db).await?;
    Ok(found.map(|(number, kind, client, body)| Event {
        number,
        kind,
        client,
        body,
    }))
}

/// Returns when RabbitMQ has the event in a queue, on disk.
async fn publish(channel: &Channel, event: &Event) -> anyhow::Result<()> {
    let mut headers = FieldTable::default();
    // Events with the same key stay in order.
    headers.insert(
        "partitionkey".into(),
        AMQPValue::LongString(event.client.as_str().into()),
    );
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    // RabbitMQ returns a message that no queue receives, instead of dropping it.
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let (exchange, key) = (EXCHANGE.into(), event.kind.as_str().into());
    let confirm = channel.basic_publish(exchange, key, options, event.body.as_bytes(), properties);
    match confirm.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_returned)) => {
            bail!("no queue receives it. Start `tenure run` once: it declares its queues")
        }
        Confirmation::Nack(_) | Confirmation::NotRequested => bail!("RabbitMQ could not store it"),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let amqp_url = variable("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f");
    let options = SqliteConnectOptions::new()
        .filename(variable("APP_DB", "app.db"))
        .create_if_missing(true);
    let mut db = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut db).await?;

    let given: Vec<String> = std::env::args().skip(1).collect();
    let commands = if given == ["-"] {
        std::io::read_to_string(std::io::stdin())?
    } else {
        given.join(" ")
    };
    for line in commands.lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("add"), Some(client), Some(name)) => add(&mut db, client, name).await?,
            (Some("invite"), Some(client), None) => invite(&mut db, client).await?,
            (Some("send"), None, None) => {}
            _ => bail!("unknown command `{line}`; expected add CLIENT NAME, invite CLIENT or send"),
        }
    }
    send(&mut db, &amqp_url).await.context("the app's database")?;
    println!("every event is published");
    Ok(())
}
