//! The peak memory of a worker with a long backlog, and the time from its start to its first commit.

use std::fs;
use std::time::Instant;

use super::latency::in_millis;
use crate::bench::Bench;
use crate::watch::watch;
use crate::{check, messages, publish};

/// Messages generated at a time, which bounds the memory of the benchmark itself.
const CHUNK: usize = 10_000;

pub fn measure(bench: &mut Bench<'_>) {
    let (environment, backlog) = (bench.environment, bench.scale.backlog);
    let vhost = environment.vhost("memory");
    let mut population = bench.population.with_seed(2);
    let chunks = backlog.div_ceil(CHUNK);
    let parts = (0..chunks).flat_map(|chunk| {
        let events = CHUNK.min(backlog - chunk * CHUNK);
        messages::of(&population.random_events(events, bench.present.part(chunk, chunks)))
    });
    publish::fill(environment, &vhost, parts);
    let database = bench.copy_of_population("memory");
    let began = Instant::now();
    let running = environment.tenure(&vhost, &database, &[]).start();
    let watched = watch(&running, "tenure_events_total", backlog);
    let peak = peak_mb(running.id());
    assert!(running.stop().success());
    check::all_in_log(&database, bench.logged_before, backlog);
    check::nothing_waits(&vhost);
    bench.record("memory_peak", peak);
    bench.record("first_commit", in_millis(watched.first() - began));
}

/// The peak resident memory of a process, in MB (10^6 bytes).
fn peak_mb(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let kib: f64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .expect("a figure");
    kib * 1_024.0 / 1_000_000.0
}
