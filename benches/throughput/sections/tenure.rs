//! The real binary on events of all types: a backlog that came while it was away, worked off.

use crate::bench::Bench;
use crate::listener::Listener;
use crate::watch::watch;

/// Events that were taken, whatever came of them.
const TAKEN: &str = "tenure_events_total";
/// Changes that RabbitMQ has confirmed.
const TOLD: &str = "tenure_publish_confirmed_total{exchange=\"tenure.changes\"}";

/// Changes stay in the journal: what there is to tell is written, but not told.
pub fn measure_without_relay(bench: &mut Bench<'_>) {
    let events = bench.lives.len();
    let vhost = bench.vhost_full_of_lives("tenure");
    let database = bench.copy_of_population("tenure");
    let running = bench
        .environment
        .tenure(&vhost, &database, &[("TENURE_BROKER__RELAY", "false")])
        .start();
    if let Some(rate) = watch(&running, TAKEN, events).rate() {
        bench.note("tenure", rate);
    }
    assert!(running.stop().success());
    bench.check_and_count("tenure", &vhost, &database, events);
}

/// Changes are told meanwhile, to a listener with a queue of the same kind as Tenure's own.
pub fn measure_with_relay(bench: &mut Bench<'_>) {
    let events = bench.lives.len();
    let vhost = bench.vhost_full_of_lives("relay");
    bench
        .environment
        .runtime
        .block_on(Listener::durable_queue(&vhost.url));
    let database = bench.copy_of_population("relay");
    let lines_before = database.count("change_log");
    let running = bench.environment.tenure(&vhost, &database, &[]).start();
    let taken = watch(&running, TAKEN, events);
    let lines = database.count("change_log") - lines_before;
    let told = watch(&running, TOLD, lines);
    if let Some(rate) = taken.rate() {
        bench.note("relay", rate);
        bench.note("relay_published", taken.rate_until(told.end()));
    }
    assert!(running.stop().success());
    bench.check_and_count("relay", &vhost, &database, events);
    vhost.expect_depth(Listener::QUEUE, lines as u64);
}
