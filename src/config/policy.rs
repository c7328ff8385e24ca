//! The policy: the sections `[access]`, `[subscriptions]`, `[cleanup]` and `[invitations]`.

use chrono::TimeDelta;

use super::error::SettingsError;
use super::reader::{GRACE, Reader, SPAN};
use crate::domain::Policy;
use crate::domain::policy::{SubscriptionsEnd, Zero};

pub(super) fn read(from: &Reader) -> Result<Policy, SettingsError> {
    let mut policy = Policy::default();
    for duration in Policy::DURATIONS {
        let span = match duration.zero {
            Zero::Invalid => from.span(duration.setting, SPAN)?,
            Zero::AtOnce => from.span(duration.setting, GRACE)?,
            Zero::Never => from.age(duration.setting)?.unwrap_or_default(),
        };
        duration.set(&mut policy, span);
    }
    policy.warn_before = warn_before(from, policy.access_idle)?;
    policy.mature_after_jobs = from.number("access.mature_after_jobs", 0..=i64::MAX)?;
    policy.from_account_update = from.flag("access.from_account_update")?;
    policy.subscriptions_end = from.choice(
        "subscriptions.end",
        &SubscriptionsEnd::ALL.map(|end| (end.as_str(), end)),
    )?;
    Ok(policy)
}

/// Longest first, in the order in which warnings are issued.
fn warn_before(from: &Reader, access_idle: TimeDelta) -> Result<Vec<TimeDelta>, SettingsError> {
    let mut spans = from.spans("access.warn_before", SPAN)?;
    if spans.iter().any(|span| *span >= access_idle) {
        return Err(from.invalid(
            "access.warn_before",
            "a list of durations that are each shorter than access.idle, so that warnings follow the renewal",
        ));
    }
    spans.sort_unstable_by(|a, b| b.cmp(a));
    spans.dedup();
    Ok(spans)
}
