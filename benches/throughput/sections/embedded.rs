//! The same events without servers: `tenure ingest` reads them from a file into SQLite.

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
    let (population, file) = (folder.join("town.db"), folder.join("lives.ndjson"));
    if !population.exists() {
        let store = Arc::new(SqliteStore::open(&population));
        bench
            .environment
            .runtime
            .block_on(preload::into(store, &bench.settling));
        let lines: Vec<&[u8]> = bench
            .lives
            .iter()
            .map(|message| message.body.as_slice())
            .collect();
        fs::write(&file, lines.join(&b'\n')).expect("a file");
    }
    let database = folder.join("embedded.db");
    fs::copy(&population, &database).expect("a copy");
    // As the copies of the other database: what brought it there is on the disk before it is measured.
    let copied = fs::File::options().write(true).open(&database);
    copied.and_then(|file| file.sync_all()).expect("a disk");
    let tenure = Tenure::new(
        folder,
        &[("DATABASE_URL", &format!("sqlite://{}", database.display()))],
    );
    let file = file.to_str().expect("a plain path");
    let began = Instant::now();
    let told = tenure.json(&["ingest", file]);
    let took = began.elapsed();
    assert_eq!(told[0]["applied"], bench.lives.len(), "{told:?}");
    let corrections = bench.environment.runtime.block_on(corrections(&database));
    check::in_order(usize::try_from(corrections).expect("a count"), bench.lives.len());
    bench.note("embedded", bench.lives.len() as f64 / took.as_secs_f64());
    fs::remove_file(&database).expect("ours");
}

async fn corrections(database: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.expect("a file of ours");
    let corrections = sqlx::query_scalar("select count(*) from change_log where correction")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    // Until then there are files beside the one that goes.
    connection.close().await.expect("a file of ours");
    corrections
}
