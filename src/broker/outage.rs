//! Times when the store takes nothing: waited out, and told once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::store::StoreError;

/// Times when the store takes nothing, shared by all lanes and the relay. The log has one line when one begins, and one
/// when it ends: with a write that succeeds, once nobody is left whose write failed. An answer is no proof, because a
/// store that is full or read-only answers; nor is a small write, where a large one finds no room.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreWatch(Arc<Mutex<Outage>>);

#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    /// How many hold something that the store did not take.
    failing: usize,
}

/// Somebody holds something that the store did not take.
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
        // Whoever was slower than another transaction only tries again.
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::debug!(%error, "the store has to be asked again");
            return;
        }
        self.away(error);
    }

    /// Keeps the outage open until this is dropped.
    pub fn failing(&self) -> Failing {
        self.outage().failing += 1;
        Failing(self.clone())
    }

    /// The store has taken a batch.
    pub fn written(&self) {
        let mut outage = self.outage();
        if outage.failing > 0 {
            return;
        }
        if let Some(since) = outage.since.take() {
            tracing::info!(
                store.away_seconds = since.elapsed().as_secs(),
                "the store takes messages again"
            );
        }
    }

    /// Returns when the store takes writes, or when told to stop. To fetch messages before would only hold them, and use up
    /// their delivery limit when this worker ends. An answer is not enough: a store that is read-only, full or locked
    /// answers, too.
    pub async fn wait_for(&self, engine: &Engine, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while let Err(error) = engine.store().probe(engine.now()).await {
            // Whatever it says: nothing is fetched until a write succeeds, and somebody has to know why.
            self.away(&error);
            if !backoff.wait(stop).await {
                return;
            }
        }
    }

    fn away(&self, error: &StoreError) {
        let mut outage = self.outage();
        if outage.since.is_some() {
            tracing::debug!(%error, "still no store");
            return;
        }
        outage.since = Some(Instant::now());
        tracing::warn!(why = %error, "the store takes nothing; messages wait in RabbitMQ until it does");
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
