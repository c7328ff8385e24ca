//! Many clients of one partner that claim few names, on both stores: of those that claim a name, the first has it.

use std::sync::Arc;
use std::time::Instant;

use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::store::Store;
use tenure::store::sqlite::SqliteStore;

use crate::bench::{Bench, store};
use crate::population::Population;

/// Names to claim.
const NAMES: usize = 50;

pub fn measure(bench: &mut Bench<'_>) {
    let claims = Population::claims(bench.scale.claims, NAMES, bench.present.from);
    let database = bench.environment.database("claims");
    let file = bench.environment.folder().join("claims.db");
    let stores: [(_, Arc<dyn Store>); 2] = [
        ("claims_postgres", store(&database)),
        ("claims_sqlite", Arc::new(SqliteStore::open(&file))),
    ];
    for (key, store) in stores {
        let seconds = bench.environment.runtime.block_on(ingest(store, &claims));
        bench.record(key, claims.len() as f64 / seconds);
    }
}

/// Ingests the claims in one batch. Returns the seconds that it took.
async fn ingest(store: Arc<dyn Store>, claims: &[Event]) -> f64 {
    store.migrate().await.expect("the tables");
    let engine = Engine::start(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine");
    let incoming = claims.iter().cloned().map(Incoming::Event).collect();
    let began = Instant::now();
    let outcomes = engine.ingest(incoming).await.expect("ingested");
    let took = began.elapsed();
    let applied = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Applied)
        .count();
    assert_eq!(applied, NAMES.min(claims.len()), "one client has each name");
    store.close().await;
    took.as_secs_f64()
}
