//! The engine: plans what a batch of events or a sweep brings about (pure), and carries it out, one
//! batch in one transaction.

mod plan;
mod read;
mod redrive;
mod sweep;
mod take;
mod verify;

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

pub use plan::{Plan, Situation, plan, plan_sweep};
pub use read::{JournalLine, ListRequest, ServiceFilter, Tab};
pub use sweep::{SweepOptions, SweepReport};
pub use take::{Answer, Incoming};
pub use verify::{Drift, VerifyReport};

use crate::clock::Clock;
use crate::domain::{Policies, Policy};
use crate::store::{Store, StoreError};

/// The one who knows: takes events, sweeps, answers.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policies: RwLock<Arc<Policies>>,
    journal_written: Arc<Notify>,
}

impl Engine {
    /// An engine on a migrated store. The policy of the settings is recorded if it is the first, or if
    /// it differs from the one recorded last: from now on, then.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        let mut recorded = store.policies().await?;
        if recorded.last().is_none_or(|(_, last)| last != policy) {
            let from = clock.now();
            store.record_policy(from, policy).await?;
            tracing::info!(policy.from = %from, first = recorded.is_empty(), "policy recorded");
            recorded = store.policies().await?;
        }
        let policies = Policies::recorded(recorded).unwrap_or_else(|| Policies::always(policy.clone()));
        Ok(Self {
            store,
            clock,
            policies: RwLock::new(Arc::new(policies)),
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

    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.policies
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
