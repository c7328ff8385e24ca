//! Restored backups: no change id gets a second meaning for subscribers, and no change is left unpublished.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use crate::several_workers::listen;
use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::site::{Site, UNPUBLISHED};
use crate::support::tenure::{Tenure, wait_until};

const CLIENTS: usize = 20;

fn event(id: &str, kind: &str, client: &str, name: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/space", "type": kind, "subject": format!("acme/{client}"),
        "time": "2026-01-05T09:00:00Z", "data": { "name": name },
    });
    event.to_string()
}

/// Adds new clients and renames those of the first round.
pub(crate) fn events(round: &str) -> String {
    let renamed = |n| {
        let (id, client) = (format!("{round}-renamed-{n}"), format!("first-{n}"));
        event(&id, "client.renamed", &client, &format!("{round} name {n}"))
    };
    let added = |n| {
        let client = format!("{round}-{n}");
        event(&client, "client.added", &client, &format!("{round} {n}"))
    };
    let mut events: Vec<String> = (0..CLIENTS).map(added).collect();
    if round != "first" {
        events.extend((0..CLIENTS).map(renamed));
    }
    events.join("\n")
}

/// The changes that arrived since the last call, in order.
pub(crate) async fn receive(amqp: &str) -> Vec<Value> {
    let connection = Connection::connect(amqp, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let mut received = Vec::new();
    while let Some(message) = channel
        .basic_get("subscriber".into(), BasicGetOptions::default())
        .await
        .expect("an answer")
    {
        message
            .ack(BasicAckOptions::default())
            .await
            .expect("acknowledged");
        received.push(serde_json::from_slice(&message.data).expect("JSON"));
    }
    received
}

pub(crate) fn text<'a>(change: &'a Value, field: &str) -> &'a str {
    change[field].as_str().expect("text")
}

/// Asserts that each id has one meaning, and that a client's ids increase in order of their first arrival.
pub(crate) fn assert_ids_are_unique(changes: &[Value]) {
    let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut firsts = Vec::new();
    for change in changes {
        match known.insert(text(change, "id"), change) {
            Some(before) => assert_eq!(before, change, "two changes with one id"),
            None => firsts.push(change),
        }
    }
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for change in firsts {
        let (id, subject) = (text(change, "id"), text(change, "subject"));
        let before = last.insert(subject, id);
        assert!(before < Some(id), "{subject}: {before:?} arrived before {id}");
    }
}

/// Asserts that every line of the journal was published. `journal`: lines as `subject type number`.
fn assert_all_published(changes: &[Value], journal: &str) {
    let received: BTreeSet<String> = changes
        .iter()
        .map(|change| {
            let (subject, kind) = (text(change, "subject"), text(change, "type"));
            format!("{subject} {kind} {}", change["data"]["sequence"])
        })
        .collect();
    let left_out: Vec<&str> = journal.lines().filter(|line| !received.contains(*line)).collect();
    assert!(left_out.is_empty(), "never published: {left_out:?}");
}

pub(crate) fn epochs(changes: &[Value]) -> BTreeSet<&str> {
    changes
        .iter()
        .map(|change| text(&change["data"], "epoch"))
        .collect()
}

/// Restores a dump on a younger server, whose transaction numbers are lower, and the worker continues there.
#[test]
fn a_dump_restored_on_a_younger_server_under_a_running_worker() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let amqp = RabbitMq::shared().vhost("restored");
    runtime.block_on(listen(&amqp));
    let (old, young) = (Postgres::own(), Postgres::own());
    let database = old.database("restored");
    let name = name_in(&database);
    old.sql(
        name,
        "do $$ begin for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$",
    );
    let proxy = Proxy::to(old.port());
    let url = proxy.url(&database);
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]);
    let worker = tenure.run();
    let count = |server: &Postgres, what: &str| server.sql(name, &format!("select count(*) from {what}"));
    let through = |server: &Postgres, round: &str, events: usize| {
        tenure.fed(&["publish", "-"], &self::events(round));
        let done = || count(server, "event_log") == events.to_string() && count(server, UNPUBLISHED) == "0";
        worker.wait_until(&format!("done with the {round} events"), done);
    };
    through(&old, "first", CLIENTS);
    let backup = folder.path().join("backup");
    old.dump(name, &backup);
    through(&old, "lost", 3 * CLIENTS);
    let mut changes = runtime.block_on(receive(&amqp));

    young.restore(name, &backup);
    proxy.redirect_to(young.port());
    proxy.cut(Cut::Close);
    through(&young, "after", 3 * CLIENTS);
    // Another worker would publish changes that this one left out.
    assert!(worker.stop().success());
    let again = tenure.run();
    again.wait_until("done", || count(&young, UNPUBLISHED) == "0");
    assert!(again.stop().success());
    changes.extend(runtime.block_on(receive(&amqp)));
    assert_ids_are_unique(&changes);
    let journal = "select partner || '/' || client || ' ' || change || ' ' || seq from change_log";
    assert_all_published(&changes, &young.sql(name, journal));
    let epochs = epochs(&changes);
    assert!(epochs.len() > 1, "a new epoch began");
    println!("{} epochs, {} changes received", epochs.len(), changes.len());
    tenure.assert_no_drift();
}

/// On the same server, transaction numbers continue, sequences go back, and connections stay open.
#[test]
fn a_dump_restored_in_place_under_a_running_worker() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let site = Site::alone("restored_in_place");
    runtime.block_on(listen(&site.amqp));
    let tenure = site.tenure(&[]);
    let worker = tenure.run();
    let through = |round: &str, events: usize| {
        tenure.fed(&["publish", "-"], &self::events(round));
        let done = || site.count("event_log") == events && site.count(UNPUBLISHED) == 0;
        worker.wait_until(&format!("done with the {round} events"), done);
    };
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("backup");
    through("first", CLIENTS);
    site.server().dump(name_in(&site.database), &backup);
    through("lost", 3 * CLIENTS);
    site.server().restore_over(name_in(&site.database), &backup);
    through("after", 3 * CLIENTS);
    assert!(worker.stop().success());
    let changes = runtime.block_on(receive(&site.amqp));
    assert_ids_are_unique(&changes);
    assert_all_published(
        &changes,
        &site.sql("select partner || '/' || client || ' ' || change || ' ' || seq from change_log"),
    );
    assert_eq!(epochs(&changes).len(), 2);
    tenure.assert_no_drift();
}

/// An installation on SQLite, without a running worker.
struct Embedded {
    folder: TempDir,
    tenure: Tenure,
    amqp: String,
    runtime: tokio::runtime::Runtime,
}

impl Embedded {
    fn new(hint: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let amqp = RabbitMq::shared().vhost(hint);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(listen(&amqp));
        let url = format!("sqlite://{}", folder.path().join("tenure.db").display());
        Self {
            tenure: Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]),
            folder,
            amqp,
            runtime,
        }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn journal(&self) -> String {
        let lines = "select partner || '/' || client || ' ' || change || ' ' || seq from change_log";
        self.select(&self.file("tenure.db"), lines).join("\n")
    }

    fn select(&self, file: &Path, statement: &'static str) -> Vec<String> {
        self.runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(file);
            let mut connection = options.connect().await.expect("a connection");
            let rows = sqlx::query_scalar(statement).fetch_all(&mut connection);
            rows.await.expect("rows")
        })
    }

    /// Runs a worker until it has ingested these events and published their changes.
    fn work_through(&self, round: &str, events: usize) -> Vec<Value> {
        let worker = self.tenure.run();
        self.tenure.fed(&["publish", "-"], &self::events(round));
        worker.wait_until("done", || {
            worker.metric("tenure_relay_backlog") < 0.5
                && self.select(&self.file("tenure.db"), "select count(*) || '' from event_log")[0]
                    == events.to_string()
        });
        assert!(worker.stop().success());
        let mut changes = Vec::new();
        let all = wait_until(Duration::from_mins(1), || {
            changes.extend(self.runtime.block_on(receive(&self.amqp)));
            !changes.is_empty()
        });
        all.expect("changes");
        changes
    }
}

#[test]
fn a_restored_file_is_detected_by_the_record_in_rabbitmq() {
    let site = Embedded::new("restored_file");
    let mut changes = site.work_through("first", CLIENTS);
    std::fs::copy(site.file("tenure.db"), site.file("backup.db")).expect("a copy");
    changes.extend(site.work_through("lost", 3 * CLIENTS));
    std::fs::copy(site.file("backup.db"), site.file("tenure.db")).expect("a copy");
    changes.extend(site.work_through("after", 3 * CLIENTS));
    assert_ids_are_unique(&changes);
    assert_all_published(&changes, &site.journal());
    assert_eq!(epochs(&changes).len(), 2);
    site.tenure.assert_no_drift();
}

/// RabbitMQ has lost its record, so that only the operator knows of the restore.
#[test]
fn a_restored_file_is_declared_by_the_operator() {
    let site = Embedded::new("restored_by_hand");
    let mut changes = site.work_through("first", CLIENTS);
    std::fs::copy(site.file("tenure.db"), site.file("backup.db")).expect("a copy");
    changes.extend(site.work_through("lost", 3 * CLIENTS));
    std::fs::copy(site.file("backup.db"), site.file("tenure.db")).expect("a copy");
    site.runtime.block_on(async {
        let connection = Connection::connect(&site.amqp, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let queue = "tenure.published";
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        assert_eq!(deleted.await.expect("deleted"), 1, "the record is one message");
    });
    let restored = site.tenure.json(&["restored"]).remove(0);
    changes.extend(site.work_through("after", 3 * CLIENTS));
    assert_ids_are_unique(&changes);
    assert_all_published(&changes, &site.journal());
    assert_eq!(epochs(&changes).last().copied(), restored["epoch"].as_str());
    site.tenure.assert_no_drift();
}

#[test]
fn a_worker_exits_when_its_file_is_replaced() {
    let site = Embedded::new("replaced");
    site.work_through("first", CLIENTS);
    std::fs::copy(site.file("tenure.db"), site.file("backup.db")).expect("a copy");
    let mut worker = site.tenure.run();
    std::fs::rename(site.file("backup.db"), site.file("tenure.db")).expect("replaced");
    let status = worker.ended(Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1));
    assert!(
        worker
            .log()
            .contains("was replaced, overwritten or removed while it was in use"),
        "{}",
        worker.log()
    );
}
