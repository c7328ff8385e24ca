//! The breaker: what would change too many clients at once is more likely a clock that jumped, or a wrong setting, and
//! waits for a person.

use chrono::{DateTime, Utc};

use super::Engine;
use super::sweep::{SweepOptions, SweepReport};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::StoreError;

/// How much may change at once without a person having looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Of those that could change, in percent.
    pub percent: u32,
    /// So many may change whatever their share is.
    pub clients: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            percent: 20,
            clients: 100,
        }
    }
}

impl Breaker {
    /// More than both bounds allow.
    #[must_use]
    pub fn trips(&self, changed: u64, of: u64) -> bool {
        changed > self.most(of)
    }

    /// How many of so many may change.
    fn most(&self, of: u64) -> u64 {
        (of.saturating_mul(self.percent.into()) / 100).max(self.clients)
    }

    /// From how many on a change of so many is within bounds.
    pub(super) fn least_for(&self, changed: u64) -> u64 {
        changed
            .saturating_mul(100)
            .div_ceil(u64::from(self.percent.max(1)))
    }
}

impl Engine {
    /// Why a sweep must not be run unseen, if so. What it looks at are the clients that have a deadline of its kind.
    ///
    /// Counts only as far as it has to: mostly little is due. Whether those that are due would change is
    /// found out only where they are too many; a deadline may be due of a client that was touched since.
    pub(super) async fn would_trip(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        breaker: &Breaker,
        options: &SweepOptions,
    ) -> Result<Option<String>, StoreError> {
        let due = async |most| self.store.count_deadlines(sweep, Some(until), most).await;
        if due(breaker.clients + 1).await? <= breaker.clients {
            return Ok(None);
        }
        let enough = breaker.least_for(due(u64::MAX).await?);
        let of = self.store.count_deadlines(sweep, None, enough).await?;
        if of >= enough {
            return Ok(None);
        }
        // Looking ends when it has seen enough.
        let stop = options.stop.child_token();
        let looked = SweepOptions {
            dry_run: true,
            stop: stop.clone(),
            ..options.clone()
        };
        let mut changed = 0;
        let mut report = SweepReport::of(sweep, Some(until), true);
        let mut count = |chunk: &[(ClientKey, Vec<Entry>)]| {
            changed += chunk.len() as u64;
            if breaker.trips(changed, of) {
                stop.cancel();
            }
        };
        self.sweep_chunks(&looked, until, None, &mut report, &mut count)
            .await?;
        Ok(breaker.trips(changed, of).then(|| {
            format!(
                "it would change {changed} or more of {of} clients at once, and without a word {} % may, or {}: has the \
                 clock jumped, or a setting changed? Look with `tenure sweep {sweep} --dry-run`, and if it is meant, run \
                 `tenure sweep {sweep} --confirm`",
                breaker.percent, breaker.clients,
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_must_be_passed() {
        let breaker = Breaker::default();
        for (changed, of, trips) in [
            (0, 0, false),
            (100, 100, false),
            (101, 101, true),
            (101, 504, true),
            (101, 505, false),
            (2_000, 10_000, false),
            (2_001, 10_000, true),
        ] {
            assert_eq!(breaker.trips(changed, of), trips, "{changed} of {of}");
        }
    }

    #[test]
    fn enough_clients_are_within_bounds() {
        let breaker = Breaker::default();
        for changed in 0..2_000 {
            assert!(!breaker.trips(changed, breaker.least_for(changed)), "{changed}");
        }
    }
}
