//! A simple batch consumer: batches of a thousand with one transaction, one statement per table and one
//! acknowledgement. It has no rules, no order and no history, and reads nothing; it only writes the same rows as
//! Tenure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lapin::message::Delivery;
use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;
use tenure::clock::{Clock as _, SystemClock};

use super::drain::Reader;
use crate::bench::Bench;
use crate::environment::{Database, Environment, Vhost};
use crate::rows::{Envelope, Pattern};

const BATCH: usize = 1_000;
/// Two batches: one is delivered while the other is written.
const PREFETCH: u16 = 2_000;
/// How long a batch waits for more messages.
const WAIT: Duration = Duration::from_millis(5);

pub fn measure(bench: &mut Bench<'_>) {
    let messages = bench.lifecycle_events.len();
    let vhost = bench.vhost_with_backlog("bare_batch");
    let database = bench.copy_of_population_in_plain_tables("bare_batch");
    let took = consume(bench.environment, &vhost, &database, &bench.pattern, messages);
    bench.record("bare_batch", messages as f64 / took.as_secs_f64());
    bench.check_and_count("bare_batch", &vhost, &database, messages);
}

/// Consumes this number of messages, and returns the time since the first.
fn consume(
    environment: &Environment,
    vhost: &Vhost<'_>,
    database: &Database<'_>,
    pattern: &Pattern,
    messages: usize,
) -> Duration {
    environment.runtime.block_on(async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            // No ping before every transaction.
            .test_before_acquire(false)
            .connect(&database.url)
            .await
            .expect("a connection");
        let mut reader = Reader::of(&vhost.url, PREFETCH).await;
        let mut began = None;
        let mut consumed = 0;
        while consumed < messages {
            let first = reader.next().await;
            began.get_or_insert_with(Instant::now);
            let batch = gather(&mut reader, first).await;
            let mut transaction = pool.begin().await.expect("a transaction");
            write(&mut transaction, pattern, consumed, &batch)
                .await
                .expect("written");
            transaction.commit().await.expect("committed");
            consumed += batch.len();
            reader
                .acknowledge_up_to(batch[batch.len() - 1].delivery_tag)
                .await;
        }
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        reader.close(vhost).await;
        pool.close().await;
        took
    })
}

async fn gather(reader: &mut Reader, first: Delivery) -> Vec<Delivery> {
    let end = tokio::time::Instant::now() + WAIT;
    let mut batch = vec![first];
    while batch.len() < BATCH {
        let Ok(delivery) = tokio::time::timeout_at(end, reader.next()).await else {
            break;
        };
        batch.push(delivery);
    }
    batch
}

async fn write(
    connection: &mut PgConnection,
    pattern: &Pattern,
    consumed: usize,
    batch: &[Delivery],
) -> Result<(), sqlx::Error> {
    let now = SystemClock.now();
    let events: Vec<Envelope<'_>> = batch
        .iter()
        .map(|delivery| Envelope::read(&delivery.data))
        .collect();
    insert_events(connection, &events, now).await?;
    upsert_clients(connection, &events, &pattern.document).await?;
    insert_journal(connection, &events, pattern, consumed, now).await?;
    upsert_deadlines(connection, &events, pattern, consumed).await
}

async fn insert_events(
    connection: &mut PgConnection,
    events: &[Envelope<'_>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into events (source, id, partner, client, type, time, received_at, data, outcome)
         select source, id, partner, client, type, time, $8, data::json, 'applied'
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
              as w (source, id, partner, client, type, time, data)
         on conflict do nothing",
    )
    .bind(events.iter().map(|event| event.source).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
    .bind(events.iter().map(Envelope::partner).collect::<Vec<_>>())
    .bind(events.iter().map(Envelope::client).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.kind).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.data.get()).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

async fn upsert_clients(
    connection: &mut PgConnection,
    events: &[Envelope<'_>],
    document: &str,
) -> Result<(), sqlx::Error> {
    // One statement may write a row once: the last event of a client wins.
    let clients: BTreeMap<(&str, &str), DateTime<Utc>> = events
        .iter()
        .map(|event| ((event.partner(), event.client()), event.time))
        .collect();
    sqlx::query(
        "insert into clients (partner, client, link, service, access, as_of, version, doc)
         select partner, client, 'active', 'active', 'enabled', as_of, 1, doc::json
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) as w (partner, client, as_of, doc)
         on conflict (partner, client) do update
         set link = excluded.link, service = excluded.service, access = excluded.access, as_of = excluded.as_of,
             version = clients.version + 1, doc = excluded.doc",
    )
    .bind(clients.keys().map(|(partner, _)| *partner).collect::<Vec<_>>())
    .bind(clients.keys().map(|(_, client)| *client).collect::<Vec<_>>())
    .bind(clients.values().copied().collect::<Vec<_>>())
    .bind(vec![document; clients.len()])
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_journal(
    connection: &mut PgConnection,
    events: &[Envelope<'_>],
    pattern: &Pattern,
    consumed: usize,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let lines: Vec<&Envelope<'_>> = (consumed..)
        .zip(events)
        .flat_map(|(number, event)| std::iter::repeat_n(event, pattern.journal_lines(number)))
        .collect();
    sqlx::query(
        "insert into journal (xid, partner, client, change, after, time, cause, correction, recorded_at)
         select pg_current_xact_id()::text::bigint, partner, client, 'user.added', 'active', time, cause::json,
                false, $5
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) as w (partner, client, time, cause)",
    )
    .bind(lines.iter().map(|event| event.partner()).collect::<Vec<_>>())
    .bind(lines.iter().map(|event| event.client()).collect::<Vec<_>>())
    .bind(lines.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(lines.iter().map(|event| event.cause()).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

async fn upsert_deadlines(
    connection: &mut PgConnection,
    events: &[Envelope<'_>],
    pattern: &Pattern,
    consumed: usize,
) -> Result<(), sqlx::Error> {
    let deadlines: BTreeMap<(&str, &str, &str), DateTime<Utc>> = (consumed..)
        .zip(events)
        .flat_map(|(number, event)| {
            let sweeps = pattern.deadlines(number).iter();
            sweeps.map(|sweep| {
                let key = (event.partner(), event.client(), sweep.as_str());
                (key, event.time + TimeDelta::days(60))
            })
        })
        .collect();
    sqlx::query(
        "insert into deadlines (partner, client, sweep, due_at)
         select *
         from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
         on conflict (partner, client, sweep) do update
         set due_at = excluded.due_at",
    )
    .bind(deadlines.keys().map(|(partner, ..)| *partner).collect::<Vec<_>>())
    .bind(deadlines.keys().map(|(_, client, _)| *client).collect::<Vec<_>>())
    .bind(deadlines.keys().map(|(.., sweep)| *sweep).collect::<Vec<_>>())
    .bind(deadlines.values().copied().collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
}
