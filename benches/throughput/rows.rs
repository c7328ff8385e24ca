//! Counts the rows that Tenure writes per event, so that the programs that it is compared with write the same number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use tenure::broker::topology;
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy, Sweep};
use tenure::engine::{Engine, Incoming};
use tenure::store::Store;
use tenure::store::postgres::{PostgresOptions, PostgresStore};

use crate::environment::{Database, Environment};
use crate::support::servers::name_in;

/// Rows inserted, updated or deleted per event, and the length of their JSON in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub events: f64,
    pub clients: f64,
    pub journal: f64,
    pub deadlines: f64,
    pub document_bytes: f64,
    pub cause_bytes: f64,
}

impl Written {
    /// The rows written to a database since its creation, for this number of events. The lengths are those of rows
    /// written since the given moment.
    ///
    /// PostgreSQL counts rows when their session ends, or after a while, so this waits until all events are counted.
    pub fn to(database: &Database<'_>, events: usize, since: DateTime<Utc>) -> Self {
        let rows = |table: &str| {
            database.number(&format!(
                "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
                 from pg_stat_user_tables
                 where relname = '{table}'"
            ))
        };
        let all = events as f64;
        let end = Instant::now() + Duration::from_secs(20);
        while rows("events") < all {
            assert!(
                Instant::now() < end,
                "{} rows in the log, not {all}",
                rows("events")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let since = since.to_rfc3339();
        Self {
            events: rows("events") / all,
            clients: rows("clients") / all,
            journal: rows("journal") / all,
            deadlines: rows("deadlines") / all,
            document_bytes: database.number(&format!(
                "select coalesce(avg(octet_length(doc::text)), 0) from clients_now where as_of >= '{since}'"
            )),
            cause_bytes: database.number(&format!(
                "select coalesce(avg(octet_length(cause::text)), 0) from change_log where recorded_at >= '{since}'"
            )),
        }
    }
}

/// The rows to write per event, so that their number equals that of Tenure.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub tenure: Written,
    /// A client's document of the average length.
    pub document: String,
}

impl Pattern {
    /// Ingests events with Tenure's engine, and counts the rows.
    pub fn of_tenure(environment: &Environment, database: &Database<'_>, events: &[Event]) -> Self {
        let store = PostgresStore::connect(&database.url, &PostgresOptions::default()).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let batch = environment.defaults.broker.batch_max;
        environment.runtime.block_on(async {
            let engine = Engine::start(store.clone(), Arc::new(SystemClock), &Policy::default())
                .await
                .expect("an engine");
            // As with a backlog in the queue: no timer fires before its end.
            engine.set_lanes(&[topology::lane(0)]).await.expect("a lane");
            for batch in events.chunks(batch) {
                let incoming = batch.iter().cloned().map(Incoming::Event).collect();
                engine.ingest(incoming).await.expect("ingested");
            }
            store.close().await;
        });
        environment.postgres.close_all_connections(name_in(&database.url));
        let since = events[0].time;
        let tenure = Written::to(database, events.len(), since);
        let document = database.sql(&format!(
            "select doc from clients_now
             where as_of >= '{}'
             order by abs(octet_length(doc::text) - {})
             limit 1",
            since.to_rfc3339(),
            tenure.document_bytes
        ));
        Self { tenure, document }
    }

    /// The number of journal lines to write for an event.
    pub fn journal_lines(&self, number: usize) -> usize {
        share(self.tenure.journal, number)
    }

    /// The deadlines to write for an event.
    pub fn deadlines(&self, number: usize) -> &'static [Sweep] {
        &Sweep::ALL[..share(self.tenure.deadlines, number).min(Sweep::ALL.len())]
    }
}

/// The number for an event: whole numbers whose mean is `mean`.
fn share(mean: f64, number: usize) -> usize {
    let upto = |events: usize| (events as f64 * mean).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and not negative"
    )]
    let share = (upto(number + 1) - upto(number)) as usize;
    share
}

/// An event as decoded by a consumer without rules.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    pub id: &'a str,
    pub source: &'a str,
    #[serde(rename = "type")]
    pub kind: &'a str,
    subject: &'a str,
    pub time: DateTime<Utc>,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> Envelope<'a> {
    pub fn read(body: &'a [u8]) -> Self {
        serde_json::from_slice(body).expect("an event")
    }

    pub fn partner(&self) -> &'a str {
        self.subject.split_once('/').expect("a subject").0
    }

    pub fn client(&self) -> &'a str {
        self.subject.split_once('/').expect("a subject").1
    }

    /// The cause to write to the journal.
    pub fn cause(&self) -> String {
        serde_json::json!({ "source": self.source, "id": self.id, "type": self.kind }).to_string()
    }
}
