//! Transactions that were overtaken by others, and are begun again.

use std::time::Duration;

use crate::store::StoreError;

/// How often a transaction is tried again at once. Then it is the caller's to wait longer.
const ATTEMPTS: u32 = 8;

/// Counts how often a transaction was overtaken.
#[derive(Debug, Default)]
pub(super) struct Conflicts(u32);

impl Conflicts {
    /// Waits a moment before the transaction is tried again.
    ///
    /// # Errors
    /// The one given, when it is no conflict, or one too many.
    pub async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
        match &error {
            StoreError::Conflict(why) if self.0 < ATTEMPTS => {
                metrics::counter!("tenure_batch_conflicts_total").increment(1);
                tracing::debug!(
                    attempt = self.0,
                    why,
                    "overtaken by another transaction; trying again"
                );
            }
            _ => return Err(error),
        }
        let ceiling = 1u64 << self.0;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=ceiling))).await;
        self.0 += 1;
        Ok(())
    }
}
