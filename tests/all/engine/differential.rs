//! The same random batches into both stores: the stored state must be the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Event, Sweep};
use tenure::engine::{Engine, Incoming, SweepMode, SweepOptions};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Cursor, DeadLetter, DeadLetterFilter, Recorded, Store};

use super::wild;
use crate::simulation::seeds;
use crate::support::servers::Postgres;

/// A step for both stores.
#[derive(Clone, Debug)]
enum Step {
    Take(Vec<Incoming>),
    Sweep(Sweep, u32),
}

fn steps(rng: &mut StdRng, keys: &[ClientKey]) -> Vec<(i64, Step)> {
    let mut events: Vec<Event> = Vec::new();
    for key in keys {
        let noise = rng.random_range(0..30);
        events.extend(wild::history(rng, key, 150, noise));
    }
    let again: Vec<Event> = events.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
    events.extend(again);
    // Half in order, half at random places.
    events.sort_by_key(|event| event.time);
    let half = events.len() / 2;
    events[half..].shuffle(rng);
    let mut steps = Vec::new();
    let mut rest = events.as_slice();
    let mut day = 160;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(rng.random_range(1..=rest.len().min(30)));
        rest = later;
        let mut incoming: Vec<Incoming> = batch.iter().cloned().map(Incoming::Event).collect();
        if rng.random_bool(0.3) {
            incoming.push(Incoming::Dead(dead_letter(rng)));
        }
        day += rng.random_range(0..3);
        steps.push((day, Step::Take(incoming)));
        if rng.random_bool(0.3) {
            day += rng.random_range(0..20);
            let sweep = Sweep::ALL[rng.random_range(0..Sweep::ALL.len())];
            steps.push((day, Step::Sweep(sweep, rng.random_range(1..5))));
        }
    }
    steps
}

fn dead_letter(rng: &mut StdRng) -> DeadLetter {
    DeadLetter {
        origin: "amqp:tenure.events.0".into(),
        source: None,
        content_type: rng.random_bool(0.5).then(|| "application/json".into()),
        headers: vec![("x-delivery-count".into(), rng.random_range(0..3).to_string())],
        body: vec![0, b'{', rng.random_range(0..3)],
        reason: "it is no event".into(),
        retry_at: None,
    }
}

/// A line of the journal without its number, which differs between stores.
fn bare(line: Recorded) -> Recorded {
    Recorded {
        cursor: Cursor::default(),
        ..line
    }
}

#[tokio::test]
async fn sqlite_and_postgres_store_the_same_state() {
    for seed in seeds(15) {
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = wild::policy(&mut rng);
        let keys: Vec<ClientKey> = (0..4)
            .map(|number| ClientKey::new("p", &format!("c{number}")).expect("a key"))
            .collect();
        let steps = steps(&mut rng, &keys);
        let folder = tempfile::tempdir().expect("a folder");
        let url = Postgres::shared().database("differential");
        let stores: [Arc<dyn Store>; 2] = [
            Arc::new(SqliteStore::open(folder.path().join("tenure.db"))),
            Arc::new(PostgresStore::connect(&url, &PostgresOptions::default()).expect("a store")),
        ];
        let mut of_stores = Vec::new();
        for store in &stores {
            store.migrate().await.expect("migrated");
            let clock = Arc::new(SimulatedClock::at(wild::start()));
            let engine = Engine::start(store.clone(), clock.clone(), &policy)
                .await
                .expect("an engine");
            let mut outcomes = Vec::new();
            for (day, step) in &steps {
                clock.set(wild::start() + TimeDelta::days(*day));
                match step {
                    Step::Take(incoming) => {
                        let ingested = engine.ingest(incoming.clone()).await.expect("ingested");
                        outcomes.push(format!("{ingested:?}"));
                    }
                    Step::Sweep(sweep, chunk) => {
                        let options = SweepOptions {
                            chunk: *chunk,
                            ..SweepOptions::new(SweepMode::Confirmed)
                        };
                        let report = engine.sweep(*sweep, options, |_| {}).await.expect("a sweep");
                        outcomes.push(format!("{report:?}"));
                    }
                }
            }
            of_stores.push(outcomes);
        }
        assert_eq!(of_stores[0], of_stores[1], "seed {seed}: the outcomes");
        let [sqlite, postgres] = &stores;
        compare(sqlite.as_ref(), postgres.as_ref(), &keys, seed).await;
        for store in stores {
            store.close().await;
        }
    }
}

async fn compare(sqlite: &dyn Store, postgres: &dyn Store, keys: &[ClientKey], seed: u64) {
    for key in keys {
        let stored = (
            sqlite.client(key).await.expect("read"),
            postgres.client(key).await.expect("read"),
        );
        assert_eq!(stored.0, stored.1, "seed {seed}: {key}");
        let histories = (
            sqlite.history(key).await.expect("read"),
            postgres.history(key).await.expect("read"),
        );
        assert_eq!(histories.0, histories.1, "seed {seed}: the history of {key}");
        let journals = (
            sqlite.journal(key, 0, 10_000).await.expect("read"),
            postgres.journal(key, 0, 10_000).await.expect("read"),
        );
        let journals = (
            journals.0.into_iter().map(bare).collect::<Vec<_>>(),
            journals.1.into_iter().map(bare).collect::<Vec<_>>(),
        );
        assert_eq!(journals.0, journals.1, "seed {seed}: the journal of {key}");
    }
    let far = wild::start() + TimeDelta::days(10_000);
    for sweep in Sweep::ALL {
        let due = (
            sqlite.due(sweep, far, None, 100).await.expect("read"),
            postgres.due(sweep, far, None, 100).await.expect("read"),
        );
        assert_eq!(due.0, due.1, "seed {seed}: deadlines of {sweep}");
    }
    let dead_letters = DeadLetterFilter::default();
    let dead = (
        sqlite.dead_letters(&dead_letters, 0, 100).await.expect("read"),
        postgres.dead_letters(&dead_letters, 0, 100).await.expect("read"),
    );
    let bodies =
        |records: &[tenure::store::DeadLetterSummary]| -> BTreeSet<(String, i64, Option<String>, i64)> {
            records
                .iter()
                .map(|r| (r.reason.clone(), r.bytes, r.content_type.clone(), r.times_seen))
                .collect()
        };
    assert_eq!(bodies(&dead.0), bodies(&dead.1), "seed {seed}: dead letters");
    let runs = (
        sqlite.runs(None, 100).await.expect("read"),
        postgres.runs(None, 100).await.expect("read"),
    );
    let counts = |runs: &[tenure::store::SweepRun]| {
        runs.iter()
            .map(|r| (r.sweep, r.scheduled_at, r.counts))
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&runs.0), counts(&runs.1), "seed {seed}: runs");
    assert_eq!(
        sqlite.census().await.expect("read"),
        postgres.census().await.expect("read"),
        "seed {seed}"
    );
}
