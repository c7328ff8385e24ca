//! The engine: plans the effects of a batch of events or of a chunk of a sweep (pure), and carries them out, each in one
//! transaction.
//!
//! # Engine or store
//!
//! The entry points, the scheduler and the worker call a method of [`Engine`] for everything that has a rule or needs the
//! clock: ingest, sweep, decide, rebuild, prune, introduce a policy, pause a sweep. They take a trait of the store (from
//! [`Engine::store`]) only to read or write records as they are: runs, dead letters, the outbox, the census. A caller that
//! compares a record with the clock, or writes one with a time, needs an engine method.

mod accesses;
mod activity;
mod backfill;
mod blocking;
mod breaker;
mod busiest;
mod cached;
mod clearance;
mod client_counts;
mod conflict_retry;
mod correct_ahead;
mod counters;
mod dead_letters;
mod decide;
mod deferred;
mod dry_run;
mod duties;
mod fates;
mod feed;
mod forecast;
mod halts;
mod histories;
mod history;
mod ingest;
mod issues;
mod lists;
mod low_watermark;
mod operator;
mod overview;
mod plan;
mod policy;
mod possible;
mod probe;
mod prune;
mod queue_depths;
mod read;
mod rebuild;
mod redrive;
mod relay_lag;
mod renew;
mod skew;
mod sources;
mod statements;
mod sweep;
mod sweep_state;
mod transaction_context;
mod verify;
mod walk;
mod warnings;
mod webhooks;
mod what_if;
mod why;
mod workers;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

pub use accesses::{AccessLogPage, AccessView};
pub use activity::RECORD_COUNTS_EVERY;
pub use backfill::known_everywhere;
pub use breaker::Breaker;
pub use client_counts::ClientCounts;
pub use correct_ahead::AheadCorrection;
pub use counters::declare_counters;
pub use dead_letters::{
    DeadLetterDetails, DeadLetterGroup, DeadLetterGroupKey, DeadLetterGroups, DeadLetterView, NO_SOURCE,
    common_reason,
};
pub use decide::{Answer, Question, Resource};
pub use deferred::Deferred;
pub use dry_run::DryRun;
pub use duties::Duties;
pub use fates::{Fate, applied_later};
pub use feed::{FeedStart, LatestChange, SnapshotLine, SnapshotPage, pause_at_end};
pub use forecast::{ClientForecast, ExpectedChange, Forecast, ForecastDay, ForecastDays, ForecastRequest};
pub use history::{
    HistoryChange, HistoryEntry, HistoryEvent, HistoryKind, HistoryPage, HistoryPlace, HistoryRequest,
};
pub use ingest::{Incoming, MakeDead, Outcome};
pub use issues::{Check, Issue, Part, tone_of, verdict};
pub use lists::{AccountPartner, ClientsFound, PartnerView, RefusalView, SearchRequest, WALK};
pub use low_watermark::{HeldBack, LowWatermark};
pub use operator::{Authority, Operator};
pub use overview::{EXPIRY_DAYS, ExpiryCounts, Overview, RefusalCount, RefusalCounts, Unpublished};
pub use plan::{CheckpointSpacing, EventsMissing, History, Plan, Present, Situation, plan, plan_sweep};
pub use policy::{Adoption, AdoptionMode, NOTICE, PolicyChange, PolicyImpact, recorded_ahead};
pub use possible::PossibleEvents;
pub use probe::PROBE_EVERY;
pub use prune::PruneReport;
pub use queue_depths::QueueDepth;
pub use read::{JournalLine, ListRequest, ServiceFilter};
pub use rebuild::{RebuildError, Rebuilt};
pub use redrive::{Discard, Redrive, Redriven, is_still_dead};
pub use skew::{ClockWatch, DEFAULT_TOLERANCE, Reference, Skew};
pub use sources::{SilentSource, SourceStatus, interval};
pub use statements::{
    CLOSING_CLAIM, ClientStatement, CloseRequest, PartnerSum, PartnerSums, StatementError, StatementPage,
    StatementPages, StatementRequest,
};
pub use sweep::{SweepMode, SweepOptions, SweepReport};
pub use sweep_state::{NextRun, SweepState};
pub use verify::{Drift, Verified, VerifyReport};
pub use walk::Scope;
pub use webhooks::{
    DeliveryStart, EndpointError, EndpointView, Introduced, MOST_ENDPOINTS, NOT_IN_SETTINGS, NewEndpoint,
};
pub use what_if::{
    ClientWhatIf, Coming, Difference, DifferenceTotals, PartnerWhatIf, Total, WhatIf, WhatIfChange,
    WhatIfDay, WhatIfDays, WhatIfRequest, WhatIfTotals,
};
pub use why::{MOST_SUBSCRIPTIONS, Why};
pub use workers::{RECORD_EVERY, RemoveWorkerError, ThisWorker, WorkerStatus};

pub use busiest::BusySource;

pub use crate::config::OnSilence;

use crate::clock::Clock;
use crate::domain::{Actions, Policies, Policy};
use crate::store::{Batch, ChangeCounts, Commit, ExpectedSource, Halt, LaneProgress, Store, StoreError};
use crate::traces::Traces;
use crate::vitals::Vitals;
use crate::wire::SchemaUris;
use busiest::BusiestSources;
use cached::Cached;
use clearance::Clearance;
use ingest::RefusalLog;
use relay_lag::RelayLag;
use sources::Arrivals;
use warnings::KnownSources;

/// Ingests events, runs sweeps and answers questions, on one store and by one clock.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    watch: ClockWatch,
    /// Bounds sweeps, policies, and the timers that fire with events.
    breaker: Breaker,
    clearance: Clearance,
    /// Where replays make checkpoints.
    spacing: CheckpointSpacing,
    deferred: Deferred,
    known_sources: KnownSources,
    actions: Actions,
    schemas: SchemaUris,
    /// The policy of the settings. It counts while none is recorded.
    default_policy: Policy,
    policies: Cached<Policies>,
    lanes: Cached<Vec<LaneProgress>>,
    sources: Cached<Vec<ExpectedSource>>,
    arrivals: Arrivals,
    /// Decides about access that expires while a source is silent.
    on_silence: OnSilence,
    /// For how long entries of the access log are stored. None: it is off.
    access_log: Option<TimeDelta>,
    halts: Cached<Vec<Halt>>,
    unsweepable: sweep::FailingClients,
    journal_written: Arc<Notify>,
    /// As `journal_written`, for the readers of the feed.
    feed_written: Arc<Notify>,
    /// As `journal_written`, for deliveries to webhooks.
    delivery_written: Arc<Notify>,
    relay_lag: RelayLag,
    vitals: Vitals,
    duties: Duties,
    activity: activity::Activity,
    depths: queue_depths::QueueDepths,
    busiest: BusiestSources,
    refusal_log: RefusalLog,
    /// None: traces are off.
    traces: Option<Arc<Traces>>,
    /// Held during a probe of the store, so that there is one at a time.
    probing: Mutex<()>,
}

impl Engine {
    /// An engine on a migrated store that introduces `policy` if none is recorded or the latest one differs, and computes its
    /// deadlines before it returns.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        let engine = Self::join(store, clock, policy).await?;
        engine.adopt(policy, NOTICE, AdoptionMode::Confirmed).await?;
        engine.backfill_deadlines(&CancellationToken::new()).await?;
        Ok(engine)
    }

    /// An engine under the recorded policies. Records `policy` if none is recorded.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn join(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        let engine = Self::open(store, clock, policy).await?;
        engine.record_first().await?;
        Ok(engine)
    }

    /// An engine that records nothing, under the recorded policies, or under `policy` if none is recorded.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        let engine = Self {
            store,
            watch: ClockWatch::new(clock.clone()),
            clock,
            breaker: Breaker::default(),
            clearance: Clearance::default(),
            spacing: CheckpointSpacing::default(),
            deferred: Deferred::default(),
            known_sources: KnownSources::default(),
            actions: Actions::default(),
            schemas: SchemaUris::default(),
            default_policy: policy.clone(),
            policies: Cached::default(),
            lanes: Cached::default(),
            sources: Cached::default(),
            arrivals: Arrivals::default(),
            on_silence: OnSilence::default(),
            access_log: None,
            halts: Cached::default(),
            unsweepable: sweep::FailingClients::default(),
            journal_written: Arc::new(Notify::new()),
            feed_written: Arc::new(Notify::new()),
            delivery_written: Arc::new(Notify::new()),
            relay_lag: RelayLag::default(),
            vitals: Vitals::default(),
            duties: Duties::default(),
            activity: activity::Activity::new(),
            depths: queue_depths::QueueDepths::default(),
            busiest: BusiestSources::default(),
            refusal_log: RefusalLog::default(),
            traces: None,
            probing: Mutex::default(),
        };
        // Fails at once if the store is unavailable.
        engine.policies().await?;
        Ok(engine)
    }

    /// Sets the breaker, and how far two clocks may differ.
    #[must_use]
    pub fn bounded(mut self, breaker: Breaker, tolerance: TimeDelta) -> Self {
        self.breaker = breaker;
        self.watch.tolerate(tolerance);
        self
    }

    /// Sets how access is decided that expires while a source is silent.
    #[must_use]
    pub fn on_silence(mut self, on_silence: OnSilence) -> Self {
        self.on_silence = on_silence;
        self
    }

    /// Sets the URIs of the schemas that published changes name.
    #[must_use]
    pub fn with_schemas(mut self, schemas: SchemaUris) -> Self {
        self.schemas = schemas;
        self
    }

    /// The URIs of the schemas, for everything that publishes changes.
    #[must_use]
    pub fn schemas(&self) -> &SchemaUris {
        &self.schemas
    }

    /// Sets which histories have checkpoints, and where.
    #[must_use]
    pub fn with_checkpoints(mut self, spacing: CheckpointSpacing) -> Self {
        self.spacing = spacing;
        self
    }

    /// Sets where spans are made.
    #[must_use]
    pub fn with_traces(mut self, traces: Option<Arc<Traces>>) -> Self {
        self.traces = traces;
        self
    }

    /// None: traces are off.
    #[must_use]
    pub fn traces(&self) -> Option<&Traces> {
        self.traces.as_deref()
    }

    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Notified after each transaction that wrote to the journal, for the relay.
    #[must_use]
    pub fn journal_written(&self) -> Arc<Notify> {
        self.journal_written.clone()
    }

    /// Notified after each transaction that wrote to the journal, for the one task that wakes the readers of the feed.
    #[must_use]
    pub fn feed_written(&self) -> Arc<Notify> {
        self.feed_written.clone()
    }

    /// Notified after each transaction that wrote to the journal, for the one task that wakes the deliveries to webhooks.
    #[must_use]
    pub fn delivery_written(&self) -> Arc<Notify> {
        self.delivery_written.clone()
    }

    /// Reports whether the relay lags behind the journal. Sweeps then slow down, so that the changes of live events do not
    /// queue behind those of sweeps.
    pub fn report_relay_lag(&self, lags: bool) {
        self.relay_lag.set(lags);
    }

    /// How often a chunk of a sweep has waited for the relay.
    #[must_use]
    pub fn relay_waits(&self) -> u64 {
        self.relay_lag.waits()
    }

    /// The work that this worker does for all workers.
    #[must_use]
    pub fn duties(&self) -> &Duties {
        &self.duties
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The policy of the settings, which may not be in effect.
    #[must_use]
    pub fn policy_of_settings(&self) -> &Policy {
        &self.default_policy
    }

    fn present(&self) -> Present {
        present(&self.watch)
    }

    /// Announces what a commit wrote to the journal.
    fn announce(&self, commit: &Commit) {
        self.announce_changes(ChangeCounts::of(&commit.journal));
    }

    /// Announces that these changes were written to the journal.
    fn announce_changes(&self, changes: ChangeCounts) {
        if changes.total() == 0 {
            return;
        }
        self.activity.add_changes(self.watch.present(), changes);
        self.journal_written.notify_one();
        self.feed_written.notify_one();
        self.delivery_written.notify_one();
    }
}

/// The present, and how far the clocks of other workers may be ahead of it. A clock that is known to be wrong
/// does not count: one that is behind would undo timers that fired correctly.
fn present(watch: &ClockWatch) -> Present {
    Present {
        now: watch.present(),
        tolerance: watch.tolerance(),
    }
}

/// Commits a transaction, or rolls it back if there is nothing to write.
async fn carry_out(batch: Box<dyn Batch>, commit: &Commit) -> Result<(), StoreError> {
    if commit.is_empty() {
        batch.rollback().await
    } else {
        batch.commit(commit).await
    }
}
