//! The deadline backfill: after a new policy is recorded, the deadlines of every client are computed again, chunk by chunk.
//! Clients that are written during the backfill get the new deadlines at once.

use tokio_util::sync::CancellationToken;

use super::cached::{MAX_STALENESS, Staleness};
use super::conflict_retry::ConflictRetry;
use super::{Engine, carry_out, plan};
use crate::domain::ClientKey;
use crate::store::{ClientFilter, StoreError};

/// Clients in a chunk, which is one transaction.
const CHUNK: u32 = 500;

/// How long after a policy is recorded every worker has read it.
#[must_use]
pub fn known_everywhere() -> std::time::Duration {
    (MAX_STALENESS * 2).to_std().unwrap_or_default()
}

impl Engine {
    /// Whether the deadlines of the latest policy are still to be computed.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn has_deadline_backfill(&self) -> Result<bool, StoreError> {
        Ok(self.store.deadline_backfill().await?.is_some())
    }

    /// Computes the deadlines of the latest policy, from where the last call stopped, and returns how many clients it read. A
    /// deadline becomes the earlier of the old and the new one: a sweep that comes too early moves it.
    ///
    /// # Errors
    /// When the store cannot be reached; the next call continues.
    pub async fn backfill_deadlines(&self, stop: &CancellationToken) -> Result<u64, StoreError> {
        let Some(deadline_backfill) = self.store.deadline_backfill().await? else {
            return Ok(0);
        };
        self.policies.invalidate();
        let everyone = ClientFilter::default();
        let mut after = deadline_backfill.after;
        let mut clients = 0;
        while !stop.is_cancelled() {
            let page = self.store.clients(&everyone, after.as_ref(), CHUNK).await?;
            let keys: Vec<ClientKey> = page.into_iter().map(|stored| stored.key).collect();
            after = keys.last().cloned();
            if !keys.is_empty() {
                self.backfill_chunk(&keys).await?;
                clients += keys.len() as u64;
            }
            self.store
                .record_backfill(deadline_backfill.policy_from, after.as_ref())
                .await?;
            if after.is_none() {
                break;
            }
        }
        Ok(clients)
    }

    async fn backfill_chunk(&self, keys: &[ClientKey]) -> Result<(), StoreError> {
        let mut retry = ConflictRetry::default();
        loop {
            match self.try_backfill(keys).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
        }
    }

    async fn try_backfill(&self, keys: &[ClientKey]) -> Result<(), StoreError> {
        let mut batch = self.store.begin().await?;
        let stored = batch.lock(keys, false).await?;
        let policies = self.policies_in(batch.as_mut(), Staleness::Bounded).await?;
        let commit = plan::plan_deadlines(stored, self.now(), &policies);
        carry_out(batch, &commit).await
    }
}
