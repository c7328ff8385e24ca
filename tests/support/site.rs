//! The environment of a worker in a test: a vhost and a database on the shared servers, and a folder.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::servers::{Postgres, RabbitMq, name_in};
use super::tenure::Tenure;

pub struct Site {
    pub amqp: String,
    pub database: String,
    folder: TempDir,
    /// `Some` if the site has its own server.
    own: Option<Postgres>,
}

/// Lines of the journal that the relay has not published.
pub const UNPUBLISHED: &str =
    "change_log where (xid, seq) > ((select xid from relay), (select seq from relay))";

impl Site {
    pub fn new(hint: &str) -> Self {
        Self::on(None, hint)
    }

    /// With its own PostgreSQL. Gates need it: an open transaction blocks the relays of every database of its server.
    pub fn alone(hint: &str) -> Self {
        Self::on(Some(Postgres::own()), hint)
    }

    fn on(own: Option<Postgres>, hint: &str) -> Self {
        let server = own.as_ref().unwrap_or_else(|| Postgres::shared());
        Self {
            amqp: RabbitMq::shared().vhost(hint),
            database: server.database(hint),
            folder: tempfile::tempdir().expect("a folder"),
            own,
        }
    }

    /// Tenure on these servers, with additional settings.
    pub fn tenure(&self, env: &[(&str, &str)]) -> Tenure {
        let mut settings = vec![
            ("DATABASE_URL", self.database.as_str()),
            ("AMQP_URL", self.amqp.as_str()),
        ];
        if self.own.is_some() {
            // A gate may hold a statement for the whole test.
            settings.push(("TENURE_STORE__STATEMENT_TIMEOUT", "1h"));
        }
        settings.extend(env);
        Tenure::new(self.folder.path(), &settings)
    }

    /// Writes events to a file, for `tenure publish` and `tenure ingest`.
    pub fn file(&self, events: impl IntoIterator<Item = Value>) -> String {
        let lines: Vec<String> = events.into_iter().map(|event| event.to_string()).collect();
        let file = self.folder.path().join("events.ndjson");
        std::fs::write(&file, lines.join("\n")).expect("a file");
        file.to_string_lossy().into_owned()
    }

    pub fn server(&self) -> &Postgres {
        self.own.as_ref().unwrap_or_else(|| Postgres::shared())
    }

    pub fn sql(&self, statement: &str) -> String {
        self.server().sql(name_in(&self.database), statement)
    }

    pub fn count(&self, what: &str) -> usize {
        let counted = self.sql(&format!("select count(*) from {what}"));
        counted.parse().expect("a number")
    }

    pub fn wait_for_depth(&self, queue: &str, expected: usize) {
        let limit = Duration::from_mins(1);
        RabbitMq::shared().wait_for_depth(name_in(&self.amqp), queue, expected as u64, limit);
    }
}
