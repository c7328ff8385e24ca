//! Timers that fire beside events are bound as those of a sweep are.
//!
//! An event that reaches a client fires what is due of it. Where the clock has jumped ahead, the events of many clients would
//! fire what no sweep may fire unseen. So the breaker looks at the deadlines from time to time: beyond the last moment at which
//! they were within its bounds, timers are left to the sweeps, which trip.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use super::cached::MAX_STALENESS;
use crate::domain::Sweep;
use crate::store::StoreError;

/// However long a look takes, it takes the store one part in so many of the time.
const REST: i32 = 50;

/// Up to when no sweep would trip.
#[derive(Debug, Default)]
pub(super) struct Clearance(Mutex<Cleared>);

#[derive(Clone, Copy, Debug, Default)]
struct Cleared {
    /// None: never yet.
    upto: Option<DateTime<Utc>>,
    /// When it was looked, and for how long that is good enough.
    looked: Option<(DateTime<Utc>, TimeDelta)>,
}

impl Clearance {
    /// The earlier of a horizon and what is cleared.
    pub fn bound(&self, low_watermark: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        Some(low_watermark?.min(self.cleared().upto?))
    }

    fn cleared(&self) -> MutexGuard<'_, Cleared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Looks how far timers may fire beside events, unless that was done a moment ago.
    pub(super) async fn clear_timers(&self) -> Result<(), StoreError> {
        let now = self.now();
        let looked = self.clearance.cleared().looked;
        // A clock that was set back must not make it last.
        if looked.is_some_and(|(at, good_for)| (TimeDelta::zero()..good_for).contains(&(now - at))) {
            return Ok(());
        }
        let began = Instant::now();
        let within = self.is_within_bounds(now).await?;
        let took = TimeDelta::from_std(began.elapsed()).unwrap_or(MAX_STALENESS);
        let mut cleared = self.clearance.cleared();
        cleared.looked = Some((now, MAX_STALENESS.max(took * REST)));
        if within {
            cleared.upto = Some(now);
        }
        Ok(())
    }

    /// Whether no sweep would trip up to a moment. A deadline may be earlier than what it stands for, so this is true less
    /// often than it could be; the sweep itself looks closer.
    async fn is_within_bounds(&self, until: DateTime<Utc>) -> Result<bool, StoreError> {
        let breaker = &self.breaker;
        for sweep in Sweep::ALL {
            let due = async |most| self.store.count_deadlines(sweep, Some(until), most).await;
            if due(breaker.clients.saturating_add(1)).await? <= breaker.clients {
                continue;
            }
            let enough = breaker.least_for(due(u64::MAX).await?);
            if self.store.count_deadlines(sweep, None, enough).await? < enough {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
