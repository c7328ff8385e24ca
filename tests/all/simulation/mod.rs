//! The simulation: checks the promise under late, duplicate and reordered events, several workers that die at any step and
//! restart, sweeps at random times, clocks that jump, and policies that change. After each seed, the real engine on a real store
//! must agree with the oracle, which knows only the set of events.
//!
//! `TENURE_TEST_SEEDS` sets the number of seeds (1,000 by default), `TENURE_TEST_SEED` runs a single one.

mod check;
mod dense;
mod outcomes;
mod run;
mod silence;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tenure::store::Store;
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;

use crate::support::servers::{Postgres, are_allowed};
use run::Run;

const SEEDS: u64 = 1_000;
/// Every 25th seed runs on PostgreSQL, if tests may start servers.
const POSTGRES_EVERY: u64 = 25;

/// What happened, printed for a seed that fails.
#[derive(Default)]
pub struct Trace(Mutex<Vec<String>>);

impl Trace {
    fn note(&self, what: impl FnOnce() -> String) {
        self.0.lock().expect("no panic while it is held").push(what());
    }
}

/// The seeds of the environment, or this many.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("TENURE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TENURE_TEST_SEEDS").unwrap_or(default),
    }
}

#[test]
fn the_engine_agrees_with_the_oracle_after_every_seed() {
    let seeds = seeds(SEEDS);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let checkpoints = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let trace = Trace::default();
                    let simulated = catch_unwind(AssertUnwindSafe(|| simulate(seed, &trace)));
                    if let Ok(found) = simulated {
                        checkpoints.fetch_add(found, Ordering::Relaxed);
                    } else {
                        failed.store(true, Ordering::Relaxed);
                        let trace = trace.0.into_inner().unwrap_or_default();
                        eprintln!("seed {seed} failed, after this:\n{}", trace.join("\n"));
                        eprintln!("repeat it: TENURE_TEST_SEED={seed} cargo test --test all simulation::");
                    }
                }
            });
        }
    });
    assert!(!failed.into_inner(), "a seed failed; see above");
    let (checkpoints, seeds) = (checkpoints.into_inner(), seeds.end - seeds.start);
    assert!(
        seeds < 50 || checkpoints as u64 > seeds,
        "only {checkpoints} replays of {seeds} seeds could start from a checkpoint"
    );
}

/// Returns the number of checkpoints from which replays could start.
fn simulate(seed: u64, trace: &Trace) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let on_postgres = seed % POSTGRES_EVERY == POSTGRES_EVERY - 1 && are_allowed();
        let folder = folder();
        let store: Arc<dyn Store> = if on_postgres {
            let url = Postgres::shared().database("simulation");
            Arc::new(PostgresStore::connect(&url, &PostgresOptions::default()).expect("a store"))
        } else {
            Arc::new(SqliteStore::open(folder.path().join("tenure.db")))
        };
        store.migrate().await.expect("migrated");
        let mut run = Run::new(seed, store.clone(), trace);
        if run.sent.is_empty() {
            return 0;
        }
        run.go(on_postgres).await;
        run.check().await;
        store.close().await;
        run.checkpoints_found()
    })
}

/// In memory if possible: the simulation cuts no power, so a disk would only be slower.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}
