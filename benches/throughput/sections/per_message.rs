//! The usual consumer: one transaction and one acknowledgement per message. It has no rules and reads nothing; it only
//! writes the same rows as Tenure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use sqlx::PgConnection;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tenure::clock::{Clock as _, SystemClock};

use super::drain::Reader;
use crate::bench::Bench;
use crate::environment::{Database, Environment, Vhost};
use crate::publish;
use crate::rows::{Envelope, Pattern};

/// Connections of the concurrent consumer.
const AT_ONCE: u32 = 30;

pub fn measure(bench: &mut Bench<'_>) {
    measure_one(bench, "in_order", bench.scale.in_order, 1);
    measure_one(bench, "at_once", bench.scale.at_once, AT_ONCE);
}

fn measure_one(bench: &mut Bench<'_>, key: &'static str, messages: usize, at_once: u32) {
    let vhost = bench.environment.vhost(key);
    publish::fill(bench.environment, &vhost, &bench.lifecycle_events[..messages]);
    let database = bench.copy_of_population_in_plain_tables(key);
    let took = consume(
        bench.environment,
        &vhost,
        &database,
        &bench.pattern,
        messages,
        at_once,
    );
    bench.record(key, messages as f64 / took.as_secs_f64());
    bench.check_and_count(key, &vhost, &database, messages);
}

/// Consumes this number of messages, as many at a time as there are connections, and returns the time since the first.
fn consume(
    environment: &Environment,
    vhost: &Vhost<'_>,
    database: &Database<'_>,
    pattern: &Pattern,
    messages: usize,
    at_once: u32,
) -> Duration {
    let prefetch = environment.defaults.broker.prefetch;
    let pattern = Arc::new(pattern.clone());
    environment.runtime.block_on(async {
        let pool = PgPoolOptions::new()
            .min_connections(at_once)
            .max_connections(at_once)
            // No ping before every transaction.
            .test_before_acquire(false)
            .connect(&database.url)
            .await
            .expect("connections");
        let mut reader = Reader::of(&vhost.url, prefetch).await;
        let first = reader.next().await;
        let began = Instant::now();
        futures_util::stream::iter([Ok(first)])
            .chain(&mut reader.consumer)
            .take(messages)
            .enumerate()
            .for_each_concurrent(at_once as usize, |(number, delivery)| {
                let (pool, pattern) = (pool.clone(), pattern.clone());
                let delivery = delivery.expect("no error");
                async move {
                    // A separate task, so that all cores are used.
                    tokio::spawn(async move { ingest(&pool, &pattern, number, &delivery).await })
                        .await
                        .expect("ingested");
                }
            })
            .await;
        let took = began.elapsed();
        reader.close(vhost).await;
        pool.close().await;
        took
    })
}

async fn ingest(pool: &PgPool, pattern: &Pattern, number: usize, delivery: &Delivery) {
    write(pool, pattern, number, &Envelope::read(&delivery.data))
        .await
        .expect("written");
    delivery
        .ack(BasicAckOptions::default())
        .await
        .expect("acknowledged");
}

async fn write(
    pool: &PgPool,
    pattern: &Pattern,
    number: usize,
    event: &Envelope<'_>,
) -> Result<(), sqlx::Error> {
    let now = SystemClock.now();
    let mut transaction = pool.begin().await?;
    let new = sqlx::query(
        "insert into events (source, id, partner, client, type, time, received_at, data, outcome)
         values ($1, $2, $3, $4, $5, $6, $7, $8::json, 'applied')
         on conflict do nothing",
    )
    .bind(event.source)
    .bind(event.id)
    .bind(event.partner())
    .bind(event.client())
    .bind(event.kind)
    .bind(event.time)
    .bind(now)
    .bind(event.data.get())
    .execute(&mut *transaction)
    .await?;
    if new.rows_affected() == 0 {
        return transaction.rollback().await;
    }
    sqlx::query(
        "insert into clients (partner, client, link, service, access, as_of, version, doc)
         values ($1, $2, 'active', 'active', 'enabled', $3, 1, $4::json)
         on conflict (partner, client) do update
         set link = excluded.link, service = excluded.service, access = excluded.access, as_of = excluded.as_of,
             version = clients.version + 1, doc = excluded.doc",
    )
    .bind(event.partner())
    .bind(event.client())
    .bind(event.time)
    .bind(&pattern.document)
    .execute(&mut *transaction)
    .await?;
    add_journal_lines(&mut transaction, pattern, number, event, now).await?;
    set_deadlines(&mut transaction, pattern, number, event).await?;
    transaction.commit().await
}

async fn add_journal_lines(
    connection: &mut PgConnection,
    pattern: &Pattern,
    number: usize,
    event: &Envelope<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let lines = pattern.journal_lines(number);
    if lines > 0 {
        sqlx::query(
            "insert into journal (xid, partner, client, change, after, time, cause, correction, recorded_at)
             select pg_current_xact_id()::text::bigint, $1, $2, 'user.added', 'active', $3, $4::json, false, $5
             from generate_series(1, $6)",
        )
        .bind(event.partner())
        .bind(event.client())
        .bind(event.time)
        .bind(event.cause())
        .bind(now)
        .bind(i32::try_from(lines).expect("few"))
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn set_deadlines(
    connection: &mut PgConnection,
    pattern: &Pattern,
    number: usize,
    event: &Envelope<'_>,
) -> Result<(), sqlx::Error> {
    for sweep in pattern.deadlines(number) {
        sqlx::query(
            "insert into deadlines (partner, client, sweep, due_at)
             values ($1, $2, $3, $4)
             on conflict (partner, client, sweep) do update
             set due_at = excluded.due_at",
        )
        .bind(event.partner())
        .bind(event.client())
        .bind(sweep.as_str())
        .bind(event.time + TimeDelta::days(60))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
