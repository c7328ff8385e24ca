//! Halts: an operator pauses a sweep (`operator`), the breaker trips it.

use super::Engine;
use crate::domain::Sweep;
use crate::store::{Halt, HaltKind, StoreError};

impl Engine {
    /// The halts that stop the scheduler's runs of a sweep. Lifts trips that are dated ahead of now first: a wrong clock tripped the
    /// breaker, and the clock is right again. A sweep that would still change too much trips again.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn review_halts(&self, sweep: Sweep) -> Result<Vec<Halt>, StoreError> {
        let mut halts = self.store.halts().await?;
        halts.retain(|halt| halt.sweep == sweep);
        let is_ahead = |halt: &Halt| halt.kind == HaltKind::Tripped && self.watch.is_in_the_future(halt.at);
        if self.watch.wrong().is_none() && halts.iter().any(is_ahead) {
            self.lift_trip(sweep).await?;
            tracing::debug!(%sweep, "the breaker tripped because a clock was ahead; the sweep may run again");
            halts.retain(|halt| !is_ahead(halt));
        }
        Ok(halts)
    }

    pub(super) async fn trip_sweep(&self, sweep: Sweep, why: String) -> Result<(), StoreError> {
        let (kind, at) = (HaltKind::Tripped, self.now());
        self.store.halt(&Halt { sweep, kind, at, why }).await
    }

    pub(super) async fn lift_trip(&self, sweep: Sweep) -> Result<(), StoreError> {
        self.store.resume(sweep, HaltKind::Tripped).await.map(|_| ())
    }
}
