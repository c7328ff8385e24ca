//! Publishing after a move: the new worker continues where the old one stopped, with the same RabbitMQ.

use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;

use crate::restored::{assert_ids_are_unique, epochs, events, receive, text};
use crate::several_workers::listen;
use crate::support::servers::{Postgres, RabbitMq};
use crate::support::tenure::Tenure;

struct Move {
    folder: TempDir,
    amqp: String,
    old: Tenure,
    new: Tenure,
    runtime: tokio::runtime::Runtime,
}

impl Move {
    fn new(hint: &str, from: &str, to: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let amqp = RabbitMq::shared().vhost(hint);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(listen(&amqp));
        let tenure = |kind: &str, place: &str| {
            let url = match kind {
                "sqlite" => format!("sqlite://{}", folder.path().join(place).display()),
                _ => Postgres::shared().database(&format!("{hint}_{place}")),
            };
            Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)])
        };
        let (old, new) = (tenure(from, "old"), tenure(to, "new"));
        Self {
            folder,
            amqp,
            old,
            new,
            runtime,
        }
    }

    /// Runs a worker until it has published this many changes, and stops it.
    fn published(&self, tenure: &Tenure, changes: usize) -> Vec<Value> {
        let worker = tenure.run();
        let mut received = Vec::new();
        worker.wait_until("published", || {
            received.extend(self.runtime.block_on(receive(&self.amqp)));
            received.len() >= changes
        });
        assert!(worker.stop().success());
        received.extend(self.runtime.block_on(receive(&self.amqp)));
        received
    }

    /// The old store has published the first round, and the second waits. The new one publishes that and the third.
    fn changes(&self) -> [Vec<Value>; 3] {
        let file = |round: &str| {
            let path = self.folder.path().join(round);
            std::fs::write(&path, events(round)).expect("a file");
            path.to_string_lossy().into_owned()
        };
        self.old.ok(&["ingest", &file("first")]);
        let first = self.published(&self.old, 60);
        self.old.ok(&["ingest", &file("second")]);
        self.old.ok(&["export", "tenure.export"]);
        self.new.ok(&["import", "tenure.export"]);
        let second = self.published(&self.new, 80);
        self.new.ok(&["ingest", &file("third")]);
        let third = self.published(&self.new, 80);
        self.new.assert_no_drift();
        [first, second, third]
    }
}

/// Each change once, each client's in order, and in the order of its ids.
fn assert_each_once(rounds: &[Vec<Value>; 3]) -> Vec<Value> {
    let changes: Vec<Value> = rounds.concat();
    assert_ids_are_unique(&changes);
    let what = |change: &Value| {
        let data = &change["data"];
        format!(
            "{} {} {} {}",
            change["subject"], change["type"], data["to"], data["cause"]
        )
    };
    let distinct: BTreeSet<String> = changes.iter().map(what).collect();
    assert_eq!(distinct.len(), changes.len(), "a change was published twice");
    let per_round = rounds.each_ref().map(Vec::len);
    assert_eq!(
        per_round,
        [80, 100, 100],
        "four for a new client, one for a renamed one"
    );
    changes
}

#[test]
fn a_worker_on_postgres_continues_in_the_epoch_of_sqlite() {
    let moved = Move::new("relay_from_sqlite", "sqlite", "postgres");
    let changes = assert_each_once(&moved.changes());
    assert_eq!(epochs(&changes).len(), 1);
}

#[test]
fn a_worker_on_another_sqlite_file_continues_in_the_same_epoch() {
    let moved = Move::new("relay_between_files", "sqlite", "sqlite");
    let changes = assert_each_once(&moved.changes());
    assert_eq!(epochs(&changes).len(), 1);
}

#[test]
fn a_worker_on_another_database_continues_in_the_same_epoch() {
    let moved = Move::new("relay_between_databases", "postgres", "postgres");
    let changes = assert_each_once(&moved.changes());
    assert_eq!(epochs(&changes).len(), 1);
}

/// SQLite has no transactions to order lines by, so the ids of a new epoch are greater.
#[test]
fn a_worker_on_sqlite_begins_an_epoch_after_postgres() {
    let moved = Move::new("relay_from_postgres", "postgres", "sqlite");
    let changes = assert_each_once(&moved.changes());
    let epochs = epochs(&changes);
    assert_eq!(epochs.len(), 2);
    let of = |change: &Value| text(&change["data"], "epoch").to_owned();
    assert!(of(&changes[79]) < of(&changes[80]) && of(&changes[80]) == of(&changes[279]));
}
