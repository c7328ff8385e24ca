//! Events and changes per minute, as each worker has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, row};

/// Events and changes per minute, for people. No state depends on them.
#[async_trait]
pub trait Activity: Send + Sync + 'static {
    /// The sums of all workers but one for each minute from `since` to `until`, inclusive, oldest first. Minutes without counts are
    /// absent.
    async fn activity(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        other_than: i64,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>>;

    /// Records what a worker has counted, each minute at most once, in place of what it recorded about the same minutes: the greater
    /// number stays, because an earlier statement may end later. Removes all minutes before `oldest`, and records none of them.
    async fn record_activity(
        &self,
        worker: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        oldest: DateTime<Utc>,
    ) -> Result<()>;
}

/// The events of one minute by outcome, and its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    pub applied: u64,
    pub duplicate: u64,
    pub refused: u64,
    pub dead: u64,
    pub deferred: u64,
    pub changes: ChangeCounts,
}

/// The lines of the journal of one minute, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    pub by_event: u64,
    pub by_timer: u64,
    /// Corrections, whatever they correct.
    pub corrections: u64,
}

impl MinuteCounts {
    /// Events with any outcome.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.applied + self.duplicate + self.refused + self.dead + self.deferred
    }
}

impl ChangeCounts {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_event + self.by_timer + self.corrections
    }
}

impl std::ops::AddAssign for MinuteCounts {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.duplicate += other.duplicate;
        self.refused += other.refused;
        self.dead += other.dead;
        self.deferred += other.deferred;
        self.changes += other.changes;
    }
}

impl std::ops::AddAssign for ChangeCounts {
    fn add_assign(&mut self, other: Self) {
        self.by_event += other.by_event;
        self.by_timer += other.by_timer;
        self.corrections += other.corrections;
    }
}

row! {
    MinuteRow<T> {
        minute: T,
        applied: i64,
        duplicate: i64,
        refused: i64,
        dead: i64,
        deferred: i64,
        by_event: i64,
        by_timer: i64,
        corrections: i64,
    }
}

impl<T: Moment> MinuteRow<T> {
    pub(super) fn read(self) -> Result<(DateTime<Utc>, MinuteCounts)> {
        let id = RowId {
            table: "activity",
            key: &"a minute",
        };
        let minute = id.moment("minute", self.minute)?;
        let counts = MinuteCounts {
            applied: self.applied.unsigned_abs(),
            duplicate: self.duplicate.unsigned_abs(),
            refused: self.refused.unsigned_abs(),
            dead: self.dead.unsigned_abs(),
            deferred: self.deferred.unsigned_abs(),
            changes: ChangeCounts {
                by_event: self.by_event.unsigned_abs(),
                by_timer: self.by_timer.unsigned_abs(),
                corrections: self.corrections.unsigned_abs(),
            },
        };
        Ok((minute, counts))
    }
}

impl MinuteCounts {
    /// The counts in the order of the columns.
    pub(super) fn columns(&self) -> [i64; 8] {
        [
            self.applied,
            self.duplicate,
            self.refused,
            self.dead,
            self.deferred,
            self.changes.by_event,
            self.changes.by_timer,
            self.changes.corrections,
        ]
        .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
    }
}
