//! Deleting a client, and adding it again (ours).

use serde_json::json;

use super::holdings::statuses;
use super::*;

pub fn stories() -> Vec<Story> {
    let slow = || {
        policy(|p| {
            p.subscriptions_grace = days(90);
            p.cleanup_grace = days(90);
        })
    };
    let full = || deleted_after(archived_with_grace());
    vec![
        story(
            "ours",
            "deletion terminates, cleans up and ends the partner's subscriptions without grace",
        )
        .under(slow())
        .given(archived_with_grace())
        .when(on("client.deleted", t(11)))
        .shows(json!({
            "link": "deleted", "service": "terminated", "tab": null, "billable": false, "visible": false,
            "assignments": [], "report_schedules": [], "margin_rules": [],
        }))
        .reads(statuses, "mine ended, theirs active")
        .changes(&[
            "link.deleted",
            "service.terminated",
            "subscription.ended mine",
            "assignment.removed a1",
            "report_schedule.removed r1",
            "margin_rule.removed m1",
            "billing.stopped",
            "data_retrieval.stopped",
        ])
        .no_timer_is_due(),
        story(
            "ours",
            "deleting a terminated client does the outstanding clean-up",
        )
        .under(slow())
        .given(archived_with_grace().and("client.terminated", t(10)))
        .when(on("client.deleted", t(11)))
        .shows(json!({ "link": "deleted", "service": "terminated", "assignments": [] }))
        .no_timer_is_due(),
        story("ours", "a deleted client keeps its name in its view")
            .given(draft())
            .when(on("client.deleted", t(0)))
            .shows(json!({ "name": "Bakery", "link": "deleted" }))
            .changes(&["link.deleted", "service.terminated"]),
        story("ours", "a deleted client that is added again is a new draft")
            .under(slow())
            .given(full())
            .when(on("client.added name=Mill", t(12)))
            .shows(json!({
                "name": "Mill", "link": "draft", "service": "pending_assigning", "access": "none",
                "billable": false, "visible": true, "retrieving": false, "tab": "active", "assignments": [],
            })),
        story(
            "000",
            "a draft has no active subscription, even if the client's own outlived the deletion",
        )
        .under(slow())
        .given(full())
        .when(on("client.added name=Bakery", t(12)))
        .reads(statuses, "mine ended, theirs prepared")
        .changes(&[
            "link.draft",
            "service.pending_assigning",
            "subscription.prepared theirs",
        ]),
        story(
            "ours",
            "facts about the account outlive the deletion: it is the same account",
        )
        .given(deleted_after(
            archived().and("account.jobs_counted total=100", t(10)),
        ))
        .when(on("client.added name=Bakery", t(12)))
        .shows(json!({ "jobs_total": 100 })),
        story("ours", "a client that is added again must be invited again")
            .given(all_steps(
                full()
                    .and("client.added name=Bakery", t(12))
                    .and("client.invited", t(13)),
                t(14),
            ))
            .until(t(14))
            .shows(json!({ "link": "active", "access": "enabled", "expires_at": z(t(74)) })),
    ]
}

fn deleted_after(given: Vec<Event>) -> Vec<Event> {
    given.and("client.deleted", t(11))
}

/// Archived, with all its holdings still waiting for their grace periods.
fn archived_with_grace() -> Vec<Event> {
    active()
        .and("subscription.added subscription_id=mine", t(1))
        .and(
            "subscription.added subscription_id=theirs managed_by=client",
            t(1),
        )
        .and("assignment.added assignment_id=a1", t(1))
        .and("report_schedule.created schedule_id=r1", t(2))
        .and("margin_rule.created rule_id=m1", t(2))
        .and("client.archived", t(10))
}

#[test]
fn deletion_follows_the_table() {
    check(&stories());
}
