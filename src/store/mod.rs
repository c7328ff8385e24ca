//! What is kept, and the narrow door to it: [`Store`] for reading, [`Batch`] for the one
//! transaction in which everything is written. Two adapters, the same meaning.

mod client_snapshot;
mod commit;
mod dead_letter;
mod document;
mod error;
mod pool;
pub mod postgres;
mod records;
mod rows;
mod schema;
pub mod sqlite;
mod touches;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use client_snapshot::{ClientSnapshot, Columns, SnapshotRow};
pub use commit::{
    ClientWrite, Commit, DeadLetter, EventWrite, OutcomeUpdate, RecordedOutcome, TouchWrite, Watermark,
};
pub use dead_letter::{LONGEST_BODY, body_digest, hex};
pub use document::{Deadlines, Document};
pub use error::StoreError;
pub use records::{
    Census, ClientFilter, Cursor, DeadFilter, DeadLine, DeadRecord, DeadStatus, DeadlineBackfill, Due, Halt,
    HaltKind, LaneProgress, Logged, NameClaim, Outbox, Published, Recorded, Replaced, RetentionTarget,
    RunCounts, RunEnd, RunStatus, Stored, SweepRun,
};
pub use schema::SchemaState;
pub use touches::{PACKED_SOURCE, RenewOnlyWindow, Renewal, Touch, Touches};

use crate::domain::{ClientKey, Policy, Sweep};

type Result<T> = std::result::Result<T, StoreError>;

/// What is kept. Reading methods see committed state only.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Which store this is, for logs: `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;

    /// Brings the tables to the present version. Safe to call from several workers at once.
    async fn migrate(&self) -> Result<()>;

    /// Which tables there are. Reads only: it makes neither a file nor a table.
    async fn schema(&self) -> Result<SchemaState>;

    /// Answers when the store does. It may answer and take no writes: [`Store::probe`] tells.
    async fn ping(&self) -> Result<()>;

    /// Makes a small write, in a transaction like that of a batch: it fails where one would fail, because the server is
    /// read-only, its disk is full, or a table is locked. Not cancel-safe.
    async fn probe(&self, at: DateTime<Utc>) -> Result<()>;

    /// What the store's own clock says; none where the store runs by the clock of this machine.
    async fn clock(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// The latest moment at which a worker let timers fire, as [`Store::note_moment`] entered it.
    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>>;

    /// Enters a moment at which timers may fire, unless a later one is entered.
    async fn note_moment(&self, at: DateTime<Utc>) -> Result<()>;

    /// Sets the latest moment back to `to`, unless one after `from` has been entered meanwhile.
    async fn set_back_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()>;

    /// How a long batch of events is divided.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            events_per_part: 1_000,
            parts: 1,
        }
    }

    /// How many chunks of a sweep are under way at a time.
    fn concurrent_chunks(&self) -> usize {
        1
    }

    /// Starts the transaction in which one batch is written. Not cancel-safe: never under a
    /// `select!` or a time limit of the caller's; the adapters set their own on statements.
    async fn begin(&self) -> Result<Box<dyn Batch>>;

    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>>;

    /// Clients in key order, after `after`, at most `limit`. Ghosts are left out. Statuses are
    /// those of the last write; timers due since are the caller's to fire.
    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>>;

    /// Everything known to have happened to a client, touches included, sorted by
    /// [`crate::domain::Event::position`].
    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>>;

    /// Journal lines of one client, oldest first, with a sequence number above `after`.
    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>>;

    /// Keys of everyone of whom anything is kept, in order, after `after`, at most `limit`: clients, ghosts, and those
    /// whose row is missing. Of one partner or all.
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>>;

    /// Everything that is kept about a client, as of one moment.
    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot>;

    /// How many clients there are by facet and status, and rows by table.
    async fn census(&self) -> Result<Census>;

    /// Every policy recorded, oldest first.
    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>>;

    /// Records a policy from a moment on; with `backfill`, deadlines are still to be computed by it.
    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()>;

    /// Replaces recorded policies, each by its moment, all of them or none. Their number stays the same.
    async fn replace_policies(&self, replaced: &[Replaced]) -> Result<()>;

    /// The policy whose deadlines are still being computed, if any.
    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>>;

    /// Notes up to which client deadlines have been computed by the policy of this moment; none: all have.
    async fn deadlines_backfilled(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()>;

    /// How far each lane of the broker has come.
    async fn lanes(&self) -> Result<Vec<LaneProgress>>;

    /// What heartbeats are signed with: the same for every worker on this store, and known to nobody else.
    async fn heartbeat_key(&self) -> Result<String>;

    /// Keeps these lanes and no others. One that is new has no watermark yet.
    async fn keep_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()>;

    /// Deadlines of a sweep at or before `until`, by due time and key, after `after`. Takes no lock.
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>>;

    /// Enters a run of a sweep, once for each `(sweep, scheduled_at)`: whoever comes second joins it.
    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun>;

    /// Adds to a run's counts what no transaction has ([`Commit::swept`]).
    async fn count_run(&self, id: i64, add: &RunCounts) -> Result<()>;

    /// Ends a worker's part in a run. One that has seen it through ends the run as done, whatever becomes of the
    /// others.
    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()>;

    /// Runs, newest first; of one sweep or all.
    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>>;

    /// How many deadlines a sweep has at or before `until`, or at all; counted up to `most`.
    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64>;

    /// What halts sweeps.
    async fn halts(&self) -> Result<Vec<Halt>>;

    /// Halts a sweep. Where it is halted in this way already, the first reason stays.
    async fn halt(&self, halt: &Halt) -> Result<()>;

    /// Takes a halt away. False: there was none of this kind.
    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool>;

    /// Takes the relay's lead, so that one worker at a time publishes. False: another has it.
    async fn lead_relay(&self) -> Result<bool>;

    /// The journal after the relay's cursor, and after `after` where that is further, in an order that keeps each client's
    /// changes in theirs; only lines that no transaction still running can come before. A worker that leads asks in the
    /// session that leads: with an answer the lead was still its own, with an error it may have lost it.
    ///
    /// `last` is the line that was published last, as far as the caller knows. Where the answer says that the journal does
    /// not have it ([`Outbox::is_behind`]), none of the lines may be published before a new epoch begins.
    async fn relay_next(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Outbox>;

    /// Moves the relay's cursor: everything up to this line has been confirmed by the broker. Never backwards, nor to a
    /// line that is not in the journal, nor for a line of another epoch.
    async fn relay_done(&self, upto: &Published) -> Result<()>;

    /// Begins a new epoch, greater than `above` and than the present one, and tells it. All changes that wait are published
    /// in it.
    async fn begin_epoch(&self, above: i64) -> Result<i64>;

    /// Whether this program may still write.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when a newer version has migrated the tables so that it may not; [`StoreError::Replaced`]
    /// when the file that is open is not the one under its name any more.
    async fn check_writer(&self) -> Result<()>;

    /// The next journal line after the relay's cursor, and when it was written, whether or not it may be published yet.
    async fn relay_waiting(&self) -> Result<Option<(Cursor, DateTime<Utc>)>>;

    /// How many journal lines wait for the relay.
    async fn relay_backlog(&self) -> Result<i64>;

    /// Dead letters without their bytes, oldest first, with an id above `after`.
    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadLine>>;

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>>;

    /// Marks a dead letter as redriven or discarded. False: there is none with this id.
    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool>;

    /// Takes a dead letter in hand for a redrive, so that nobody else does until then. None: there is none with this id,
    /// it was redriven already, or somebody has it in hand. A claim that lies further ahead than twice this one would was
    /// made by a clock that was wrong, and does not count.
    async fn claim_dead(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadRecord>>;

    /// Claims open dead letters whose `retry_at` has come, the earliest first, at most `limit`, as [`Store::claim_dead`].
    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadRecord>>;

    /// Marks dead letters as redriven, each with what came of it in words.
    async fn resolve_redriven(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()>;

    /// Ends a redrive, with what came of it in words. One that was in vain leaves the letter's status as it is.
    async fn resolve_dead_letter(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()>;

    /// How many rows are older than `before`, as [`Store::prune`] would remove them.
    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64>;

    /// Removes rows that are older than `before`, the oldest first, at most `limit`, and tells how many. Several
    /// workers may do so at once.
    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// Lets go of connections, after what is under way.
    async fn close(&self);
}

/// How a long batch is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events that are planned and written at a time at most, at least 1: a client's state is copied for each of its
    /// events.
    pub events_per_part: usize,
    /// Parts in one transaction at most, at least 1. More only where a transaction is alone: each part locks its clients
    /// after those of the part before, and so in no order.
    pub parts: usize,
}

impl BatchLimits {
    /// Events in one transaction at most.
    #[must_use]
    pub fn events_per_transaction(self) -> usize {
        self.events_per_part * self.parts
    }
}

/// One transaction. Dropped without [`Batch::commit`], it leaves no trace.
#[async_trait]
pub trait Batch: Send {
    /// Whether somebody waits who cannot write before this transaction ends. Asked between the parts of a long one.
    fn others_wait(&self) -> bool {
        false
    }

    /// Which of these `(source, id)` pairs are in the log already.
    async fn known(&mut self, ids: &[(&str, &str)]) -> Result<HashSet<(String, String)>>;

    /// Locks and loads clients that exist, in key order. With `skip_busy`, those that another
    /// transaction holds are left out instead of waited for.
    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>>;

    /// Who bears these names, of clients that are not deleted.
    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>>;

    /// The histories of locked clients, as [`Store::history`]. Those with more than `longest` events, or runs of touches
    /// for that many, are left out; the others are there, even if empty.
    async fn histories(
        &mut self,
        keys: &[ClientKey],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>>;

    /// Locks a client, if it has a row, and reads everything that is kept about it, as [`Store::snapshot`].
    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot>;

    /// As [`Store::policies`]. A transaction asks on its own connection: one that held a connection and waited for
    /// another would, with others like it, wait for ever.
    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>>;

    /// As [`Store::lanes`].
    async fn lanes(&mut self) -> Result<Vec<LaneProgress>>;

    /// As [`Store::halts`].
    async fn halts(&mut self) -> Result<Vec<Halt>>;

    /// Keeps touches of clients that are in a [`RenewOnlyWindow`] stretch under so many policies, in the order of their keys. Tells
    /// whose were kept; the others have to be read.
    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>>;

    /// Writes a part of what the transaction is to write, where [`BatchLimits::parts`] allows for more than one. When that
    /// fails, the transaction can only be dropped.
    async fn write(&mut self, commit: &Commit) -> Result<()>;

    /// Writes everything, or the last part, and commits.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another transaction was faster: begin again from reading.
    async fn commit(self: Box<Self>, commit: &Commit) -> Result<()>;

    /// Gives up what was begun.
    async fn rollback(self: Box<Self>) -> Result<()>;
}
