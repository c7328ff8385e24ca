//! A worker's way to the store, on which it dies where it is told to, loses a race, or is overtaken.
//!
//! Everything is delegated; a step is counted before each call, and one more after a commit.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tenure::domain::{ClientKey, Policy, Sweep};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::store::{
    Batch, BatchLimits, Census, ClientFilter, ClientSnapshot, Commit, Cursor, DeadFilter, DeadLine,
    DeadRecord, DeadStatus, DeadlineBackfill, Due, Halt, HaltKind, LaneProgress, Logged, NameClaim, Outbox,
    Published, Recorded, Renewal, Replaced, RetentionTarget, RunCounts, RunEnd, Store, StoreError, Stored,
    SweepRun,
};

type Result<T> = std::result::Result<T, StoreError>;

/// What is to go wrong with one worker.
#[derive(Default)]
pub struct Faults(Mutex<State>);

#[derive(Default)]
struct State {
    /// Steps left to live; none: it lives on.
    left: Option<u32>,
    /// After so many commits one is told that another transaction was faster.
    conflict_after: Option<u32>,
    overtaking: Option<Overtaking>,
    overtaken: Option<Vec<Outcome>>,
}

/// A batch that another worker takes just before this one begins, or has lost its race.
pub struct Overtaking {
    pub by: Arc<Engine>,
    pub batch: Vec<Incoming>,
}

impl Faults {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }

    pub fn die_after(&self, steps: u32) {
        self.state().left = Some(steps);
    }

    pub fn conflict_after(&self, commits: u32) {
        self.state().conflict_after = Some(commits);
    }

    pub fn overtake(&self, overtaking: Overtaking) {
        self.state().overtaking = Some(overtaking);
    }

    /// Nothing goes wrong any more. Tells what came of the batch that was to overtake, if it did.
    pub fn disarm(&self) -> Option<Vec<Outcome>> {
        std::mem::take(&mut *self.state()).overtaken
    }

    pub fn has_died(&self) -> bool {
        self.state().left == Some(0)
    }

    fn step(&self) -> Result<()> {
        match &mut self.state().left {
            None => Ok(()),
            Some(left) => {
                *left = left.saturating_sub(1);
                let dead = *left == 0;
                let died = || StoreError::Unavailable("the worker has died".into());
                if dead { Err(died()) } else { Ok(()) }
            }
        }
    }

    fn loses(&self) -> bool {
        let mut state = self.state();
        match &mut state.conflict_after {
            Some(0) => {
                state.conflict_after = None;
                true
            }
            Some(commits) => {
                *commits -= 1;
                false
            }
            None => false,
        }
    }

    async fn let_overtake(&self) {
        let overtaking = self.state().overtaking.take();
        if let Some(Overtaking { by, batch }) = overtaking {
            let outcomes = by.ingest(batch).await.expect("nothing is wrong with the other");
            self.state().overtaken = Some(outcomes);
        }
    }
}

pub struct FaultyStore {
    pub inner: Arc<dyn Store>,
    pub faults: Arc<Faults>,
    /// Events that are planned and written at once at most.
    pub part: usize,
}

macro_rules! faulty {
    ($($name:ident($($argument:ident: $type:ty),*) -> $outcome:ty;)*) => {
        #[async_trait]
        impl Store for FaultyStore {
            fn kind(&self) -> &'static str {
                self.inner.kind()
            }

            fn batch_limits(&self) -> BatchLimits {
                BatchLimits {
                    events_per_part: self.part,
                    parts: self.inner.batch_limits().parts.min(3),
                }
            }

            fn concurrent_chunks(&self) -> usize {
                self.inner.concurrent_chunks()
            }

            async fn begin(&self) -> Result<Box<dyn Batch>> {
                self.faults.step()?;
                self.faults.let_overtake().await;
                let (inner, faults) = (self.inner.begin().await?, self.faults.clone());
                Ok(Box::new(FaultyBatch { inner, faults }))
            }

            async fn close(&self) {
                self.inner.close().await;
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$outcome> {
                self.faults.step()?;
                self.inner.$name($($argument),*).await
            })*
        }
    };
}

faulty! {
    migrate() -> ();
    schema() -> tenure::store::SchemaState;
    ping() -> ();
    probe(at: DateTime<Utc>) -> ();
    client(key: &ClientKey) -> Option<Stored>;
    clients(filter: &ClientFilter, after: Option<&ClientKey>, limit: u32) -> Vec<Stored>;
    history(key: &ClientKey) -> Vec<Logged>;
    journal(key: &ClientKey, after: i64, limit: u32) -> Vec<Recorded>;
    census() -> Census;
    policies() -> Vec<(DateTime<Utc>, Policy)>;
    record_policy(from: DateTime<Utc>, policy: &Policy, arm: bool) -> ();
    replace_policies(replaced: &[Replaced]) -> ();
    latest_moment() -> Option<DateTime<Utc>>;
    note_moment(at: DateTime<Utc>) -> ();
    set_back_moment(from: DateTime<Utc>, to: DateTime<Utc>) -> ();
    claim_deferred(now: DateTime<Utc>, until: DateTime<Utc>, limit: u32) -> Vec<DeadRecord>;
    resolve_redriven(done: &[(i64, String)], at: DateTime<Utc>) -> ();
    deadline_backfill() -> Option<DeadlineBackfill>;
    deadlines_backfilled(policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> ();
    lanes() -> Vec<LaneProgress>;
    heartbeat_key() -> String;
    keep_lanes(lanes: &[String], at: DateTime<Utc>) -> ();
    due(sweep: Sweep, until: DateTime<Utc>, after: Option<&Due>, limit: u32) -> Vec<Due>;
    start_run(sweep: Sweep, scheduled_at: DateTime<Utc>, started_at: DateTime<Utc>, worker: &str) -> SweepRun;
    count_run(id: i64, add: &RunCounts) -> ();
    end_run(id: i64, end: &RunEnd) -> ();
    runs(sweep: Option<Sweep>, limit: u32) -> Vec<SweepRun>;
    count_deadlines(sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> u64;
    halts() -> Vec<Halt>;
    halt(halt: &Halt) -> ();
    resume(sweep: Sweep, kind: HaltKind) -> bool;
    lead_relay() -> bool;
    relay_next(after: Cursor, last: Option<&Published>, limit: u32) -> Outbox;
    relay_done(upto: &Published) -> ();
    begin_epoch(above: i64) -> i64;
    check_writer() -> ();
    relay_waiting() -> Option<(Cursor, DateTime<Utc>)>;
    relay_backlog() -> i64;
    dead_letters(filter: &DeadFilter, after: i64, limit: u32) -> Vec<DeadLine>;
    dead_letter(id: i64) -> Option<DeadRecord>;
    mark_dead(id: i64, status: DeadStatus, at: DateTime<Utc>) -> bool;
    claim_dead(id: i64, now: DateTime<Utc>, until: DateTime<Utc>) -> Option<DeadRecord>;
    resolve_dead_letter(id: i64, failed: bool, redrive_outcome: &str, at: DateTime<Utc>) -> ();
    keys(partner: Option<&str>, after: Option<&ClientKey>, limit: u32) -> Vec<ClientKey>;
    snapshot(key: &ClientKey) -> ClientSnapshot;
    count_prunable(target: RetentionTarget, before: DateTime<Utc>) -> u64;
    prune(target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> u64;
}

struct FaultyBatch {
    inner: Box<dyn Batch>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Batch for FaultyBatch {
    async fn known(&mut self, ids: &[(&str, &str)]) -> Result<HashSet<(String, String)>> {
        self.faults.step()?;
        self.inner.known(ids).await
    }

    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
        self.faults.step()?;
        self.inner.lock(keys, skip_busy).await
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        self.faults.step()?;
        self.inner.holders(names).await
    }

    async fn histories(
        &mut self,
        keys: &[ClientKey],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        self.faults.step()?;
        self.inner.histories(keys, longest).await
    }

    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot> {
        self.faults.step()?;
        self.inner.snapshot(key).await
    }

    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        self.faults.step()?;
        self.inner.policies().await
    }

    async fn lanes(&mut self) -> Result<Vec<LaneProgress>> {
        self.faults.step()?;
        self.inner.lanes().await
    }

    async fn halts(&mut self) -> Result<Vec<Halt>> {
        self.faults.step()?;
        self.inner.halts().await
    }

    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>> {
        self.faults.step()?;
        self.inner.renew(renewals, policies).await
    }

    async fn write(&mut self, commit: &Commit) -> Result<()> {
        self.faults.step()?;
        self.inner.write(commit).await
    }

    async fn commit(self: Box<Self>, commit: &Commit) -> Result<()> {
        self.faults.step()?;
        if self.faults.loses() {
            self.inner.rollback().await?;
            self.faults.let_overtake().await;
            return Err(StoreError::Conflict("another worker was faster".into()));
        }
        self.inner.commit(commit).await?;
        // What is committed stays, although the caller never hears of it.
        self.faults.step()
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.faults.step()?;
        self.inner.rollback().await
    }
}
