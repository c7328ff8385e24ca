//! Policies: the durations and thresholds that timers are computed from, and when each policy took effect.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

/// Declares the settings of a policy: a line for each, with its type, its default and, for a duration, its
/// [`PolicyDuration`].
macro_rules! policy {
    ($(
        $(#[$attribute:meta])*
        $field:ident: $type:ty = $default:expr
        $(, duration { $($name:ident: $value:expr),* $(,)? })?;
    )*) => {
        /// One set of durations and thresholds. Durations are stored in microseconds. A policy that was stored without a
        /// setting, by an older version, has its default.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Policy {
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                }
            }
        }

        impl Policy {
            /// Every duration.
            pub const DURATIONS: &[PolicyDuration] = &[$($(PolicyDuration {
                $($name: $value,)*
                get: |policy| policy.$field,
                set: |policy, span| policy.$field = span,
            },)?)*];
        }
    };
}

policy! {
    /// Time from the partner's last entry to the expiry of its access (002: 60 days).
    #[serde(with = "micros")]
    access_idle: TimeDelta = TimeDelta::days(60),
        duration { setting: "access.idle", heading: "access.idle", zero: Zero::Invalid };
    /// Total of jobs from which a counted account's access can expire (002: 100 jobs).
    mature_after_jobs: u64 = 100;
    /// Whether expiry waits for the account's update to the new access rules (002).
    from_account_update: bool = false;
    /// Times before expiry at which a warning is published: longest first, each less than `access_idle`.
    #[serde(with = "micros_list")]
    warn_before: Vec<TimeDelta> = [14, 7, 1].map(TimeDelta::days).into();
    /// Time from the end of the link to the end of the partner's subscriptions.
    #[serde(with = "micros")]
    subscriptions_grace: TimeDelta = TimeDelta::zero(),
        duration { setting: "subscriptions.grace", heading: "subscriptions", zero: Zero::AtOnce };
    subscriptions_end: SubscriptionsEnd = SubscriptionsEnd::AtOnce;
    /// Time from termination to the removal of report schedules, margin rules and assignments.
    #[serde(with = "micros")]
    cleanup_grace: TimeDelta = TimeDelta::zero(),
        duration { setting: "cleanup.grace", heading: "cleanup", zero: Zero::AtOnce };
    /// Time from an invitation until it counts as stalled (000, FAQ).
    #[serde(with = "micros")]
    stalled_after: TimeDelta = TimeDelta::days(14),
        duration { setting: "invitations.stalled_after", heading: "invitations", zero: Zero::Invalid };
    /// Time from a request for access until it closes without an answer. Zero: never.
    #[serde(with = "micros")]
    request_lapses: TimeDelta = TimeDelta::zero(),
        duration { setting: "access.request_lapses", heading: "request_lapses", zero: Zero::Never };
}

/// A duration of policies: its setting and its value.
#[derive(Debug)]
pub struct PolicyDuration {
    /// The key of the setting.
    pub setting: &'static str,
    /// The heading of its column in the table of policies.
    pub heading: &'static str,
    pub zero: Zero,
    get: fn(&Policy) -> TimeDelta,
    set: fn(&mut Policy, TimeDelta),
}

/// What a duration of zero means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// The duration cannot be zero.
    Invalid,
    AtOnce,
    /// The timer is never due. Settings say `never`.
    Never,
}

impl PolicyDuration {
    #[must_use]
    pub fn get(&self, policy: &Policy) -> TimeDelta {
        (self.get)(policy)
    }

    /// Whether the timer of this duration is never due.
    #[must_use]
    pub fn is_never(&self, policy: &Policy) -> bool {
        self.zero == Zero::Never && self.get(policy).is_zero()
    }

    pub fn set(&self, policy: &mut Policy, span: TimeDelta) {
        (self.set)(policy, span);
    }
}

text_enum! {
    /// When the subscriptions of an archived or lost client end.
    #[derive(Default)]
    pub enum SubscriptionsEnd {
        #[default]
        AtOnce = "at_once",
        /// Not before `paid_until`.
        PaidUntil = "paid_until",
    }
}

/// Every policy with the moment it took effect. Policies are history: a changed policy does not change answers about the
/// past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// Sorted by moment. The first is effective from the beginning of time.
    eras: Vec<(DateTime<Utc>, Policy)>,
}

/// A period under one policy: from `start`, up to and excluding `end`.
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

    /// The policies as recorded. The oldest is effective from the beginning of time, whatever its moment.
    #[must_use]
    pub fn recorded(mut eras: Vec<(DateTime<Utc>, Policy)>) -> Option<Self> {
        eras.sort_by_key(|(from, _)| *from);
        eras.first_mut()?.0 = DateTime::<Utc>::MIN_UTC;
        Some(Self { eras })
    }

    /// The number of policies. It only grows.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::try_from(self.eras.len()).unwrap_or(i64::MAX)
    }

    /// The policy in force at a moment.
    #[must_use]
    pub fn at(&self, moment: DateTime<Utc>) -> &Policy {
        &self.eras[self.index(moment)].1
    }

    /// The policies that were in force at some time up to a moment, each with the moment from which it is effective.
    #[must_use]
    pub fn until(&self, moment: DateTime<Utc>) -> &[(DateTime<Utc>, Policy)] {
        &self.eras[..=self.index(moment)]
    }

    /// The latest policy. Future deadlines are computed from it.
    #[must_use]
    pub fn latest(&self) -> &Policy {
        &self.eras[self.eras.len() - 1].1
    }

    /// The era of a moment, and all later ones.
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

/// The moment `by` later, or the end of time if that overflows.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_policy_counts() {
        let eras: Vec<_> = (0..3)
            .map(|day| (DateTime::UNIX_EPOCH + TimeDelta::days(day), Policy::default()))
            .collect();
        assert_eq!(Policies::recorded(eras).unwrap().count(), 3);
        assert_eq!(Policies::recorded(Vec::new()), None);
    }

    #[test]
    fn a_policy_that_was_stored_without_a_setting_has_its_default() {
        let stored = serde_json::from_str::<Policy>(r#"{"access_idle":1000000}"#).unwrap();
        let expected = Policy {
            access_idle: TimeDelta::seconds(1),
            ..Policy::default()
        };
        assert_eq!(stored, expected);
    }
}
