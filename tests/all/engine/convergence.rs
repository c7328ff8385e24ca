//! Whatever order events arrive in, however often, with sweeps whenever they please: what is stored is
//! what a fold of the set of events says, and the journal tells it.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::clock::SimulatedClock;
use tenure::domain::view::ClientView;
use tenure::domain::{ClientKey, Event, Policies, Sweep, fold};
use tenure::engine::{Answer, Engine, Incoming, SweepOptions};
use tenure::store::Store;
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;

use super::wild;
use crate::support::servers::Postgres;

const DAYS: i64 = 150;

/// One seed: a few clients, their events in any order, twice, late, sweeps in between.
async fn run(seed: u64, store: Arc<dyn Store>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let policy = wild::policy(&mut rng);
    store.migrate().await.expect("migrated");
    let clock = Arc::new(SimulatedClock::at(wild::start()));
    let engine = Engine::start(store.clone(), clock.clone(), &policy)
        .await
        .expect("an engine");
    let mut histories: HashMap<ClientKey, Vec<Event>> = HashMap::new();
    for number in 0..3 {
        let key = ClientKey::new("p", &format!("c{number}")).expect("a key");
        let noise = rng.random_range(0..40);
        histories.insert(key.clone(), wild::history(&mut rng, &key, DAYS, noise));
    }
    let end = wild::start() + TimeDelta::days(DAYS * 4);
    deliver(&mut rng, &engine, &clock, &histories, end).await;

    clock.set(end);
    let policies = Policies::always(policy);
    for (key, events) in &histories {
        let expected = fold(events, end, &policies);
        let found = engine.client(key, None).await.expect("an answer");
        let version = found.as_ref().map_or(0, |view| view.version);
        let expected = expected
            .is_known()
            .then(|| ClientView::of(key, &expected, version, policies.at(end)));
        assert_eq!(found, expected, "seed {seed}: {key}");
        let past = wild::start() + TimeDelta::hours(rng.random_range(0..DAYS * 24));
        let expected = fold(events, past, &policies);
        let found = engine.client(key, Some(past)).await.expect("an answer");
        let expected = expected
            .is_known()
            .then(|| ClientView::of(key, &expected, version, policies.at(past)));
        assert_eq!(found, expected, "seed {seed}: {key} at {past}");
    }
    deadlines_are_not_late(seed, store.as_ref(), histories.keys(), &policies).await;
    for sweep in Sweep::ALL {
        engine
            .sweep(sweep, SweepOptions::default(), |_| {})
            .await
            .expect("a sweep");
        let left = store.due(sweep, end, None, 10).await.expect("deadlines");
        assert!(left.is_empty(), "seed {seed}: still due after {sweep}: {left:?}");
    }
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "seed {seed}: {:#?}", report.drifts);
}

/// Every timer that is running has a deadline in the table, at its time or before.
async fn deadlines_are_not_late(
    seed: u64,
    store: &dyn Store,
    keys: impl Iterator<Item = &ClientKey>,
    policies: &Policies,
) {
    let far = wild::start() + TimeDelta::days(10_000);
    let mut armed = HashMap::new();
    for sweep in Sweep::ALL {
        for (at, key) in store.due(sweep, far, None, 100).await.expect("deadlines") {
            armed.insert((sweep, key), at);
        }
    }
    for key in keys {
        let Some(stored) = store.client(key).await.expect("an answer") else {
            continue;
        };
        let client = stored.client(policies);
        for sweep in Sweep::ALL {
            let wanted = client.deadline(sweep, policies);
            let found = armed.get(&(sweep, key.clone()));
            let in_time = wanted.is_none_or(|wanted| found.is_some_and(|armed| *armed <= wanted));
            assert!(
                in_time,
                "seed {seed}: {key} {sweep} is due at {wanted:?}, its deadline is {found:?}"
            );
        }
    }
}

async fn deliver(
    rng: &mut StdRng,
    engine: &Engine,
    clock: &SimulatedClock,
    histories: &HashMap<ClientKey, Vec<Event>>,
    end: DateTime<Utc>,
) {
    let mut deliveries: Vec<(DateTime<Utc>, Event)> = Vec::new();
    let shuffled = rng.random_bool(0.3);
    let mut keys: Vec<_> = histories.keys().collect();
    keys.sort();
    for event in keys.into_iter().flat_map(|key| &histories[key]) {
        for _ in 0..if rng.random_bool(0.2) { 2 } else { 1 } {
            let delay = match rng.random_range(0..10) {
                0 => TimeDelta::days(rng.random_range(0..90)),
                1 | 2 => TimeDelta::hours(rng.random_range(0..100)),
                _ => TimeDelta::zero(),
            };
            let at = if shuffled {
                end
            } else {
                (event.time + delay).min(end)
            };
            deliveries.push((at, event.clone()));
        }
    }
    deliveries.shuffle(rng);
    deliveries.sort_by_key(|(at, _)| *at);
    let mut rest = deliveries.as_slice();
    let mut answered: HashMap<(Box<str>, Box<str>), u32> = HashMap::new();
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(rng.random_range(1..=rest.len().min(25)));
        rest = later;
        let now = batch.last().expect("not empty").0;
        clock.set(now);
        let incoming: Vec<_> = batch
            .iter()
            .map(|(_, event)| Incoming::Event(event.clone()))
            .collect();
        let answers = engine.take(incoming.clone()).await.expect("taken");
        for ((_, event), answer) in batch.iter().zip(&answers) {
            if *answer != Answer::Duplicate && !event.is_touch() {
                *answered
                    .entry((event.source.clone(), event.id.clone()))
                    .or_default() += 1;
            }
        }
        if rng.random_bool(0.1) {
            // The acknowledgement was lost: all of it comes again.
            let again = engine.take(incoming).await.expect("taken");
            let new = batch
                .iter()
                .zip(again)
                .find(|((_, event), answer)| *answer != Answer::Duplicate && !event.is_touch());
            assert!(new.is_none(), "came again, and counted again: {new:?}");
        }
        if rng.random_bool(0.2) {
            let ahead = TimeDelta::hours(rng.random_range(0..48));
            clock.set((now + ahead).min(end));
            let sweep = Sweep::ALL[rng.random_range(0..4)];
            let options = SweepOptions {
                chunk: rng.random_range(1..4),
                ..SweepOptions::default()
            };
            engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
        }
    }
    assert!(
        answered.values().all(|times| *times == 1),
        "an event counted more than once"
    );
}

pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = std::env::var("TENURE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    match first {
        Some(seed) => seed..seed + 1,
        None => {
            0..std::env::var("TENURE_TEST_SEEDS")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or(default)
        }
    }
}

#[tokio::test]
async fn on_sqlite_the_state_is_a_function_of_the_set_of_events_and_the_clock() {
    for seed in seeds(150) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("tenure.db"));
        run(seed, Arc::new(store)).await;
    }
}

#[tokio::test]
async fn on_postgres_the_state_is_a_function_of_the_set_of_events_and_the_clock() {
    for seed in seeds(25) {
        let url = Postgres::shared().database("convergence");
        let store = PostgresStore::connect(&url, &PostgresOptions::default()).expect("a store");
        let store = Arc::new(store);
        run(seed, store.clone()).await;
        store.close().await;
    }
}
