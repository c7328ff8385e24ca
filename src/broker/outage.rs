//! Store outages: waited out, and logged once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::store::StoreError;

/// Store outages, shared by all lanes and the relay. The log has one line when an outage begins and one when it ends.
/// It ends with a successful write, once no failed write is still pending. A response is no proof, because a full or
/// read-only store responds; nor is a small write, because a large write may still not fit.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreWatch(Arc<Mutex<Outage>>);

#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    /// How many failed writes are still pending.
    failing: usize,
}

/// A guard for a failed write that is still pending.
#[derive(Debug)]
pub(super) struct Failing(StoreWatch);

impl Drop for Failing {
    fn drop(&mut self) {
        let mut outage = self.0.outage();
        outage.failing = outage.failing.saturating_sub(1);
    }
}

impl StoreWatch {
    pub fn failed(&self, error: &StoreError) {
        // A transaction that lost to a concurrent transaction only retries.
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::debug!(%error, "the transaction conflicted and is retried");
            return;
        }
        self.away(error);
    }

    /// Holds the outage open until the guard is dropped.
    pub fn failing(&self) -> Failing {
        self.outage().failing += 1;
        Failing(self.clone())
    }

    /// The store has written a batch.
    pub fn written(&self) {
        let mut outage = self.outage();
        if outage.failing > 0 {
            return;
        }
        if let Some(since) = outage.since.take() {
            tracing::info!(
                store.away_seconds = since.elapsed().as_secs(),
                "the store accepts writes again"
            );
        }
    }

    /// Returns when the store accepts writes, or on a stop request. Messages fetched earlier would only sit in memory,
    /// and use up their delivery limit when this worker ends. A response is not enough: a read-only, full or locked
    /// store responds too.
    pub async fn wait_for(&self, engine: &Engine, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while let Err(error) = engine.try_write().await {
            // Whatever the error: nothing is fetched until a write succeeds, and an operator must see why.
            self.away(&error);
            if !backoff.wait(stop).await {
                return;
            }
        }
    }

    fn away(&self, error: &StoreError) {
        let mut outage = self.outage();
        if outage.since.is_some() {
            tracing::debug!(%error, "the store is still unavailable");
            return;
        }
        outage.since = Some(Instant::now());
        tracing::warn!(why = %error, "the store accepts no writes; messages wait in RabbitMQ until it does");
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
