//! Tenure without servers: `tenure ingest` reads the same events from a file into SQLite.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tenure::store::sqlite::SqliteStore;

use crate::bench::Bench;
use crate::support::tenure::Tenure;
use crate::{check, preload};

pub fn measure(bench: &mut Bench<'_>) {
    let folder = bench.environment.folder();
    let (population, file) = (folder.join("population.db"), folder.join("events.ndjson"));
    if !population.exists() {
        let store = Arc::new(SqliteStore::open(&population));
        bench
            .environment
            .runtime
            .block_on(preload::into(store, &bench.setup));
        let lines: Vec<&[u8]> = bench
            .lifecycle_events
            .iter()
            .map(|message| message.body.as_slice())
            .collect();
        fs::write(&file, lines.join(&b'\n')).expect("a file");
    }
    let database = folder.join("embedded.db");
    fs::copy(&population, &database).expect("a copy");
    // Write the copy to disk before the measurement, as with the copies on PostgreSQL.
    let copied = fs::File::options().write(true).open(&database);
    copied.and_then(|file| file.sync_all()).expect("a disk");
    let tenure = Tenure::new(
        folder,
        &[("DATABASE_URL", &format!("sqlite://{}", database.display()))],
    );
    let file = file.to_str().expect("a plain path");
    let began = Instant::now();
    let tally = tenure.json(&["ingest", file]);
    let took = began.elapsed();
    assert_eq!(tally[0]["applied"], bench.lifecycle_events.len(), "{tally:?}");
    let corrections = bench.environment.runtime.block_on(corrections(&database));
    check::in_order(
        usize::try_from(corrections).expect("a count"),
        bench.lifecycle_events.len(),
    );
    bench.record(
        "embedded",
        bench.lifecycle_events.len() as f64 / took.as_secs_f64(),
    );
    fs::remove_file(&database).expect("ours");
}

async fn corrections(database: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.expect("a file of ours");
    let corrections = sqlx::query_scalar("select count(*) from change_log where correction")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    // Closing removes the files next to the database.
    connection.close().await.expect("a file of ours");
    corrections
}
