//! A store that injects faults into another store's calls: outages, rejected writes, crashes, conflicts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tenure::clock::{Clock, SimulatedClock};
use tenure::domain::{ClientKey, Event, Id, Namesake, Policy, Sweep};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::store::{
    AccessFilter, Accesses, AccessesPage, Activity, Audit, AuditEntry, AuditFilter, AuditPage, AuditRecord,
    Batch, BatchLimits, BatchRead, BatchWrite, BrowserSession, BrowserSessions, Census, Checkpoints,
    ClientFilter, ClientSearch, ClientSnapshot, ClientState, Clients, Closing, ClosingClaim, Commit,
    Connections, Cursor, DeadLetterFilter, DeadLetterRecord, DeadLetterSummary, DeadLetters,
    DeadlineBackfill, DeliveryProgress, Due, EndedSessions, Endpoint, EndpointChange, EventPosition,
    ExpectedSource, Facets, Feed, FeedCursor, FeedFilter, FeedPage, Halt, HaltKind, Halts, HistoryRange,
    Import, LaneProgress, Lanes, ListPosition, Lists, Logged, MinuteCounts, NameClaim, OperatorAction,
    Outbox, PolicyHistory, PolicyReplacement, Published, Record, Recorded, RefusalFilter, RefusalsPage,
    RelatedClients, Renewal, Retention, RetentionTarget, RunCounts, RunEnd, SchemaState, SessionDigest,
    Sources, Stated, Statements, Store, StoreClock, StoreError, Stored, SweepRun, Sweeps, TraceHeaders,
    Transactions, Transfer, Unpublished, Upkeep, Verification, Webhooks, WorkerRecord, Workers,
};
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, StoreError>;

/// No batch with an event that has this in its id is committed.
pub const POISON: &str = "poison";
/// No batch with a dead letter that has this in its body is committed.
pub const DEADLY: &str = "deadly";

/// Calls that fail while the store is unavailable.
const CHECKED_WHILE_UNAVAILABLE: [&str; 5] = ["schema", "ping", "probe", "begin", "acquire_lead"];

/// The faults to inject. The default injects none.
#[derive(Default)]
pub struct Faults {
    /// The store cannot be reached.
    pub unavailable: AtomicBool,
    /// The store answers, but rejects every write.
    pub reject_writes: AtomicBool,
    /// The store rejects every move of the relay's cursor.
    pub reject_cursor: AtomicBool,
    /// The number of checkpoints from which replays could start.
    pub checkpoints_found: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of calls by the name of their method, failed ones included.
    calls: HashMap<&'static str, u32>,
    /// Calls left before the worker crashes. None: it does not crash.
    calls_left: Option<u32>,
    /// Commits left before one fails with a conflict.
    commits_before_conflict: Option<u32>,
    /// A clock that advances with each call of a method.
    slow: Option<(&'static str, Arc<SimulatedClock>, TimeDelta)>,
    overtaking: Option<Overtaking>,
    overtaken: Option<Vec<Outcome>>,
}

/// A batch that another worker ingests just before this worker begins one, or after this one lost a race.
pub struct Overtaking {
    pub by: Arc<Engine>,
    pub batch: Vec<Incoming>,
}

impl Faults {
    /// The worker crashes at this call from now on: the call fails, and so does every later one.
    pub fn crash_after(&self, calls: u32) {
        self.state().calls_left = Some(calls);
    }

    /// After this number of commits, one fails with a conflict.
    pub fn conflict_after(&self, commits: u32) {
        self.state().commits_before_conflict = Some(commits);
    }

    /// Each call of this method takes some time, by the clock of a test.
    pub fn slow_down(&self, call: &'static str, clock: Arc<SimulatedClock>, by: TimeDelta) {
        self.state().slow = Some((call, clock, by));
    }

    pub fn overtake(&self, overtaking: Overtaking) {
        self.state().overtaking = Some(overtaking);
    }

    /// Removes the crash, the conflict and the overtaking batch. Returns the outcomes of that batch, if it was ingested.
    pub fn disarm(&self) -> Option<Vec<Outcome>> {
        std::mem::take(&mut *self.state()).overtaken
    }

    pub fn has_crashed(&self) -> bool {
        self.state().calls_left == Some(0)
    }

    /// The number of calls of this method, of the store and of its batches, failed ones included.
    pub fn calls(&self, method: &str) -> u32 {
        self.state().calls.get(method).copied().unwrap_or(0)
    }

    /// Runs before each call.
    fn before(&self, call: &'static str) -> Result<()> {
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        if let Some((slow, clock, by)) = &state.slow
            && *slow == call
        {
            clock.set(clock.now() + *by);
        }
        drop(state);
        self.check(call)
    }

    fn check(&self, call: &str) -> Result<()> {
        self.count_down()?;
        if self.unavailable.load(Ordering::SeqCst) && CHECKED_WHILE_UNAVAILABLE.contains(&call) {
            return Err(StoreError::Unavailable("the store is down".into()));
        }
        if self.reject_writes.load(Ordering::SeqCst) && call == "probe" {
            return Err(rejected("writes are rejected"));
        }
        if self.reject_cursor.load(Ordering::SeqCst) && call == "advance_cursor" {
            return Err(rejected("the cursor cannot be written"));
        }
        Ok(())
    }

    fn count_down(&self) -> Result<()> {
        match &mut self.state().calls_left {
            None => Ok(()),
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Err(StoreError::Unavailable("the worker has crashed".into()));
                }
                Ok(())
            }
        }
    }

    fn rejects(&self, commit: &Commit) -> bool {
        self.reject_writes.load(Ordering::SeqCst)
            || commit.events.iter().any(|write| write.event.id.contains(POISON))
            || commit
                .dead_letters
                .iter()
                .any(|dead_letter| String::from_utf8_lossy(&dead_letter.body).contains(DEADLY))
    }

    fn conflicts(&self) -> bool {
        let mut state = self.state();
        match &mut state.commits_before_conflict {
            Some(0) => {
                state.commits_before_conflict = None;
                true
            }
            Some(commits) => {
                *commits -= 1;
                false
            }
            None => false,
        }
    }

    async fn ingest_overtaking(&self) {
        let overtaking = self.state().overtaking.take();
        if let Some(Overtaking { by, batch }) = overtaking {
            let outcomes = by.ingest(batch).await.expect("the other worker has no faults");
            self.state().overtaken = Some(outcomes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rejected(reason: &str) -> StoreError {
    StoreError::Inconsistent {
        table: "clients",
        column: "document",
        key: "acme/c".into(),
        reason: reason.into(),
    }
}

/// A store with faults. It delegates every call to `inner`, unless a fault comes first.
pub struct FaultInjectingStore {
    pub inner: Arc<dyn Store>,
    pub faults: Arc<Faults>,
    /// Overrides the most events that are planned and written at a time, with at most three parts.
    pub events_per_part: Option<usize>,
}

impl FaultInjectingStore {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
            events_per_part: None,
        }
    }
}

/// Implements traits of the store, each by a line for each method. `{ … }` holds methods that do not delegate.
macro_rules! delegate {
    ($($trait:ident {
        $($name:ident($($argument:ident: $type:ty),*) -> $outcome:ty;)*
        $({ $($other:item)* })?
    })*) => {
        $(#[async_trait]
        impl $trait for FaultInjectingStore {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$outcome> {
                self.faults.before(stringify!($name))?;
                self.inner.$name($($argument),*).await
            })*

            $($($other)*)?
        })*
    };
}

delegate! {
    Accesses {
        accesses(key: &ClientKey, filter: &AccessFilter, after: Option<&EventPosition>, limit: u32) -> AccessesPage;
        all_accesses(partner: Option<&str>, filter: &AccessFilter, after: Option<&EventPosition>, rows: u32, limit: u32) -> AccessesPage;
        access_log_since() -> Option<DateTime<Utc>>;
        record_access_log(since: Option<DateTime<Utc>>) -> ();
        postpone_access_log(since: DateTime<Utc>) -> ();
    }
    Activity {
        activity(since: DateTime<Utc>, until: DateTime<Utc>, other_than: i64) -> Vec<(DateTime<Utc>, MinuteCounts)>;
        record_activity(worker: i64, minutes: &[(DateTime<Utc>, MinuteCounts)], oldest: DateTime<Utc>) -> ();
    }
    Audit {
        act(action: &OperatorAction, entry: &AuditEntry) -> bool;
        record_audit(entry: &AuditEntry) -> ();
        audit_log(filter: &AuditFilter, before: i64, rows: u32, limit: u32) -> AuditPage;
        last_audits(action: &str, target: &str, limit: u32) -> Vec<AuditRecord>;
    }
    BrowserSessions {
        add_browser_session(session: &BrowserSession, entry: &AuditEntry) -> ();
        browser_session(digest: &SessionDigest) -> Option<BrowserSession>;
        use_browser_session(digest: &SessionDigest, at: DateTime<Utc>) -> ();
        end_browser_sessions(which: &EndedSessions, entry: &AuditEntry) -> u64;
    }
    Clients {
        client(key: &ClientKey) -> Option<Stored>;
        clients(filter: &ClientFilter, after: Option<&ClientKey>, limit: u32) -> Vec<Stored>;
        clients_by_key(keys: &[ClientKey]) -> Vec<Stored>;
        clients_of_account(account: &Id, partner: Option<&str>, after: Option<&ClientKey>, limit: u32) -> Vec<Stored>;
        history(key: &ClientKey) -> Vec<Logged>;
        histories(keys: &[ClientKey], longest: usize) -> HashMap<ClientKey, Vec<Logged>>;
        holder(name: &NameClaim) -> Option<ClientKey>;
        journal(key: &ClientKey, after: i64, limit: u32) -> Vec<Recorded>;
    }
    DeadLetters {
        dead_letters(filter: &DeadLetterFilter, after: i64, limit: u32) -> Vec<DeadLetterSummary>;
        dead_letter(id: i64) -> Option<DeadLetterRecord>;
        discard_dead_letter(id: i64, at: DateTime<Utc>) -> bool;
        claim_dead_letter(id: i64, now: DateTime<Utc>, until: DateTime<Utc>) -> Option<DeadLetterRecord>;
        claim_deferred(now: DateTime<Utc>, until: DateTime<Utc>, limit: u32) -> Vec<DeadLetterRecord>;
        end_redrive(id: i64, failed: bool, redrive_outcome: &str, at: DateTime<Utc>) -> ();
        end_redrives(done: &[(i64, String)], at: DateTime<Utc>) -> ();
    }
    RelatedClients {
        clients_of_events(ids: &[(&str, &str)]) -> BTreeSet<ClientKey>;
        clients_of_names(names: &[NameClaim]) -> BTreeSet<ClientKey>;
    }
    Feed {
        feed_end() -> FeedCursor;
        feed(after: &FeedCursor, filter: &FeedFilter, walk: u32, limit: u32) -> FeedPage;
        latest_lines(limit: u32) -> Vec<Recorded>;
        states(after: Option<&ClientKey>, limit: u32) -> Vec<ClientState>;
    }
    Halts {
        halts() -> Vec<Halt>;
        halt(halt: &Halt) -> ();
        resume(sweep: Sweep, kind: HaltKind) -> bool;
    }
    Lanes {
        lanes() -> Vec<LaneProgress>;
        heartbeat_key() -> String;
        set_lanes(lanes: &[String], at: DateTime<Utc>) -> ();
    }
    Lists {
        end_of_walk(search: &ClientSearch, after: Option<&ListPosition>, rows: u32) -> Option<ListPosition>;
        search(search: &ClientSearch, after: Option<&ListPosition>, upto: Option<&ListPosition>, limit: u32) -> Vec<Stored>;
        partners(after: Option<&str>, limit: u32) -> Vec<String>;
        facets(partner: &str) -> Facets;
        refusals(filter: &RefusalFilter, before: Option<&EventPosition>, rows: u32, limit: u32) -> RefusalsPage;
    }
    Outbox {
        acquire_lead() -> bool;
        release_lead() -> ();
        unpublished(after: Cursor, last: Option<&Published>, limit: u32) -> Unpublished;
        advance_cursor(upto: &Published) -> ();
        begin_epoch(above: i64) -> i64;
        oldest_unpublished() -> Option<(Cursor, DateTime<Utc>)>;
        count_unpublished() -> i64;
        event_traces(lines: &[Cursor]) -> Vec<(Cursor, TraceHeaders)>;
    }
    PolicyHistory {
        policies() -> Vec<(DateTime<Utc>, Policy)>;
        record_policy(from: DateTime<Utc>, policy: &Policy, backfill: bool) -> ();
        replace_policies(replacements: &[PolicyReplacement]) -> ();
        deadline_backfill() -> Option<DeadlineBackfill>;
        record_backfill(policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> ();
    }
    Retention {
        count_prunable(target: RetentionTarget, before: DateTime<Utc>) -> u64;
        prune(target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> u64;
    }
    Sources {
        sources() -> Vec<ExpectedSource>;
        expect_sources(sources: &BTreeMap<String, TimeDelta>, at: DateTime<Utc>) -> ();
    }
    Statements {
        closings() -> Vec<Closing>;
        claim_closing(claim: &ClosingClaim, now: DateTime<Utc>, entry: Option<&AuditEntry>) -> bool;
        renew_closing(claim: &ClosingClaim) -> bool;
        record_stated(claim: &ClosingClaim, upto: &ClientKey, rows: &[(ClientKey, Stated)]) -> bool;
        end_closing(claim: &ClosingClaim, at: DateTime<Utc>) -> bool;
        release_closing(claim: &ClosingClaim) -> ();
        stated(keys: &[ClientKey]) -> HashMap<ClientKey, Vec<Stated>>;
        any_event_before(keys: &[ClientKey], before: DateTime<Utc>) -> bool;
        stored_since(key: &ClientKey, since: DateTime<Utc>, before: DateTime<Utc>, limit: u32) -> Vec<(Arc<str>, Arc<str>)>;
        corrections_since(key: &ClientKey, since: DateTime<Utc>, before: DateTime<Utc>, limit: u32) -> Vec<Recorded>;
    }
    // Not `server_time`: tests run by a clock of their own.
    StoreClock {
        latest_moment() -> Option<DateTime<Utc>>;
        record_moment(at: DateTime<Utc>) -> ();
        rewind_moment(from: DateTime<Utc>, to: DateTime<Utc>) -> ();
    }
    Sweeps {
        due(sweep: Sweep, until: DateTime<Utc>, after: Option<&Due>, limit: u32) -> Vec<Due>;
        due_clients(first: &ClientKey, last: &ClientKey, until: DateTime<Utc>, limit: u32) -> Vec<Stored>;
        count_deadlines(sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> u64;
        start_run(sweep: Sweep, scheduled_at: DateTime<Utc>, started_at: DateTime<Utc>, worker: &str) -> SweepRun;
        add_run_counts(id: i64, add: &RunCounts) -> ();
        end_run(id: i64, end: &RunEnd) -> ();
        runs_before(sweep: Option<Sweep>, before: i64, limit: u32) -> Vec<SweepRun>;
        run(id: i64) -> Option<SweepRun>;
        run_changes(id: i64, after: Cursor, limit: u32) -> Vec<Recorded>;
        last_done_run(sweep: Sweep) -> Option<SweepRun>;
    }
    Transfer {
        export(into: mpsc::Sender<Vec<Record>>) -> ();
        begin_import() -> Box<dyn Import>;
    }
    Upkeep {
        migrate() -> ();
        schema() -> SchemaState;
        ping() -> ();
        probe(at: DateTime<Utc>) -> ();
        check_writer() -> ();
        {
            fn kind(&self) -> &'static str {
                self.inner.kind()
            }

            fn connections(&self) -> Connections {
                self.inner.connections()
            }

            async fn close(&self) {
                self.inner.close().await;
            }
        }
    }
    Verification {
        keys(partner: Option<&str>, after: Option<&ClientKey>, limit: u32) -> Vec<ClientKey>;
        snapshots(keys: &[ClientKey], most: Option<usize>) -> Vec<Result<ClientSnapshot>>;
        census() -> Census;
    }
    Webhooks {
        endpoints() -> Vec<Endpoint>;
        add_endpoint(endpoint: &Endpoint) -> bool;
        change_endpoint(name: &str, revision: Option<i64>, change: &EndpointChange) -> bool;
        remove_endpoint(name: &str) -> bool;
        record_delivery(name: &str, revision: i64, progress: &DeliveryProgress) -> bool;
        acquire_delivery_lead() -> bool;
        release_delivery_lead() -> ();
    }
    Workers {
        workers() -> Vec<WorkerRecord>;
        record_worker(worker: &WorkerRecord, listed_since: DateTime<Utc>, replaced: DateTime<Utc>) -> ();
        remove_worker(name: &str) -> ();
        remove_workers() -> u64;
    }
}

#[async_trait]
impl Transactions for FaultInjectingStore {
    async fn begin(&self) -> Result<Box<dyn Batch>> {
        self.faults.before("begin")?;
        self.faults.ingest_overtaking().await;
        Ok(Box::new(FaultInjectingBatch {
            inner: self.inner.begin().await?,
            faults: self.faults.clone(),
        }))
    }

    fn batch_limits(&self) -> BatchLimits {
        let limits = self.inner.batch_limits();
        match self.events_per_part {
            None => limits,
            Some(events_per_part) => BatchLimits {
                events_per_part,
                parts: limits.parts.min(3),
            },
        }
    }

    fn concurrent_chunks(&self) -> usize {
        self.inner.concurrent_chunks()
    }
}

struct FaultInjectingBatch {
    inner: Box<dyn Batch>,
    faults: Arc<Faults>,
}

/// As [`delegate`], for a trait of the batch.
macro_rules! delegate_batch {
    ($trait:ident {
        $($name:ident($($argument:ident: $type:ty),*) -> $outcome:ty;)*
        $({ $($other:item)* })?
    }) => {
        #[async_trait]
        impl $trait for FaultInjectingBatch {
            $(async fn $name(&mut self, $($argument: $type),*) -> Result<$outcome> {
                self.faults.before(stringify!($name))?;
                self.inner.$name($($argument),*).await
            })*

            $($($other)*)?
        }
    };
}

delegate_batch! {
    BatchRead {
        lock_for_events(keys: &[ClientKey], ids: &[(&str, &str)]) -> (Vec<Stored>, HashSet<usize>);
        namesakes(known: &[&Event]) -> Vec<(usize, Namesake)>;
        lock(keys: &[ClientKey], skip_busy: bool) -> Vec<Stored>;
        holders(names: &[NameClaim]) -> HashMap<NameClaim, ClientKey>;
        histories(ranges: &[HistoryRange], longest: Option<usize>) -> HashMap<ClientKey, Vec<Logged>>;
        snapshot(key: &ClientKey) -> ClientSnapshot;
        policies() -> Vec<(DateTime<Utc>, Policy)>;
        lanes() -> Vec<LaneProgress>;
        sources() -> Vec<ExpectedSource>;
        halts() -> Vec<Halt>;
        {
            async fn checkpoints(
                &mut self,
                before: &[(ClientKey, DateTime<Utc>)],
            ) -> Result<HashMap<ClientKey, Checkpoints>> {
                self.faults.before("checkpoints")?;
                let found = self.inner.checkpoints(before).await?;
                let nearest = found.values().filter(|one| one.nearest.is_some()).count();
                self.faults.checkpoints_found.fetch_add(nearest, Ordering::SeqCst);
                Ok(found)
            }
        }
    }
}

delegate_batch! {
    BatchWrite {
        renew(renewals: &[Renewal], policies: i64) -> HashSet<ClientKey>;
        write(commit: &Commit) -> ();
        {
            async fn commit(self: Box<Self>, commit: &Commit) -> Result<()> {
                self.faults.before("commit")?;
                if self.faults.rejects(commit) {
                    self.inner.rollback().await?;
                    return Err(rejected("this batch is rejected"));
                }
                if self.faults.conflicts() {
                    self.inner.rollback().await?;
                    self.faults.ingest_overtaking().await;
                    return Err(StoreError::Conflict("another worker was faster".into()));
                }
                self.inner.commit(commit).await?;
                // A worker may crash after the commit, before the caller learns of it.
                self.faults.check("commit")
            }

            async fn rollback(self: Box<Self>) -> Result<()> {
                self.faults.before("rollback")?;
                self.inner.rollback().await
            }
        }
    }
}
