//! The laws of the pure core, through the engine and both stores: generated histories, shuffled, with duplicates, in batches of
//! any size.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tenure::clock::SimulatedClock;
use tenure::domain::event::NameVerdict;
use tenure::domain::view::ClientView;
use tenure::domain::{Event, Policies, Policy, Refusal, fold};
use tenure::engine::{CheckpointSpacing, Engine, Incoming};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{RecordedOutcome, Store};

use crate::generate::{self, arbitrary_history, arbitrary_moment, arbitrary_policy, shuffled};
use crate::support::servers::Postgres;

/// The runs are long, so that shrinking them is, too.
pub fn cases(default: u32) -> Config {
    Config {
        max_shrink_iters: 200,
        ..generate::cases(default)
    }
}

/// Ingests the events, and compares every client with a fold of the set, at the end of time and at one moment.
async fn converges(
    store: Arc<dyn Store>,
    policy: &Policy,
    events: &[Event],
    size: usize,
    moment: chrono::DateTime<chrono::Utc>,
) {
    store.migrate().await.expect("migrated");
    let end = events.iter().map(|event| event.time).max().unwrap_or(moment) + chrono::TimeDelta::days(400);
    let clock = Arc::new(SimulatedClock::at(end));
    let engine = Engine::start(store.clone(), clock, policy)
        .await
        .expect("an engine")
        .with_checkpoints(CheckpointSpacing {
            shortest: 1,
            nearest: size,
        });
    let twice = events.iter().step_by(7);
    let deliveries: Vec<Incoming> = events.iter().chain(twice).cloned().map(Incoming::Event).collect();
    for batch in deliveries.chunks(size) {
        engine.ingest(batch.to_vec()).await.expect("ingested");
    }
    let policies = Policies::always(policy.clone());
    let keys: std::collections::BTreeSet<_> = events.iter().map(|event| event.key.clone()).collect();
    for key in keys {
        let log = store.history(&key).await.expect("a history");
        let mut history: Vec<Event> = events.iter().filter(|event| event.key == key).cloned().collect();
        for event in &mut history {
            // The set of events does not say which client claimed a name first.
            let taken = log.iter().any(|logged| {
                (&logged.event.source, &logged.event.id) == (&event.source, &event.id)
                    && logged.outcome == RecordedOutcome::Refused(Refusal::NameTaken)
            });
            event.name_verdict = if taken {
                NameVerdict::Taken
            } else {
                NameVerdict::Open
            };
        }
        for at in [moment, end] {
            let client = fold(&history, at, &policies);
            let found = engine.client(&key, Some(at)).await.expect("an answer");
            let version = found.as_ref().map_or(0, |view| view.version);
            let expected = client
                .is_known()
                .then(|| ClientView::of(&key, &client, version, at, &policies));
            assert_eq!(found, expected, "{key} at {at}");
        }
    }
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:#?}", report.drifts);
    store.close().await;
}

fn run(config: Config, store: impl Fn() -> (Option<tempfile::TempDir>, Arc<dyn Store>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let case = (
        arbitrary_policy(),
        arbitrary_history(3, 60).prop_flat_map(shuffled),
        1..40_usize,
        arbitrary_moment(),
    );
    TestRunner::new(config)
        .run(&case, |(policy, events, size, moment)| {
            // Opened inside the runtime that uses it.
            runtime.block_on(async {
                let (_folder, store) = store();
                converges(store, &policy, &events, size, moment).await;
            });
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn on_sqlite_any_order_with_duplicates_gives_the_state_of_the_set() {
    run(cases(60), || {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("tenure.db"));
        (Some(folder), Arc::new(store))
    });
}

#[test]
fn on_postgres_any_order_with_duplicates_gives_the_state_of_the_set() {
    run(cases(20), || {
        let url = Postgres::shared().database("laws");
        (
            None,
            Arc::new(PostgresStore::connect(&url, &PostgresOptions::default()).expect("a store")),
        )
    });
}
