//! Records that this worker runs, for everybody who looks at all workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::BrokerSettings;
use crate::engine::{Engine, RECORD_COUNTS_EVERY, RECORD_EVERY, ThisWorker};
use crate::interval::Interval;
use crate::store::StoreError;

/// How long the store may take to remove the record at the end.
const REMOVE_WITHIN: Duration = Duration::from_secs(2);

/// The record of this worker in the store, and the task that renews it. It outlives the other tasks, which may take a while to
/// finish their work.
pub(super) struct Presence {
    engine: Arc<Engine>,
    worker: ThisWorker,
    stop: DropGuard,
    recording: JoinHandle<()>,
}

impl Presence {
    pub fn begin(engine: Arc<Engine>, host: &str, broker: &BrokerSettings) -> Self {
        let worker = engine.new_worker(host, broker.heartbeat);
        let stop = CancellationToken::new();
        report(0, 0);
        let recording = tokio::spawn(record(engine.clone(), worker.clone(), stop.clone()));
        Self {
            engine,
            worker,
            stop: stop.drop_guard(),
            recording,
        }
    }

    /// Ends the task, and removes the record unless this worker should be missed.
    pub async fn end(self, is_missed: bool) {
        drop(self.stop);
        let removing = async {
            // A record that is being written would come back.
            let _ = self.recording.await;
            self.engine.record_activity().await?;
            if is_missed {
                return Ok(());
            }
            self.engine.store().remove_worker(&self.worker.name).await
        };
        let why = match tokio::time::timeout(REMOVE_WITHIN, removing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store did not answer".to_owned(),
        };
        tracing::debug!(why, "this worker stops and stays listed as gone");
    }
}

/// Records the worker, and what it counts, until it is stopped. Without the store, nobody could read the records either.
async fn record(engine: Arc<Engine>, worker: ThisWorker, stop: CancellationToken) {
    let recording = async {
        let mut interval = Interval::new(RECORD_EVERY, &stop);
        while interval.tick().await {
            if let Err(error) = look(&engine, &worker).await {
                tracing::debug!(%error, "this worker cannot be recorded; trying again");
            }
        }
    };
    let counting = async {
        let mut interval = Interval::new(RECORD_COUNTS_EVERY, &stop);
        while interval.tick().await {
            if let Err(error) = engine.record_activity().await {
                tracing::debug!(%error, "what this worker has counted cannot be recorded; trying again");
            }
        }
    };
    tokio::join!(recording, counting);
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
