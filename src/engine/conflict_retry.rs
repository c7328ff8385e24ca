//! Retries of transactions that conflict with others.

use std::time::{Duration, Instant};

use super::plan::{claim, names_held};
use crate::store::{Batch, StoreError, Stored};

/// How often a transaction is retried at once. After that, the caller must back off.
const ATTEMPTS: u32 = 8;
/// How long a transaction is retried at once. A lock timeout is a conflict too, and takes seconds each time; during
/// retries the caller does not notice that it must stop.
const LONGEST: Duration = Duration::from_secs(4);

/// Decides whether a transaction is retried, and waits before it is.
#[derive(Debug)]
pub(super) struct ConflictRetry {
    attempts: u32,
    began: Instant,
}

impl Default for ConflictRetry {
    fn default() -> Self {
        Self {
            attempts: 0,
            began: Instant::now(),
        }
    }
}

impl ConflictRetry {
    /// Waits a moment before the transaction is retried.
    ///
    /// # Errors
    /// The given error, if it is no conflict, or the retries are used up.
    pub async fn wait_after(&mut self, error: StoreError) -> Result<(), StoreError> {
        match &error {
            StoreError::Conflict(why) if self.attempts < ATTEMPTS && self.began.elapsed() < LONGEST => {
                metrics::counter!("tenure_batch_conflicts_total").increment(1);
                tracing::debug!(
                    attempt = self.attempts,
                    why,
                    "conflict with another transaction; retrying"
                );
            }
            _ => return Err(error),
        }
        let ceiling = 1u64 << self.attempts;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=ceiling))).await;
        self.attempts += 1;
        Ok(())
    }
}

/// Releases the names of clients that conflict with the name of another client. Two names may have been different when they
/// were given, and be equal under the rules of this version. The first of the two clients that is written then holds the name;
/// the other one keeps its name without holding it, or it could never be written again. Called only after a conflict, because
/// it happens once for each such pair.
///
/// # Errors
/// When the store cannot be reached.
pub(super) async fn release_disputed_names(
    batch: &mut dyn Batch,
    clients: &mut [Stored],
) -> Result<(), StoreError> {
    let names: Vec<_> = names_held(clients).collect();
    if names.is_empty() {
        return Ok(());
    }
    let holders = batch.holders(&names).await?;
    for stored in clients {
        let name = stored.document.held_name().map(|name| claim(&stored.key, name));
        if let Some(holder) = name.and_then(|name| holders.get(&name))
            && *holder != stored.key
        {
            stored.document.name_conflicted = true;
        }
    }
    Ok(())
}
