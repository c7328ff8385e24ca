//! Transactions that were overtaken by others, and are begun again.

use std::time::{Duration, Instant};

use super::plan::{claim, names_held};
use crate::store::{Batch, StoreError, Stored};

/// How often a transaction is tried again at once. Then it is the caller's to wait longer.
const ATTEMPTS: u32 = 8;
/// For how long a transaction is tried again at once. A lock that is waited for in vain is a conflict, too, and takes seconds
/// each time; meanwhile the caller cannot see that it is to stop.
const LONGEST: Duration = Duration::from_secs(4);

/// Counts how often a transaction was overtaken.
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
    /// Waits a moment before the transaction is tried again.
    ///
    /// # Errors
    /// The one given, when it is no conflict, one too many, or too late.
    pub async fn wait_after(&mut self, error: StoreError) -> Result<(), StoreError> {
        match &error {
            StoreError::Conflict(why) if self.attempts < ATTEMPTS && self.began.elapsed() < LONGEST => {
                metrics::counter!("tenure_batch_conflicts_total").increment(1);
                tracing::debug!(
                    attempt = self.attempts,
                    why,
                    "overtaken by another transaction; trying again"
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

/// Two names may have been different when they were given, and be one by the rules of today. Then the first client of the two
/// that is written takes the name, and the other one bears it without holding it, or it could never be written again. Asked
/// only after a conflict: it happens once for such a pair.
///
/// # Errors
/// When the store cannot be reached.
pub(super) async fn give_up_disputed_names(
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
