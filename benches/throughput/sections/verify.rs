//! `tenure verify` and `tenure rebuild` of clients with five events each, on both stores. No client differs, so a rebuild writes
//! nothing.

use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use tenure::store::sqlite::SqliteStore;

use crate::bench::{Bench, store};
use crate::population::{Period, Population};
use crate::preload;
use crate::support::tenure::Tenure;

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
    let file = environment.folder().join("verified.db");
    environment
        .runtime
        .block_on(preload::into(Arc::new(SqliteStore::open(&file)), &events));
    let sqlite = format!("sqlite://{}", file.display());
    for (key, command, url) in [
        ("verify_postgres", "verify", &database.url),
        ("rebuild_postgres", "rebuild", &database.url),
        ("verify_sqlite", "verify", &sqlite),
        ("rebuild_sqlite", "rebuild", &sqlite),
    ] {
        let tenure = Tenure::new(environment.folder(), &[("DATABASE_URL", url)]);
        let began = Instant::now();
        let said = tenure.json(&[command]);
        let took = began.elapsed();
        assert_eq!(said.len(), 1, "a client differs: {said:?}");
        assert_eq!(
            (&said[0]["clients"], &said[0]["differ"]),
            (&clients.into(), &0.into())
        );
        if command == "verify" {
            assert_eq!(said[0]["events"], events.len());
        }
        bench.record(key, clients as f64 / took.as_secs_f64());
    }
}
