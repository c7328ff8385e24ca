//! Changing policies, and timers of the same moment: which policy counts, and which timer fires first.

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

/// Policies are history: the policy in force at a moment decides.
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
            "access that expired under the old policy stays expired under a longer one",
        )
        .under(policy_change(idle(60), t(61), idle(90)))
        .given(active())
        .until(t(100))
        .shows(json!({ "access": "expired" }))
        .fires(&[(AccessExpiry, t(60))]),
        story(
            "ours",
            "a longer policy that takes effect at the moment of expiry delays it",
        )
        .under(policy_change(idle(60), t(60), idle(90)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(90))]),
        story(
            "ours",
            "a shorter policy makes access overdue: it expires when the policy takes effect",
        )
        .under(policy_change(idle(60), t(50), idle(30)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(50))]),
        story("ours", "a moment earlier, access is enabled until the old expiry")
            .under(policy_change(idle(60), t(50), idle(30)))
            .given(active())
            .until(t(50) - MICRO)
            .shows(json!({ "access": "enabled", "expires_at": z(t(60)) }))
            .fires(&[]),
        story(
            "ours",
            "a shorter policy that makes nothing overdue counts from then on",
        )
        .under(policy_change(idle(60), t(20), idle(30)))
        .given(active())
        .until(t(100))
        .fires(&[(AccessExpiry, t(30))]),
        story("ours", "the first policy is in force from the beginning of time")
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
        story("ours", "a grace period that is removed ends with the old policy")
            .under(policy_change(
                changed(|p| p.subscriptions_grace = days(90)),
                t(30),
                Policy::default(),
            ))
            .given(subscribed(archived()))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(30))]),
        story("ours", "a clean-up that is delayed before it was due waits")
            .under(policy_change(
                changed(|p| p.cleanup_grace = days(7)),
                t(15),
                changed(|p| p.cleanup_grace = days(30)),
            ))
            .given(terminated())
            .until(t(200))
            .fires(&[(TerminatedCleanup, t(40))]),
        story("ours", "a shorter policy makes an invitation stall")
            .under(policy_from(t(2), |p| p.stalled_after = days(1)))
            .given(invited())
            .until(t(200))
            .fires(&[(StalledInvitation, t(2))]),
        story(
            "ours",
            "a policy that waits for the account's update stops the expiry",
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
            "a policy that no longer waits for the account's update makes access expire",
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
            "an account that was mature by the threshold of its time stays mature",
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

/// Timers of the same moment fire in the order of the table.
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
            "timers that a new policy makes overdue fire in the order of the table",
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
            "access that expires with an overdue warning is not warned of",
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
fn the_policy_in_force_at_each_moment_applies() {
    check(&stories());
}
