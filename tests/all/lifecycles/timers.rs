//! The timers of access (002): expiry and its warnings.

use std::collections::BTreeSet;

use serde_json::json;
use tenure::domain::policy::SubscriptionsEnd;
use tenure::domain::timer::Timer::{AccessExpiry, AccessWarning};
use tenure::domain::{Policy, Sweep, Timer};

use super::*;

pub fn stories() -> Vec<Story> {
    [expiry(), maturity(), account_updates(), warnings(), holding()].concat()
}

/// How long an answer holds, if no event comes.
fn holding() -> Vec<Story> {
    let until = |moment: Option<DateTime<Utc>>| json!({ "holds_until": moment.map(z) });
    vec![
        story("ours", "a client holds until its next timer, a warning included")
            .given(active())
            .until(t(1))
            .shows(until(Some(t(46)))),
        story("ours", "after a timer it holds until the next one")
            .given(active())
            .until(t(46))
            .shows(until(Some(t(53)))),
        story("ours", "a client without timers holds until an event comes")
            .given(active())
            .until(t(60))
            .shows(until(None)),
        story("ours", "of several timers the first counts")
            .under(policy(|p| p.cleanup_grace = days(7)))
            .given(
                invited()
                    .and("assignment.added assignment_id=a1", t(-1))
                    .and("client.terminated", t(0)),
            )
            .until(t(1))
            .shows(until(Some(t(7)))),
        story("ours", "a recorded policy that moves the expiry ends the answer")
            .under(policy_from(t(30), |p| p.access_idle = days(90)))
            .given(active())
            .until(t(1))
            .shows(json!({ "expires_at": z(t(60)) }))
            .shows(until(Some(t(30)))),
        story("ours", "a recorded policy that moves nothing does not")
            .under(policy_from(t(30), |p| p.stalled_after = days(90)))
            .given(active())
            .until(t(1))
            .shows(until(Some(t(46)))),
        story(
            "ours",
            "a timer under a policy to come counts from that policy on",
        )
        .under(policy_from(t(5), |p| p.stalled_after = days(6)))
        .given(invited())
        .until(t(0))
        .shows(until(Some(t(5)))),
    ]
}

pub fn no_warnings(p: &mut Policy) {
    p.warn_before.clear();
}

fn expiry() -> Vec<Story> {
    vec![
        story(
            "002",
            "access is enabled until a microsecond before the 60 days are over",
        )
        .under(policy(no_warnings))
        .given(active())
        .until(t(60) - MICRO)
        .shows(json!({ "access": "enabled", "expires_at": z(t(60)) }))
        .fires(&[])
        .next(AccessExpiry, t(60)),
        story("002", "access has expired when the 60 days are over")
            .under(policy(no_warnings))
            .given(active())
            .until(t(60))
            .shows(json!({ "access": "expired", "expires_at": null, "as_of": z(t(60)) }))
            .fires(&[(AccessExpiry, t(60))])
            .changes(&["access.expired"])
            .no_timer_is_due(),
        story("002", "access expires at its due time, whenever it is read")
            .under(policy(no_warnings))
            .given(active())
            .until(t(500))
            .fires(&[(AccessExpiry, t(60))]),
        story("002", "the policy sets the time")
            .under(policy(|p| {
                no_warnings(p);
                p.access_idle = days(7);
            }))
            .given(active().and("account.accessed", t(5)))
            .until(t(100))
            .fires(&[(AccessExpiry, t(12))]),
        story("002", "access that is enabled after expiry expires again")
            .under(policy(no_warnings))
            .given(active().and("access.enabled", t(70)))
            .until(t(200))
            .fires(&[(AccessExpiry, t(130))]),
    ]
}

fn maturity() -> Vec<Story> {
    let young = || active().and("account.jobs_counted total=99", t(1));
    vec![
        story("002", "access to an account below the threshold does not expire")
            .given(young())
            .until(t(1000))
            .shows(json!({ "access": "enabled", "expires_at": null, "jobs_total": 99 }))
            .fires(&[])
            .no_timer_is_due(),
        story("002", "access expires 60 days after the 100th job")
            .under(policy(no_warnings))
            .given(young().and("account.jobs_counted total=100", t(200)))
            .until(t(300))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "later counts do not move the time of the 100th job")
            .under(policy(no_warnings))
            .given(
                young()
                    .and("account.jobs_counted total=250", t(200))
                    .and("account.jobs_counted total=300", t(220)),
            )
            .until(t(300))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "a lower count does not undo maturity")
            .under(policy(no_warnings))
            .given(
                young()
                    .and("account.jobs_counted total=100", t(200))
                    .and("account.jobs_counted total=3", t(220)),
            )
            .until(t(300))
            .shows(json!({ "jobs_total": 100 }))
            .fires(&[(AccessExpiry, t(260))]),
        story(
            "002",
            "access expires 60 days after an entry that follows the 100th job",
        )
        .under(policy(no_warnings))
        .given(
            active()
                .and("account.jobs_counted total=100", t(1))
                .and("account.accessed", t(30)),
        )
        .until(t(300))
        .fires(&[(AccessExpiry, t(90))]),
        story(
            "002",
            "for an account that was mature before the link, the 60 days start with the link",
        )
        .under(policy(no_warnings))
        .given(active().and("account.jobs_counted total=500", t(-3)))
        .until(t(300))
        .fires(&[(AccessExpiry, t(60))]),
        story("002", "the policy sets the number of jobs")
            .under(policy(|p| {
                no_warnings(p);
                p.mature_after_jobs = 10;
            }))
            .given(active().and("account.jobs_counted total=10", t(5)))
            .until(t(300))
            .fires(&[(AccessExpiry, t(65))]),
        story("002", "a count after expiry does not enable access")
            .given(active())
            .when(on("account.jobs_counted total=1", t(61)))
            .shows(json!({ "access": "expired" }))
            .changes(&["account.jobs_counted"]),
    ]
}

fn account_updates() -> Vec<Story> {
    let awaited = || {
        policy(|p| {
            no_warnings(p);
            p.from_account_update = true;
        })
    };
    vec![
        story("002", "by default an account's update has no effect")
            .under(policy(no_warnings))
            .given(active().and("account.updated", t(30)))
            .until(t(100))
            .fires(&[(AccessExpiry, t(60))]),
        story(
            "002",
            "with `from_account_update`, access does not expire before the update",
        )
        .under(awaited())
        .given(active())
        .until(t(1000))
        .shows(json!({ "access": "enabled", "expires_at": null }))
        .fires(&[]),
        story("002", "it expires 60 days after the update")
            .under(awaited())
            .given(active().and("account.updated", t(200)))
            .until(t(1000))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "it expires 60 days after a later entry")
            .under(awaited())
            .given(
                active()
                    .and("account.updated", t(10))
                    .and("account.accessed", t(30)),
            )
            .until(t(1000))
            .fires(&[(AccessExpiry, t(90))]),
        story("002", "a second update does not count")
            .under(awaited())
            .given(
                active()
                    .and("account.updated", t(10))
                    .and("account.updated", t(50)),
            )
            .until(t(1000))
            .fires(&[(AccessExpiry, t(70))]),
        story(
            "002",
            "an update of an account below the threshold schedules no expiry",
        )
        .under(awaited())
        .given(
            active()
                .and("account.jobs_counted total=5", t(1))
                .and("account.updated", t(10)),
        )
        .until(t(1000))
        .shows(json!({ "expires_at": null })),
    ]
}

fn warnings() -> Vec<Story> {
    let all = [
        (AccessWarning, t(46)),
        (AccessWarning, t(53)),
        (AccessWarning, t(59)),
        (AccessExpiry, t(60)),
    ];
    vec![
        story(
            "ours",
            "14, 7 and 1 days before expiry a warning goes out, once each",
        )
        .given(active())
        .until(t(100))
        .fires(&all)
        .changes(&[
            "access.expiring",
            "access.expiring",
            "access.expiring",
            "access.expired",
        ]),
        story(
            "ours",
            "a warning is published at its due time, and not a microsecond before",
        )
        .given(active())
        .until(t(46) - MICRO)
        .fires(&[])
        .next(AccessWarning, t(46)),
        story("ours", "after a warning, the next nearer one is due")
            .given(active())
            .until(t(46))
            .fires(&[(AccessWarning, t(46))])
            .changes(&["access.expiring"])
            .next(AccessWarning, t(53)),
        story("ours", "a renewal makes all warnings due again")
            .given(active().and("account.accessed", t(50)))
            .until(t(200))
            .fires(&[
                (AccessWarning, t(96)),
                (AccessWarning, t(103)),
                (AccessWarning, t(109)),
                (AccessExpiry, t(110)),
            ]),
        story("ours", "of three overdue warnings only the nearest is published")
            .under(policy_from(t(40), |p| {
                p.access_idle = days(40) + TimeDelta::hours(12);
            }))
            .given(active())
            .until(t(100))
            .fires(&[
                (AccessWarning, t(40)),
                (AccessExpiry, t(40) + TimeDelta::hours(12)),
            ])
            .publishes(json!([
                { "type": "access.expiring", "to": "P1D", "data": { "expires_at": "2026-02-10T12:00:00Z" } },
                { "type": "access.expired", "from": "enabled", "to": "expired" },
            ])),
        story(
            "ours",
            "a shorter policy makes two warnings overdue: the nearest is published at that moment",
        )
        .under(policy_from(t(40), |p| p.access_idle = days(46)))
        .given(active())
        .until(t(40))
        .fires(&[(AccessWarning, t(40))])
        .publishes(json!([{
            "type": "access.expiring", "to": "P7D", "data": { "expires_at": "2026-02-16T00:00:00Z" },
        }]))
        .next(AccessWarning, t(45)),
        story("ours", "when expiry is overdue, no warning is published")
            .under(policy_from(t(30), |p| p.access_idle = days(20)))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(30))])
            .changes(&["access.expired"]),
        story("ours", "disabled access has no warnings")
            .given(active().and("access.disabled", t(45)))
            .until(t(100))
            .fires(&[]),
        story("ours", "without expiry there are no warnings")
            .given(active().and("account.jobs_counted total=1", t(1)))
            .until(t(100))
            .fires(&[]),
    ]
}

#[test]
fn timers_follow_the_tables() {
    check(&stories());
}

#[test]
fn every_sweep_finds_a_timer() {
    let swept: BTreeSet<Sweep> = Timer::ALL.into_iter().map(Timer::sweep).collect();
    assert_eq!(swept, BTreeSet::from(Sweep::ALL), "a sweep finds no timer");
    assert_eq!(Sweep::from_name("access-expiry"), Some(Sweep::AccessExpiry));
    assert_eq!(Sweep::from_name("access_expiry"), None);
}

#[test]
fn the_default_policy_is_that_of_the_articles() {
    let policy = Policy::default();
    assert_eq!(policy.access_idle, days(60));
    assert_eq!(policy.mature_after_jobs, 100);
    assert!(!policy.from_account_update);
    assert_eq!(policy.warn_before, [days(14), days(7), days(1)]);
    assert_eq!(policy.subscriptions_grace, days(0));
    assert_eq!(policy.subscriptions_end, SubscriptionsEnd::AtOnce);
    assert_eq!(policy.cleanup_grace, days(0));
    assert_eq!(policy.stalled_after, days(14));
    assert_eq!(policy.request_lapses, days(0), "never");
}
