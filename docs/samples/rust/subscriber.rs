//! Follows the changes that Tenure publishes, and has the clients in a read model of its own.
//!
//! ```sh
//! cargo run --example sample-subscriber
//! ```
//!
//! The read model is in `read-model.db`. It begins with a snapshot, and then applies each change once: the change and the id of
//! the last change of its client are written in one transaction, and a message is acknowledged after that.
//!
//! Environment: `AMQP_URL`, `API_URL` and `API_TOKEN` (for the snapshot), `QUEUE`, `READ_MODEL`. The defaults are for this
//! machine.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde::Deserialize;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

const EXCHANGE: &str = "tenure.changes";
const TYPES: [&str; 4] = ["client.*", "link.*", "access.*", "billing.*"];

const SCHEMA: &str = "
    pragma journal_mode = wal;
    create table if not exists clients (
        client text primary key, name text, link text, access text not null default 'none',
        billable integer not null default 0,
        last_change text not null -- The id of the newest change that this row includes.
    );
    create table if not exists corrections (change text primary key, client text not null, why text not null);
    create table if not exists snapshots (cursor text not null);";

struct Settings {
    amqp_url: String,
    api_url: String,
    token: String,
    /// One queue per read model: two readers of a queue get half of it each.
    queue: String,
}

// --- The read model ----------------------------------------------------------------------------------------------------

/// What we read of a change. It may have more fields.
#[derive(Deserialize)]
struct Change {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    to: Option<String>,
    correction: bool,
    corrected_by: Option<Value>,
}

/// Applies a change once, however often it arrives.
async fn apply(db: &mut SqliteConnection, change: &Change) -> anyhow::Result<()> {
    let client = &change.subject;
    let mut both = db.begin().await?; // One transaction: the change, and that it is applied.
    let known: Option<String> = sqlx::query_scalar("select last_change from clients where client = ?")
        .bind(client)
        .fetch_optional(&mut *both)
        .await?;
    if known.is_some_and(|last| change.id <= last) {
        return Ok(()); // A repetition, or part of the snapshot. The ids of a client's changes increase.
    }
    let remember = "insert into clients (client, last_change) values (?, ?)
                    on conflict do update set last_change = excluded.last_change";
    sqlx::query(remember)
        .bind(client)
        .bind(&change.id)
        .execute(&mut *both)
        .await?;
    if let Some((statement, value)) = update(change) {
        sqlx::query(statement)
            .bind(value)
            .bind(client)
            .execute(&mut *both)
            .await?;
    }
    if change.data.correction {
        // The new state is right. What you did because of the old one, such as sending a mail, may not have been.
        let by = change.data.corrected_by.as_ref().map(Value::to_string);
        sqlx::query("insert into corrections values (?, ?, ?)")
            .bind(&change.id)
            .bind(client)
            .bind(format!("{} because of {}", change.kind, by.unwrap_or_default()))
            .execute(&mut *both)
            .await?;
    }
    both.commit().await?;
    println!("{client}: {}", change.kind);
    Ok(())
}

/// What a change changes in a row. A type that we do not know, or do not need, changes nothing.
fn update(change: &Change) -> Option<(&'static str, Option<&str>)> {
    let (facet, status) = change.kind.split_once('.')?;
    let name = "update clients set name = ? where client = ?";
    let billable = "update clients set billable = ? = 'started' where client = ?";
    match (facet, status) {
        ("client", "named" | "renamed") => Some((name, change.data.to.as_deref())),
        ("link", _) => Some(("update clients set link = ? where client = ?", Some(status))),
        ("access", "none" | "enabled" | "disabled" | "expired") => {
            Some(("update clients set access = ? where client = ?", Some(status)))
        }
        ("billing", _) => Some((billable, Some(status))),
        _ => None,
    }
}

/// Loads every client as it is. The queue has been there for longer, so it has every change that comes after.
async fn begin_with_snapshot(db: &mut SqliteConnection, settings: &Settings) -> anyhow::Result<()> {
    let request = reqwest::Client::new().get(format!("{}/v1/snapshot", settings.api_url));
    let mut response = request
        .bearer_auth(&settings.token)
        .send()
        .await?
        .error_for_status()?;
    let mut model = db.begin().await?;
    let mut unread = Vec::new();
    while let Some(part) = response.chunk().await? {
        unread.extend(part);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(&unread[..end])?;
            unread.drain(..=end);
            if let Some(cursor) = line["end"]["cursor"].as_str() {
                let done = sqlx::query("insert into snapshots values (?)").bind(cursor);
                done.execute(&mut *model).await?;
                model.commit().await?;
                println!("clients in the snapshot: {}", line["end"]["clients"]);
                return Ok(());
            }
            let (client, text) = (&line["client"], |value: &Value| value.as_str().map(str::to_owned));
            let (partner, id) = (text(&client["partner"]), text(&client["client"]));
            sqlx::query("insert into clients values (?, ?, ?, ?, ?, ?)")
                .bind(format!(
                    "{}/{}",
                    partner.unwrap_or_default(),
                    id.unwrap_or_default()
                ))
                .bind(text(&client["name"]))
                .bind(text(&client["link"]))
                .bind(text(&client["access"]))
                .bind(client["billable"] == true)
                .bind(text(&line["last_change"]))
                .execute(&mut *model)
                .await?;
        }
    }
    bail!("the snapshot has no end") // The transaction is rolled back.
}

// --- The queue ---------------------------------------------------------------------------------------------------------

/// Declares our queue as `tenure subscribe` does: replicated, and with a queue for messages that we reject.
async fn declare(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let dead = format!("{queue}.dead");
    let dead_arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(1_000_000_000)),
    ];
    let arguments = [
        ("x-queue-type", text("quorum")),
        // A message that crashes us this often moves to the other queue.
        ("x-delivery-limit", AMQPValue::LongLongInt(20)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    for (name, arguments) in [(&*dead, &dead_arguments[..]), (queue, &arguments[..])] {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), table)
            .await?;
    }
    for kind in TYPES {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.into(),
                EXCHANGE.into(),
                kind.into(),
                options,
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

/// Consumes until the connection is lost.
async fn consume(db: &mut SqliteConnection, settings: &Settings) -> anyhow::Result<()> {
    let connection = Connection::connect(&settings.amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel, &settings.queue).await?;
    let begun: Option<i64> = sqlx::query_scalar("select 1 from snapshots")
        .fetch_optional(&mut *db)
        .await?;
    if begun.is_none() {
        begin_with_snapshot(db, settings).await?;
    }
    // At most this many messages without an acknowledgement.
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let (queue, options) = (settings.queue.as_str().into(), BasicConsumeOptions::default());
    let mut deliveries = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await?;
    println!("following {}", settings.queue);
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let Ok(change) = serde_json::from_slice(&delivery.data) else {
            // It will never become readable. RabbitMQ moves it to the dead-letter queue.
            let reject = BasicNackOptions {
                requeue: false,
                ..Default::default()
            };
            delivery.nack(reject).await?;
            continue;
        };
        apply(db, &change).await?;
        // After the commit. After a crash in between, it comes again.
        delivery.ack(BasicAckOptions::default()).await?;
    }
    bail!("the consumer was cancelled")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Only because this repository builds reqwest without a provider of cryptography. With the default features, leave it out.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let settings = Settings {
        amqp_url: variable("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f"),
        api_url: variable("API_URL", "http://localhost:8080"),
        token: variable("API_TOKEN", ""),
        queue: variable("QUEUE", "sample.rust"),
    };
    let options = SqliteConnectOptions::new()
        .filename(variable("READ_MODEL", "read-model.db"))
        .create_if_missing(true);
    let mut db = SqliteConnection::connect_with(&options)
        .await
        .context("READ_MODEL")?;
    sqlx::raw_sql(SCHEMA).execute(&mut db).await?;

    let mut failures = 0_u32;
    loop {
        let started = Instant::now();
        if let Err(error) = consume(&mut db, &settings).await {
            let was_connected = started.elapsed() > Duration::from_mins(1);
            failures = if was_connected { 0 } else { (failures + 1).min(5) };
            let seconds = rand::random_range(0.5..1.0) * f64::from(2_u32.pow(failures).min(30));
            eprintln!("disconnected, next attempt in {seconds:.1} s: {error:#}");
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    }
}
