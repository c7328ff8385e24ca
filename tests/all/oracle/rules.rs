//! The policy, as in the last column of the timers in `docs/lifecycles.md`, and the eras of several policies.

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::Policy;
use tenure::domain::policy::SubscriptionsEnd;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub access_idle: TimeDelta,
    pub mature_after_jobs: u64,
    pub from_account_update: bool,
    pub warn_before: Vec<TimeDelta>,
    pub subscriptions_grace: TimeDelta,
    pub end_at_paid_until: bool,
    pub cleanup_grace: TimeDelta,
    pub stalled_after: TimeDelta,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            access_idle: TimeDelta::days(60),
            mature_after_jobs: 100,
            from_account_update: false,
            warn_before: vec![TimeDelta::days(14), TimeDelta::days(7), TimeDelta::days(1)],
            subscriptions_grace: TimeDelta::zero(),
            end_at_paid_until: false,
            cleanup_grace: TimeDelta::zero(),
            stalled_after: TimeDelta::days(14),
        }
    }
}

impl From<&Policy> for Rules {
    fn from(policy: &Policy) -> Self {
        Self {
            access_idle: policy.access_idle,
            mature_after_jobs: policy.mature_after_jobs,
            from_account_update: policy.from_account_update,
            warn_before: policy.warn_before.clone(),
            subscriptions_grace: policy.subscriptions_grace,
            end_at_paid_until: policy.subscriptions_end == SubscriptionsEnd::PaidUntil,
            cleanup_grace: policy.cleanup_grace,
            stalled_after: policy.stalled_after,
        }
    }
}

/// A policy and the period in which it is in force: from `start`, up to and excluding `end`.
pub struct Era {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub rules: Rules,
}

/// The policies in order. The first is in force from the beginning of time.
pub struct Eras(Vec<Era>);

impl Eras {
    pub fn new(mut starts: Vec<(DateTime<Utc>, Rules)>) -> Self {
        assert!(!starts.is_empty(), "without a policy nothing can be due");
        starts.sort_by_key(|(start, _)| *start);
        starts[0].0 = DateTime::<Utc>::MIN_UTC;
        let ends: Vec<_> = starts.iter().skip(1).map(|(start, _)| *start).collect();
        let ends = ends.into_iter().chain([DateTime::<Utc>::MAX_UTC]);
        let eras = starts.into_iter().zip(ends);
        Self(
            eras.map(|((start, rules), end)| Era { start, end, rules })
                .collect(),
        )
    }

    pub fn all(&self) -> &[Era] {
        &self.0
    }

    pub fn at(&self, moment: DateTime<Utc>) -> &Rules {
        let era = self.0.iter().rev().find(|era| era.start <= moment);
        &era.expect("the first era begins at the beginning of time").rules
    }
}
