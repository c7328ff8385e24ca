//! Imports of a size and of four times that size, on both stores. An import is linear if both have the same rate.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tenure::broker::topology;
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{RefusalFilter, Store};

use crate::bench::{Bench, store};
use crate::population::{Period, Population};

/// How much larger the larger import is.
const LARGER: usize = 4;
/// Names to claim.
const NAMES: usize = 50;
/// Clients in a batch of long histories.
const CLIENTS_OF_A_BATCH: usize = 10;
/// One event of so many is late.
const LATE: usize = 10;

/// The keys of the figures on PostgreSQL and on SQLite, each of the base size and of the larger one.
type Keys = [[&'static str; 2]; 2];

pub fn measure(bench: &mut Bench<'_>) {
    let imports = bench.scale.imports;
    let period = Period {
        from: bench.present.from - TimeDelta::days(40),
        until: bench.present.from,
    };

    let claims = Population::claims(imports.claims * LARGER, NAMES, period.from);
    let import = |claims| Import {
        refused: claims - NAMES,
        ..Import::in_order(claims, claims)
    };
    let keys = [
        ["claims_postgres", "claims_postgres_larger"],
        ["claims_sqlite", "claims_sqlite_larger"],
    ];
    measure_both(
        bench,
        keys,
        &claims,
        &[import(imports.claims), import(claims.len())],
    );

    let mut client = Population::new(13, "holder", 1);
    let mut events = client.activate(period.from);
    let first = events.len();
    events.extend(client.add_holdings(imports.holdings * LARGER, period));
    let import = |events| Import::in_order(events, imports.batch);
    let keys = [
        ["holdings_postgres", "holdings_postgres_larger"],
        ["holdings_sqlite", "holdings_sqlite_larger"],
    ];
    let sizes = [import(first + imports.holdings), import(events.len())];
    measure_both(bench, keys, &events, &sizes);

    let keys = [
        ["histories_postgres", "histories_postgres_larger"],
        ["histories_sqlite", "histories_sqlite_larger"],
    ];
    measure_histories(bench, keys, imports.clients, imports.history, period);
    let keys = [
        ["single_history_postgres", "single_history_postgres_larger"],
        ["single_history_sqlite", "single_history_sqlite_larger"],
    ];
    measure_histories(bench, keys, 1, imports.single_history, period);
}

/// Measures histories of so many events per client, and longer ones that begin with the same events.
fn measure_histories(bench: &mut Bench<'_>, keys: Keys, clients: usize, history: usize, period: Period) {
    let [first, rest] = [0, 1].map(|part| period.part(part, 2));
    let mut population = Population::new(14, "history", clients);
    let mut events = population.activate_all(first);
    events.extend(population.steady_events(clients * history * LARGER - events.len(), rest));
    let run = bench.scale.imports.batch / CLIENTS_OF_A_BATCH.min(clients);
    let import = |history| Import::late(clients, history, run);
    measure_both(bench, keys, &events, &[import(history), import(history * LARGER)]);
}

/// Measures two imports, the smaller one first, on each store.
fn measure_both(bench: &mut Bench<'_>, keys: Keys, events: &[Event], sizes: &[Import; 2]) {
    for (size, import) in sizes.iter().enumerate() {
        let database = bench.environment.database("linear");
        let file = bench.environment.folder().join("linear.db");
        let stores: [Arc<dyn Store>; 2] = [store(&database), Arc::new(SqliteStore::open(&file))];
        for (keys, store) in keys.iter().zip(stores) {
            let took = bench.environment.runtime.block_on(import.ingest(store, events));
            bench.record(keys[size], import.events() as f64 / took.as_secs_f64());
        }
        fs::remove_file(&file).expect("ours");
    }
}

/// The first events of a list, in batches in the order of their arrival.
struct Import {
    /// The places of the events in the list.
    batches: Vec<Vec<usize>>,
    /// How many of them are refused in the end.
    refused: usize,
    /// Whether some are late.
    has_late: bool,
}

impl Import {
    /// This number of events, none of them late.
    fn in_order(events: usize, batch: usize) -> Self {
        Self {
            batches: (0..events)
                .collect::<Vec<_>>()
                .chunks(batch)
                .map(<[_]>::to_vec)
                .collect(),
            refused: 0,
            has_late: false,
        }
    }

    /// This number of events of each of these clients, which take turns in the list. A batch has a run of `run` events of each of a few
    /// clients, one client after the other. Some events are missing from their run: they arrive with the next one, late.
    fn late(clients: usize, history: usize, run: usize) -> Self {
        let arrival = |place: &usize| {
            let (number, client) = (place / clients, place % clients);
            let is_late = number % LATE == LATE / 2;
            (number / run + usize::from(is_late), client)
        };
        let batch = |place: &usize| {
            let (run, client) = arrival(place);
            (run, client / CLIENTS_OF_A_BATCH)
        };
        let mut places: Vec<usize> = (0..clients * history).collect();
        places.sort_by_key(arrival);
        Self {
            batches: places
                .chunk_by(|one, next| batch(one) == batch(next))
                .map(<[_]>::to_vec)
                .collect(),
            refused: 0,
            has_late: true,
        }
    }

    fn events(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Ingests the events, and checks that each was ingested once. Returns the time that the batches took.
    async fn ingest(&self, store: Arc<dyn Store>, events: &[Event]) -> Duration {
        store.migrate().await.expect("the tables");
        let engine = Engine::start(store.clone(), Arc::new(SystemClock), &Policy::default())
            .await
            .expect("an engine");
        // As with a backlog in the queue: no timer fires before its end.
        engine.set_lanes(&[topology::lane(0)]).await.expect("a lane");
        let mut took = Duration::ZERO;
        for batch in &self.batches {
            let incoming = batch
                .iter()
                .map(|place| Incoming::Event(events[*place].clone()))
                .collect();
            let began = Instant::now();
            let outcomes = engine.ingest(incoming).await.expect("ingested");
            took += began.elapsed();
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| matches!(outcome, Outcome::Applied | Outcome::Refused { .. })),
                "{outcomes:?}"
            );
        }
        self.check(&*store, events).await;
        store.close().await;
        took
    }

    async fn check(&self, store: &dyn Store, events: &[Event]) {
        let counted = store.census().await.expect("a census").events;
        assert_eq!(usize::try_from(counted), Ok(self.events()), "events in the log");
        // Also events that were refused until a late one before them arrived.
        let filter = RefusalFilter::default();
        let refusals = store.refusals(&filter, None, u32::MAX, u32::MAX).await;
        let refused = refusals.expect("refusals").refused.len();
        assert_eq!(refused, self.refused, "refused events");
        let lines = store.journal(&events[0].key, 0, 5_000).await.expect("a journal");
        let has_corrections = lines.iter().any(|line| line.entry.is_correction());
        assert_eq!(has_corrections, self.has_late, "corrections");
    }
}
