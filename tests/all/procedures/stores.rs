//! Procedures that put an earlier store in the place of a later one.

use std::sync::Arc;
use std::time::Duration;

use tenure::clock::SystemClock;
use tenure::domain::Policy;
use tenure::engine::Engine;
use tenure::store::sqlite::SqliteStore;
use tenure::store::{MigrationStep, Store};

use crate::support::servers::{Postgres, name_in};
use crate::support::tenure::{Running, Tenure};

/// What a new version does to the tables that the previous one cannot use any more.
const NEW_TABLES: MigrationStep = MigrationStep {
    number: 1001,
    name: "regions",
    sql: "
        update schema_compat set min_writer = 1001;
        alter table clients add column region text;
    ",
};

fn is_there(worker: &Running, client: &str) -> bool {
    worker.get(&format!("/v1/partners/p/clients/{client}")).0 == 200
}

/// Sends events since the backup, and one that the backup has.
fn send_again(worker: &Running) {
    for (client, outcome) in [("before", "duplicate"), ("after", "applied")] {
        let (status, answer) = worker.add_client(client);
        assert!(status == 200 && answer.contains(outcome), "{client}: {answer}");
    }
}

#[test]
fn a_version_is_rolled_back_by_restoring_the_backup_from_before_the_upgrade() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let previous = Tenure::new(folder.path(), &[]);
    let worker = previous.run();
    assert_eq!(worker.add_client("before").0, 200);
    assert!(worker.stop().success());
    std::fs::copy(file("tenure.db"), file("tenure-backup.db")).expect("a backup");

    // The new version, with an event of its own.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let new: Arc<dyn Store> =
            Arc::new(SqliteStore::open(file("tenure.db")).with_migrations(&[NEW_TABLES]));
        new.migrate().await.expect("migrated");
        let engine = Engine::join(new.clone(), Arc::new(SystemClock), &Policy::default()).await;
        let engine = engine.expect("an engine");
        let after = super::incoming("after");
        engine.ingest(vec![after]).await.expect("ingested");
        new.close().await;
    });

    let mut refusing = previous.start();
    let status = refusing.ended(Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1));
    assert!(
        refusing.log().contains("a newer version of tenure migrated them"),
        "{}",
        refusing.log()
    );

    for log in ["tenure.db-wal", "tenure.db-shm"] {
        let _ = std::fs::remove_file(file(log));
    }
    std::fs::copy(file("tenure-backup.db"), file("tenure.db")).expect("restored");
    assert!(previous.json(&["restored"])[0]["epoch"].is_string());
    let worker = previous.run();
    assert!(is_there(&worker, "before") && !is_there(&worker, "after"));
    send_again(&worker);
    assert!(is_there(&worker, "after"));
    assert!(worker.stop().success());
    previous.assert_no_drift();
}

#[test]
fn a_backup_of_postgres_is_restored_into_an_empty_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Postgres::own();
    let url = server.database("restored_by_steps");
    let name = name_in(&url);
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
    let worker = tenure.run();
    assert_eq!(worker.add_client("before").0, 200);
    let backup = folder.path().join("tenure.dump");
    // While it runs.
    server.dump(name, &backup);
    assert_eq!(worker.add_client("after").0, 200);
    assert!(worker.stop().success());

    server.sql("postgres", &format!("drop database {name}"));
    server.restore(name, &backup);
    let epoch = tenure.json(&["restored"])[0]["epoch"].clone();
    assert!(epoch.is_string(), "{epoch}");
    // The worker that ran during the backup.
    assert_eq!(tenure.json(&["workers", "list"]).len(), 0);
    let worker = tenure.run();
    assert!(is_there(&worker, "before") && !is_there(&worker, "after"));
    send_again(&worker);
    assert!(is_there(&worker, "after"));
    let (status, changes) = worker.get("/v1/changes");
    assert_eq!(status, 200);
    assert!(changes.contains(epoch.as_str().expect("text")), "{changes}");
    assert!(worker.stop().success());
    tenure.assert_no_drift();
}
