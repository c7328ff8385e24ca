//! What a transaction of events goes by, besides what it is about.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Engine;
use super::horizon::Horizon;
use super::page::Age;
use crate::domain::Policies;
use crate::store::{Batch, StoreError};

/// The policies that count, and how far timers may go.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub policies: Arc<Policies>,
    /// Up to when timers may fire that no event fires; none: none may. A person or the breaker may hold them back, and
    /// then none fires beside the event that it waits for either; nor while the clock is ahead, or beyond the moment up to which
    /// no sweep would trip.
    pub horizon: Option<DateTime<Utc>>,
}

impl Engine {
    /// On the transaction's own connection, as [`Batch::policies`] says why.
    pub(super) async fn terms(&self, batch: &mut dyn Batch, age: Age) -> Result<Terms, StoreError> {
        let policies = self.policies_in(batch, age).await?;
        let now = self.now();
        let lanes = self.lanes.read(age, now, batch.lanes()).await?;
        let halts = self.halts.read(age, now, batch.halts()).await?;
        let horizon = Horizon::of(&lanes, now, &self.watch).until;
        let horizon = if halts.is_empty() && self.watch.ahead().is_none() {
            self.clearance.bound(horizon)
        } else {
            None
        };
        Ok(Terms { policies, horizon })
    }
}
