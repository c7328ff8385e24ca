//! Webhooks: real workers deliver to real receivers, on both stores.

mod delivery;
mod endpoints;
mod refused;
mod signature;
mod workers;

pub mod receiver;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::servers::Postgres;
use crate::support::tenure::{Running, Tenure, wait_until};
use receiver::{Received, Receiver};

/// A folder and a store of one kind, and workers that try again quickly.
pub struct Given {
    folder: TempDir,
    /// Empty: SQLite.
    database: String,
}

impl Given {
    pub fn sqlite(_test: &str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            database: String::new(),
        }
    }

    pub fn postgres(test: &str) -> Self {
        Self {
            database: Postgres::shared().database(test),
            ..Self::sqlite(test)
        }
    }

    /// Tenure on this store, with further settings.
    pub fn with(&self, env: &[(&str, &str)]) -> Tenure {
        let mut all = vec![("TENURE_WEBHOOKS__MAX_BACKOFF", "100ms")];
        if !self.database.is_empty() {
            all.push(("DATABASE_URL", &self.database));
        }
        all.extend(env);
        Tenure::new(self.folder.path(), &all)
    }

    pub fn tenure(&self) -> Tenure {
        self.with(&[])
    }

    pub fn store(&self) -> std::sync::Arc<dyn tenure::store::Store> {
        use tenure::store::postgres::{PostgresOptions, PostgresStore};
        if self.database.is_empty() {
            let path = self.folder.path().join("tenure.db");
            std::sync::Arc::new(tenure::store::sqlite::SqliteStore::open(path))
        } else {
            let store = PostgresStore::connect(&self.database, &PostgresOptions::default());
            std::sync::Arc::new(store.expect("a URL"))
        }
    }

    /// Adds an endpoint, and returns its secret.
    pub fn add(&self, name: &str, url: &str, more: &[&str]) -> String {
        let args = [&["webhook", "add", name, url], more].concat();
        let added = self.tenure().json(&args);
        added[0]["secret"].as_str().expect("a secret").to_owned()
    }

    /// The endpoint, as `tenure webhook list` shows it.
    pub fn endpoint(&self, name: &str) -> Value {
        let endpoints = self.tenure().json(&["webhook", "list"]);
        let found = endpoints.into_iter().find(|endpoint| endpoint["name"] == name);
        found.unwrap_or_default()
    }

    /// Waits until the cursor of the endpoint is recorded at the end of the feed.
    pub fn wait_for_end(&self, running: &Running, name: &str) {
        running.wait_until("the cursor is at the end", || {
            self.endpoint(name)["cursor"] == page(running)["next"]
        });
    }

    /// Waits until the endpoint has this status.
    pub fn wait_for_status(&self, running: &Running, name: &str, status: &str) {
        running.wait_until(status, || self.endpoint(name)["status"] == status);
    }
}

/// Sends this number of users for each of these clients, one event of each client after the other.
pub fn add_users(running: &Running, clients: usize, users: usize) {
    let mut events = Vec::new();
    for user in 0..=users {
        for client in 0..clients {
            let (kind, data) = match user {
                0 => ("client.added", json!({ "name": format!("Client {client}") })),
                _ => ("user.added", json!({ "user_id": format!("u{user}") })),
            };
            events.push(json!({
                "specversion": "1.0", "id": format!("{client}-{user}"), "source": "/space", "type": kind,
                "subject": format!("p/c{client}"), "time": format!("2026-01-05T09:00:{user:02}Z"), "data": data,
            }));
        }
    }
    let media_type = "application/cloudevents-batch+json";
    let (status, answer) = running.post("/v1/events", media_type, &json!(events).to_string());
    assert_eq!(status, 200, "{answer}");
}

/// JSON that the worker answers.
pub fn json_of(running: &Running, path: &str) -> Value {
    let (status, body) = running.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The whole feed, once it has every change of the journals of the clients: transactions of other tests may hold changes back.
pub fn page(running: &Running) -> Value {
    let mut changes = 0;
    for client in json_of(running, "/v1/partners/p/clients")["clients"]
        .as_array()
        .expect("clients")
    {
        let client = client["client"].as_str().expect("an id");
        let journal = json_of(
            running,
            &format!("/v1/partners/p/clients/{client}/journal?limit=1000"),
        );
        changes += journal["journal"].as_array().expect("lines").len();
    }
    let mut page = Value::Null;
    running.wait_until("the feed is complete", || {
        page = json_of(running, "/v1/changes?limit=1000");
        page["changes"].as_array().expect("changes").len() >= changes
    });
    page
}

/// The ids of the whole feed, in order.
pub fn feed(running: &Running) -> Vec<String> {
    let page = page(running);
    let changes = page["changes"].as_array().expect("changes").iter();
    changes
        .map(|change| change["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Waits until the receiver has accepted each of these changes.
pub fn wait_for_all(running: &Running, receiver: &Receiver, ids: &[String]) {
    running.wait_until("all are received", || {
        let accepted = receiver.accepted();
        ids.iter().all(|id| accepted.iter().any(|one| one.id == *id))
    });
}

/// Asserts that the first receipts of the changes of each client are in their order.
pub fn assert_in_order(received: &[Received]) {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for one in received.iter().filter(|one| seen.insert(one.id.as_str())) {
        let before = last.insert(one.subject(), &one.id);
        assert!(before < Some(&one.id), "{} after {before:?}", one.id);
    }
}

/// Readiness, as `/readyz` reports it.
pub fn webhooks_check(running: &Running) -> Value {
    let (_, body) = running.get("/readyz");
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    body["checks"]["webhooks"].clone()
}

/// Waits, without a running worker.
pub fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_until(Duration::from_mins(1), done).unwrap_or_else(|()| panic!("timed out: {what}"));
}

/// Defines a test of each case for each store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod on_postgres {
            $(#[test]
            fn $case() {
                super::$case(&crate::webhooks::Given::postgres(stringify!($case)));
            })*
        }
        mod on_sqlite {
            $(#[test]
            fn $case() {
                super::$case(&crate::webhooks::Given::sqlite(stringify!($case)));
            })*
        }
    };
}
use on_both_stores;
