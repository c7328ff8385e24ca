//! Expected sources: how often each is to be heard from, and when it was.

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
}

/// How far a recorded time may be ahead of the clock of the worker that writes. Another worker may have committed meanwhile; a
/// time further ahead was written by a wrong clock.
pub(super) const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The latest time among the events of a transaction that come from an expected source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub source: String,
    pub at: DateTime<Utc>,
}

row! {
    SourceRow<T> {
        source: String,
        every_seconds: i64,
        expected_since: T,
        last_heard: Option<T>,
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
            source: self.source,
        })
    }
}
