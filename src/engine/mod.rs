//! The engine: plans what a batch of events or a sweep brings about (pure), and carries it out, one
//! batch in one transaction.

mod plan;
mod policy;
mod read;
mod redrive;
mod sweep;
mod take;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

pub use plan::{Plan, Situation, plan, plan_sweep};
pub use read::{JournalLine, ListRequest, ServiceFilter, Tab};
pub use sweep::{SweepOptions, SweepReport};
pub use take::{Answer, Incoming};
pub use verify::{Drift, VerifyReport};

use crate::clock::Clock;
use crate::domain::{Policies, Policy};
use crate::store::{Batch, Commit, Store, StoreError};
use policy::PolicyBook;

/// The one who knows: takes events, sweeps, answers.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policies: PolicyBook,
    journal_written: Arc<Notify>,
}

impl Engine {
    /// An engine that works, on a migrated store. The policy of the settings is recorded if it is the first, or if it
    /// differs from the one recorded last: then deadlines are computed anew first.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        policy::record(store.as_ref(), clock.as_ref(), policy).await?;
        Self::open(store, clock, policy).await
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
        policy::record_first(store.as_ref(), clock.as_ref(), policy).await?;
        Self::open(store, clock, policy).await
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
        Ok(Self {
            policies: PolicyBook::read(store.as_ref(), policy).await?,
            store,
            clock,
            journal_written: Arc::new(Notify::new()),
        })
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

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Whether a policy is the one that was recorded last, or that counts because none was.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn goes_by(&self, policy: &Policy) -> Result<bool, StoreError> {
        Ok(self.policies().await?.latest() == policy)
    }

    /// Every policy there is; another worker may have recorded one a moment ago.
    async fn policies(&self) -> Result<Arc<Policies>, StoreError> {
        self.policies.current(self.store.as_ref()).await
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
