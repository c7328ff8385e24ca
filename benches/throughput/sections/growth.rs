//! The cost of an event as the number of clients and the length of histories grow. It uses the engine without RabbitMQ,
//! because only the store grows.
//!
//! If there are few enough clients, Tenure verifies each of them at the end.

use std::sync::Arc;
use std::time::Instant;

use tenure::broker::topology;
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome};

use super::latency::in_millis;
use crate::bench::{Bench, store};
use crate::copies::{self, LINKED};
use crate::environment::Database;
use crate::figures::Spread;
use crate::growth::{Disk, Growth, TABLES};

/// Maximum number of clients that are verified.
const VERIFIED: usize = 10_000;

/// Measures growing numbers of clients, and then growing histories.
pub fn measure(bench: &mut Bench<'_>) {
    for clients in bench.scale.growing_clients {
        grow(bench, clients, LINKED);
    }
    for (place, history) in bench.scale.growing_history.into_iter().enumerate() {
        grow(bench, bench.scale.history_clients, history);
        // A few short histories: every page is in the WAL soon, and later writes of it are small.
        if let (0, Some(few)) = (place, bench.growth.last()) {
            let bytes = few.wal_bytes;
            bench.record("wal_bytes", bytes);
        }
    }
}

/// Measures as many clients as fill a disk.
pub fn measure_most(bench: &mut Bench<'_>) {
    grow(bench, bench.scale.most_clients, LINKED);
}

fn grow(bench: &mut Bench<'_>, clients: usize, history: usize) {
    let (environment, scale) = (bench.environment, bench.scale);
    let (database, life) = copies::load(environment, clients, history, bench.present);
    let disk = TABLES.map(|table| Disk::of(&database, table));
    let document_bytes = database.number("select octet_length(doc::text) from clients_now limit 1");

    // The first batch is not measured: it opens the connection and plans the statements.
    let events = (scale.growth_batches + 1) * scale.growth_batch;
    let (mut population, order) = life.chosen(events, clients);
    let in_order = population.next_events(&order, bench.present);
    let late = population.late_users(scale.growth_late, life.late);
    let measured = environment.runtime.block_on(ingest(
        &database,
        &in_order,
        scale.growth_batch,
        late,
        clients <= VERIFIED,
    ));
    assert_eq!(
        database.count("event_log"),
        clients * history + events + scale.growth_late,
        "events in the log"
    );
    let spread = |values: &[f64]| Spread::of(values).expect("something was measured");
    let growth = Growth {
        clients,
        history,
        document_bytes,
        disk,
        in_order: spread(&measured.in_order),
        wal_bytes: measured.wal_bytes,
        late: spread(&measured.late),
    };
    environment.progress(&format!(
        "    {:.1} µs for an event in order, {:.2} ms for a late one, {:.0} bytes on disk for a client",
        growth.in_order.median,
        growth.late.median,
        growth.bytes() / clients as f64
    ));
    bench.growth.push(growth);
}

/// The measured times.
#[derive(Default)]
struct Measured {
    /// Microseconds per event, one value per batch.
    in_order: Vec<f64>,
    wal_bytes: f64,
    /// Milliseconds per late event.
    late: Vec<f64>,
}

async fn ingest(
    database: &Database<'_>,
    in_order: &[Event],
    batch: usize,
    late: Vec<Event>,
    is_verified: bool,
) -> Measured {
    let store = store(database);
    let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine");
    // As with a backlog in the queue: no timer fires before its end.
    engine.set_lanes(&[topology::lane(0)]).await.expect("a lane");
    let mut measured = Measured::default();
    let (unmeasured, in_order) = in_order.split_at(batch);
    ingest_batch(&engine, unmeasured).await;
    let wal_before = database.sql("select pg_current_wal_insert_lsn()");
    for batch in in_order.chunks(batch) {
        let millis = ingest_batch(&engine, batch).await;
        measured.in_order.push(millis * 1_000.0 / batch.len() as f64);
    }
    let wal_bytes = database.number(&format!(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{wal_before}')"
    ));
    measured.wal_bytes = wal_bytes / in_order.len() as f64;
    assert_eq!(
        database.count("change_log where correction"),
        0,
        "corrections: no event was late so far"
    );
    for event in late {
        let began = Instant::now();
        let outcomes = engine
            .ingest(vec![Incoming::Event(event)])
            .await
            .expect("ingested");
        measured.late.push(in_millis(began.elapsed()));
        assert!(
            matches!(outcomes[..], [Outcome::Applied | Outcome::Refused { .. }]),
            "{outcomes:?}"
        );
    }
    if is_verified {
        let report = engine.verify(|_| ()).await.expect("verified");
        // The copies are complete: they agree with their logs.
        assert!(report.drifts.is_empty(), "{:?}", report.drifts);
    }
    store.close().await;
    measured
}

/// Ingests a batch, and returns how long that took in milliseconds.
async fn ingest_batch(engine: &Engine, batch: &[Event]) -> f64 {
    let batch: Vec<Incoming> = batch.iter().cloned().map(Incoming::Event).collect();
    let began = Instant::now();
    let outcomes = engine.ingest(batch).await.expect("ingested");
    let millis = in_millis(began.elapsed());
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
        "nothing is refused"
    );
    millis
}
