//! Files of a SQLite store that are replaced, overwritten or removed: nothing is acknowledged that is lost, and no log is
//! opened with a database that it was not written for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::support::tenure::{Running, Tenure};

const SOON: Duration = Duration::from_secs(30);

/// A folder with a store.
struct Site {
    folder: TempDir,
    tenure: Tenure,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", "sqlite://tenure.db")]);
        Self { folder, tenure }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.file("tenure.db")
    }

    fn remove(&self, names: &[&str]) {
        for name in names {
            fs::remove_file(self.file(name)).expect("removed");
        }
    }

    /// Adds clients named `{round}-0`, `{round}-1`, …
    fn ingest(&self, round: &str, clients: usize) {
        let events: Vec<String> = (0..clients).map(|n| added(&format!("{round}-{n}"))).collect();
        let output = self.tenure.fed(&["ingest", "-"], &events.join("\n"));
        assert!(output.status.success(), "{output:?}");
    }

    fn clients(&self) -> BTreeSet<String> {
        let clients = self.tenure.json(&["client", "list"]);
        let name = |client: &serde_json::Value| client["client"].as_str().expect("text").to_owned();
        clients.iter().map(name).collect()
    }

    fn number(&self, select: &str) -> u64 {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(self.database());
            let mut connection = options.connect().await.expect("a connection");
            let number: i64 = sqlx::query_scalar(select)
                .fetch_one(&mut connection)
                .await
                .expect("a row");
            u64::try_from(number).expect("a number")
        })
    }

    /// Runs statements as another program would.
    fn sql(&self, statements: &str) {
        run_sql(&self.database(), statements);
    }

    /// Starts a worker, which must refuse to open the store and name the files to remove.
    fn assert_refused(&self) {
        let mut refused = self.tenure.start();
        let status = refused.ended(SOON).expect("it ends");
        assert_eq!(status.code(), Some(1), "{}", refused.log());
        for file in ["tenure.db-wal", "tenure.db-shm"] {
            assert!(refused.log().contains(file), "{}", refused.log());
        }
        let output = self.tenure.call(&["client", "list"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }

    /// The store is what it was when the backup was made, and whole.
    fn assert_restored(&self, clients: &BTreeSet<String>) {
        let worker = self.tenure.run();
        assert!(worker.stop().success());
        assert_eq!(&self.clients(), clients);
        self.tenure.assert_no_drift();
    }
}

pub(crate) fn run_sql(database: &Path, statements: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true);
        let mut connection: SqliteConnection = options.connect().await.expect("a connection");
        connection.execute(statements).await.expect("executed");
        connection.close().await.expect("closed");
    });
}

fn added(client: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
        "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
    });
    event.to_string()
}

/// Posts events until nobody answers any more, and returns those that were acknowledged.
fn post_until_it_ends(worker: &mut Running, round: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let client = format!("{round}-{n}");
        if worker.add_client(&client).0 == 200 {
            acknowledged.push(client);
        }
        if worker.ended(Duration::from_millis(50)).is_some() {
            break;
        }
        assert!(n < 400, "the worker does not end\n{}", worker.log());
    }
    acknowledged
}

fn assert_ended(worker: &mut Running) {
    let status = worker.ended(SOON).expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert!(
        worker
            .log()
            .contains("was replaced, overwritten or removed while it was in use"),
        "{}",
        worker.log()
    );
}

/// How a backup is made.
#[derive(Clone, Copy, Debug)]
enum Backup {
    /// A copy of the file while nobody has it open.
    AtRest,
    /// SQLite's own copy beside a worker.
    Online,
}

/// How it is restored.
#[derive(Clone, Copy, Debug)]
enum Restore {
    /// The backup becomes the file.
    Rename,
    /// The content of the file is overwritten.
    Overwrite,
}

fn restore(site: &Site, how: Restore) {
    let backup = site.file("backup.db");
    match how {
        Restore::Rename => fs::rename(backup, site.database()).expect("renamed"),
        Restore::Overwrite => drop(fs::copy(backup, site.database()).expect("copied")),
    }
}

/// A store with a backup, and a worker that has committed changes since.
fn backed_up(made: Backup) -> (Site, BTreeSet<String>, Running) {
    let site = Site::new();
    site.ingest("before", 50);
    let clients = site.clients();
    if matches!(made, Backup::AtRest) {
        fs::copy(site.database(), site.file("backup.db")).expect("copied");
        site.ingest("between", 300);
    }
    let worker = site.tenure.run();
    if matches!(made, Backup::Online) {
        run_sql(
            &site.database(),
            "vacuum into 'backup.db'"
                .replace("backup.db", &site.file("backup.db").to_string_lossy())
                .as_str(),
        );
    }
    site.ingest("after", 20);
    assert_eq!(worker.add_client("last").0, 200);
    (site, clients, worker)
}

#[test]
fn a_restore_under_a_worker_ends_it_and_the_old_wal_is_refused() {
    for made in [Backup::AtRest, Backup::Online] {
        for how in [Restore::Rename, Restore::Overwrite] {
            println!("{made:?}, {how:?}");
            let (site, clients, mut worker) = backed_up(made);
            restore(&site, how);
            assert_eq!(post_until_it_ends(&mut worker, "lost"), [""; 0]);
            assert_ended(&mut worker);
            site.assert_refused();
            site.remove(&["tenure.db-wal", "tenure.db-shm"]);
            site.assert_restored(&clients);
        }
    }
}

#[test]
fn a_restore_beside_the_wal_of_a_killed_worker_is_refused() {
    for made in [Backup::AtRest, Backup::Online] {
        for how in [Restore::Rename, Restore::Overwrite] {
            println!("{made:?}, {how:?}");
            let (site, clients, worker) = backed_up(made);
            drop(worker);
            restore(&site, how);
            site.assert_refused();
            site.remove(&["tenure.db-wal", "tenure.db-shm"]);
            site.assert_restored(&clients);
        }
    }
}

#[test]
fn a_restore_under_a_worker_without_its_wal_ends_it() {
    let (site, clients, mut worker) = backed_up(Backup::AtRest);
    site.remove(&["tenure.db-wal", "tenure.db-shm"]);
    restore(&site, Restore::Overwrite);
    assert_eq!(post_until_it_ends(&mut worker, "lost"), [""; 0]);
    assert_ended(&mut worker);
    site.assert_restored(&clients);
}

#[test]
fn nothing_is_acknowledged_into_a_removed_or_replaced_file() {
    let site = Site::new();
    let mut worker = site.tenure.run();
    assert_eq!(worker.add_client("first").0, 200);
    site.remove(&["tenure.db", "tenure.db-wal", "tenure.db-shm"]);
    assert_eq!(post_until_it_ends(&mut worker, "lost"), [""; 0]);
    assert_ended(&mut worker);

    let other = Site::new();
    other.ingest("other", 1);
    let mut worker = site.tenure.run();
    fs::rename(other.database(), site.database()).expect("renamed");
    assert_eq!(post_until_it_ends(&mut worker, "lost"), [""; 0]);
    assert_ended(&mut worker);
}

#[test]
fn events_acknowledged_before_the_wal_was_removed_are_saved() {
    let site = Site::new();
    let mut worker = site.tenure.run();
    assert_eq!(worker.add_client("first").0, 200);
    site.remove(&["tenure.db-wal", "tenure.db-shm"]);
    assert_eq!(post_until_it_ends(&mut worker, "lost"), [""; 0]);
    assert_ended(&mut worker);
    assert_eq!(site.clients(), BTreeSet::from(["first".to_owned()]));
}

#[test]
fn a_file_that_is_removed_just_before_a_stop_ends_the_worker_with_an_error() {
    let site = Site::new();
    let mut worker = site.tenure.run();
    assert_eq!(worker.add_client("first").0, 200);
    site.remove(&["tenure.db", "tenure.db-wal", "tenure.db-shm"]);
    worker.signal(Signal::SIGTERM);
    assert_ended(&mut worker);
}

#[test]
fn a_wal_without_its_database_is_refused() {
    let (site, _, worker) = backed_up(Backup::AtRest);
    drop(worker);
    site.remove(&["tenure.db"]);
    let mut refused = site.tenure.start();
    assert_eq!(
        refused.ended(SOON).expect("it ends").code(),
        Some(1),
        "{}",
        refused.log()
    );
    assert!(site.file("tenure.db-wal").exists(), "the log is not removed");
}

/// Another program may copy the log into the database at any time, change the schema, or rewrite the database.
#[test]
fn a_wal_that_belongs_to_its_database_is_never_refused() {
    let site = Site::new();
    let mut expected = BTreeSet::new();
    let rounds = [
        "pragma wal_checkpoint(passive)",
        "select 1",
        "pragma wal_checkpoint(truncate)",
        "create table of_another_program (x); pragma wal_checkpoint(restart)",
        "analyze",
        "vacuum",
        "pragma wal_checkpoint(passive)",
    ];
    for (n, statements) in rounds.iter().enumerate() {
        let worker = site.tenure.run();
        for (when, then) in [("before", Some(statements)), ("after", None)] {
            let client = format!("{when}-{n}");
            assert_eq!(
                worker.add_client(&client).0,
                200,
                "{statements}: {}",
                worker.log()
            );
            expected.insert(client);
            if let Some(statements) = then {
                site.sql(statements);
            }
        }
        site.ingest(&format!("beside-{n}"), 3);
        expected.extend((0..3).map(|client| format!("beside-{n}-{client}")));
        drop(worker);
        assert!(site.file("tenure.db-wal").exists(), "the worker was killed");
    }
    assert_eq!(site.clients(), expected);
    site.assert_restored(&expected);
}

#[test]
fn a_damaged_page_makes_a_worker_not_ready() {
    let site = Site::new();
    site.ingest("before", 500);
    let worker = site.tenure.run();
    let page = site.number("select rootpage from sqlite_master where name = 'journal'");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(site.database())
        .expect("open");
    let offset = (page - 1) * (16 << 10);
    file.write_all_at(&[0xff; 16 << 10], offset).expect("written");
    worker.wait_until("not ready", || {
        let (status, body) = worker.get("/readyz");
        status == 503 && body.contains("malformed")
    });
}

#[test]
fn a_file_created_through_a_link_is_private_to_its_user() {
    let site = Site::new();
    symlink("data.db", site.database()).expect("a link");
    site.tenure.ok(&["migrate"]);
    let mode = fs::metadata(site.file("data.db"))
        .expect("made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
