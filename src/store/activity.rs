//! How many events and changes each minute brought, as each process has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::columns::{Moment, RowId, row};

/// How many events and changes each minute brought, for people. No state depends on it.
#[async_trait]
pub trait Activity: Send + Sync + 'static {
    /// What all processes but one have counted in each minute since a moment, oldest first. Minutes without counts are absent.
    async fn activity(&self, since: DateTime<Utc>, except: i64)
    -> Result<Vec<(DateTime<Utc>, MinuteCounts)>>;

    /// Records what a process has counted, in place of what it recorded about the same minutes, each given once by its beginning.
    /// Removes all minutes before `kept_since`.
    async fn record_activity(
        &self,
        process: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        kept_since: DateTime<Utc>,
    ) -> Result<()>;
}

/// What one minute brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinuteCounts {
    pub applied: u64,
    pub duplicate: u64,
    pub refused: u64,
    pub dead: u64,
    pub deferred: u64,
    pub changes: ChangeCounts,
}

/// The lines of the journal that one minute brought, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    ActivityRow<T> {
        minute: T,
        counts: String,
    }
}

impl<T: Moment> ActivityRow<T> {
    fn read(self) -> Result<(DateTime<Utc>, MinuteCounts)> {
        let id = RowId {
            table: "activity",
            key: &"a minute",
        };
        let minute = id.moment("minute", self.minute)?;
        let id = RowId { key: &minute, ..id };
        Ok((minute, id.json("counts", &self.counts)?))
    }
}

/// The sum of each minute. `rows`: ordered by minute.
pub(super) fn sums<T: Moment>(rows: Vec<ActivityRow<T>>) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>> {
    let mut sums: Vec<(DateTime<Utc>, MinuteCounts)> = Vec::new();
    for row in rows {
        let (minute, counts) = row.read()?;
        match sums.last_mut() {
            Some((last, sum)) if *last == minute => *sum += counts,
            _ => sums.push((minute, counts)),
        }
    }
    Ok(sums)
}
