//! Settings that change, and timers of one moment: which policy counts, and what fires first.

use serde_json::json;
use tenure::domain::Policy;
use tenure::domain::timer::Timer::{
    AccessExpiry, AccessWarning, StalledInvitation, SubscriptionEnd, TerminatedCleanup,
};

use super::endings::subscribed;
use super::service::terminated;
use super::timers::no_warnings;
use super::*;

pub fn stories() -> Vec<Story> {
    [eras(), other_eras(), together()].concat()
}

/// Policy is part of history: each moment goes by the settings that were in force.
fn eras() -> Vec<Story> {
    let idle = |span: i64| {
        changed(|p| {
            no_warnings(p);
            p.access_idle = days(span);
        })
    };
    vec![
        story(
            "ours",
            "what expired under the old settings stays expired under longer ones",
        )
        .under(policy_change(idle(60), t(61), idle(90)))
        .given(active())
        .until(t(100))
        .shows(json!({ "access": "expired" }))
        .fires(&[(AccessExpiry, t(60))]),
        story(
            "ours",
            "longer settings in force at the very moment of expiry put it off",
        )
        .under(policy_change(idle(60), t(60), idle(90)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(90))]),
        story(
            "ours",
            "shorter settings make access overdue: it expires as they take effect",
        )
        .under(policy_change(idle(60), t(50), idle(30)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(50))]),
        story(
            "ours",
            "and the moment before, it was enabled until the old expiry",
        )
        .under(policy_change(idle(60), t(50), idle(30)))
        .given(active())
        .until(t(50) - MICRO)
        .shows(json!({ "access": "enabled", "expires_at": z(t(60)) }))
        .fires(&[]),
        story(
            "ours",
            "shorter settings that make nothing overdue count from then on",
        )
        .under(policy_change(idle(60), t(20), idle(30)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(30))]),
        story("ours", "the first settings count from the beginning of time")
            .under(Policies::recorded(vec![(t(500), idle(10))]).expect("one"))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(10))]),
    ]
}

fn other_eras() -> Vec<Story> {
    let idle = |span: i64| {
        changed(|p| {
            no_warnings(p);
            p.access_idle = days(span);
        })
    };
    vec![
        story(
            "ours",
            "a grace that is taken away ends what it held as it is taken away",
        )
        .under(policy_change(
            changed(|p| p.subscriptions_grace = days(90)),
            t(30),
            Policy::default(),
        ))
        .given(subscribed(archived()))
        .until(t(200))
        .fires(&[(SubscriptionEnd, t(30))]),
        story("ours", "a clean-up that is put off before it was due waits")
            .under(policy_change(
                changed(|p| p.cleanup_grace = days(7)),
                t(15),
                changed(|p| p.cleanup_grace = days(30)),
            ))
            .given(terminated())
            .until(t(200))
            .fires(&[(TerminatedCleanup, t(40))]),
        story("ours", "an invitation becomes stalled by impatient settings")
            .under(policy_from(t(2), |p| p.stalled_after = days(1)))
            .given(invited())
            .until(t(200))
            .fires(&[(StalledInvitation, t(2))]),
        story(
            "ours",
            "the account's update comes to matter: a running expiry stops",
        )
        .under(policy_change(
            idle(60),
            t(50),
            changed(|p| p.from_account_update = true),
        ))
        .given(active())
        .until(t(200))
        .shows(json!({ "access": "enabled", "expires_at": null }))
        .fires(&[]),
        story(
            "ours",
            "the account's update ceases to matter: access expires as it does",
        )
        .under(policy_change(
            changed(|p| {
                no_warnings(p);
                p.from_account_update = true;
            }),
            t(150),
            idle(60),
        ))
        .given(active())
        .until(t(200))
        .fires(&[(AccessExpiry, t(150))]),
        story(
            "002",
            "the account that was mature by the threshold of its time stays mature",
        )
        .under(policy_change(
            changed(|p| {
                no_warnings(p);
                p.mature_after_jobs = 10;
            }),
            t(20),
            idle(60),
        ))
        .given(active().and("account.jobs_counted total=10", t(5)))
        .until(t(200))
        .fires(&[(AccessExpiry, t(65))]),
    ]
}

/// Timers of the same moment fire in the order of their table.
fn together() -> Vec<Story> {
    let same_day = |expiry: i64| {
        policy(|p| {
            p.access_idle = days(expiry);
            p.warn_before = vec![days(10)];
            p.cleanup_grace = days(10);
        })
    };
    let terminated_on_20 = || {
        active()
            .and("assignment.added assignment_id=a1", t(1))
            .and("client.terminated", t(20))
    };
    let later = || {
        policy_change(
            changed(|p| {
                p.subscriptions_grace = days(90);
                p.cleanup_grace = days(90);
                p.stalled_after = days(90);
            }),
            t(30),
            changed(|p| p.stalled_after = days(1)),
        )
    };
    vec![
        story(
            "ours",
            "what new settings make overdue at once fires in the order of the table",
        )
        .under(later())
        .given(
            subscribed(archived())
                .and("assignment.added assignment_id=a1", t(11))
                .and("client.terminated", t(12))
                .and("client.invited", t(13)),
        )
        .until(t(30))
        .fires(&[
            (SubscriptionEnd, t(30)),
            (TerminatedCleanup, t(30)),
            (StalledInvitation, t(30)),
        ]),
        story("ours", "a warning comes before a clean-up of the same moment")
            .under(same_day(40))
            .given(terminated_on_20())
            .until(t(30))
            .fires(&[(AccessWarning, t(30)), (TerminatedCleanup, t(30))]),
        story("ours", "an expiry comes before a clean-up of the same moment")
            .under(same_day(30))
            .given(terminated_on_20())
            .until(t(30))
            .fires(&[(AccessExpiry, t(30)), (TerminatedCleanup, t(30))]),
        story(
            "ours",
            "an access that expires with its warning overdue is not warned of",
        )
        .under(policy(|p| {
            p.access_idle = days(10);
            p.warn_before = vec![days(0)];
        }))
        .given(active())
        .until(t(10))
        .fires(&[(AccessExpiry, t(10))]),
    ]
}

#[test]
fn each_moment_goes_by_the_settings_that_were_in_force() {
    tell(&stories());
}
