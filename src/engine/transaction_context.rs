//! What a transaction of events goes by, besides what it is about.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Engine;
use super::cached::Staleness;
use super::low_watermark::LowWatermark;
use crate::domain::Policies;
use crate::store::{Batch, StoreError};

/// The policies that count, and how far timers may go.
#[derive(Clone, Debug)]
pub(super) struct TransactionContext {
    pub policies: Arc<Policies>,
    /// Up to when timers may fire that no event fires; none: none may. A person or the breaker may hold them back, and
    /// then none fires beside the event that it waits for either; nor while the clock is ahead, or beyond the moment up to which
    /// no sweep would trip.
    pub low_watermark: Option<DateTime<Utc>>,
}

impl Engine {
    /// On the transaction's own connection, as [`crate::store::BatchRead`] says why.
    pub(super) async fn transaction_context(
        &self,
        batch: &mut dyn Batch,
        staleness: Staleness,
    ) -> Result<TransactionContext, StoreError> {
        let policies = self.policies_in(batch, staleness).await?;
        let now = self.now();
        let lanes = self.lanes.read(staleness, now, batch.lanes()).await?;
        let halts = self.halts.read(staleness, now, batch.halts()).await?;
        let low_watermark = LowWatermark::of(&lanes, now, &self.watch).until;
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
