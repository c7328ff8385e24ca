//! The policy: the sections `[access]`, `[subscriptions]`, `[cleanup]` and `[invitations]`.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use config::{Value, ValueKind};

use super::duration;
use super::error::SettingsError;
use super::layers::Flat;
use super::reader::{GRACE, NEVER, Reader, SPAN};
use crate::domain::Policy;
use crate::domain::id::clip;
use crate::domain::policy::{PolicyDuration, SubscriptionsEnd, Zero};

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

/// Each renewal of access leads to this many warnings at most.
const MOST_WARNINGS: usize = 16;

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
    if spans.len() > MOST_WARNINGS {
        return Err(from.invalid(
            "access.warn_before",
            &format!(
                "at most {MOST_WARNINGS} durations: remove {}",
                spans.len() - MOST_WARNINGS
            ),
        ));
    }
    Ok(spans)
}

/// The settings of a policy, sorted by key, in the syntax of settings.
#[must_use]
pub fn policy_settings(policy: &Policy) -> Vec<(String, String)> {
    let text = |value: Value| match value.kind {
        ValueKind::Array(items) => items
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        kind => kind.to_string(),
    };
    let settings = settings(policy).into_iter();
    settings.map(|(key, value)| (key, text(value))).collect()
}

/// A policy with other values for some of its settings, each as `access.idle=45d`. `origin` says in errors where they are from.
///
/// # Errors
/// A change is not `SETTING=VALUE`, no policy has the setting, it is changed twice, or the new policy is invalid.
pub fn changed_policy(policy: &Policy, changes: &[String], origin: &str) -> Result<Policy, SettingsError> {
    let mut settings = settings(policy);
    let (origin, mut seen) = (origin.to_owned(), BTreeSet::new());
    for change in changes {
        let Some((key, value)) = change.split_once('=') else {
            return Err(SettingsError::Invalid {
                key: "set".to_owned(),
                value: format!("\"{}\"", clip(change)),
                origin,
                expected: "a setting and its value, such as access.idle=45d".to_owned(),
            });
        };
        let key = key.trim();
        if !settings.contains_key(key) {
            let known: Vec<String> = settings.into_keys().collect();
            return Err(SettingsError::UnknownKey {
                key: clip(key),
                origin,
                hint: format!("a policy has {}", known.join(", ")),
            });
        }
        if !seen.insert(key) {
            return Err(SettingsError::Twice {
                key: key.to_owned(),
                first: origin.clone(),
                second: origin,
            });
        }
        settings.insert(key.to_owned(), Value::new(Some(&origin), value.trim()));
    }
    read(&Reader::new(settings))
}

/// A duration of a policy in the syntax of settings: `60d`, or `never`.
#[must_use]
pub fn format_setting(duration: &PolicyDuration, policy: &Policy) -> String {
    if duration.is_never(policy) {
        NEVER.to_owned()
    } else {
        duration::format(duration.get(policy))
    }
}

/// The policy as settings, from which [`read`] makes it again.
fn settings(policy: &Policy) -> Flat {
    let origin = "the policy in effect".to_owned();
    let text = |span: TimeDelta| ValueKind::String(duration::format(span));
    let warnings = policy.warn_before.iter();
    let warnings = warnings
        .map(|span| Value::new(Some(&origin), text(*span)))
        .collect();
    let jobs = i64::try_from(policy.mature_after_jobs).unwrap_or(i64::MAX);
    let durations = Policy::DURATIONS.iter().map(|duration| {
        (
            duration.setting,
            ValueKind::String(format_setting(duration, policy)),
        )
    });
    let others = [
        ("access.warn_before", ValueKind::Array(warnings)),
        ("access.mature_after_jobs", ValueKind::I64(jobs)),
        (
            "access.from_account_update",
            ValueKind::Boolean(policy.from_account_update),
        ),
        (
            "subscriptions.end",
            ValueKind::String(policy.subscriptions_end.as_str().to_owned()),
        ),
    ];
    durations
        .chain(others)
        .map(|(key, kind)| (key.to_owned(), Value::new(Some(&origin), kind)))
        .collect()
}
