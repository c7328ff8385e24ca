//! Transactions that were overtaken by others, and are begun again.

use std::time::{Duration, Instant};

use crate::store::StoreError;

/// How often a transaction is tried again at once. Then it is the caller's to wait longer.
const ATTEMPTS: u32 = 8;
/// For how long a transaction is tried again at once. A lock that is waited for in vain is a conflict, too, and takes seconds
/// each time; meanwhile the caller cannot see that it is to stop.
const LONGEST: Duration = Duration::from_secs(4);

/// Counts how often a transaction was overtaken.
#[derive(Debug)]
pub(super) struct Conflicts {
    attempts: u32,
    began: Instant,
}

impl Default for Conflicts {
    fn default() -> Self {
        Self {
            attempts: 0,
            began: Instant::now(),
        }
    }
}

impl Conflicts {
    /// Waits a moment before the transaction is tried again.
    ///
    /// # Errors
    /// The one given, when it is no conflict, one too many, or too late.
    pub async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
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
