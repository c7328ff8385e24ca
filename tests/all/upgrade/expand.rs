//! A migration under load, from the baseline: what it does to a worker that does not know it.
//!
//! The older version is this program as a process. The later versions are stores of this test with further migrations: one that
//! expands the tables, and one that contracts them again (docs/decisions/0009-schema-changes-expand-then-contract.md).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tenure::clock::{Clock, SystemClock};
use tenure::domain::{ClientKey, Policy};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{MigrationStep, Store, StoreError};
use tenure::wire::{Decoder, Limits};

use crate::support::servers::{Postgres, send_as};
use crate::support::tenure::{Running, Tenure, wait_until};

/// Adds a column that older versions leave null, an index and a view. Older versions may write.
const EXPAND: MigrationStep = MigrationStep {
    number: 1_002,
    name: "regions",
    sql: "
        alter table clients add column region text;
        create index clients_region on clients (region) where region is not null;
        create view regions as
        select k.partner, k.client, c.region
        from clients c
        join client_keys k on k.number = c.client;
    ",
};

/// Removes them one version later. Versions before the one that added them may not write any more.
const CONTRACT: MigrationStep = MigrationStep {
    number: 1_003,
    name: "no_regions",
    sql: "
        update schema_compat set min_writer = 1002;
        drop view regions;
        drop index clients_region;
        alter table clients drop column region;
    ",
};

/// The same on PostgreSQL, where it waits for running writers.
const CONTRACT_AFTER_WRITERS: MigrationStep = MigrationStep {
    sql: "
        lock table schema_compat in access exclusive mode;
        update schema_compat set min_writer = 1002;
        drop view regions;
        drop index clients_region;
        alter table clients drop column region;
    ",
    ..CONTRACT
};

enum Place {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Place {
    /// The store as a version with these migrations has it.
    fn store(&self, further: &[MigrationStep]) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(file) => Arc::new(SqliteStore::open(file).with_migrations(further)),
            Self::Postgres(url) => {
                let store = PostgresStore::connect(url, &PostgresOptions::default()).expect("a URL");
                Arc::new(store.with_migrations(further))
            }
        }
    }

    fn contract(&self) -> MigrationStep {
        match self {
            Self::Sqlite(_) => CONTRACT,
            Self::Postgres(_) => CONTRACT_AFTER_WRITERS,
        }
    }
}

async fn engine(store: &Arc<dyn Store>) -> Engine {
    Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine")
}

fn added(client: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added", "subject": format!("p/{client}"),
        "time": "2026-01-05T09:00:00Z", "data": { "name": client },
    });
    event.to_string()
}

fn incoming(client: &str) -> Incoming {
    let decoder = Decoder::new(Limits::default(), SystemClock.now());
    let read = decoder.line("test", added(client).as_bytes()).expect("not blank");
    Incoming::from(read)
}

/// Sends events to a worker, two at a time, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Vec<(String, u16)>>>,
}

impl Load {
    fn on(worker: &Running, round: &str) -> Self {
        let (stop, accepted) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let sender = |sender: usize| {
            let (stop, accepted, port) = (stop.clone(), accepted.clone(), worker.port);
            let round = round.to_owned();
            std::thread::spawn(move || {
                let mut sent = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let client = format!("{round}-{sender}-{}", sent.len());
                    let body = added(&client);
                    let answer = send_as(port, "POST", "/v1/events", "application/cloudevents+json", &body);
                    let status = answer.map_or(0, |(status, _)| status);
                    accepted.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                    sent.push((client, status));
                }
                sent
            })
        };
        let senders = (0..2).map(sender).collect();
        Self {
            stop,
            accepted,
            senders,
        }
    }

    /// Waits until this many more events were accepted.
    fn wait_for(&self, more: usize) {
        let enough = self.accepted.load(Ordering::SeqCst) + more;
        let arrived = wait_until(Duration::from_mins(1), || {
            self.accepted.load(Ordering::SeqCst) >= enough
        });
        arrived.expect("events are accepted");
    }

    /// What was sent, with the status of each answer. 0: there was none.
    fn end(self) -> Vec<(String, u16)> {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self
            .senders
            .into_iter()
            .flat_map(|sender| sender.join().expect("sent"));
        sent.collect()
    }
}

#[test]
fn an_older_worker_goes_on_while_sqlite_is_expanded_and_stops_when_it_is_contracted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tenure.db");
    let tenure = Tenure::new(folder.path(), &[]);
    upgrade(&tenure, &Place::Sqlite(file));
}

#[test]
fn an_older_worker_goes_on_while_postgres_is_expanded_and_stops_when_it_is_contracted() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Postgres::shared().database("expanded");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
    upgrade(&tenure, &Place::Postgres(url.clone()));
}

fn upgrade(tenure: &Tenure, place: &Place) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut older = tenure.run();
    let mut known = expand(&runtime, place, &older);
    let refused = contract(&runtime, place, &mut older, &mut known);
    // A later worker ingests what the older one refused, and finds what it accepted.
    let later = place.store(&[EXPAND, place.contract()]);
    runtime.block_on(async {
        later.migrate().await.expect("nothing to migrate");
        let engine = engine(&later).await;
        let again = engine
            .ingest(known.iter().map(|client| incoming(client)).collect())
            .await;
        let again = again.expect("ingested");
        assert!(
            again.iter().all(|outcome| matches!(outcome, Outcome::Duplicate)),
            "nothing is lost"
        );
        // A request that the worker's end cut off may have been committed.
        let rest = engine
            .ingest(refused.iter().map(|client| incoming(client)).collect())
            .await;
        assert_eq!(rest.expect("ingested").len(), refused.len());
        let report = engine.verify(|_| {}).await.expect("verified");
        assert!(report.drifts.is_empty(), "{:?}", report.drifts);
        assert_eq!(
            usize::try_from(report.clients).expect("few"),
            known.len() + refused.len()
        );
        later.close().await;
    });
    // The older version does not start any more, and says why.
    let mut started = tenure.start();
    let status = started.ended(Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1));
    assert!(
        started.log().contains("a newer version of tenure migrated them"),
        "{}",
        started.log()
    );
}

/// Expands the tables under load. Returns the clients that were added.
fn expand(runtime: &tokio::runtime::Runtime, place: &Place, older: &Running) -> Vec<String> {
    let load = Load::on(older, "expanded");
    load.wait_for(30);
    let newer = place.store(&[EXPAND]);
    let of_newer: Vec<String> = (0..200).map(|n| format!("newer-{n}")).collect();
    runtime.block_on(async {
        newer.migrate().await.expect("migrated");
        // Both versions write.
        let engine = engine(&newer).await;
        for some in of_newer.chunks(10) {
            let outcomes = engine
                .ingest(some.iter().map(|client| incoming(client)).collect())
                .await;
            let outcomes = outcomes.expect("ingested");
            assert!(
                outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
                "{outcomes:?}"
            );
        }
    });
    load.wait_for(30);
    let sent = load.end();
    let failed: Vec<_> = sent.iter().filter(|(_, status)| *status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}\n{}", older.log());
    assert_eq!(older.get("/readyz").0, 200, "{}", older.log());
    runtime.block_on(async {
        newer.check_writer().await.expect("it may write");
        for (client, _) in &sent {
            let key = ClientKey::new("p", client).expect("a key");
            assert!(newer.client(&key).await.expect("read").is_some(), "{client}");
        }
        newer.migrate().await.expect("nothing to migrate");
        newer.close().await;
    });
    sent.into_iter()
        .map(|(client, _)| client)
        .chain(of_newer)
        .collect()
}

/// Contracts the tables under load. The older worker exits, and commits nothing after that. Returns the clients that it did not
/// accept.
fn contract(
    runtime: &tokio::runtime::Runtime,
    place: &Place,
    older: &mut Running,
    known: &mut Vec<String>,
) -> Vec<String> {
    let load = Load::on(older, "contracted");
    load.wait_for(30);
    let later = place.store(&[EXPAND, place.contract()]);
    runtime.block_on(later.migrate()).expect("migrated");
    let events = runtime.block_on(later.census()).expect("counted").events;
    let status = older.ended(Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1), "{}", older.log());
    assert!(older.log().contains("start the newer version"), "{}", older.log());
    let after = runtime.block_on(later.census()).expect("counted").events;
    assert_eq!(after, events, "it wrote nothing after the migration");
    runtime.block_on(later.close());
    let (accepted, refused): (Vec<_>, Vec<_>) =
        load.end().into_iter().partition(|(_, status)| *status == 200);
    known.extend(accepted.into_iter().map(|(client, _)| client));
    refused.into_iter().map(|(client, _)| client).collect()
}

/// On PostgreSQL a contracting migration waits for a transaction that has written, whose events are then there.
#[tokio::test(flavor = "multi_thread")]
async fn a_contracting_migration_waits_for_a_writer_and_refuses_the_next() {
    let url = Postgres::shared().database("contracted_later");
    let place = Place::Postgres(url.clone());
    let older = place.store(&[]);
    older.migrate().await.expect("migrated");
    place.store(&[EXPAND]).migrate().await.expect("expanded");
    let key = ClientKey::new("p", "writes").expect("a key");
    let commit = crate::store::new_client_commit(&key);
    let mut batch = older.begin().await.expect("a batch");
    batch.write(&commit).await.expect("written");
    let later = place.store(&[EXPAND, place.contract()]);
    let migrating = {
        let later = later.clone();
        tokio::spawn(async move { later.migrate().await })
    };
    let name = crate::support::servers::name_in(&url).to_owned();
    let waits = "select count(*) from pg_locks where relation = 'schema_compat'::regclass and not granted";
    let waiting = tokio::task::spawn_blocking(move || {
        wait_until(Duration::from_mins(1), || {
            Postgres::shared().sql(&name, waits) == "1"
        })
    });
    waiting.await.expect("asked").expect("it waits");
    assert!(!migrating.is_finished());
    batch
        .commit(&tenure::store::Commit::default())
        .await
        .expect("committed");
    migrating.await.expect("done").expect("migrated");
    assert!(later.client(&key).await.expect("read").is_some());
    let next = ClientKey::new("p", "late").expect("a key");
    let refused = older.begin().await.expect("a batch");
    let error = refused
        .commit(&crate::store::new_client_commit(&next))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("start the newer version"), "{error}");
    assert!(matches!(
        older.check_writer().await,
        Err(StoreError::Outdated { required: 1_002, .. })
    ));
}
