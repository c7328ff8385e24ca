//! Expected sources: how often each must send events, and when each was last heard from.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::columns::{Moment, RowId, row};

/// The sources that are to be heard from regularly. What is heard from them is written by a [`super::Commit`].
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// The expected sources, by name.
    async fn sources(&self) -> Result<Vec<ExpectedSource>>;

    /// Replaces the set of expected sources and their intervals, which count in whole seconds. A source that stays expected
    /// keeps what was recorded about it; a new one is expected from `at` on.
    async fn expect_sources(&self, sources: &BTreeMap<String, TimeDelta>, at: DateTime<Utc>) -> Result<()>;
}

/// A source that is to be heard from at least once in an interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedSource {
    /// As in the events' attribute `source`.
    pub source: String,
    /// The interval.
    pub every_seconds: i64,
    /// When it was first expected.
    pub expected_since: DateTime<Utc>,
    /// The latest time of an event that has arrived from it. None: none has since it is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<DateTime<Utc>>,
    /// Not in an export: it says nothing about the store that imports it.
    #[serde(skip)]
    pub counted: EventCount,
}

/// The number of events that have arrived from a source, by the hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCount {
    /// The beginning of the hour that is counted. None: nothing was counted.
    pub hour: Option<DateTime<Utc>>,
    pub events: i64,
    /// Of the hour before.
    pub before: i64,
}

impl EventCount {
    /// The number of events of the last hour, as if those of the hour before had arrived evenly.
    #[must_use]
    pub fn per_hour(&self, now: DateTime<Utc>) -> i64 {
        let Some(hour) = self.hour else { return 0 };
        let length = HOUR.num_seconds();
        let elapsed = (now - hour).num_seconds().max(0);
        let share = |events: i64, seconds: i64| events.saturating_mul(seconds.max(0)) / length;
        if elapsed < length {
            self.events + share(self.before, length - elapsed)
        } else {
            share(self.events, 2 * length - elapsed)
        }
    }
}

/// How far a recorded time may be ahead of the clock of the worker that writes. Another worker may have committed meanwhile; a
/// time further ahead was written by a wrong clock.
pub(super) const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The period in which events are counted.
pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);

/// The beginning of the hour of a moment, in microseconds.
pub(super) fn hour_of(micros: i64) -> i64 {
    micros - micros.rem_euclid(HOUR.num_seconds() * 1_000_000)
}

/// The latest time among the events of a transaction that come from an expected source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub source: String,
    pub at: DateTime<Utc>,
    /// The number of its events that have arrived since this worker last wrote it.
    pub events: i64,
}

row! {
    SourceRow<T> {
        source: String,
        every_seconds: i64,
        expected_since: T,
        last_heard: Option<T>,
        counted_hour: Option<T>,
        events: i64,
        events_before: i64,
    }
}

impl<T: Moment> SourceRow<T> {
    pub(super) fn read(self) -> Result<ExpectedSource> {
        let id = RowId {
            table: "expected_sources",
            key: &self.source,
        };
        Ok(ExpectedSource {
            every_seconds: self.every_seconds,
            expected_since: id.moment("expected_since", self.expected_since)?,
            last_heard: id.optional_moment("last_heard", self.last_heard)?,
            counted: EventCount {
                hour: id.optional_moment("counted_hour", self.counted_hour)?,
                events: self.events,
                before: self.events_before,
            },
            source: self.source,
        })
    }
}
