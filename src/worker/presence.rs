//! Records that this worker runs, for everybody who looks at all workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::BrokerSettings;
use crate::engine::{Engine, RECORD_COUNTS_EVERY, RECORD_EVERY, ThisWorker};
use crate::incident::Incident;
use crate::interval::Interval;
use crate::store::StoreError;

/// After that long without a failure, counts can be recorded again.
const CALM: Duration = Duration::from_secs(10);
/// How long the store may take for each of the two last writes.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The record of this worker in the store and the counts of its events and changes, and the tasks that renew them. It outlives the
/// other tasks, which may take a while to finish their work.
pub(super) struct Presence {
    engine: Arc<Engine>,
    worker: ThisWorker,
    stop: DropGuard,
    recording: JoinHandle<()>,
    counting: JoinHandle<()>,
}

impl Presence {
    pub fn begin(engine: Arc<Engine>, host: &str, broker: &BrokerSettings) -> Self {
        let worker = engine.new_worker(host, broker.heartbeat);
        let stop = CancellationToken::new();
        report(0, 0);
        let recording = tokio::spawn(record(engine.clone(), worker.clone(), stop.clone()));
        let counting = tokio::spawn(record_counts(engine.clone(), stop.clone()));
        Self {
            engine,
            worker,
            stop: stop.drop_guard(),
            recording,
            counting,
        }
    }

    /// Ends the tasks, records the last counts, and removes the record unless this worker should be missed.
    pub async fn end(self, is_missed: bool) {
        drop(self.stop);
        let removing = async {
            // A record that is being written would come back.
            let _ = self.recording.await;
            if is_missed {
                return Ok(());
            }
            self.engine.store().remove_worker(&self.worker.name).await
        };
        let counting = async {
            let _ = self.counting.await;
            self.engine.record_activity().await
        };
        // Neither waits for the other: a worker that stops is not gone because its counts cannot be written.
        let (removed, counted) = tokio::join!(in_time(removing), in_time(counting));
        if let Err(why) = removed {
            tracing::debug!(%why, "this worker stops and stays listed as gone");
        }
        if let Err(why) = counted {
            tracing::debug!(%why, "the last counts of this worker are lost");
        }
    }
}

async fn in_time(write: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
    let late = |_| Err(StoreError::Unavailable("the store did not answer".into()));
    tokio::time::timeout(END_WITHIN, write).await.unwrap_or_else(late)
}

/// Records the worker until it is stopped. Without the store, nobody could read the record either.
async fn record(engine: Arc<Engine>, worker: ThisWorker, stop: CancellationToken) {
    let mut interval = Interval::new(RECORD_EVERY, &stop);
    while interval.tick().await {
        if let Err(error) = look(&engine, &worker).await {
            tracing::debug!(%error, "this worker cannot be recorded; trying again");
        }
    }
}

/// Records what this worker counts until it is stopped.
async fn record_counts(engine: Arc<Engine>, stop: CancellationToken) {
    let failing = Incident::with_calm(CALM);
    let mut interval = Interval::new(RECORD_COUNTS_EVERY, &stop);
    while interval.tick().await {
        match engine.record_activity().await {
            Ok(()) if failing.succeed() => {
                tracing::info!("the event counts of this worker are recorded again");
            }
            Ok(()) => {}
            Err(error) => {
                // An outage of the store has lines of its own.
                if engine.try_write().await.is_ok() && failing.fail() {
                    tracing::warn!(%error, "cannot record the event counts of this worker, so other workers do not show them; trying again");
                } else {
                    tracing::debug!(%error, "the counts of this worker cannot be recorded; trying again");
                }
            }
        }
    }
}

async fn look(engine: &Engine, worker: &ThisWorker) -> Result<(), StoreError> {
    engine.record_worker(worker).await?;
    let workers = engine.workers().await?;
    let gone = workers.iter().filter(|worker| worker.gone).count();
    report(workers.len() - gone, gone);
    Ok(())
}

fn report(running: usize, gone: usize) {
    for (state, workers) in [("running", running), ("gone", gone)] {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        metrics::gauge!("tenure_workers", "state" => state).set(workers);
    }
}
