//! The timers that end subscriptions (000), clean up (001) and report stalled invitations (000).

use serde_json::json;
use tenure::domain::policy::SubscriptionsEnd;
use tenure::domain::timer::Timer::{StalledInvitation, SubscriptionEnd, TerminatedCleanup};

use super::holdings::statuses;
use super::service::{set_up, terminated};
use super::*;

pub fn stories() -> Vec<Story> {
    [
        subscription_ends(),
        subscription_ends_put_off(),
        paid_until(),
        cleanup(),
        stalled(),
    ]
    .concat()
}

pub fn subscribed(given: Vec<Event>) -> Vec<Event> {
    given.and("subscription.added subscription_id=mine", t(-3)).and(
        "subscription.added subscription_id=theirs managed_by=client",
        t(-3),
    )
}

fn subscription_ends() -> Vec<Story> {
    let grace = || policy(|p| p.subscriptions_grace = days(30));
    let ended = statuses;
    vec![
        story(
            "000",
            "the partner's subscriptions end when the client is archived",
        )
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
        .no_timer_is_due(),
        story("000", "the partner's subscriptions end when the client is lost")
            .given(subscribed(active()))
            .when(on("client.lost", t(10)))
            .reads(ended, "mine ended, theirs active")
            .fires(&[(SubscriptionEnd, t(10))]),
        story(
            "000",
            "prepared subscriptions end when the invitation is withdrawn",
        )
        .given(subscribed(invited()))
        .when(on("client.archived", t(0)))
        .reads(ended, "mine ended, theirs prepared")
        .fires(&[(SubscriptionEnd, t(0))]),
        story("000", "with a grace period they continue, to the microsecond")
            .under(grace())
            .given(subscribed(archived()))
            .until(t(40) - MICRO)
            .reads(ended, "mine active, theirs active")
            .fires(&[]),
        story("000", "they end with the grace period")
            .under(grace())
            .given(subscribed(archived()))
            .until(t(40))
            .reads(ended, "mine ended, theirs active")
            .fires(&[(SubscriptionEnd, t(40))])
            .changes(&["subscription.ended mine"]),
    ]
}

/// Events that keep a subscription from ending with its link, and events that do not.
fn subscription_ends_put_off() -> Vec<Story> {
    let grace = || policy(|p| p.subscriptions_grace = days(30));
    let ended = statuses;
    vec![
        story("000", "a link that becomes active again in time keeps them")
            .under(grace())
            .given(all_steps(
                subscribed(archived()).and("client.invited", t(11)),
                t(39),
            ))
            .until(t(80))
            .reads(ended, "mine active, theirs active"),
        story(
            "000",
            "a link that becomes active again at the moment they end is too late",
        )
        .under(grace())
        .given(all_steps(
            subscribed(archived()).and("client.invited", t(11)),
            t(40),
        ))
        .until(t(40))
        .reads(ended, "mine ended, theirs active"),
        story("000", "a new invitation alone does not keep them")
            .under(grace())
            .given(subscribed(archived()).and("client.invited", t(11)))
            .until(t(40))
            .reads(ended, "mine ended, theirs active"),
        story(
            "000",
            "a subscription added after the new invitation does not end",
        )
        .under(grace())
        .given(
            subscribed(archived())
                .and("client.invited", t(11))
                .and("subscription.added subscription_id=new", t(12)),
        )
        .until(t(100))
        .reads(ended, "mine ended, theirs active, new prepared"),
        story(
            "000",
            "when the new invitation is withdrawn, each ends by the link that ended first",
        )
        .under(grace())
        .given(
            subscribed(archived())
                .and("client.invited", t(11))
                .and("subscription.added subscription_id=new", t(12))
                .and("client.archived", t(20)),
        )
        .until(t(100))
        .fires(&[(SubscriptionEnd, t(40)), (SubscriptionEnd, t(50))]),
        story(
            "000",
            "a subscription that was ended by an event does not end again",
        )
        .under(grace())
        .given(subscribed(archived()).and("subscription.ended subscription_id=mine", t(15)))
        .until(t(100))
        .fires(&[]),
        story("000", "subscriptions that outlived one link end with the next")
            .under(grace())
            .given(
                all_steps(subscribed(archived()).and("client.invited", t(11)), t(12))
                    .and("client.lost", t(20)),
            )
            .until(t(100))
            .fires(&[(SubscriptionEnd, t(50))]),
        story("ours", "deletion does not wait for the grace period")
            .under(grace())
            .given(subscribed(archived()))
            .when(on("client.deleted", t(11)))
            .reads(ended, "mine ended")
            .no_timer_is_due(),
        story("000", "a rejected invitation leaves prepared subscriptions")
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
        active().and(
            &format!("subscription.added subscription_id=s1 paid_until={}", z(t(until))),
            t(1),
        )
    };
    vec![
        story("ours", "a paid subscription continues until it is no longer paid")
            .under(paid())
            .given(given(90).and("client.archived", t(10)))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(90))]),
        story("ours", "it does not end before the grace period")
            .under(paid())
            .given(given(12).and("client.archived", t(10)))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15))]),
        story("ours", "a subscription without a date ends with the grace period")
            .under(paid())
            .given(
                active()
                    .and("subscription.added subscription_id=s1", t(1))
                    .and("client.archived", t(10)),
            )
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15))]),
        story("ours", "each subscription ends at its own date")
            .under(paid())
            .given(
                given(90)
                    .and("subscription.added subscription_id=s2", t(1))
                    .and("client.lost", t(10)),
            )
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(15)), (SubscriptionEnd, t(90))])
            .changes(&["subscription.ended s2", "subscription.ended s1"]),
        story("ours", "a renewal after the end of the link moves the end")
            .under(paid())
            .given(given(90).and("client.archived", t(10)).and(
                &format!("subscription.renewed subscription_id=s1 paid_until={}", z(t(120))),
                t(20),
            ))
            .until(t(200))
            .fires(&[(SubscriptionEnd, t(120))]),
        story("ours", "a renewal to a past date ends it at once")
            .under(paid())
            .given(given(90).and("client.archived", t(10)))
            .when(on(
                &format!("subscription.renewed subscription_id=s1 paid_until={}", z(t(11))),
                t(20),
            ))
            .fires(&[(SubscriptionEnd, t(20))]),
        story("ours", "with `at_once` it ends at once, whatever is paid")
            .given(given(90))
            .when(on("client.archived", t(10)))
            .fires(&[(SubscriptionEnd, t(10))]),
    ]
}

fn cleanup() -> Vec<Story> {
    let grace = || policy(|p| p.cleanup_grace = days(7));
    let holdings = json!({ "assignments": ["a1"], "report_schedules": ["r1"], "margin_rules": ["m1"] });
    let gone = json!({ "assignments": [], "report_schedules": [], "margin_rules": [] });
    vec![
        story("001", "a terminated client is cleaned up at once")
            .given(set_up())
            .when(on("client.terminated", t(10)))
            .fires(&[(TerminatedCleanup, t(10))])
            .shows(gone.clone()),
        story(
            "001",
            "with a grace period it keeps its holdings, to the microsecond, and is not billable",
        )
        .under(grace())
        .given(terminated())
        .until(t(17) - MICRO)
        .shows(holdings.clone())
        .shows(json!({ "billable": false, "retrieving": false }))
        .next(TerminatedCleanup, t(17)),
        story("001", "it loses them when the grace period is over")
            .under(grace())
            .given(terminated())
            .until(t(17))
            .shows(gone.clone())
            .fires(&[(TerminatedCleanup, t(17))])
            .changes(&[
                "assignment.removed a1",
                "former_assignment.added a1",
                "report_schedule.removed r1",
                "margin_rule.removed m1",
            ])
            .no_timer_is_due(),
        story("001", "a client that is reactivated in time keeps everything")
            .under(grace())
            .given(terminated().and("client.reactivated", t(17) - MICRO))
            .until(t(100))
            .shows(holdings)
            .fires(&[]),
        story("001", "a reactivation at the moment of the clean-up is too late")
            .under(grace())
            .given(terminated().and("client.reactivated", t(17)))
            .until(t(100))
            .shows(gone.clone()),
        story("001", "a second termination starts a second grace period")
            .under(grace())
            .given(
                terminated()
                    .and("client.reactivated", t(12))
                    .and("client.terminated", t(15)),
            )
            .until(t(100))
            .fires(&[(TerminatedCleanup, t(22))]),
        story("001", "without holdings no clean-up is due")
            .given(draft())
            .when(on("client.terminated", t(0)))
            .fires(&[])
            .no_timer_is_due(),
    ]
}

fn stalled() -> Vec<Story> {
    vec![
        story("000", "an invitation that is open for 14 days has stalled")
            .given(invited())
            .until(t(12))
            .shows(json!({ "link": "invited" }))
            .fires(&[(StalledInvitation, t(12))])
            .changes(&["invitation.stalled"]),
        story("000", "it has not stalled a microsecond earlier")
            .given(invited())
            .until(t(12) - MICRO)
            .fires(&[])
            .next(StalledInvitation, t(12)),
        story("000", "an invitation stalls once")
            .given(invited())
            .until(t(1000))
            .fires(&[(StalledInvitation, t(12))])
            .no_timer_is_due(),
        story("000", "a resend starts the 14 days again")
            .given(invited().and("client.invited", t(5)))
            .until(t(100))
            .fires(&[(StalledInvitation, t(19))]),
        story("000", "a resend after it stalled can stall again")
            .given(invited().and("client.invited", t(20)))
            .until(t(100))
            .fires(&[(StalledInvitation, t(34))])
            .changes(&["invitation.stalled"]),
        story("000", "an invitation with one completed step can stall")
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
        story("000", "the policy sets the time")
            .under(policy(|p| p.stalled_after = days(3)))
            .given(invited())
            .until(t(1000))
            .fires(&[(StalledInvitation, t(1))]),
    ]
}

#[test]
fn endings_follow_the_tables() {
    check(&stories());
}
