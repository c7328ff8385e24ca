//! Policies: which there are, and how a new one takes effect.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{carry_out, plan};
use crate::clock::Clock;
use crate::domain::{ClientKey, Policies, Policy};
use crate::store::{ClientFilter, Store, StoreError};

/// How long a worker may go on without looking for a policy that another has recorded.
const LOOK: Duration = Duration::from_secs(1);
/// From the recording of a policy to its taking effect: by then every worker has looked.
const NOTICE: TimeDelta = TimeDelta::seconds(5);
/// Clients whose deadlines are computed anew in one transaction.
const CHUNK: u32 = 500;

/// The policies as last read.
pub(super) struct PolicyBook {
    /// What counts where none is recorded.
    otherwise: Policy,
    page: Mutex<(Instant, Arc<Policies>)>,
}

impl PolicyBook {
    pub async fn read(store: &dyn Store, otherwise: &Policy) -> Result<Self, StoreError> {
        let policies = read(store, otherwise).await?;
        Ok(Self {
            otherwise: otherwise.clone(),
            page: Mutex::new((Instant::now(), Arc::new(policies))),
        })
    }

    pub async fn current(&self, store: &dyn Store) -> Result<Arc<Policies>, StoreError> {
        {
            let page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
            if page.0.elapsed() < LOOK {
                return Ok(page.1.clone());
            }
        }
        let policies = Arc::new(read(store, &self.otherwise).await?);
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        *page = (Instant::now(), policies.clone());
        Ok(policies)
    }
}

async fn read(store: &dyn Store, otherwise: &Policy) -> Result<Policies, StoreError> {
    let recorded = store.policies().await?;
    Ok(Policies::recorded(recorded).unwrap_or_else(|| Policies::always(otherwise.clone())))
}

/// Records a policy if none is recorded yet.
pub(super) async fn record_first(
    store: &dyn Store,
    clock: &dyn Clock,
    policy: &Policy,
) -> Result<(), StoreError> {
    if store.policies().await?.is_empty() {
        store.record_policy(clock.now(), policy).await?;
    }
    Ok(())
}

/// Records the policy of the settings, unless it is in force already. The first counts from the beginning of time;
/// another takes effect a few seconds from now, and always after the one before it, whatever the clock says.
///
/// Deadlines come first: each is put at the earlier of what it was and what it will be, so that a crash in between
/// leaves only sweeps that look too early.
pub(super) async fn record(store: &dyn Store, clock: &dyn Clock, policy: &Policy) -> Result<(), StoreError> {
    let mut recorded = store.policies().await?;
    let Some((last_from, last)) = recorded.last() else {
        return record_first(store, clock, policy).await;
    };
    if last == policy {
        return Ok(());
    }
    let from = (clock.now() + NOTICE).max(*last_from + TimeDelta::microseconds(1));
    recorded.push((from, policy.clone()));
    if let Some(policies) = Policies::recorded(recorded) {
        compute_deadlines(store, clock, &policies).await?;
    }
    store.record_policy(from, policy).await?;
    tracing::info!(policy.from = %from, "another policy is recorded");
    Ok(())
}

async fn compute_deadlines(
    store: &dyn Store,
    clock: &dyn Clock,
    policies: &Policies,
) -> Result<(), StoreError> {
    let everyone = ClientFilter::default();
    let mut after: Option<ClientKey> = None;
    loop {
        let page = store.clients(&everyone, after.as_ref(), CHUNK).await?;
        let keys: Vec<ClientKey> = page.into_iter().map(|stored| stored.key).collect();
        let Some(last) = keys.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        let mut batch = store.begin().await?;
        let stored = batch.lock(&keys, false).await?;
        let commit = plan::plan_deadlines(stored, clock.now(), policies);
        carry_out(batch, &commit).await?;
    }
}
