//! Policies: which there are, and how a new one takes effect.
//!
//! A policy is part of history, so it is recorded ahead of the moment from which it counts: by then every worker has
//! read it. Deadlines follow, chunk by chunk; what is written meanwhile has the right ones already.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::breaker::Breaker;
use super::cached::{MAX_STALENESS, Staleness};
use super::conflict_retry::ConflictRetry;
use super::{Engine, carry_out, plan};
use crate::domain::policy::later;
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Policies, Policy};
use crate::store::{Batch, ClientFilter, PolicyReplacement, StoreError};

/// From the recording of a policy to its taking effect, at least: by then every worker has looked.
pub const NOTICE: TimeDelta = TimeDelta::seconds(5);
/// Clients that are looked at, or whose deadlines are computed anew, at a time.
const CHUNK: u32 = 500;

/// What became of a policy that was to be put into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is the one recorded last.
    Known,
    /// It counts from this moment on.
    Recorded { from: DateTime<Utc> },
    /// It would change too much at once, or another would have to be withdrawn. The one before it stays in force until a person
    /// confirms it.
    Held { why: String },
    /// The clock is wrong; it is to be tried again.
    Waits { why: String },
}

/// Policies that are recorded for a moment after `latest`, which none can be that a right clock recorded, and what replaces each:
/// the one before it once more, so that their number stays the same. It is known to others.
fn withdrawn(recorded: &[(DateTime<Utc>, Policy)], latest: DateTime<Utc>) -> Vec<PolicyReplacement> {
    let ahead = recorded.partition_point(|(from, _)| *from <= latest);
    let Some((before, policy)) = recorded.get(ahead.saturating_sub(1)) else {
        return Vec::new();
    };
    // The first counts from the beginning of time, whatever moment stands beside it.
    let before = if ahead == 0 { DateTime::UNIX_EPOCH } else { *before };
    (0i64..)
        .zip(&recorded[ahead..])
        .map(|(place, (from, _))| PolicyReplacement {
            from: *from,
            to: later(before, TimeDelta::microseconds(place + i64::from(ahead > 0))),
            policy: policy.clone(),
        })
        .collect()
}

fn recorded_ahead(recorded: &[(DateTime<Utc>, Policy)]) -> String {
    let from = recorded
        .last()
        .map(|(from, _)| rfc3339(*from))
        .unwrap_or_default();
    format!(
        "durations are recorded to count from {from}, which is ahead of this clock: it was wrong when they were, or is wrong \
         now. If it is right now, run `tenure policy --confirm` with these settings, which withdraws the others"
    )
}

impl Engine {
    /// Every policy there is; another worker may have recorded one a moment ago.
    pub(super) async fn policies(&self) -> Result<Arc<Policies>, StoreError> {
        self.policies_of(Staleness::Bounded).await
    }

    /// The same, as old as that at most.
    pub(super) async fn policies_of(&self, staleness: Staleness) -> Result<Arc<Policies>, StoreError> {
        let read = async { Ok(self.sorted(self.store.policies().await?)) };
        self.policies.read(staleness, self.now(), read).await
    }

    /// The same within a transaction.
    pub(super) async fn policies_in(
        &self,
        batch: &mut dyn Batch,
        staleness: Staleness,
    ) -> Result<Arc<Policies>, StoreError> {
        let read = async { Ok(self.sorted(batch.policies().await?)) };
        self.policies.read(staleness, self.now(), read).await
    }

    fn sorted(&self, recorded: Vec<(DateTime<Utc>, Policy)>) -> Policies {
        Policies::recorded(recorded).unwrap_or_else(|| Policies::always(self.otherwise.clone()))
    }

    /// Every policy recorded, oldest first, with the moment from which it counts; the first counts from the beginning
    /// of time.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn recorded_policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>, StoreError> {
        self.store.policies().await
    }

    /// Whether a policy is the one that was recorded last, or that counts because none was.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn goes_by(&self, policy: &Policy) -> Result<bool, StoreError> {
        Ok(self.policies().await?.latest() == policy)
    }

    /// Records the policy that counts where none is recorded yet.
    pub(super) async fn record_first(&self) -> Result<(), StoreError> {
        if self.store.policies().await?.is_empty() {
            self.store
                .record_policy(self.now(), &self.otherwise, false)
                .await?;
            self.policies.invalidate();
        }
        Ok(())
    }

    /// Records a policy, unless it is the last already: it takes effect when the notice is over, and after the one
    /// before it, whatever the clock says. The notice must be longer than events may be ahead of the clock: those are
    /// judged by the policies that were known when they came. Deadlines are left to [`Engine::backfill_deadlines`].
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn adopt(
        &self,
        policy: &Policy,
        notice: TimeDelta,
        breaker: Option<&Breaker>,
    ) -> Result<Adoption, StoreError> {
        let notice = notice.max(NOTICE);
        if breaker.is_some()
            && let Some(skew) = self.watch.wrong()
        {
            return Ok(Adoption::Waits {
                why: format!("{skew}: no policy is recorded until it is right"),
            });
        }
        let mut recorded = self.store.policies().await?;
        let withdrawn = withdrawn(
            &recorded,
            later(later(self.now(), notice), self.watch.tolerance()),
        );
        if !withdrawn.is_empty() {
            let first = recorded.first().map(|(from, _)| *from);
            // That of the first does not count.
            let is_harmless = withdrawn.iter().all(|one| Some(one.from) == first);
            if !is_harmless && breaker.is_some() && !self.watch.is_confirmed() {
                return Ok(Adoption::Held {
                    why: recorded_ahead(&recorded),
                });
            }
            self.store.replace_policies(&withdrawn).await?;
            self.policies.invalidate();
            recorded = self.store.policies().await?;
            if !is_harmless {
                tracing::warn!(
                    policies = withdrawn.len(),
                    "policies that a wrong clock recorded ahead of now are withdrawn"
                );
            }
        }
        let last = match recorded.last() {
            Some((_, last)) if last == policy && withdrawn.is_empty() => return Ok(Adoption::Known),
            Some((from, _)) => *from,
            None => DateTime::<Utc>::MIN_UTC,
        };
        let from = later(self.now(), notice).max(later(last, TimeDelta::microseconds(1)));
        let before = self.policies().await?;
        recorded.push((from, policy.clone()));
        if let (Some(breaker), Some(after)) = (breaker, Policies::recorded(recorded))
            && let Some(why) = self.would_change_too_much(&before, &after, from, breaker).await?
        {
            return Ok(Adoption::Held { why });
        }
        self.store.record_policy(from, policy, true).await?;
        self.policies.invalidate();
        Ok(Adoption::Recorded { from })
    }

    /// Why a policy must not be put into force unseen, if so: it would make too many timers overdue at once. What it
    /// looks at are the clients that have a timer running.
    async fn would_change_too_much(
        &self,
        before: &Policies,
        after: &Policies,
        from: DateTime<Utc>,
        breaker: &Breaker,
    ) -> Result<Option<String>, StoreError> {
        let (mut changed, mut of) = (0, 0);
        let everyone = ClientFilter::default();
        let mut last: Option<ClientKey> = None;
        loop {
            let page = self.store.clients(&everyone, last.as_ref(), CHUNK).await?;
            let Some(stored) = page.last() else { break };
            last = Some(stored.key.clone());
            for stored in &page {
                let client = stored.client(before);
                let runs = |policies: &Policies| client.due(policies.latest()).next().is_some();
                if runs(before) || runs(after) {
                    of += 1;
                }
                let fires = |policies: &Policies| client.next_due(from, policies).is_some();
                if fires(after) && !fires(before) {
                    changed += 1;
                }
            }
        }
        Ok(breaker.trips(changed, of).then(|| {
            format!(
                "the durations of the settings would change {changed} of {of} clients at once, and without a word {} % \
                 may, or {}; the durations before them stay in force. If they are meant, run `tenure policy --confirm` \
                 with these settings",
                breaker.percent, breaker.clients,
            )
        }))
    }

    /// Computes the deadlines of a policy that was recorded, from where this was left off, and tells how many clients
    /// it looked at. Each deadline is put at the earlier of what it was and what it should be: a sweep that comes too
    /// early moves it.
    ///
    /// # Errors
    /// When the store cannot be reached; the next call goes on.
    pub async fn backfill_deadlines(&self, stop: &CancellationToken) -> Result<u64, StoreError> {
        let Some(deadline_backfill) = self.store.deadline_backfill().await? else {
            return Ok(0);
        };
        self.policies.invalidate();
        let everyone = ClientFilter::default();
        let mut after = deadline_backfill.after;
        let mut clients = 0;
        while !stop.is_cancelled() {
            let page = self.store.clients(&everyone, after.as_ref(), CHUNK).await?;
            let keys: Vec<ClientKey> = page.into_iter().map(|stored| stored.key).collect();
            after = keys.last().cloned();
            if !keys.is_empty() {
                self.backfill_chunk(&keys).await?;
                clients += keys.len() as u64;
            }
            self.store
                .record_backfill(deadline_backfill.policy_from, after.as_ref())
                .await?;
            if after.is_none() {
                break;
            }
        }
        Ok(clients)
    }

    async fn backfill_chunk(&self, keys: &[ClientKey]) -> Result<(), StoreError> {
        let mut retry = ConflictRetry::default();
        loop {
            match self.try_backfill(keys).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
        }
    }

    async fn try_backfill(&self, keys: &[ClientKey]) -> Result<(), StoreError> {
        let mut batch = self.store.begin().await?;
        let stored = batch.lock(keys, false).await?;
        let policies = self.policies_in(batch.as_mut(), Staleness::Bounded).await?;
        let commit = plan::plan_deadlines(stored, self.now(), &policies);
        carry_out(batch, &commit).await
    }
}

/// How long after a policy was recorded every worker has read it.
#[must_use]
pub fn known_everywhere() -> std::time::Duration {
    (MAX_STALENESS * 2).to_std().unwrap_or_default()
}
