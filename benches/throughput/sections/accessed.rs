//! Tenure with touches only. They are the most frequent events: each renews an access and publishes nothing.

use crate::bench::Bench;
use crate::watch::watch;
use crate::{check, publish};

pub fn measure(bench: &mut Bench<'_>) {
    let touches = bench.touches.len();
    let vhost = bench.environment.vhost("accessed");
    publish::fill(bench.environment, &vhost, &bench.touches);
    let database = bench.copy_of_population("accessed");
    let running = bench
        .environment
        .tenure(&vhost, &database, &[("TENURE_BROKER__RELAY", "false")])
        .start();
    // Refused events do not count.
    let watched = watch(&running, "tenure_events_total{outcome=\"applied\"}", touches);
    if let Some(rate) = watched.rate() {
        bench.record("accessed", rate);
    }
    assert!(running.stop().success());
    check::nothing_waits(&vhost);
    // Touches are not stored in the event log.
    check::all_in_log(&database, bench.logged_before, 0);
}
