//! The durations and thresholds that timers are computed from, and when each set took effect.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// One set of durations and thresholds. Durations are kept in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long access lasts after the partner last entered (002: 60 days).
    #[serde(with = "micros")]
    pub access_idle: TimeDelta,
    /// Expiry of a counted account runs from its so-many-th job (002: 100 jobs).
    pub mature_after_jobs: u64,
    /// Whether expiry waits for the account's update to the new access rules (002).
    pub from_account_update: bool,
    /// How long before expiry a warning goes out: longest first, each less than `access_idle`.
    #[serde(with = "micros_list")]
    pub warn_before: Vec<TimeDelta>,
    /// From the loss of the link to the end of the partner's subscriptions.
    #[serde(with = "micros")]
    pub subscriptions_grace: TimeDelta,
    pub subscriptions_end: SubscriptionsEnd,
    /// From termination to the removal of report schedules, margin rules and assignments.
    #[serde(with = "micros")]
    pub cleanup_grace: TimeDelta,
    /// How long an invitation may stay open before its sender is told (000, FAQ).
    #[serde(with = "micros")]
    pub stalled_after: TimeDelta,
}

/// When the subscriptions of an archived or lost client end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionsEnd {
    #[default]
    AtOnce,
    /// Not before what was paid for.
    PaidUntil,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            access_idle: TimeDelta::days(60),
            mature_after_jobs: 100,
            from_account_update: false,
            warn_before: [14, 7, 1].map(TimeDelta::days).into(),
            subscriptions_grace: TimeDelta::zero(),
            subscriptions_end: SubscriptionsEnd::AtOnce,
            cleanup_grace: TimeDelta::zero(),
            stalled_after: TimeDelta::days(14),
        }
    }
}

/// Every policy there was, with the moment it took effect: policy is part of history, so that
/// yesterday's answers stay what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// By moment; the first counts from the beginning of time.
    eras: Vec<(DateTime<Utc>, Policy)>,
}

/// A stretch of time under one policy: from `start` up to, but not with, `end`.
#[derive(Clone, Copy, Debug)]
pub struct Era<'a> {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub policy: &'a Policy,
}

impl Policies {
    /// One policy for all time.
    #[must_use]
    pub fn always(policy: Policy) -> Self {
        Self {
            eras: vec![(DateTime::<Utc>::MIN_UTC, policy)],
        }
    }

    /// The policies as recorded, oldest first; the first one's moment does not count.
    #[must_use]
    pub fn recorded(mut eras: Vec<(DateTime<Utc>, Policy)>) -> Option<Self> {
        eras.sort_by_key(|(from, _)| *from);
        eras.first_mut()?.0 = DateTime::<Utc>::MIN_UTC;
        Some(Self { eras })
    }

    /// How many there are. They are only ever added to.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::try_from(self.eras.len()).unwrap_or(i64::MAX)
    }

    /// The policy in force at a moment.
    #[must_use]
    pub fn at(&self, moment: DateTime<Utc>) -> &Policy {
        &self.eras[self.index(moment)].1
    }

    /// The policy that deadlines to come are computed from.
    #[must_use]
    pub fn latest(&self) -> &Policy {
        &self.eras[self.eras.len() - 1].1
    }

    /// The era of a moment and all after it.
    pub fn eras_from(&self, moment: DateTime<Utc>) -> impl Iterator<Item = Era<'_>> {
        (self.index(moment)..self.eras.len()).map(|i| Era {
            start: self.eras[i].0,
            end: self
                .eras
                .get(i + 1)
                .map_or(DateTime::<Utc>::MAX_UTC, |next| next.0),
            policy: &self.eras[i].1,
        })
    }

    fn index(&self, moment: DateTime<Utc>) -> usize {
        self.eras
            .partition_point(|(from, _)| *from <= moment)
            .saturating_sub(1)
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::always(Policy::default())
    }
}

/// A moment so much later; the end of time where that is past what can be counted.
#[must_use]
pub fn later(moment: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    moment.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

mod micros {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(span: &TimeDelta, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(span.num_microseconds().unwrap_or(i64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TimeDelta, D::Error> {
        i64::deserialize(from).map(TimeDelta::microseconds)
    }
}

mod micros_list {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(spans: &[TimeDelta], to: S) -> Result<S::Ok, S::Error> {
        let micros: Vec<_> = spans
            .iter()
            .map(|span| span.num_microseconds().unwrap_or(i64::MAX))
            .collect();
        micros.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TimeDelta>, D::Error> {
        Ok(Vec::<i64>::deserialize(from)?
            .into_iter()
            .map(TimeDelta::microseconds)
            .collect())
    }
}
