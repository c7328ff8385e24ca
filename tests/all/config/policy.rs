//! A policy with other values for some of its settings.

use chrono::TimeDelta;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tenure::config::{changed_policy, policy_settings};
use tenure::domain::Policy;
use tenure::domain::policy::SubscriptionsEnd;

use crate::engine::wild;

fn changed(changes: &[&str]) -> Result<Policy, String> {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    changed_policy(&Policy::default(), &changes, "--set").map_err(|error| error.to_string())
}

#[test]
fn every_setting_of_a_policy_can_be_changed() {
    let others = [
        "access.warn_before = 1d, 20d",
        "access.mature_after_jobs=7",
        "access.from_account_update=true",
        "subscriptions.end=paid_until",
    ];
    let mut expected = Policy {
        mature_after_jobs: 7,
        from_account_update: true,
        warn_before: vec![TimeDelta::days(20), TimeDelta::days(1)],
        subscriptions_end: SubscriptionsEnd::PaidUntil,
        ..Policy::default()
    };
    let mut changes = others.map(str::to_owned).to_vec();
    for (number, duration) in (45..).zip(Policy::DURATIONS) {
        changes.push(format!("{}={number}d", duration.setting));
        duration.set(&mut expected, TimeDelta::days(number));
    }
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    assert_eq!(changed(&changes), Ok(expected));
    let mut tried: Vec<&str> = changes
        .iter()
        .map(|change| change.split('=').next().unwrap_or_default().trim())
        .collect();
    tried.sort_unstable();
    assert_eq!(known(), tried);
}

/// The settings of a policy, sorted.
fn known() -> Vec<String> {
    policy_settings(&Policy::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn a_policy_is_unchanged_by_its_own_settings() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..100 {
        let mut policy = wild::policy(&mut rng);
        policy.cleanup_grace += TimeDelta::microseconds(1_500_001);
        let changes: Vec<String> = policy_settings(&policy)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        for changes in [Vec::new(), changes] {
            assert_eq!(changed_policy(&policy, &changes, "--set").unwrap(), policy);
        }
    }
}

#[test]
fn a_wrong_change_is_an_error_as_in_the_settings() {
    let unknown = format!(
        "unknown setting `idle.access` (from --set): a policy has {}",
        known().join(", ")
    );
    for (changes, words) in [
        (&["idle.access=45d"][..], unknown.as_str()),
        (&["access.on_silence=allow"], "unknown setting"),
        (
            &["access.idle"],
            "invalid value \"access.idle\" for `set` (from --set): expected a setting and its value, such as access.idle=45d",
        ),
        (
            &["access.idle=60"],
            "`access.idle` (from --set): expected a duration such as 60d",
        ),
        (
            &["cleanup.grace=1d", "cleanup.grace=1d"],
            "`cleanup.grace` is set twice",
        ),
        (
            &["access.idle=7d"],
            "invalid value [\"14d\",\"7d\",\"1d\"] for `access.warn_before` (from the policy in effect)",
        ),
        (&["access.warn_before=14d 7d"], "commas"),
        (
            &["access.warn_before=1h,2h,3h,4h,5h,6h,7h,8h,9h,10h,11h,12h,13h,14h,15h,16h,17h,18h"],
            "for `access.warn_before` (from --set): expected at most 16 durations: remove 2",
        ),
    ] {
        let error = changed(changes).expect_err("an error");
        assert!(error.contains(words), "{changes:?}: {error}");
    }
}

#[test]
fn a_policy_has_up_to_16_warnings() {
    let list = |hours: i64| {
        (1..=hours)
            .map(|hour| format!("{hour}h"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let of = |text: String| changed(&[&format!("access.warn_before={text}")]);
    assert_eq!(of(list(16)).map(|policy| policy.warn_before.len()), Ok(16));
    // Each counts once.
    let twice = format!("{},60m,16h", list(16));
    assert_eq!(of(twice).map(|policy| policy.warn_before.len()), Ok(16));
    let error = of(list(17)).expect_err("too many");
    assert!(
        error.contains("expected at most 16 durations: remove 1"),
        "{error}"
    );
}
