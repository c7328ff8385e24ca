//! Deadlines and runs of sweeps.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::clients::Stored;
use super::columns::{Moment, RowId, key, row};
use super::outbox::{Cursor, Recorded};
use crate::domain::text_enum::text_enum;
use crate::domain::{ClientKey, Sweep};

/// Deadlines, and the record of the sweeps that fire them.
#[async_trait]
pub trait Sweeps: Send + Sync + 'static {
    /// Deadlines of a sweep at or before `until`, after `after`, at most `limit`. By due time; clients that are due at the
    /// same moment have an order of the store's own. Takes no locks.
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>>;

    /// The clients from `first` to `last`, in key order, that have a deadline of any sweep at or before `until`, at most
    /// `limit`.
    async fn due_clients(
        &self,
        first: &ClientKey,
        last: &ClientKey,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Stored>>;

    /// Counts a sweep's deadlines at or before `until`, or all of them. Stops counting at `most`.
    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64>;

    /// Starts a run of a sweep. There is one run for each `(sweep, scheduled_at)`: a second worker joins it.
    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun>;

    /// Adds to a run's counts, for work that no transaction has counted ([`super::Commit::swept`]).
    async fn add_run_counts(&self, id: i64, add: &RunCounts) -> Result<()>;

    /// Ends this worker's part in a run. A worker that completed the run ends it as done, whatever happens to the
    /// others.
    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()>;

    /// Runs, newest first. Of one sweep or all.
    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        self.runs_before(sweep, i64::MAX, limit).await
    }

    /// Runs with a number below `before`, newest first. Of one sweep or all.
    async fn runs_before(&self, sweep: Option<Sweep>, before: i64, limit: u32) -> Result<Vec<SweepRun>>;

    /// The run with this number.
    async fn run(&self, id: i64) -> Result<Option<SweepRun>>;

    /// The journal lines that a run wrote, after `after`, at most `limit`, in the order of the journal. The lines of a client
    /// follow each other. Lines that were pruned are missing, and so are those of runs from before the store was moved.
    async fn run_changes(&self, id: i64, after: Cursor, limit: u32) -> Result<Vec<Recorded>>;

    /// The newest run of a sweep that is done. Runs since then were stopped, held back or failed.
    async fn last_done_run(&self, sweep: Sweep) -> Result<Option<SweepRun>>;
}

/// A deadline: when it is due, and for which client.
pub type Due = (DateTime<Utc>, ClientKey);

/// The work of a sweep, in clients and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Clients examined.
    pub examined: i64,
    /// Clients for which a timer fired.
    pub changed: i64,
    /// Lines written to the journal.
    pub changes: i64,
    /// Clients that could not be swept. A failure does not stop the run.
    pub failed: i64,
}

impl std::ops::AddAssign for RunCounts {
    fn add_assign(&mut self, other: Self) {
        self.examined += other.examined;
        self.changed += other.changed;
        self.changes += other.changes;
        self.failed += other.failed;
    }
}

text_enum! {
    /// The status of a run.
    pub enum RunStatus {
        Running = "running",
        Done = "done",
        /// An error ended it, or clients could not be swept.
        Failed = "failed",
        /// It skipped due timers, because earlier events may still be on their way.
        HeldBack = "held_back",
        /// The breaker stopped it before it changed more clients than it may.
        Tripped = "tripped",
        /// A stop or a pause ended it before its last chunk.
        Stopped = "stopped",
    }
}

/// How a worker's part in a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub at: DateTime<Utc>,
    /// The worker swept deadlines up to this moment. None: it ended before it chose one.
    pub upto: Option<DateTime<Utc>>,
    /// Any status but running.
    pub status: RunStatus,
    /// Why the run is not done.
    pub error: Option<String>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepRun {
    pub id: i64,
    pub sweep: Sweep,
    /// The cron tick of the run.
    pub scheduled_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The run swept deadlines up to this moment.
    pub upto: Option<DateTime<Utc>>,
    pub status: RunStatus,
    #[serde(flatten)]
    pub counts: RunCounts,
    pub error: Option<String>,
    /// The worker that started it.
    pub worker: String,
}

/// The error of a run that has not ended when the next run starts.
pub(super) const OVERTAKEN: &str =
    "the next run started before this one ended: its worker stopped, or is still sweeping";

row! {
    DueRow<T> {
        due_at: T,
        partner: String,
        client: String,
    }
}

impl<T: Moment> DueRow<T> {
    pub(super) fn read(self) -> Result<Due> {
        let key = key(&self.partner, &self.client);
        let id = RowId {
            table: "deadlines",
            key: &key,
        };
        Ok((id.moment("due_at", self.due_at)?, key))
    }
}

row! {
    RunRow<T> {
        id: i64,
        sweep: String,
        scheduled_at: T,
        started_at: T,
        finished_at: Option<T>,
        upto: Option<T>,
        status: String,
        examined: i64,
        changed: i64,
        changes: i64,
        failed: i64,
        error: Option<String>,
        worker: String,
    }
}

impl<T: Moment> RunRow<T> {
    pub(super) fn read(self) -> Result<SweepRun> {
        let id = RowId {
            table: "sweep_runs",
            key: &self.id,
        };
        Ok(SweepRun {
            id: self.id,
            sweep: id.word("sweep", &self.sweep, Sweep::from_name)?,
            scheduled_at: id.moment("scheduled_at", self.scheduled_at)?,
            started_at: id.moment("started_at", self.started_at)?,
            finished_at: id.optional_moment("finished_at", self.finished_at)?,
            upto: id.optional_moment("upto", self.upto)?,
            status: id.word("status", &self.status, RunStatus::from_name)?,
            counts: RunCounts {
                examined: self.examined,
                changed: self.changed,
                changes: self.changes,
                failed: self.failed,
            },
            error: self.error,
            worker: self.worker,
        })
    }
}
