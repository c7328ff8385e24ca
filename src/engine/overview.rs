//! The figures of the overview, for the console and for `tenure top`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::{
    DeadLetterGroups, EndpointView, Engine, ForecastDays, ForecastRequest, LowWatermark, SourceStatus,
    SweepState, WorkerStatus,
};
use crate::config::Schedule;
use crate::domain::Sweep;
use crate::store::{LaneProgress, RefusalFilter, StoreError};

/// How many days ahead expiries are counted.
pub const EXPIRY_DAYS: i64 = 30;
/// Clients that a page of the forecast has at most.
const FORECAST_PAGE: u32 = 1_000;
/// Pages of the forecast that are read at most.
const MOST_PAGES: usize = 50;
/// Refusals that are counted at most.
const MOST_REFUSALS: u32 = 1_000;

/// What the store says about the state of everything, as of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// By the deciding clock, as all ages.
    pub now: DateTime<Utc>,
    pub workers: Vec<WorkerStatus>,
    pub sweeps: Vec<SweepState>,
    pub lanes: Vec<LaneProgress>,
    pub sources: Vec<SourceStatus>,
    pub low_watermark: LowWatermark,
    pub endpoints: Vec<EndpointView>,
    pub dead_letters: DeadLetterGroups,
    /// None: no relay publishes changes.
    pub relay: Option<Unpublished>,
}

/// The changes that the relay has not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unpublished {
    pub changes: i64,
    /// When the oldest of them was recorded. None: there are none.
    pub oldest: Option<DateTime<Utc>>,
}

/// The number of refused events by code, the most frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusalCounts {
    pub codes: Vec<RefusalCount>,
    /// Whether all were counted. Otherwise there are others, and they are older.
    pub complete: bool,
}

/// The number of events that were refused with one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalCount {
    pub code: &'static str,
    /// The code in a sentence.
    pub reason: &'static str,
    pub events: u64,
}

/// The accesses that expire on each day if no partner enters before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExpiryCounts {
    pub days: BTreeMap<NaiveDate, u64>,
    /// Whether all clients were counted.
    pub complete: bool,
}

impl ExpiryCounts {
    /// The accesses that expire on any day.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.days.values().sum()
    }

    /// The numbers of today and of each day up to the last one that is counted. Their sum is [`ExpiryCounts::total`]: what is
    /// overdue expires with the next sweep, so it counts as today's.
    #[must_use]
    pub fn by_day(&self, now: DateTime<Utc>) -> Vec<(NaiveDate, u64)> {
        let today = now.date_naive();
        let days = today.iter_days();
        let days = days.take(usize::try_from(EXPIRY_DAYS).unwrap_or_default() + 1);
        days.map(|day| {
            let first = if day == today { NaiveDate::MIN } else { day };
            (day, self.days.range(first..=day).map(|(_, count)| count).sum())
        })
        .collect()
    }
}

impl Engine {
    /// The figures of the overview. `is_relayed`: a relay publishes changes to a broker.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn overview(
        &self,
        schedules: &BTreeMap<Sweep, Schedule>,
        is_relayed: bool,
    ) -> Result<Overview, StoreError> {
        let relay = if is_relayed {
            Some(Unpublished {
                oldest: self.store.oldest_unpublished().await?.map(|(_, at)| at),
                changes: self.store.count_unpublished().await?,
            })
        } else {
            None
        };
        let lanes = self.store.lanes().await?;
        let expected = self.store.sources().await?;
        Ok(Overview {
            now: self.watch.present(),
            workers: self.workers().await?,
            sweeps: self.sweep_states(schedules).await?,
            low_watermark: LowWatermark::of(&lanes, &expected, self.now(), &self.watch),
            lanes,
            sources: self.sources().await?,
            endpoints: self.endpoints().await?,
            dead_letters: self.dead_letter_groups().await?,
            relay,
        })
    }

    /// Counts the refused events that happened in the last day, by code.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn count_refusals(&self) -> Result<RefusalCounts, StoreError> {
        let filter = RefusalFilter {
            from: Some(self.now() - TimeDelta::days(1)),
            ..RefusalFilter::default()
        };
        let (refusals, more) = self.refusals(&filter, None, MOST_REFUSALS).await?;
        let mut codes: BTreeMap<&'static str, RefusalCount> = BTreeMap::new();
        for refusal in refusals {
            let count = codes.entry(refusal.code).or_insert(RefusalCount {
                code: refusal.code,
                reason: refusal.reason,
                events: 0,
            });
            count.events += 1;
        }
        let mut codes: Vec<RefusalCount> = codes.into_values().collect();
        codes.sort_by_key(|count| std::cmp::Reverse(count.events));
        Ok(RefusalCounts {
            codes,
            complete: more.is_none(),
        })
    }

    /// Counts the accesses that expire in the next [`EXPIRY_DAYS`] days. May take seconds with many clients.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn count_expiries(&self) -> Result<ExpiryCounts, StoreError> {
        let mut days = ForecastDays::default();
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let request = ForecastRequest {
                partner: None,
                until: self.now() + TimeDelta::days(EXPIRY_DAYS),
                after,
                limit: FORECAST_PAGE,
            };
            let page = self.forecast(&request).await?;
            for client in &page.clients {
                days.add(client);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expiries = days.into_days().into_iter();
        let expiries = expiries.map(|day| (day.day, day.by_type.get("access.expired").copied().unwrap_or(0)));
        Ok(ExpiryCounts {
            days: expiries.filter(|(_, accesses)| *accesses > 0).collect(),
            complete: after.is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_add_up_to_the_total_with_what_is_overdue() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let day = |days| now.date_naive() + TimeDelta::days(days);
        let counts = ExpiryCounts {
            days: [
                (day(-40), 2),
                (day(-1), 3),
                (day(0), 5),
                (day(1), 7),
                (day(EXPIRY_DAYS), 11),
            ]
            .into(),
            complete: true,
        };
        let days = counts.by_day(now);
        assert_eq!(days[0], (day(0), 10));
        assert_eq!(days[1], (day(1), 7));
        assert_eq!(days.last(), Some(&(day(EXPIRY_DAYS), 11)));
        assert_eq!(days.iter().map(|(_, count)| count).sum::<u64>(), counts.total());
    }
}
