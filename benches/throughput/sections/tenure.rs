//! The real binary on events of all types: it starts with a backlog in the queue.

use crate::bench::Bench;
use crate::environment::Database;
use crate::subscriber::Subscriber;
use crate::watch::watch;

/// Ingested events with any outcome.
const INGESTED: &str = "tenure_events_total";
/// Changes that RabbitMQ has confirmed.
const PUBLISHED: &str = "tenure_publish_confirmed_total{exchange=\"tenure.changes\"}";

/// Measures ingesting while changes stay in the journal, unpublished.
pub fn measure_without_relay(bench: &mut Bench<'_>) {
    let events = bench.lifecycle_events.len();
    let vhost = bench.vhost_with_backlog("tenure");
    let database = bench.copy_of_population("tenure");
    let before = LogAndJournal::of(&database);
    let running = bench
        .environment
        .tenure(&vhost, &database, &[("TENURE_BROKER__RELAY", "false")])
        .start();
    if let Some(rate) = watch(&running, INGESTED, events).rate() {
        bench.record("tenure", rate);
    }
    assert!(running.stop().success());
    bench.check_and_count("tenure", &vhost, &database, events);
    let added = LogAndJournal::of(&database).since(before);
    bench.record("log_bytes", added.log_bytes / events as f64);
    bench.record("line_bytes", added.journal_bytes / added.lines);
    bench.record(
        "event_bytes",
        (added.log_bytes + added.journal_bytes) / events as f64,
    );
}

/// The disk usage of the event log and of the journal, with their indexes.
#[derive(Clone, Copy)]
struct LogAndJournal {
    log_bytes: f64,
    journal_bytes: f64,
    /// Number of lines in the journal.
    lines: f64,
}

impl LogAndJournal {
    fn of(database: &Database<'_>) -> Self {
        let bytes = |table| database.number(&format!("select pg_total_relation_size('{table}')"));
        Self {
            log_bytes: bytes("events"),
            journal_bytes: bytes("journal"),
            lines: database.count("journal") as f64,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            log_bytes: self.log_bytes - before.log_bytes,
            journal_bytes: self.journal_bytes - before.journal_bytes,
            lines: self.lines - before.lines,
        }
    }
}

/// Measures ingesting while changes are published to a queue of the same type as Tenure's own.
pub fn measure_with_relay(bench: &mut Bench<'_>) {
    let events = bench.lifecycle_events.len();
    let vhost = bench.vhost_with_backlog("relay");
    bench
        .environment
        .runtime
        .block_on(Subscriber::durable_queue(&vhost.url));
    let database = bench.copy_of_population("relay");
    let lines_before = database.count("change_log");
    let running = bench.environment.tenure(&vhost, &database, &[]).start();
    let ingested = watch(&running, INGESTED, events);
    let lines = database.count("change_log") - lines_before;
    let published = watch(&running, PUBLISHED, lines);
    if let Some(rate) = ingested.rate() {
        bench.record("relay", rate);
        bench.record("relay_published", ingested.rate_until(published.end()));
    }
    assert!(running.stop().success());
    bench.check_and_count("relay", &vhost, &database, events);
    vhost.expect_depth(Subscriber::QUEUE, lines as u64);
}
