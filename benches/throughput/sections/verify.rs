//! `verify` and `rebuild` of clients with five events each, on both stores. No client differs, so a rebuild writes nothing.

use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Scope};
use tenure::store::Store;
use tenure::store::sqlite::SqliteStore;

use crate::bench::{Bench, store};
use crate::population::{Period, Population};
use crate::preload;

pub fn measure(bench: &mut Bench<'_>) {
    let (environment, clients) = (bench.environment, bench.scale.verified_clients);
    let events = Population::new(9, "verified", clients).activate_all(Period {
        from: bench.present.from - TimeDelta::days(20),
        until: bench.present.from - TimeDelta::days(1),
    });
    let database = environment.database("verified");
    environment
        .runtime
        .block_on(preload::into(store(&database), &events));
    database.sql("vacuum analyze");
    measure_on(
        bench,
        store(&database),
        &events,
        ["verify_postgres", "rebuild_postgres"],
    );

    let file = environment.folder().join("verified.db");
    environment
        .runtime
        .block_on(preload::into(Arc::new(SqliteStore::open(&file)), &events));
    let sqlite = Arc::new(SqliteStore::open(&file));
    measure_on(bench, sqlite, &events, ["verify_sqlite", "rebuild_sqlite"]);
}

fn measure_on(
    bench: &mut Bench<'_>,
    store: Arc<dyn Store>,
    events: &[Event],
    [verify, rebuild]: [&'static str; 2],
) {
    let clients = bench.scale.verified_clients;
    let (verified, rebuilt) = bench.environment.runtime.block_on(async {
        let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
            .await
            .expect("an engine");
        let began = Instant::now();
        let report = engine.verify(|_| {}).await.expect("verified");
        let verified = began.elapsed();
        assert_eq!(report.drifts, []);
        assert_eq!(
            (report.clients, report.events),
            (clients as u64, events.len() as u64)
        );
        let began = Instant::now();
        let mut right = 0;
        engine
            .rebuild(&Scope::default(), |one| {
                right += usize::from(one.differences.is_empty())
            })
            .await
            .expect("rebuilt");
        let rebuilt = began.elapsed();
        assert_eq!(right, clients);
        store.close().await;
        (verified, rebuilt)
    });
    bench.record(verify, clients as f64 / verified.as_secs_f64());
    bench.record(rebuild, clients as f64 / rebuilt.as_secs_f64());
}
