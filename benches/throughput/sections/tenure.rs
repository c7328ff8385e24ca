//! The real binary on events of all types: it starts with a backlog in the queue.

use crate::bench::Bench;
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
    let running = bench
        .environment
        .tenure(&vhost, &database, &[("TENURE_BROKER__RELAY", "false")])
        .start();
    if let Some(rate) = watch(&running, INGESTED, events).rate() {
        bench.record("tenure", rate);
    }
    assert!(running.stop().success());
    bench.check_and_count("tenure", &vhost, &database, events);
    // Of all events, those before the measurement too: indexes grow in steps.
    let bytes = |table| database.number(&format!("select pg_total_relation_size('{table}')"));
    let (log, journal) = (bytes("events"), bytes("journal"));
    let logged = database.count("events") as f64;
    bench.record("log_bytes", log / logged);
    bench.record("line_bytes", journal / database.count("journal") as f64);
    bench.record("event_bytes", (log + journal) / logged);
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
