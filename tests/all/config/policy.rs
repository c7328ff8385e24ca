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
    let changes = [
        "access.idle=45d",
        "access.warn_before = 1d, 20d",
        "access.mature_after_jobs=7",
        "access.from_account_update=true",
        "access.request_lapses=3d",
        "subscriptions.grace=36h",
        "subscriptions.end=paid_until",
        "cleanup.grace=1s",
        "invitations.stalled_after=2d",
    ];
    let expected = Policy {
        access_idle: TimeDelta::days(45),
        mature_after_jobs: 7,
        from_account_update: true,
        warn_before: vec![TimeDelta::days(20), TimeDelta::days(1)],
        request_lapses: TimeDelta::days(3),
        subscriptions_grace: TimeDelta::hours(36),
        subscriptions_end: SubscriptionsEnd::PaidUntil,
        cleanup_grace: TimeDelta::seconds(1),
        stalled_after: TimeDelta::days(2),
    };
    assert_eq!(changed(&changes), Ok(expected));
    let known: Vec<String> = policy_settings(&Policy::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let mut tried: Vec<&str> = changes
        .iter()
        .map(|change| change.split('=').next().unwrap_or_default().trim())
        .collect();
    tried.sort_unstable();
    assert_eq!(known, tried);
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
    for (changes, words) in [
        (
            &["acces.idle=45d"][..],
            "unknown setting `acces.idle` (from --set): a policy has access.from_account_update, access.idle, access.mature_after_jobs, access.request_lapses, access.warn_before, cleanup.grace, invitations.stalled_after, subscriptions.end, subscriptions.grace",
        ),
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
    ] {
        let error = changed(changes).expect_err("an error");
        assert!(error.contains(words), "{changes:?}: {error}");
    }
}
