//! The latency from publishing an event to receiving its change, at a steady rate below the capacity.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bench::Bench;
use crate::figures::percentile;
use crate::pace::Received;
use crate::{check, messages, pace};

pub fn measure(bench: &mut Bench<'_>) {
    let (environment, scale) = (bench.environment, bench.scale);
    let vhost = environment.vhost("latency");
    let database = bench.copy_of_population("latency");
    let users = bench
        .population
        .with_seed(1)
        .add_users(scale.paced, bench.present);
    let messages = messages::of(&users);
    let tenure = environment.tenure(&vhost, &database, &[]);
    let running = tenure.run();
    let stop = CancellationToken::new();
    let paced = pace::run(&vhost.url, messages, "user.added", scale.paced_per_second, stop);
    let received = environment.runtime.block_on(paced);
    assert_eq!(received.len(), scale.paced, "every change was received");
    assert!(running.stop().success());
    check::all_in_log(&database, bench.logged_before, scale.paced);
    check::nothing_waits(&vhost);
    let keys = ["latency_p50", "latency_p99", "latency_p999"];
    for (key, percent) in keys.into_iter().zip([50.0, 99.0, 99.9]) {
        if let Some(millis) = percentile(&millis(&received), percent) {
            bench.record(key, millis);
        }
    }
}

/// The latencies in milliseconds, sorted.
pub fn millis(received: &[Received]) -> Vec<f64> {
    let mut millis: Vec<f64> = received
        .iter()
        .map(|received| in_millis(received.after))
        .collect();
    millis.sort_by(f64::total_cmp);
    millis
}

pub fn in_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
