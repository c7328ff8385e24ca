//! Times when the store takes nothing: waited out, and told once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use crate::store::{Store, StoreError};

/// Times when the store cannot be reached, shared by all lanes and the relay: each is told once, when it begins and
/// when it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreWatch(Arc<Mutex<Option<Instant>>>);

impl StoreWatch {
    pub fn failed(&self, error: &StoreError) {
        // Whoever was slower than another transaction only tries again.
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::debug!(%error, "the store has to be asked again");
            return;
        }
        self.away(error);
    }

    fn away(&self, error: &StoreError) {
        let mut outage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_some() {
            tracing::debug!(%error, "still no store");
            return;
        }
        *outage = Some(Instant::now());
        tracing::warn!(why = %error, "the store takes nothing; messages wait in RabbitMQ until it does");
    }

    pub fn answered(&self) {
        let mut outage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = outage.take() {
            tracing::info!(
                store.away_seconds = since.elapsed().as_secs(),
                "the store takes messages again"
            );
        }
    }

    /// Returns when the store answers, or when told to stop. Whoever fetches messages while it does not only
    /// holds them, and uses up their delivery limit when the connection is lost.
    pub async fn wait_for(&self, store: &dyn Store, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while let Err(error) = store.ping().await {
            // Whatever it says: nothing is fetched until it answers, and somebody has to know why.
            self.away(&error);
            if !backoff.wait(stop).await {
                return;
            }
        }
        self.answered();
    }
}
