//! The command line, through the real binary on SQLite: output for people, output for programs, exit codes.

mod access;
mod accesses;
mod audit;
mod clients;
mod colours;
mod commands;
mod dead_letters;
mod demo;
mod elsewhere;
mod files;
mod forecast;
mod formats;
mod full_disk;
mod halts;
mod headers;
mod help;
mod history;
mod joined;
mod lists;
mod logs;
mod possible;
mod publish;
mod sources;
mod statements;
mod subscriptions;
mod sweeps;
mod terminal;
mod top;
mod upkeep;
mod walk;
mod what_if;
mod why;
mod workers;
mod wrong_use;

use std::process::Output;

use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::support::tenure::Tenure;

/// A temporary directory with a SQLite store, and three clients in it.
struct Given {
    folder: TempDir,
    tenure: Tenure,
}

/// So long that nothing expires during the tests, and expiry times are exact.
const IDLE: (&str, &str) = ("TENURE_ACCESS__IDLE", "36000d");

const SHORT_IDLE: (&str, &str) = ("TENURE_ACCESS__IDLE", "60d");

const EVENTS: &str = r#"
{"specversion":"1.0","id":"1","source":"/space","type":"client.added","subject":"acme/bakery","time":"2025-01-06T09:00:00Z","data":{"name":"Bluebird Bakery"}}
{"specversion":"1.0","id":"2","source":"/space","type":"subscription.added","subject":"acme/bakery","time":"2025-01-06T09:10:00Z","data":{"subscription_id":"s-1","plan":"books"}}
{"specversion":"1.0","id":"3","source":"/space","type":"client.invited","subject":"acme/bakery","time":"2025-01-07T09:00:00Z","data":{"steps":["accepted"]}}
{"specversion":"1.0","id":"4","source":"/space","type":"invitation.accepted","subject":"acme/bakery","time":"2025-01-08T09:00:00Z"}
{"specversion":"1.0","id":"5","source":"/dash","type":"assignment.added","subject":"acme/bakery","time":"2025-01-08T10:00:00Z","data":{"assignment_id":"a-1","service":"ads"}}
{"specversion":"1.0","id":"6","source":"/account","type":"account.accessed","subject":"acme/bakery","time":"2025-01-20T10:00:00Z"}
{"specversion":"1.0","id":"7","source":"/space","type":"client.added","subject":"acme/mill","time":"2025-01-06T11:00:00Z","data":{"name":"Old Mill"}}
{"specversion":"1.0","id":"8","source":"/space","type":"client.invited","subject":"acme/mill","time":"2025-02-01T09:00:00Z"}
{"specversion":"1.0","id":"9","source":"/space","type":"client.archived","subject":"acme/mill","time":"2025-02-02T09:00:00Z"}
{"specversion":"1.0","id":"10","source":"/space","type":"client.added","subject":"best/forge","time":"2025-01-06T11:00:00Z","data":{"name":"Forge"}}
{"specversion":"1.0","id":"11","source":"/dash","type":"client.terminated","subject":"best/forge","time":"2025-03-01T11:00:00Z"}
{"specversion":"1.0","id":"12","source":"/space","type":"client.lost","subject":"best/forge","time":"2025-03-02T11:00:00Z"}
{"specversion":"1.0","id":"13","source":"/space","type":"client.added","time":"2025-03-02T11:00:00Z"}
not an event
"#;

impl Given {
    fn nothing() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(folder.path(), &[IDLE]);
        Self { folder, tenure }
    }

    /// With the default `access.idle`, and access that is overdue to expire once `ingest` has added the clients: their timers
    /// have not fired with the events, because the sweep was paused.
    fn overdue(ingest: impl FnOnce(&Self)) -> Self {
        let mut given = Self::nothing();
        given.tenure = given.with(&[SHORT_IDLE]);
        given.tenure.ok(&["migrate"]);
        given
            .tenure
            .ok(&["sweep", "pause", "access-expiry", "--reason", "not yet"]);
        ingest(&given);
        given.tenure.ok(&["sweep", "resume", "access-expiry"]);
        given
    }

    /// The three clients, of which the bakery's access expired on 2025-03-21.
    fn overdue_events() -> Self {
        Self::overdue(|given| {
            std::fs::write(given.folder.path().join("events.ndjson"), EVENTS).expect("a file");
            given.tenure.ok(&["ingest", "events.ndjson"]);
        })
    }

    fn events() -> Self {
        let given = Self::nothing();
        std::fs::write(given.folder.path().join("events.ndjson"), EVENTS).expect("a file");
        given.tenure.ok(&["ingest", "events.ndjson"]);
        given
    }

    /// The same directory with other settings.
    fn with(&self, env: &[(&str, &str)]) -> Tenure {
        let env: Vec<_> = [IDLE].iter().chain(env).copied().collect();
        Tenure::new(self.folder.path(), &env)
    }

    /// A connection to the tables that bypasses Tenure.
    async fn tables(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("tenure.db"));
        options.connect().await.expect("the store")
    }

    fn sqlite(&self) -> tenure::store::sqlite::SqliteStore {
        tenure::store::sqlite::SqliteStore::open(self.folder.path().join("tenure.db"))
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("ended by a signal: {}", stderr(output)))
}

/// One member of each JSON object, as text.
fn each(lines: &[Value], name: &str) -> Vec<String> {
    lines
        .iter()
        .map(|line| match &line[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}
