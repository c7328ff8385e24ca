//! The settings of a policy that an answer rests on: with another value the answer would be different.

use chrono::{DateTime, TimeDelta, Utc};

use super::course::{Course, Fates, World};
use super::sentences::span;
use crate::domain::policy::{PolicyDuration, SubscriptionsEnd, Zero};
use crate::domain::{Policies, Policy};

/// A setting of a policy that an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingCause {
    /// Its key.
    pub setting: &'static str,
    pub value: String,
    /// A value with which the answer would be different.
    pub other: String,
    /// From when the policy is effective. None: from the beginning.
    pub from: Option<DateTime<Utc>>,
    /// The policies with that other value.
    pub otherwise: Policies,
}

/// The largest threshold of jobs that the settings accept.
const MOST_JOBS: u64 = i64::MAX.unsigned_abs();

/// A value of a setting, and others for it.
struct Setting {
    name: &'static str,
    value: String,
    others: Vec<(String, Policy)>,
}

impl Course<'_> {
    /// The settings of policies in force up to the moment without whose value the answer would be different.
    pub(super) fn settings(&self) -> Vec<SettingCause> {
        let Some(prefix) = self.answer.settings_prefix() else {
            return Vec::new();
        };
        let eras = self.policies.until(self.at);
        let mut causes = Vec::new();
        for (number, (from, policy)) in eras.iter().enumerate() {
            for setting in settings(policy) {
                if !setting.name.starts_with(prefix) {
                    continue;
                }
                let differs = |other: Policy| self.differs_under(number, other);
                let other = setting
                    .others
                    .into_iter()
                    .find_map(|(text, other)| Some((text, differs(other)?)));
                if let Some((other, otherwise)) = other {
                    causes.push(SettingCause {
                        setting: setting.name,
                        value: setting.value,
                        other,
                        from: (number > 0).then_some(*from),
                        otherwise,
                    });
                }
            }
        }
        causes
    }

    /// The policies with another one in place of one of them, if the answer differs under them.
    fn differs_under(&self, number: usize, other: Policy) -> Option<Policies> {
        let mut eras = self.policies.until(DateTime::<Utc>::MAX_UTC).to_vec();
        let start = match number {
            0 => 0,
            _ => self.events.partition_point(|event| event.time < eras[number].0),
        };
        let differs_until = eras.get(number + 1).map_or(DateTime::<Utc>::MAX_UTC, |era| era.0);
        eras[number].1 = other;
        let policies = Policies::recorded(eras)?;
        let world = World {
            policies: &policies,
            without: None,
            differs_until: Some(differs_until),
        };
        let before = self.before(start);
        self.diverges(start, before.clone(), before, &world, &mut Fates::default())
            .then_some(policies)
    }
}

/// The settings that can make a difference to an answer, each with values on both sides of its own.
fn settings(policy: &Policy) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Policy::DURATIONS
        .iter()
        .map(|duration| Setting::of_duration(duration, policy))
        .collect();
    settings.push(Setting::of(
        "access.mature_after_jobs",
        policy,
        |policy| &mut policy.mature_after_jobs,
        [0, policy.mature_after_jobs.saturating_mul(2), MOST_JOBS],
    ));
    settings.push(Setting::of(
        "access.from_account_update",
        policy,
        |policy| &mut policy.from_account_update,
        [!policy.from_account_update],
    ));
    settings.push(Setting::of(
        "subscriptions.end",
        policy,
        |policy| &mut policy.subscriptions_end,
        SubscriptionsEnd::ALL,
    ));
    settings
}

impl Setting {
    /// A setting in one field of the policy, with all `others` that differ from its value.
    fn of<T: Copy + PartialEq + ToString>(
        name: &'static str,
        policy: &Policy,
        field: impl Fn(&mut Policy) -> &mut T,
        others: impl IntoIterator<Item = T>,
    ) -> Self {
        let value = *field(&mut policy.clone());
        let with = |other: T| {
            let mut changed = policy.clone();
            *field(&mut changed) = other;
            (other.to_string(), changed)
        };
        Self {
            name,
            value: value.to_string(),
            others: others
                .into_iter()
                .filter(|other| *other != value)
                .map(with)
                .collect(),
        }
    }

    fn of_duration(duration: &PolicyDuration, policy: &Policy) -> Self {
        let text = |policy: &Policy| {
            if duration.is_never(policy) {
                "never".to_owned()
            } else {
                span(duration.get(policy))
            }
        };
        let with = |other: TimeDelta| {
            let mut changed = policy.clone();
            duration.set(&mut changed, other);
            (text(&changed), changed)
        };
        Self {
            name: duration.setting,
            value: text(policy),
            others: other_spans(duration.get(policy), duration.zero != Zero::Invalid)
                .map(with)
                .collect(),
        }
    }
}

/// Twice and half a duration, then the longest and the shortest.
fn other_spans(value: TimeDelta, can_be_zero: bool) -> impl Iterator<Item = TimeDelta> {
    let shortest = if can_be_zero {
        TimeDelta::zero()
    } else {
        TimeDelta::seconds(1)
    };
    [
        value.checked_mul(2).unwrap_or(value),
        value / 2,
        TimeDelta::days(36_500),
        TimeDelta::seconds(1),
        shortest,
    ]
    .into_iter()
    .filter(move |other| *other != value && *other >= shortest)
}
