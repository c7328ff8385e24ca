//! The engine: plans what a batch of events or a sweep brings about (pure), and carries it out, one
//! batch in one transaction.

mod breaker;
mod cached;
mod clearance;
mod conflict_retry;
mod deferred;
mod ingest;
mod low_watermark;
mod mend;
mod plan;
mod policy;
mod probe;
mod prune;
mod read;
mod rebuild;
mod redrive;
mod renew;
mod skew;
mod sweep;
mod transaction_context;
mod verify;
mod walk;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

pub use breaker::Breaker;
pub use deferred::Deferred;
pub use ingest::{Incoming, Outcome};
pub use low_watermark::HeldBack;
pub use mend::Ahead;
pub use plan::{Plan, Present, Situation, plan, plan_sweep};
pub use policy::{Adoption, NOTICE, known_everywhere};
pub use probe::PROBE_EVERY;
pub use prune::PruneReport;
pub use read::{JournalLine, ListRequest, ServiceFilter, Tab};
pub use rebuild::Rebuilt;
pub use redrive::Redrive;
pub use skew::{ClockWatch, DEFAULT_TOLERANCE, Reference, Skew};
pub use sweep::{SweepOptions, SweepReport};
pub use verify::{Drift, Verified, VerifyReport};
pub use walk::Scope;

use crate::clock::Clock;
use crate::domain::{Policies, Policy};
use crate::store::{Batch, Commit, Halt, LaneProgress, Store, StoreError};
use crate::vitals::Vitals;
use cached::Cached;
use clearance::Clearance;

/// The one who knows: takes events, sweeps, answers.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    watch: ClockWatch,
    /// What bounds the timers that fire beside events, as it bounds those of a sweep.
    breaker: Breaker,
    clearance: Clearance,
    deferred: Deferred,
    /// What counts where no policy is recorded.
    otherwise: Policy,
    policies: Cached<Policies>,
    lanes: Cached<Vec<LaneProgress>>,
    halts: Cached<Vec<Halt>>,
    journal_written: Arc<Notify>,
    /// Whether the relay is behind.
    behind: watch::Sender<bool>,
    vitals: Vitals,
    /// Held while the store is probed: once at a time.
    probing: Mutex<()>,
}

impl Engine {
    /// An engine that works, on a migrated store. The policy of the settings is put into force if it is the first, or if
    /// it differs from the one recorded last; when this returns, deadlines have been computed by it.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        let engine = Self::join(store, clock, policy).await?;
        engine.adopt(policy, policy::NOTICE, None).await?;
        engine.backfill_deadlines(&CancellationToken::new()).await?;
        Ok(engine)
    }

    /// An engine for one job, under the policies that are recorded. `policy` is recorded only if it is the first.
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

    /// An engine that looks, under the policies that are recorded; `policy` counts only where none is.
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
            deferred: Deferred::default(),
            otherwise: policy.clone(),
            policies: Cached::default(),
            lanes: Cached::default(),
            halts: Cached::default(),
            journal_written: Arc::new(Notify::new()),
            behind: watch::Sender::new(false),
            vitals: Vitals::default(),
            probing: Mutex::default(),
        };
        // A store that is not there makes itself felt at once.
        engine.policies().await?;
        Ok(engine)
    }

    /// The same, with other bounds: how many clients may change at once by timers, and how far clocks may differ.
    #[must_use]
    pub fn bounded(mut self, breaker: Breaker, tolerance: TimeDelta) -> Self {
        self.breaker = breaker;
        self.watch.tolerate(tolerance);
        self
    }

    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Woken after a transaction that wrote to the journal, for the relay.
    #[must_use]
    pub fn journal_written(&self) -> Arc<Notify> {
        self.journal_written.clone()
    }

    /// The relay says whether more changes are written than it has told. Sweeps, which can wait, leave it room then: what
    /// live events bring about is told behind what sweeps do.
    pub fn relay_is_behind(&self, behind: bool) {
        self.behind
            .send_if_modified(|before| std::mem::replace(before, behind) != behind);
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Now, and how far ahead of it others' clocks may be.
    fn present(&self) -> Present {
        Present {
            now: self.now(),
            tolerance: self.watch.tolerance(),
        }
    }

    fn tell_relay(&self, commit: &Commit) {
        if !commit.journal.is_empty() {
            self.journal_written.notify_one();
        }
    }
}

/// Ends a transaction: with what is to be written, or, if that is nothing, without a trace. (One that fails before
/// is dropped, which leaves none either.)
async fn carry_out(batch: Box<dyn Batch>, commit: &Commit) -> Result<(), StoreError> {
    if commit.is_empty() {
        batch.rollback().await
    } else {
        batch.commit(commit).await
    }
}
