//! Policies: which are recorded, and how a new one takes effect.
//!
//! A policy is part of history. It is recorded some time before it takes effect, so that every worker has read it by then.
//! The deadline backfill follows.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::cached::Staleness;
use super::{Authority, Engine};
use crate::domain::policy::later;
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Policies, Policy};
use crate::store::{AuditEntry, Batch, ClientFilter, OperatorAction, PolicyReplacement, StoreError};

/// The shortest time between the recording of a policy and the moment from which it is effective: by then every worker has
/// read it.
pub const NOTICE: TimeDelta = TimeDelta::seconds(5);
/// The action of the audit log that puts a policy into force. Its details name the moment, `from`.
pub(super) const APPLY: &str = "policy.apply";
/// Clients that are read at a time.
const PAGE: u32 = 500;
/// How many clients that a policy changes are named.
const NAMED: usize = 10;

/// Who introduces a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionMode {
    /// A worker, from its settings. The breaker and a wrong clock stop it.
    Automatic,
    /// A person who has confirmed what it changes. Nothing stops it.
    Confirmed,
}

/// The result of introducing a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is the latest policy already.
    Known,
    /// It is effective from this moment.
    Recorded { from: DateTime<Utc> },
    /// It would change too much at once, or it would withdraw another policy. The latest policy stays in force until a person
    /// confirms the new one.
    Held {
        why: String,
        /// The first clients that it would change, if it would change too many.
        first: Vec<ClientKey>,
    },
    /// The clock is wrong; the worker must try again.
    Waits { why: String },
}

/// What a new policy would change in the recorded policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// The policy that it would follow.
    pub latest: Policy,
    /// The moments of the policies that are recorded ahead of the clock and would be withdrawn.
    pub withdrawn: Vec<DateTime<Utc>>,
    /// From when it would be effective.
    from: DateTime<Utc>,
    /// The recorded policies then.
    recorded: Vec<(DateTime<Utc>, Policy)>,
}

/// What a policy would change at once when it takes effect: the clients of which it makes a timer overdue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyImpact {
    pub changed: u64,
    /// The clients that have a timer running.
    pub population: u64,
    /// The first of those that change, in key order.
    pub first: Vec<ClientKey>,
    /// Whether the breaker holds the policy back until a person confirms it.
    pub exceeds: bool,
}

/// The policies that are recorded for a moment after `latest`, which no right clock can have recorded. Each is replaced by the
/// policy before it, so that their number, which other workers know, stays the same.
fn withdrawn(recorded: &[(DateTime<Utc>, Policy)], latest: DateTime<Utc>) -> Vec<PolicyReplacement> {
    let ahead = recorded.partition_point(|(from, _)| *from <= latest);
    let Some((before, policy)) = recorded.get(ahead.saturating_sub(1)) else {
        return Vec::new();
    };
    // The first is effective from the beginning of time, whatever moment is recorded with it.
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

/// The recorded policies after replacements.
fn replaced(
    recorded: Vec<(DateTime<Utc>, Policy)>,
    replacements: &[PolicyReplacement],
) -> Vec<(DateTime<Utc>, Policy)> {
    let recorded = recorded.into_iter();
    let replaced = recorded.map(|(from, policy)| {
        match replacements.iter().find(|replacement| replacement.from == from) {
            Some(replacement) => (replacement.to, replacement.policy.clone()),
            None => (from, policy),
        }
    });
    replaced.collect()
}

/// The moments of withdrawn policies. That of the first policy has no effect.
fn moments(withdrawn: &[PolicyReplacement], recorded: &[(DateTime<Utc>, Policy)]) -> Vec<DateTime<Utc>> {
    let first = recorded.first().map(|(from, _)| *from);
    let moments = withdrawn.iter().map(|one| one.from);
    moments.filter(|from| Some(*from) != first).collect()
}

/// What to say about policies that are recorded ahead of the clock, of which the last is effective from a moment.
#[must_use]
pub fn recorded_ahead(last: DateTime<Utc>) -> String {
    let from = rfc3339(last);
    format!(
        "a policy is recorded as effective from {from}, which is ahead of this clock: the clock that recorded it was wrong, or \
         this one is wrong. If this clock is right, run `tenure policy apply` with these settings, which withdraws the \
         others"
    )
}

impl Engine {
    /// The recorded policies. Another worker may have recorded one less than a second ago.
    pub(super) async fn policies(&self) -> Result<Arc<Policies>, StoreError> {
        self.policies_of(Staleness::Bounded).await
    }

    /// The recorded policies, at most this stale.
    pub(super) async fn policies_of(&self, staleness: Staleness) -> Result<Arc<Policies>, StoreError> {
        let read = async { Ok(self.sorted(self.store.policies().await?)) };
        self.policies.read(staleness, self.now(), read).await
    }

    /// The recorded policies, read on the connection of a transaction.
    pub(super) async fn policies_in(
        &self,
        batch: &mut dyn Batch,
        staleness: Staleness,
    ) -> Result<Arc<Policies>, StoreError> {
        let read = async { Ok(self.sorted(batch.policies().await?)) };
        self.policies.read(staleness, self.now(), read).await
    }

    fn sorted(&self, recorded: Vec<(DateTime<Utc>, Policy)>) -> Policies {
        Policies::recorded(recorded).unwrap_or_else(|| Policies::always(self.default_policy.clone()))
    }

    /// Every recorded policy, oldest first, with the moment from which it is effective; the first is effective from the
    /// beginning of time.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn recorded_policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>, StoreError> {
        self.store.policies().await
    }

    /// The latest policy, or the one of the settings while none is recorded.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn latest_policy(&self) -> Result<Policy, StoreError> {
        Ok(self.policies().await?.latest().clone())
    }

    /// Whether a policy is the latest one, or the default while none is recorded.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn is_latest_policy(&self, policy: &Policy) -> Result<bool, StoreError> {
        Ok(self.policies().await?.latest() == policy)
    }

    /// Records the default policy if none is recorded yet.
    pub(super) async fn record_first(&self) -> Result<(), StoreError> {
        if self.store.policies().await?.is_empty() {
            self.store
                .record_policy(self.now(), &self.default_policy, false)
                .await?;
            self.policies.invalidate();
        }
        Ok(())
    }

    /// Records a policy, unless it is the latest already. It takes effect when the notice is over, and after the policy before
    /// it, whatever the clock says. The notice must be longer than the time of an event may be ahead of the clock: such events
    /// are decided by the policies that were known when they arrived. [`Engine::backfill_deadlines`] must follow.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn adopt(
        &self,
        policy: &Policy,
        notice: TimeDelta,
        mode: AdoptionMode,
    ) -> Result<Adoption, StoreError> {
        let by_settings = Authority::of_settings().entry(self.now(), APPLY, None, Value::Null);
        let entry = (mode == AdoptionMode::Automatic).then_some(&by_settings);
        self.adopt_as(policy, notice, mode, entry).await
    }

    /// With an entry of the audit log, which says who introduces it.
    pub(super) async fn adopt_as(
        &self,
        policy: &Policy,
        notice: TimeDelta,
        mode: AdoptionMode,
        entry: Option<&AuditEntry>,
    ) -> Result<Adoption, StoreError> {
        let notice = notice.max(NOTICE);
        let is_confirmed = mode == AdoptionMode::Confirmed;
        if !is_confirmed && let Some(skew) = self.watch.wrong() {
            return Ok(Adoption::Waits {
                why: format!("{skew}: no policy is recorded until it is right"),
            });
        }
        let recorded = self.store.policies().await?;
        let withdrawn = self.withdrawn(&recorded, notice);
        let ahead = moments(&withdrawn, &recorded);
        if let Some(last) = ahead.last()
            && !is_confirmed
            && !self.watch.is_confirmed()
        {
            return Ok(Adoption::Held {
                why: recorded_ahead(*last),
                first: Vec::new(),
            });
        }
        let mut recorded = if withdrawn.is_empty() {
            recorded
        } else {
            self.withdraw(withdrawn.clone(), ahead.len(), entry).await?
        };
        if recorded.last().is_some_and(|(_, last)| last == policy) && withdrawn.is_empty() {
            return Ok(Adoption::Known);
        }
        let from = self.add(policy, notice, &mut recorded);
        let before = self.policies().await?;
        if !is_confirmed && let Some(after) = Policies::recorded(recorded) {
            let impact = self.impact(&before, &after, from).await?;
            if impact.exceeds {
                return Ok(Adoption::Held {
                    why: self.why_held(&impact),
                    first: impact.first,
                });
            }
        }
        self.record_policy_as(from, policy, &before, entry).await?;
        self.policies.invalidate();
        Ok(Adoption::Recorded { from })
    }

    /// Records a policy. The entry says which settings it changes.
    async fn record_policy_as(
        &self,
        from: DateTime<Utc>,
        policy: &Policy,
        before: &Policies,
        entry: Option<&AuditEntry>,
    ) -> Result<(), StoreError> {
        let Some(entry) = entry else {
            return self.store.record_policy(from, policy, true).await;
        };
        let mut entry = entry.clone();
        let details = json!({ "from": rfc3339(from), "before": before.latest(), "after": policy });
        if let Value::Object(details) = details {
            entry.details = details;
        }
        let policy = Box::new(policy.clone());
        self.store
            .act(&OperatorAction::RecordPolicy { from, policy }, &entry)
            .await
            .map(|_| ())
    }

    /// What withdraws the policies that are recorded ahead of this clock.
    fn withdrawn(&self, recorded: &[(DateTime<Utc>, Policy)], notice: TimeDelta) -> Vec<PolicyReplacement> {
        let latest = later(later(self.now(), notice), self.watch.tolerance());
        withdrawn(recorded, latest)
    }

    /// Withdraws policies, and returns the recorded policies after that. `ahead` of them have an effect.
    async fn withdraw(
        &self,
        withdrawn: Vec<PolicyReplacement>,
        ahead: usize,
        entry: Option<&AuditEntry>,
    ) -> Result<Vec<(DateTime<Utc>, Policy)>, StoreError> {
        match entry {
            None => self.store.replace_policies(&withdrawn).await?,
            Some(entry) => {
                let entry = AuditEntry {
                    action: "policy.withdraw".to_owned(),
                    ..entry.clone()
                };
                let action = OperatorAction::ReplacePolicies(withdrawn);
                self.store.act(&action, &entry).await?;
            }
        }
        self.policies.invalidate();
        if ahead > 0 {
            tracing::warn!(
                policies = ahead,
                "withdrew policies that a wrong clock had recorded ahead of now"
            );
        }
        self.store.policies().await
    }

    /// What a policy would change in the recorded policies if a person confirmed it now. None: nothing, because it is in effect.
    ///
    /// Reads only the recorded policies.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn policy_change(
        &self,
        policy: &Policy,
        notice: TimeDelta,
    ) -> Result<Option<PolicyChange>, StoreError> {
        let notice = notice.max(NOTICE);
        let recorded = self.store.policies().await?;
        let replacements = self.withdrawn(&recorded, notice);
        let withdrawn = moments(&replacements, &recorded);
        let mut recorded = replaced(recorded, &replacements);
        let latest = recorded.last().map_or(&self.default_policy, |(_, latest)| latest);
        if latest == policy && withdrawn.is_empty() {
            return Ok(None);
        }
        Ok(Some(PolicyChange {
            latest: latest.clone(),
            withdrawn,
            from: self.add(policy, notice, &mut recorded),
            recorded,
        }))
    }

    /// What a new policy would change at once.
    ///
    /// Reads every client.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn policy_impact(&self, change: &PolicyChange) -> Result<PolicyImpact, StoreError> {
        let before = self.policies().await?;
        let after = self.sorted(change.recorded.clone());
        self.impact(&before, &after, change.from).await
    }

    /// Adds a policy to the recorded ones, effective when the notice is over and after the others. Returns that moment.
    fn add(
        &self,
        policy: &Policy,
        notice: TimeDelta,
        recorded: &mut Vec<(DateTime<Utc>, Policy)>,
    ) -> DateTime<Utc> {
        let last = recorded
            .last()
            .map_or(DateTime::<Utc>::MIN_UTC, |(from, _)| *from);
        let from = later(self.now(), notice).max(later(last, TimeDelta::microseconds(1)));
        recorded.push((from, policy.clone()));
        from
    }

    /// What a new policy changes at once. The population are the clients that have a timer running.
    async fn impact(
        &self,
        before: &Policies,
        after: &Policies,
        from: DateTime<Utc>,
    ) -> Result<PolicyImpact, StoreError> {
        let mut impact = PolicyImpact::default();
        let everyone = ClientFilter::default();
        let mut last: Option<ClientKey> = None;
        loop {
            let page = self.store.clients(&everyone, last.as_ref(), PAGE).await?;
            let Some(stored) = page.last() else { break };
            last = Some(stored.key.clone());
            for stored in &page {
                let client = stored.client(before);
                let runs = |policies: &Policies| client.due(policies.latest()).next().is_some();
                if runs(before) || runs(after) {
                    impact.population += 1;
                }
                let fires = |policies: &Policies| client.next_due(from, policies).is_some();
                if fires(after) && !fires(before) {
                    impact.changed += 1;
                    if impact.first.len() < NAMED {
                        impact.first.push(stored.key.clone());
                    }
                }
            }
        }
        impact.exceeds = self.breaker.trips(impact.changed, impact.population);
        Ok(impact)
    }

    /// Names no client: `/readyz`, which needs no token, shows it.
    fn why_held(&self, impact: &PolicyImpact) -> String {
        format!(
            "the policy in the settings would change {} of {} clients at once; without confirmation it may change {} %, or {} \
             clients. The latest policy stays in force. If the settings are right, run `tenure policy apply` with them; \
             `tenure policy show` shows what they would change",
            impact.changed, impact.population, self.breaker.percent, self.breaker.clients,
        )
    }
}
