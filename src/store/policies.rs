//! The history of policies, and the deadline backfill after a new one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, key, row};
use crate::domain::{ClientKey, Policy};

/// Recorded policies, each with the moment from which it is effective.
#[async_trait]
pub trait PolicyHistory: Send + Sync + 'static {
    /// Every recorded policy, oldest first.
    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>>;

    /// Records a policy that is effective from a moment on. With `backfill`, starts a deadline backfill for it.
    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()>;

    /// Replaces recorded policies, each by its moment, all of them or none. Their number stays the same.
    async fn replace_policies(&self, replacements: &[PolicyReplacement]) -> Result<()>;

    /// The deadline backfill in progress, if any.
    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>>;

    /// Records the progress of the backfill for the policy of this moment: the deadlines of clients up to `upto` are
    /// computed. None: the backfill is complete.
    async fn record_backfill(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()>;
}

/// A backfill of deadlines after a new policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineBackfill {
    /// The moment from which the policy is effective.
    pub policy_from: DateTime<Utc>,
    /// The deadlines of clients up to this one are computed.
    pub after: Option<ClientKey>,
}

/// The replacement of a recorded policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyReplacement {
    /// The moment of the recorded policy.
    pub from: DateTime<Utc>,
    /// Its new moment.
    pub to: DateTime<Utc>,
    /// Its new content.
    pub policy: Policy,
}

row! {
    PolicyRow<T> {
        effective_from: T,
        policy: String,
    }
}

impl<T: Moment> PolicyRow<T> {
    pub(super) fn read(self) -> Result<(DateTime<Utc>, Policy)> {
        let id = RowId {
            table: "policies",
            key: &"a policy",
        };
        let from = id.moment("effective_from", self.effective_from)?;
        let id = RowId {
            table: "policies",
            key: &from,
        };
        Ok((from, id.json("policy", &self.policy)?))
    }
}

row! {
    BackfillRow<T> {
        policy_from: T,
        partner: Option<String>,
        client: Option<String>,
    }
}

impl<T: Moment> BackfillRow<T> {
    pub(super) fn read(self) -> Result<DeadlineBackfill> {
        let id = RowId {
            table: "deadline_backfill",
            key: &"policy",
        };
        Ok(DeadlineBackfill {
            policy_from: id.moment("policy_from", self.policy_from)?,
            after: self
                .partner
                .zip(self.client)
                .map(|(partner, client)| key(&partner, &client)),
        })
    }
}
