//! A store that can be away, or refuse what it is told to refuse; else it is SQLite.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tenure::domain::{ClientKey, Policy, Sweep};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{
    Batch, Census, ClientFilter, ClientSnapshot, Commit, Cursor, DeadFilter, DeadLine, DeadRecord,
    DeadStatus, DeadlineBackfill, Due, Halt, HaltKind, LaneProgress, Logged, NameClaim, Outbox, Published,
    Recorded, Renewal, Replaced, RetentionTarget, RunCounts, RunEnd, Store, StoreError, Stored, SweepRun,
};

type Result<T> = std::result::Result<T, StoreError>;

/// In the id of an event: it is never taken.
pub const POISON: &str = "poison";
/// In the body of a message: not even as a dead letter.
pub const DEADLY: &str = "deadly";

#[derive(Default)]
pub struct Mood {
    /// It cannot be reached.
    pub away: AtomicBool,
    /// It answers, and refuses all that is to be written.
    pub reject_writes: AtomicBool,
    /// It does not let the relay's cursor be moved.
    pub reject_cursor: AtomicBool,
    /// Calls of `begin`, failed ones too.
    pub attempts: AtomicU32,
}

pub struct FaultInjectingStore {
    store: SqliteStore,
    pub mood: Arc<Mood>,
}

impl FaultInjectingStore {
    pub fn new(store: SqliteStore) -> Self {
        Self {
            store,
            mood: Arc::default(),
        }
    }

    fn here(&self) -> Result<()> {
        if self.mood.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        Ok(())
    }
}

fn refusal(reason: &str) -> StoreError {
    StoreError::Inconsistent {
        table: "clients",
        column: "document",
        key: "acme/c".into(),
        reason: reason.into(),
    }
}

struct FaultInjectingBatch(Box<dyn Batch>, Arc<Mood>);

#[async_trait]
impl Batch for FaultInjectingBatch {
    async fn known(&mut self, ids: &[(&str, &str)]) -> Result<HashSet<(String, String)>> {
        self.0.known(ids).await
    }

    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
        self.0.lock(keys, skip_busy).await
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        self.0.holders(names).await
    }

    async fn histories(
        &mut self,
        keys: &[ClientKey],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        self.0.histories(keys, longest).await
    }

    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot> {
        self.0.snapshot(key).await
    }

    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        self.0.policies().await
    }

    async fn lanes(&mut self) -> Result<Vec<LaneProgress>> {
        self.0.lanes().await
    }

    async fn halts(&mut self) -> Result<Vec<Halt>> {
        self.0.halts().await
    }

    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>> {
        self.0.renew(renewals, policies).await
    }

    async fn write(&mut self, commit: &Commit) -> Result<()> {
        self.0.write(commit).await
    }

    async fn commit(self: Box<Self>, commit: &Commit) -> Result<()> {
        let reject_writes = self.1.reject_writes.load(Ordering::SeqCst);
        let poisonous = commit.events.iter().any(|write| write.event.id.contains(POISON));
        let deadly = commit
            .dead_letters
            .iter()
            .any(|dead_letter| String::from_utf8_lossy(&dead_letter.body).contains(DEADLY));
        if reject_writes || poisonous || deadly {
            self.0.rollback().await?;
            return Err(refusal("no"));
        }
        self.0.commit(commit).await
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.0.rollback().await
    }
}

#[async_trait]
impl Store for FaultInjectingStore {
    fn kind(&self) -> &'static str {
        "moody"
    }

    async fn migrate(&self) -> Result<()> {
        self.store.migrate().await
    }

    async fn schema(&self) -> Result<tenure::store::SchemaState> {
        self.here()?;
        self.store.schema().await
    }

    async fn ping(&self) -> Result<()> {
        self.here()?;
        self.store.ping().await
    }

    async fn probe(&self, at: DateTime<Utc>) -> Result<()> {
        self.here()?;
        if self.mood.reject_writes.load(Ordering::SeqCst) {
            return Err(refusal("no"));
        }
        self.store.probe(at).await
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        self.mood.attempts.fetch_add(1, Ordering::SeqCst);
        self.here()?;
        Ok(Box::new(FaultInjectingBatch(
            self.store.begin().await?,
            self.mood.clone(),
        )))
    }

    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        self.store.client(key).await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        self.store.clients(filter, after, limit).await
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        self.store.history(key).await
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        self.store.journal(key, after, limit).await
    }

    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        self.store.keys(partner, after, limit).await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        self.store.snapshot(key).await
    }

    async fn census(&self) -> Result<Census> {
        self.store.census().await
    }

    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        self.store.policies().await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, arm: bool) -> Result<()> {
        self.store.record_policy(from, policy, arm).await
    }

    async fn replace_policies(&self, replaced: &[Replaced]) -> Result<()> {
        self.store.replace_policies(replaced).await
    }

    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        self.store.latest_moment().await
    }

    async fn note_moment(&self, at: DateTime<Utc>) -> Result<()> {
        self.store.note_moment(at).await
    }

    async fn set_back_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        self.store.set_back_moment(from, to).await
    }

    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadRecord>> {
        self.store.claim_deferred(now, until, limit).await
    }

    async fn resolve_redriven(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()> {
        self.store.resolve_redriven(done, at).await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        self.store.deadline_backfill().await
    }

    async fn deadlines_backfilled(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        self.store.deadlines_backfilled(policy_from, upto).await
    }

    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        self.store.lanes().await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        self.store.heartbeat_key().await
    }

    async fn keep_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        self.store.keep_lanes(lanes, at).await
    }

    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        self.store.due(sweep, until, after, limit).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        self.store
            .start_run(sweep, scheduled_at, started_at, worker)
            .await
    }

    async fn count_run(&self, id: i64, add: &RunCounts) -> Result<()> {
        self.store.count_run(id, add).await
    }

    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        self.store.end_run(id, end).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        self.store.runs(sweep, limit).await
    }

    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        self.store.count_deadlines(sweep, until, most).await
    }

    async fn halts(&self) -> Result<Vec<Halt>> {
        self.store.halts().await
    }

    async fn halt(&self, halt: &Halt) -> Result<()> {
        self.store.halt(halt).await
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        self.store.resume(sweep, kind).await
    }

    async fn lead_relay(&self) -> Result<bool> {
        self.here()?;
        self.store.lead_relay().await
    }

    async fn relay_next(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Outbox> {
        self.store.relay_next(after, last, limit).await
    }

    async fn relay_done(&self, upto: &Published) -> Result<()> {
        if self.mood.reject_cursor.load(Ordering::SeqCst) {
            return Err(refusal("the cursor cannot be written"));
        }
        self.store.relay_done(upto).await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        self.store.begin_epoch(above).await
    }

    async fn check_writer(&self) -> Result<()> {
        self.store.check_writer().await
    }

    async fn relay_waiting(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        self.store.relay_waiting().await
    }

    async fn relay_backlog(&self) -> Result<i64> {
        self.store.relay_backlog().await
    }

    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadLine>> {
        self.store.dead_letters(filter, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>> {
        self.store.dead_letter(id).await
    }

    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
        self.store.mark_dead(id, status, at).await
    }

    async fn claim_dead(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadRecord>> {
        self.store.claim_dead(id, now, until).await
    }

    async fn resolve_dead_letter(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()> {
        self.store
            .resolve_dead_letter(id, failed, redrive_outcome, at)
            .await
    }

    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64> {
        self.store.count_prunable(target, before).await
    }

    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.store.prune(target, before, limit).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
