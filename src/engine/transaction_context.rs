//! What a transaction of events depends on besides its events: the policies, and how far timers may fire.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Engine;
use super::cached::Staleness;
use super::low_watermark::LowWatermark;
use crate::domain::Policies;
use crate::store::{Batch, StoreError};

/// The policies, and how far timers may fire.
#[derive(Clone, Debug)]
pub(super) struct TransactionContext {
    pub policies: Arc<Policies>,
    /// The moment up to which timers may fire without an event. None: no timer may, because a sweep is halted, the clock is
    /// ahead, or a lane has no watermark yet.
    pub low_watermark: Option<DateTime<Utc>>,
}

impl Engine {
    /// Reads on the transaction's own connection; see [`crate::store::BatchRead`].
    pub(super) async fn transaction_context(
        &self,
        batch: &mut dyn Batch,
        staleness: Staleness,
    ) -> Result<TransactionContext, StoreError> {
        let policies = self.policies_in(batch, staleness).await?;
        let now = self.now();
        let lanes = self.lanes.read(staleness, now, batch.lanes()).await?;
        let sources = self.sources.read(staleness, now, batch.sources()).await?;
        let halts = self.halts.read(staleness, now, batch.halts()).await?;
        let low_watermark = LowWatermark::of(&lanes, &sources, now, &self.watch).until;
        let low_watermark = if halts.is_empty() && self.watch.ahead().is_none() {
            self.clearance.bound(low_watermark)
        } else {
            None
        };
        Ok(TransactionContext {
            policies,
            low_watermark,
        })
    }
}
