//! The breaker: the bounds of what a sweep or a policy may change at once. A larger change is more likely caused by a clock
//! that jumped, or by a wrong setting, and waits for a person.

use chrono::{DateTime, Utc};

pub use crate::config::Breaker;
use crate::domain::Sweep;
use crate::store::{StoreError, Sweeps};

impl Breaker {
    /// Whether a change exceeds both bounds.
    #[must_use]
    pub fn trips(&self, changed: u64, population: u64) -> bool {
        changed > self.most(population)
    }

    /// How many clients of a population may change.
    fn most(&self, population: u64) -> u64 {
        (population.saturating_mul(self.percent.into()) / 100).max(self.clients)
    }

    /// The smallest population of which this many clients may change.
    fn least_population(&self, changed: u64) -> u64 {
        changed
            .saturating_mul(100)
            .div_ceil(u64::from(self.percent.max(1)))
    }

    /// Counts the clients with a deadline of a sweep, if more of them are due by `until` than may change at once. None: the
    /// sweep is within bounds, even if every due client changes. Counts only as far as it must.
    pub(super) async fn population_if_exceeded(
        &self,
        store: &dyn Sweeps,
        sweep: Sweep,
        until: DateTime<Utc>,
    ) -> Result<Option<u64>, StoreError> {
        let due = async |most| store.count_deadlines(sweep, Some(until), most).await;
        if due(self.clients.saturating_add(1)).await? <= self.clients {
            return Ok(None);
        }
        let enough = self.least_population(due(u64::MAX).await?);
        let population = store.count_deadlines(sweep, None, enough).await?;
        Ok((population < enough).then_some(population))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_trips_the_breaker_only_beyond_both_limits() {
        let breaker = Breaker::default();
        for (changed, population, trips) in [
            (0, 0, false),
            (100, 100, false),
            (101, 101, true),
            (101, 504, true),
            (101, 505, false),
            (2_000, 10_000, false),
            (2_001, 10_000, true),
        ] {
            assert_eq!(
                breaker.trips(changed, population),
                trips,
                "{changed} of {population}"
            );
        }
    }

    #[test]
    fn the_least_population_is_within_bounds() {
        let breaker = Breaker::default();
        for changed in 0..2_000 {
            let population = breaker.least_population(changed);
            assert!(!breaker.trips(changed, population), "{changed}");
        }
    }
}
