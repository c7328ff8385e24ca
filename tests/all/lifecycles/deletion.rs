//! Deleting a client, and adding it again (ours).

use serde_json::json;

use super::holdings::statuses;
use super::*;

pub fn stories() -> Vec<Story> {
    [deleting(), adding_again()].concat()
}

/// Under this policy, nothing ends without a deletion.
fn slow() -> Policies {
    policy(|p| {
        p.subscriptions_grace = days(90);
        p.cleanup_grace = days(90);
    })
}

fn full() -> Vec<Event> {
    deleted_after(archived_with_grace())
}

fn deleting() -> Vec<Story> {
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
        .shows(json!({ "users": [], "integrations": [] }))
        .reads(statuses, "mine ended")
        .changes(&[
            "link.deleted",
            "service.terminated",
            "subscription.ended mine",
            "subscription.removed theirs",
            "assignment.removed a1",
            "report_schedule.removed r1",
            "margin_rule.removed m1",
            "user.removed u1",
            "billing.stopped",
            "data_retrieval.stopped",
            "visibility.stopped",
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
            .changes(&["link.deleted", "service.terminated", "visibility.stopped"]),
        story("ours", "a draft that is deleted lets go of what was prepared")
            .given(
                draft()
                    .and("user.added user_id=u1", t(-1))
                    .and("integration.added integration_id=i1", t(-1))
                    .and(
                        "subscription.added subscription_id=theirs managed_by=client",
                        t(-1),
                    ),
            )
            .when(on("client.deleted", t(0)))
            .shows(json!({ "subscriptions": [], "users": [], "integrations": [] }))
            .changes(&[
                "link.deleted",
                "service.terminated",
                "subscription.removed theirs",
                "user.removed u1",
                "integration.removed i1",
                "visibility.stopped",
            ]),
        story(
            "ours",
            "a subscription of the client's own that has ended is let go of, too",
        )
        .given(archived_with_grace().and("subscription.ended subscription_id=theirs", t(10)))
        .under(slow())
        .when(on("client.deleted", t(11)))
        .reads(statuses, "mine ended"),
    ]
}

fn adding_again() -> Vec<Story> {
    vec![
        story("ours", "a deleted client that is added again is a new draft")
            .under(slow())
            .given(full())
            .when(on("client.added name=Mill", t(12)))
            .shows(json!({
                "name": "Mill", "link": "draft", "service": "pending_assigning", "access": "none",
                "billable": false, "visible": true, "retrieving": false, "tab": "inactive", "assignments": [],
            })),
        story("ours", "a client that is added again begins with nothing")
            .under(slow())
            .given(full())
            .when(on("client.added name=Bakery", t(12)))
            .shows(json!({
                "subscriptions": [], "assignments": [], "former_assignments": [], "report_schedules": [],
                "margin_rules": [], "users": [], "integrations": [],
            }))
            .changes(&[
                "link.draft",
                "client.named",
                "service.pending_assigning",
                "subscription.removed mine",
                "visibility.started",
            ]),
        story("ours", "the ids of before are free: a subscription")
            .given(full().and("client.added name=Bakery", t(12)))
            .when(on("subscription.added subscription_id=mine", t(13)))
            .reads(statuses, "mine prepared"),
        story("ours", "the ids of before are free: a user")
            .given(full().and("client.added name=Bakery", t(12)))
            .when(on("user.added user_id=u1", t(13)))
            .shows(json!({ "users": ["u1"] })),
        story("ours", "the ids of before are free: an integration")
            .given(full().and("client.added name=Bakery", t(12)))
            .when(on("integration.added integration_id=i1", t(13)))
            .shows(json!({ "integrations": ["i1"] })),
        story("ours", "a deleted client forgets its account and its handover")
            .given(known_account())
            .when(on("client.deleted", t(11)))
            .shows(json!({
                "jobs_total": null, "last_accessed_at": null, "account_id": null, "handover": "none",
            }))
            .changes(&["link.deleted", "service.terminated", "visibility.stopped"]),
        story("ours", "a client that is added again has another account")
            .given(deleted_after(known_account()).and("client.added name=Bakery", t(12)))
            .when(on("account.created by=customer account_id=acc-2", t(13)))
            .shows(json!({ "account_id": "acc-2", "handover": "none", "jobs_total": null }))
            .changes(&["account.created acc-2"]),
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

/// Archived, with every fact about its account.
fn known_account() -> Vec<Event> {
    active()
        .and("account.created account_id=acc-1", t(1))
        .and("account.jobs_counted total=100", t(2))
        .and("account.updated", t(2))
        .and("account.accessed", t(3))
        .and("client.archived", t(10))
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
        .and("user.added user_id=u1", t(1))
        .and("integration.added integration_id=i1", t(1))
        .and("assignment.added assignment_id=a1", t(1))
        .and("report_schedule.created schedule_id=r1", t(2))
        .and("margin_rule.created rule_id=m1", t(2))
        .and("client.archived", t(10))
}

#[test]
fn deletion_follows_the_table() {
    check(&stories());
}
