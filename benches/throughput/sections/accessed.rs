//! Tenure on nothing but partners' entries into accounts, its hottest event: each renews an access, and tells nobody.

use crate::bench::Bench;
use crate::watch::watch;
use crate::{check, publish};

pub fn measure(bench: &mut Bench<'_>) {
    let entries = bench.entries.len();
    let vhost = bench.environment.vhost("accessed");
    publish::fill(bench.environment, &vhost, &bench.entries);
    let database = bench.copy_of_population("accessed");
    let running = bench
        .environment
        .tenure(&vhost, &database, &[("TENURE_BROKER__RELAY", "false")])
        .start();
    // Those that are refused do not count.
    let watched = watch(&running, "tenure_events_total{outcome=\"applied\"}", entries);
    if let Some(rate) = watched.rate() {
        bench.note("accessed", rate);
    }
    assert!(running.stop().success());
    check::nothing_waits(&vhost);
    // They are kept apart from the log.
    check::all_in_log(&database, bench.logged_before, 0);
}
