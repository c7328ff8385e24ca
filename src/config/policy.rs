//! The policy: the sections `[access]`, `[subscriptions]`, `[cleanup]` and `[invitations]`.

use super::error::SettingsError;
use super::reader::{GRACE, Reader, SPAN};
use crate::domain::Policy;
use crate::domain::policy::SubscriptionsEnd;

pub(super) fn read(from: &Reader) -> Result<Policy, SettingsError> {
    let access_idle = from.span("access.idle", SPAN)?;
    let mut warn_before = from.spans("access.warn_before", SPAN)?;
    if warn_before.iter().any(|span| *span >= access_idle) {
        return Err(from.invalid(
            "access.warn_before",
            "a list of durations that are each shorter than access.idle, so that warnings follow the renewal",
        ));
    }
    // Longest first, in the order in which they are issued.
    warn_before.sort_unstable_by(|a, b| b.cmp(a));
    warn_before.dedup();
    Ok(Policy {
        access_idle,
        mature_after_jobs: from.number("access.mature_after_jobs", 0..=i64::MAX)?,
        from_account_update: from.flag("access.from_account_update")?,
        warn_before,
        subscriptions_grace: from.span("subscriptions.grace", GRACE)?,
        subscriptions_end: from.choice(
            "subscriptions.end",
            &SubscriptionsEnd::ALL.map(|end| (end.as_str(), end)),
        )?,
        cleanup_grace: from.span("cleanup.grace", GRACE)?,
        stalled_after: from.span("invitations.stalled_after", SPAN)?,
    })
}
