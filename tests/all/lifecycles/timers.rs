//! The timers: when each is due, what it does, what stops it, and which settings it goes by.

use serde_json::json;
use tenure::domain::policy::SubscriptionsEnd;
use tenure::domain::timer::Timer::{
    AccessExpiry, AccessWarning, StalledInvitation, SubscriptionEnd, TerminatedCleanup,
};
use tenure::domain::{Policy, Sweep, Timer};

use super::service::{set_up, terminated};
use super::*;

pub fn stories() -> Vec<Story> {
    [
        expiry(),
        maturity(),
        account_updates(),
        warnings(),
        subscription_ends(),
        paid_until(),
        cleanup(),
        stalled(),
        eras(),
        together(),
    ]
    .concat()
}

fn no_warnings(p: &mut Policy) {
    p.warn_before.clear();
}

fn expiry() -> Vec<Story> {
    vec![
        story("002", "a microsecond before the 60 days are over, access is enabled")
            .under(policy(no_warnings))
            .given(active())
            .until(t(60) - MICRO)
            .shows(json!({ "access": "enabled", "expires_at": z(t(60)) }))
            .fires(&[])
            .next(AccessExpiry, t(60)),
        story("002", "when the 60 days are over, access has expired")
            .under(policy(no_warnings))
            .given(active())
            .until(t(60))
            .shows(json!({ "access": "expired", "expires_at": null, "as_of": z(t(60)) }))
            .fires(&[(AccessExpiry, t(60))])
            .changes(&["access.expired"])
            .nothing_to_come(),
        story("002", "it has expired when it was due, whenever one looks")
            .under(policy(no_warnings))
            .given(active())
            .until(t(500))
            .fires(&[(AccessExpiry, t(60))]),
        story("002", "settings may say another span")
            .under(policy(|p| {
                no_warnings(p);
                p.access_idle = days(7);
            }))
            .given(active().and("account.accessed", t(5)))
            .until(t(100))
            .fires(&[(AccessExpiry, t(12))]),
        story("002", "access that was enabled after it expired expires again")
            .under(policy(no_warnings))
            .given(active().and("access.enabled", t(70)))
            .until(t(200))
            .fires(&[(AccessExpiry, t(130))]),
    ]
}

fn maturity() -> Vec<Story> {
    let young = || active().and("account.jobs_counted total=99", t(1));
    vec![
        story("002", "access to an account with few jobs does not expire")
            .given(young())
            .until(t(1000))
            .shows(json!({ "access": "enabled", "expires_at": null, "jobs_total": 99 }))
            .fires(&[])
            .nothing_to_come(),
        story("002", "access expires 60 days after the 100th job")
            .under(policy(no_warnings))
            .given(young().and("account.jobs_counted total=100", t(200)))
            .until(t(300))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "later counts do not move the 100th job")
            .under(policy(no_warnings))
            .given(
                young()
                    .and("account.jobs_counted total=250", t(200))
                    .and("account.jobs_counted total=300", t(220)),
            )
            .until(t(300))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "a lower count does not take maturity back")
            .under(policy(no_warnings))
            .given(
                young()
                    .and("account.jobs_counted total=100", t(200))
                    .and("account.jobs_counted total=3", t(220)),
            )
            .until(t(300))
            .shows(json!({ "jobs_total": 100 }))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "a partner that entered after the 100th job has 60 days from then")
            .under(policy(no_warnings))
            .given(
                active()
                    .and("account.jobs_counted total=100", t(1))
                    .and("account.accessed", t(30)),
            )
            .until(t(300))
            .fires(&[(AccessExpiry, t(90))]),
        story("002", "an account that was mature before the link runs from the link")
            .under(policy(no_warnings))
            .given(active().and("account.jobs_counted total=500", t(-3)))
            .until(t(300))
            .fires(&[(AccessExpiry, t(60))]),
        story("002", "settings may say another number of jobs")
            .under(policy(|p| {
                no_warnings(p);
                p.mature_after_jobs = 10;
            }))
            .given(active().and("account.jobs_counted total=10", t(5)))
            .until(t(300))
            .fires(&[(AccessExpiry, t(65))]),
        story("002", "a count that comes after access has expired does not bring it back")
            .given(active())
            .when(on("account.jobs_counted total=1", t(61)))
            .shows(json!({ "access": "expired" }))
            .changes(&[]),
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
        story("002", "by default an account's update does not matter")
            .under(policy(no_warnings))
            .given(active().and("account.updated", t(30)))
            .until(t(100))
            .fires(&[(AccessExpiry, t(60))]),
        story("002", "where it does, access does not expire before the update")
            .under(awaited())
            .given(active())
            .until(t(1000))
            .shows(json!({ "access": "enabled", "expires_at": null }))
            .fires(&[]),
        story("002", "and then 60 days after it")
            .under(awaited())
            .given(active().and("account.updated", t(200)))
            .until(t(1000))
            .fires(&[(AccessExpiry, t(260))]),
        story("002", "or 60 days after the partner last entered")
            .under(awaited())
            .given(active().and("account.updated", t(10)).and("account.accessed", t(30)))
            .until(t(1000))
            .fires(&[(AccessExpiry, t(90))]),
        story("002", "an account gets the new rules once: a second update does not count")
            .under(awaited())
            .given(active().and("account.updated", t(10)).and("account.updated", t(50)))
            .until(t(1000))
            .fires(&[(AccessExpiry, t(70))]),
        story("002", "an update of an account with few jobs starts nothing")
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
        story("ours", "14, 7 and 1 days before expiry a warning goes out, once each")
            .given(active())
            .until(t(100))
            .fires(&all)
            .changes(&["access.expiring", "access.expiring", "access.expiring", "access.expired"]),
        story("ours", "a warning is due when it is due, and not a microsecond before")
            .given(active())
            .until(t(46) - MICRO)
            .fires(&[])
            .next(AccessWarning, t(46)),
        story("ours", "after the first warning the next one is the nearer one")
            .given(active())
            .until(t(46))
            .fires(&[(AccessWarning, t(46))])
            .changes(&["access.expiring"])
            .next(AccessWarning, t(53)),
        story("ours", "a renewal brings all warnings again")
            .given(active().and("account.accessed", t(50)))
            .until(t(200))
            .fires(&[
                (AccessWarning, t(96)),
                (AccessWarning, t(103)),
                (AccessWarning, t(109)),
                (AccessExpiry, t(110)),
            ]),
        story("ours", "of several that are overdue at once the nearest goes out alone")
            .under(policy_from(t(50), |p| p.access_idle = days(55)))
            .given(active().and("account.accessed", t(2)))
            .until(t(50) - MICRO)
            .fires(&[(AccessWarning, t(48))]),
        story("ours", "shorter idleness makes two warnings overdue: the nearest goes out at that moment")
            .under(policy_from(t(40), |p| p.access_idle = days(46)))
            .given(active())
            .until(t(40))
            .fires(&[(AccessWarning, t(40))])
            .tells(json!([{ "type": "access.expiring", "to": days(7).to_string() }]))
            .next(AccessWarning, t(45)),
        story("ours", "when all are overdue with expiry itself, none goes out")
            .under(policy_from(t(30), |p| p.access_idle = days(20)))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(30))])
            .changes(&["access.expired"]),
        story("ours", "disabled access is not warned of")
            .given(active().and("access.disabled", t(45)))
            .until(t(100))
            .fires(&[]),
        story("ours", "without expiry there is no warning")
            .given(active().and("account.jobs_counted total=1", t(1)))
            .until(t(100))
            .fires(&[]),
    ]
}

fn subscribed(given: Vec<Event>) -> Vec<Event> {
    given
        .and("subscription.added subscription_id=mine", t(-3))
        .and("subscription.added subscription_id=theirs managed_by=client", t(-3))
}

fn subscription_ends() -> Vec<Story> {
    let grace = || policy(|p| p.subscriptions_grace = days(30));
    let ended = super::holdings::statuses;
    vec![
        story("000", "the partner's subscriptions end as the client is archived")
            .given(subscribed(active()))
            .when(on("client.archived", t(10)))
            .reads(ended, "mine ended, theirs active")
            .fires(&[(SubscriptionEnd, t(10))])
            .changes(&[
                "link.archived",
                "access.none",
                "commission.stopped",
                "status_credit.withdrawn",
                "subscription.ended mine",
            ])
            .nothing_to_come(),
        story("000", "the partner's subscriptions end as the client is lost")
            .given(subscribed(active()))
            .when(on("client.lost", t(10)))
            .reads(ended, "mine ended, theirs active")
            .fires(&[(SubscriptionEnd, t(10))]),
        story("000", "what was prepared ends too, as the invitation is withdrawn")
            .given(subscribed(invited()))
            .when(on("client.archived", t(0)))
            .reads(ended, "mine ended, theirs prepared")
            .fires(&[(SubscriptionEnd, t(0))]),
        story("000", "with grace they run on, to the microsecond")
            .under(grace())
            .given(subscribed(archived()))
            .until(t(40) - MICRO)
            .reads(ended, "mine active, theirs active")
            .fires(&[]),
        story("000", "and end when the grace is over")
            .under(grace())
            .given(subscribed(archived()))
            .until(t(40))
            .reads(ended, "mine ended, theirs active")
            .fires(&[(SubscriptionEnd, t(40))])
            .changes(&["subscription.ended mine"]),
        story("000", "a link that is active again in time keeps them")
            .under(grace())
            .given(all_steps(subscribed(archived()).and("client.invited", t(11)), t(39)))
            .until(t(80))
            .reads(ended, "mine active, theirs active"),
        story("000", "a link that is active again in the moment they end is too late")
            .under(grace())
            .given(all_steps(subscribed(archived()).and("client.invited", t(11)), t(40)))
            .until(t(40))
            .reads(ended, "mine ended, theirs active"),
        story("000", "a re-invitation alone does not keep them")
            .under(grace())
            .given(subscribed(archived()).and("client.invited", t(11)))
            .until(t(40))
            .reads(ended, "mine ended, theirs active"),
        story("000", "one that is added after the re-invitation is not meant")
            .under(grace())
            .given(
                subscribed(archived())
                    .and("client.invited", t(11))
                    .and("subscription.added subscription_id=new", t(12)),
            )
            .until(t(100))
            .reads(ended, "mine ended, theirs active, new prepared"),
        story("000", "when the re-invitation is withdrawn, each ends by the link that it lost first")
            .under(grace())
            .given(
                subscribed(archived())
                    .and("client.invited", t(11))
                    .and("subscription.added subscription_id=new", t(12))
                    .and("client.archived", t(20)),
            )
            .until(t(100))
            .fires(&[(StalledInvitation, t(25)), (SubscriptionEnd, t(40)), (SubscriptionEnd, t(50))][1..]),
        story("000", "one that was ended by hand does not end again")
            .under(grace())
            .given(subscribed(archived()).and("subscription.ended subscription_id=mine", t(15)))
            .until(t(100))
            .fires(&[]),
        story("000", "saved once, they end with the next loss of the link")
            .under(grace())
            .given(
                all_steps(subscribed(archived()).and("client.invited", t(11)), t(12))
                    .and("client.lost", t(20)),
            )
            .until(t(100))
            .fires(&[(SubscriptionEnd, t(50))]),
        story("ours", "deletion does not wait for the grace")
            .under(grace())
            .given(subscribed(archived()))
            .when(on("client.deleted", t(11)))
            .reads(ended, "mine ended, theirs active")
            .nothing_to_come(),
        story("000", "an invitation that is rejected leaves what was prepared")
            .given(subscribed(referred()))
            .when(on("invitation.rejected", t(0)))
            .reads(ended, "mine prepared, theirs prepared")
            .fires(&[]),
    ]
}

fn paid_until() -> Vec<Story> {
    let paid = || {
        policy(|p| {
            p.subscriptions_end = SubscriptionsEnd::PaidUntil;
            p.subscriptions_grace = days(5);
            p.access_idle = days(1000);
        })
    };
    let given = |until: i64| {
        active().and(&format!("subscription.added subscription_id=s1 paid_until={}", z(t(until))), t(1))
    };
    vec![
        story("ours", "what is paid for runs on until then")
            .under(paid())
            .given(given(90).and("client.archived", t(10)))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(90))]),
        story("ours", "but not less than the grace")
            .under(paid())
            .given(given(12).and("client.archived", t(10)))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15))]),
        story("ours", "without a date it ends with the grace")
            .under(paid())
            .given(
                active()
                    .and("subscription.added subscription_id=s1", t(1))
                    .and("client.archived", t(10)),
            )
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15))]),
        story("ours", "each ends at its own date")
            .under(paid())
            .given(
                given(90)
                    .and("subscription.added subscription_id=s2", t(1))
                    .and("client.lost", t(10)),
            )
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15)), (SubscriptionEnd, t(90))])
            .changes(&["subscription.ended s2", "subscription.ended s1"]),
        story("ours", "a renewal after the loss moves the end")
            .under(paid())
            .given(
                given(90)
                    .and("client.archived", t(10))
                    .and(&format!("subscription.renewed subscription_id=s1 paid_until={}", z(t(120))), t(20)),
            )
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(120))]),
        story("ours", "a renewal to a date that is past ends it at once")
            .under(paid())
            .given(given(90).and("client.archived", t(10)))
            .when(on(&format!("subscription.renewed subscription_id=s1 paid_until={}", z(t(11))), t(20)))
            .fires(&[(SubscriptionEnd, t(20))]),
        story("ours", "at once means at once, whatever is paid")
            .given(given(90))
            .when(on("client.archived", t(10)))
            .fires(&[(SubscriptionEnd, t(10))]),
    ]
}

fn cleanup() -> Vec<Story> {
    let grace = || policy(|p| p.cleanup_grace = days(7));
    let kept = json!({ "assignments": ["a1"], "report_schedules": ["r1"], "margin_rules": ["m1"] });
    let gone = json!({ "assignments": [], "report_schedules": [], "margin_rules": [] });
    vec![
        story("001", "a terminated client is cleaned up at once")
            .given(set_up())
            .when(on("client.terminated", t(10)))
            .fires(&[(TerminatedCleanup, t(10))])
            .shows(gone.clone()),
        story("001", "with grace it keeps what it had, to the microsecond, and is not billed all the same")
            .under(grace())
            .given(terminated())
            .until(t(17) - MICRO)
            .shows(kept.clone())
            .shows(json!({ "billable": false, "retrieving": false }))
            .next(TerminatedCleanup, t(17)),
        story("001", "and loses it when the grace is over")
            .under(grace())
            .given(terminated())
            .until(t(17))
            .shows(gone.clone())
            .fires(&[(TerminatedCleanup, t(17))])
            .changes(&["assignment.removed a1", "report_schedule.removed r1", "margin_rule.removed m1"])
            .nothing_to_come(),
        story("001", "reactivated in time it keeps everything")
            .under(grace())
            .given(terminated().and("client.reactivated", t(17) - MICRO))
            .until(t(100))
            .shows(kept)
            .fires(&[]),
        story("001", "reactivated in the moment of the clean-up it is too late")
            .under(grace())
            .given(terminated().and("client.reactivated", t(17)))
            .until(t(100))
            .shows(gone.clone()),
        story("001", "terminated again, the grace runs again")
            .under(grace())
            .given(
                terminated()
                    .and("client.reactivated", t(12))
                    .and("client.terminated", t(15)),
            )
            .until(t(100))
            .fires(&[(TerminatedCleanup, t(22))]),
        story("001", "where there is nothing to clean up, nothing is due")
            .given(draft())
            .when(on("client.terminated", t(0)))
            .fires(&[])
            .nothing_to_come(),
    ]
}

fn stalled() -> Vec<Story> {
    vec![
        story("000", "an invitation that is open for 14 days has stalled: resend it")
            .given(invited())
            .until(t(12))
            .shows(json!({ "link": "invited" }))
            .fires(&[(StalledInvitation, t(12))])
            .changes(&["invitation.stalled"]),
        story("000", "not a microsecond before")
            .given(invited())
            .until(t(12) - MICRO)
            .fires(&[])
            .next(StalledInvitation, t(12)),
        story("000", "it is said once an invitation")
            .given(invited())
            .until(t(1000))
            .fires(&[(StalledInvitation, t(12))])
            .nothing_to_come(),
        story("000", "a resend counts anew")
            .given(invited().and("client.invited", t(5)))
            .until(t(100))
            .fires(&[(StalledInvitation, t(19))]),
        story("000", "a resend after it stalled can stall again")
            .given(invited().and("client.invited", t(20)))
            .until(t(100))
            .fires(&[(StalledInvitation, t(34))])
            .changes(&["invitation.stalled"]),
        story("000", "one that accepted, and did no more, has stalled too")
            .given(invited().and("invitation.accepted", t(-1)))
            .until(t(100))
            .fires(&[(StalledInvitation, t(12))]),
        story("000", "an invitation that led to a link does not stall")
            .under(policy(|p| p.access_idle = days(10_000)))
            .given(active())
            .until(t(1000))
            .fires(&[]),
        story("000", "an invitation that was withdrawn does not stall")
            .given(invited().and("client.archived", t(0)))
            .until(t(1000))
            .fires(&[]),
        story("000", "settings may say another span")
            .under(policy(|p| p.stalled_after = days(3)))
            .given(invited())
            .until(t(1000))
            .fires(&[(StalledInvitation, t(1))]),
    ]
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
        story("ours", "what expired under the old settings stays expired under longer ones")
            .under(policy_change(idle(60), t(61), idle(90)))
            .given(active())
            .until(t(100))
            .shows(json!({ "access": "expired" }))
            .fires(&[(AccessExpiry, t(60))]),
        story("ours", "longer settings in force at the very moment of expiry put it off")
            .under(policy_change(idle(60), t(60), idle(90)))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(90))]),
        story("ours", "shorter settings make access overdue: it expires as they take effect")
            .under(policy_change(idle(60), t(50), idle(30)))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(50))]),
        story("ours", "and the moment before, it was enabled until the old expiry")
            .under(policy_change(idle(60), t(50), idle(30)))
            .given(active())
            .until(t(50) - MICRO)
            .shows(json!({ "access": "enabled", "expires_at": z(t(60)) }))
            .fires(&[]),
        story("ours", "shorter settings that make nothing overdue count from then on")
            .under(policy_change(idle(60), t(20), idle(30)))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(30))]),
        story("ours", "the first settings count from the beginning of time")
            .under(Policies::recorded(vec![(t(500), idle(10))]).expect("one"))
            .given(active())
            .until(t(100))
            .fires(&[(AccessExpiry, t(10))]),
        story("ours", "a grace that is taken away ends what it held as it is taken away")
            .under(policy_change(changed(|p| p.subscriptions_grace = days(90)), t(30), Policy::default()))
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
        story("ours", "the account's update comes to matter: a running expiry stops")
            .under(policy_change(idle(60), t(50), changed(|p| p.from_account_update = true)))
            .given(active())
            .until(t(200))
            .shows(json!({ "access": "enabled", "expires_at": null }))
            .fires(&[]),
        story("ours", "the account's update ceases to matter: access expires as it does")
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
        story("002", "the account that was mature by the threshold of its time stays mature")
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
    let same_day = || {
        policy_from(t(30), |p| {
            p.access_idle = days(40);
            p.warn_before = vec![days(20)];
            p.stalled_after = days(1);
        })
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
        story("ours", "what new settings make overdue at once fires in the order of the table")
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
            .under(same_day())
            .given(active().and("assignment.added assignment_id=a1", t(1)))
            .when(on("client.terminated", t(30)))
            .fires(&[(TerminatedCleanup, t(30))]),
        story("ours", "an access that expires with its warning overdue is not warned of")
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
fn timers_fire_as_the_tables_say() {
    tell(&stories());
}

#[test]
fn each_timer_has_its_sweep_and_each_sweep_its_name() {
    let names = Timer::ALL.map(|timer| timer.sweep().as_str());
    assert_eq!(
        names,
        [
            "access-expiry",
            "access-expiry",
            "subscription-end",
            "terminated-cleanup",
            "stalled-invitations"
        ]
    );
    for sweep in Sweep::ALL {
        assert_eq!(Sweep::from_name(sweep.as_str()), Some(sweep));
    }
    assert_eq!(Sweep::from_name("access_expiry"), None);
}

#[test]
fn the_default_settings_are_those_of_the_documents() {
    let policy = Policy::default();
    assert_eq!(policy.access_idle, days(60));
    assert_eq!(policy.mature_after_jobs, 100);
    assert!(!policy.from_account_update);
    assert_eq!(policy.warn_before, [days(14), days(7), days(1)]);
    assert_eq!(policy.subscriptions_grace, days(0));
    assert_eq!(policy.subscriptions_end, SubscriptionsEnd::AtOnce);
    assert_eq!(policy.cleanup_grace, days(0));
    assert_eq!(policy.stalled_after, days(14));
}
