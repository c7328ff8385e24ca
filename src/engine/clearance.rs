//! Bounds the timers that fire with events: events must not fire what the breaker would stop in a sweep.
//!
//! An event fires the due timers of its client. After a jump of the clock, the events of many clients would fire timers that
//! the breaker stops in every sweep. So the engine checks the deadlines against the breaker at an interval. Timers that are
//! due later than the last moment within bounds are left to the sweeps, which trip.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use super::cached::MAX_STALENESS;
use crate::domain::Sweep;
use crate::store::StoreError;

/// The pause after a check, as a multiple of its duration: the checks take at most 2 % of the store's time.
const PAUSE_FACTOR: i32 = 50;

/// The moment up to which no sweep would trip.
#[derive(Debug, Default)]
pub(super) struct Clearance(Mutex<Cleared>);

#[derive(Clone, Copy, Debug, Default)]
struct Cleared {
    /// None: no check was within bounds yet.
    upto: Option<DateTime<Utc>>,
    /// When the last check was made, and how long it is valid.
    checked: Option<(DateTime<Utc>, TimeDelta)>,
}

impl Clearance {
    /// The earlier of the low watermark and the cleared moment.
    pub fn bound(&self, low_watermark: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        Some(low_watermark?.min(self.cleared().upto?))
    }

    fn cleared(&self) -> MutexGuard<'_, Cleared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Checks how far timers may fire with events, unless the last check is still valid.
    pub(super) async fn clear_timers(&self) -> Result<(), StoreError> {
        let now = self.now();
        let checked = self.clearance.cleared().checked;
        // A clock that was set back must not prolong it.
        if checked.is_some_and(|(at, valid_for)| (TimeDelta::zero()..valid_for).contains(&(now - at))) {
            return Ok(());
        }
        let began = Instant::now();
        let within = self.is_within_bounds(now).await?;
        let took = TimeDelta::from_std(began.elapsed()).unwrap_or(MAX_STALENESS);
        let mut cleared = self.clearance.cleared();
        cleared.checked = Some((now, MAX_STALENESS.max(took * PAUSE_FACTOR)));
        if within {
            cleared.upto = Some(now);
        }
        Ok(())
    }

    /// Whether no sweep up to a moment would trip. A deadline may be earlier than the timer that it stands for, so this may
    /// be false although the sweep, which checks the timers, would not trip.
    async fn is_within_bounds(&self, until: DateTime<Utc>) -> Result<bool, StoreError> {
        for sweep in Sweep::ALL {
            let exceeded = self
                .breaker
                .population_if_exceeded(self.store.as_ref(), sweep, until)
                .await?;
            if exceeded.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
