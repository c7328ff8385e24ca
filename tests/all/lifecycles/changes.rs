//! The changes that events and timers cause, in full: type, id, from, to.

use serde_json::json;
use tenure::domain::{Change, Client, Policies, Refusal, changes, fold};

use super::service::set_up;
use super::*;

pub fn stories() -> Vec<Story> {
    [moves(), more_moves(), requests(), notices(), held(), silent()].concat()
}

fn moves() -> Vec<Story> {
    let parted = |to: &str| {
        json!([
            { "type": format!("link.{to}"), "from": "active", "to": to },
            { "type": "access.none", "from": "enabled", "to": "none" },
            { "type": "commission.stopped" },
            { "type": "status_credit.withdrawn" },
        ])
    };
    vec![
        story("000", "an added client has no previous statuses")
            .when(on("client.added name=Bakery", t(0)))
            .publishes(json!([
                { "type": "link.draft", "to": "draft" },
                { "type": "client.named", "to": "Bakery", "data": { "origin": "added" } },
                { "type": "service.pending_assigning", "to": "pending_assigning" },
                { "type": "visibility.started" },
            ])),
        story("ours", "a client that is added again comes from `deleted`")
            .given(deleted())
            .when(on("client.added name=Mill imported=true", t(12)))
            .publishes(json!([
                { "type": "link.draft", "from": "deleted", "to": "draft" },
                { "type": "client.named", "to": "Mill", "data": { "origin": "imported" } },
                { "type": "service.pending_assigning", "from": "terminated", "to": "pending_assigning" },
                { "type": "visibility.started" },
            ])),
        story("ours", "a renaming reports the old and the new name")
            .given(draft())
            .when(on("client.renamed name=Mill", t(0)))
            .publishes(json!([{ "type": "client.renamed", "from": "Bakery", "to": "Mill" }])),
        story("000", "an invitation changes the link and is sent")
            .given(archived())
            .when(on("client.invited", t(11)))
            .publishes(json!([
                { "type": "link.invited", "from": "archived", "to": "invited" },
                { "type": "invitation.sent", "data": {
                    "channel": "standard", "steps": ["accepted", "onboarded", "consented"], "commission_eligible": true,
                    "count": 2,
                } },
            ])),
        story("000", "an invitation is sent with its terms")
            .given(draft())
            .when(on(
                r#"client.invited channel=referral steps=["accepted"] commission_eligible=false"#,
                t(0),
            ))
            .publishes(json!([
                { "type": "link.invited", "from": "draft", "to": "invited" },
                { "type": "invitation.sent", "data": {
                    "channel": "referral", "steps": ["accepted"], "commission_eligible": false, "count": 1,
                } },
            ])),
        story(
            "000",
            "an active link starts access, commission and status credit",
        )
        .given(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
        .when(on("invitation.accepted", t(0)))
        .publishes(json!([
            { "type": "link.active", "from": "invited", "to": "active" },
            { "type": "access.enabled", "from": "none", "to": "enabled", "data": { "expires_at": z(t(60)) } },
            { "type": "invitation.step_completed", "to": "accepted" },
            { "type": "commission.started" },
            { "type": "status_credit.granted" },
        ])),
        story("000", "archiving reports everything that ends")
            .given(active())
            .when(on("client.archived", t(1)))
            .publishes(parted("archived")),
        story("000", "losing a client reports everything that ends")
            .given(active())
            .when(on("client.lost", t(1)))
            .publishes(parted("lost")),
        story("000", "a rejected referral changes the link")
            .given(referred())
            .when(on("invitation.rejected", t(0)))
            .publishes(json!([{
                "type": "link.invitation_rejected", "from": "invited", "to": "invitation_rejected",
            }])),
        story("000", "a rejected identity changes the link")
            .given(invited())
            .when(on("identity.rejected", t(0)))
            .publishes(
                json!([{ "type": "link.access_rejected", "from": "invited", "to": "access_rejected" }]),
            ),
    ]
}

fn more_moves() -> Vec<Story> {
    vec![
        story("ours", "deletion reports the end of the service")
            .given(draft())
            .when(on("client.deleted", t(0)))
            .publishes(json!([
                { "type": "link.deleted", "from": "draft", "to": "deleted" },
                { "type": "service.terminated", "from": "pending_assigning", "to": "terminated" },
                { "type": "visibility.stopped" },
            ])),
        story("000", "a cleared identity makes the client a draft again")
            .given(access_rejected())
            .when(on("identity.cleared", t(0)))
            .publishes(json!([{ "type": "link.draft", "from": "access_rejected", "to": "draft" }])),
        story("001", "termination stops billing and visibility")
            .given(
                draft()
                    .and("assignment.added assignment_id=a1", t(0))
                    .and("assignment.removed assignment_id=a1", t(1)),
            )
            .when(on("client.terminated", t(2)))
            .publishes(json!([
                { "type": "service.terminated", "from": "active", "to": "terminated" },
                { "type": "billing.stopped" },
                { "type": "visibility.stopped" },
            ])),
        story("001", "the first assignment starts billing and data retrieval")
            .given(draft())
            .when(on("assignment.added assignment_id=a1", t(0)))
            .publishes(json!([
                { "type": "service.active", "from": "pending_assigning", "to": "active" },
                { "type": "assignment.added", "id": "a1" },
                { "type": "billing.started" },
                { "type": "data_retrieval.started" },
            ])),
        story("002", "expiry changes access")
            .under(policy(|p| p.warn_before.clear()))
            .given(active())
            .until(t(60))
            .publishes(json!([{ "type": "access.expired", "from": "enabled", "to": "expired" }])),
        story("002", "the customer changes access")
            .given(active())
            .when(on("access.disabled", t(1)))
            .publishes(json!([{ "type": "access.disabled", "from": "enabled", "to": "disabled" }])),
        story(
            "ours",
            "access of an account with too few jobs is enabled without an expiry",
        )
        .given(
            active()
                .and("account.jobs_counted total=7", t(1))
                .and("access.disabled", t(2)),
        )
        .when(on("access.enabled", t(3)))
        .publishes(json!([{ "type": "access.enabled", "from": "disabled", "to": "enabled" }])),
    ]
}

fn requests() -> Vec<Story> {
    let disabled = || active().and("access.disabled", t(1));
    vec![
        story("002", "a request is reported")
            .given(disabled())
            .when(on("access.requested", t(2)))
            .publishes(json!([{ "type": "access.requested" }])),
        story("002", "the end of a request is reported")
            .given(disabled().and("access.requested", t(2)))
            .when(on("access.denied", t(3)))
            .publishes(json!([{ "type": "access.request_closed", "to": "denied" }])),
        story("002", "an approved request is reported as approved")
            .given(disabled().and("access.requested", t(2)))
            .when(on("access.approved", t(3)))
            .publishes(json!([
                {
                    "type": "access.enabled", "from": "disabled", "to": "enabled",
                    "data": { "expires_at": z(t(63)) },
                },
                { "type": "access.request_closed", "to": "approved" },
            ])),
        story(
            "002",
            "a request that the customer answers by enabling access is reported as enabled",
        )
        .given(disabled().and("access.requested", t(2)))
        .when(on("access.enabled", t(3)))
        .publishes(json!([
            {
                "type": "access.enabled", "from": "disabled", "to": "enabled",
                "data": { "expires_at": z(t(63)) },
            },
            { "type": "access.request_closed", "to": "enabled" },
        ])),
        story(
            "002",
            "a request that the customer answers by disabling access is reported as disabled",
        )
        .given(active().and("access.requested", t(61)))
        .when(on("access.disabled", t(62)))
        .publishes(json!([
            { "type": "access.disabled", "from": "expired", "to": "disabled" },
            { "type": "access.request_closed", "to": "disabled" },
        ])),
        story(
            "002",
            "a request that closes with the connection is reported as disconnected",
        )
        .given(disabled().and("access.requested", t(2)))
        .when(on("client.lost", t(3)))
        .publishes(json!([
            { "type": "link.lost", "from": "active", "to": "lost" },
            { "type": "access.none", "from": "disabled", "to": "none" },
            { "type": "access.request_closed", "to": "disconnected" },
            { "type": "commission.stopped" },
            { "type": "status_credit.withdrawn" },
        ])),
    ]
}

fn notices() -> Vec<Story> {
    vec![
        story("ours", "a warning states the time until expiry")
            .given(active())
            .until(t(46))
            .publishes(json!([{
                "type": "access.expiring", "to": "P14D", "data": { "expires_at": z(t(60)) },
            }])),
        story("ours", "a warning that is not in whole days states seconds")
            .under(policy(|p| p.warn_before = vec![TimeDelta::hours(36)]))
            .given(active())
            .until(t(59))
            .publishes(json!([{
                "type": "access.expiring", "to": "PT129600S", "data": { "expires_at": z(t(60)) },
            }])),
        story("000", "a step that is not the last is reported")
            .given(invited())
            .when(on("invitation.accepted", t(0)))
            .publishes(json!([{ "type": "invitation.step_completed", "to": "accepted" }])),
        story("000", "an independent onboarding is reported")
            .given(invited())
            .when(on("onboarding.completed via=independent", t(0)))
            .publishes(json!([{ "type": "invitation.bypassed" }])),
        story("000", "a bounced invitation is reported")
            .given(invited())
            .when(on("invitation.bounced", t(0)))
            .publishes(json!([{ "type": "invitation.bounced" }])),
        story(
            "002",
            "the creation of an account is reported with its creator and its id",
        )
        .given(draft())
        .when(on("account.created account_id=acc-1", t(0)))
        .publishes(json!([{ "type": "account.created", "id": "acc-1", "to": "partner" }])),
        story("002", "the id of an account that was created before is reported")
            .given(draft().and("account.created by=customer", t(0)))
            .when(on("account.created account_id=acc-1", t(1)))
            .publishes(json!([{
                "type": "account.created", "id": "acc-1", "from": "customer", "to": "customer",
            }])),
        story("002", "the end of a handover is reported")
            .given(draft().and("account.created", t(0)))
            .when(on("account.owner_set", t(1)))
            .publishes(json!([{ "type": "account.handed_over" }])),
        story("002", "a higher total of jobs is reported")
            .given(draft().and("account.jobs_counted total=7", t(0)))
            .when(on("account.jobs_counted total=120", t(1)))
            .publishes(json!([{ "type": "account.jobs_counted", "from": "7", "to": "120" }])),
        story("002", "the promise of commission changes with the invitation")
            .given(invited())
            .when(on("commission.eligibility_changed eligible=false", t(0)))
            .publishes(json!([{
                "type": "commission.eligibility_changed", "data": { "commission_eligible": false },
            }])),
        story("000", "a stalled invitation is reported")
            .given(invited())
            .until(t(12))
            .publishes(json!([{ "type": "invitation.stalled" }])),
    ]
}

fn held() -> Vec<Story> {
    let paid = |until: i64| {
        format!(
            "subscription.renewed subscription_id=s1 paid_until={}",
            z(t(until))
        )
    };
    let subscribed = || active().and("subscription.added subscription_id=s1", t(1));
    vec![
        story("000", "a subscription is prepared")
            .given(draft())
            .when(on("subscription.added subscription_id=s1", t(0)))
            .publishes(json!([{
                "type": "subscription.prepared", "id": "s1", "to": "prepared", "data": { "managed_by": "partner" },
            }])),
        story("000", "a subscription starts")
            .given(active())
            .when(on(
                &format!("subscription.added subscription_id=s1 plan=basic managed_by=client paid_until={}", z(t(30))),
                t(1),
            ))
            .publishes(json!([{
                "type": "subscription.started", "id": "s1", "to": "active",
                "data": { "managed_by": "client", "plan": "basic", "paid_until": z(t(30)) },
            }])),
        story("000", "a prepared subscription that starts keeps its terms")
            .given(invited_in_one_step().and("subscription.added subscription_id=s1 plan=basic", t(-1)))
            .when(on("invitation.accepted", t(0)))
            .publishes(json!([
                { "type": "link.active", "from": "invited", "to": "active" },
                { "type": "access.enabled", "from": "none", "to": "enabled", "data": { "expires_at": z(t(60)) } },
                { "type": "invitation.step_completed", "to": "accepted" },
                { "type": "subscription.started", "id": "s1", "from": "prepared", "to": "active" },
                { "type": "commission.started" },
                { "type": "status_credit.granted" },
            ])),
        story("000", "a subscription is renewed for the first time")
            .given(subscribed())
            .when(on(&paid(90), t(2)))
            .publishes(json!([{ "type": "subscription.renewed", "id": "s1", "to": z(t(90)) }])),
        story("000", "a subscription is renewed again")
            .given(subscribed().and(&paid(90), t(2)))
            .when(on(&paid(180), t(3)))
            .publishes(json!([{
                "type": "subscription.renewed", "id": "s1", "from": z(t(90)), "to": z(t(180)),
            }])),
        story("000", "a subscription ends")
            .given(subscribed())
            .when(on("subscription.ended subscription_id=s1", t(2)))
            .publishes(
                json!([{ "type": "subscription.ended", "id": "s1", "from": "active", "to": "ended" }]),
            ),
        story("001", "a clean-up reports every holding that it removes")
            .under(policy(|p| p.cleanup_grace = days(1)))
            .given(set_up().and("client.terminated", t(5)))
            .until(t(6))
            .publishes(json!([
                { "type": "assignment.removed", "id": "a1" },
                { "type": "former_assignment.added", "id": "a1" },
                { "type": "report_schedule.removed", "id": "r1" },
                { "type": "margin_rule.removed", "id": "m1" },
            ])),
    ]
}

/// Events that cause no change.
fn silent() -> Vec<Story> {
    [
        ("002", "a renewal of access", active(), "account.accessed"),
        (
            "002",
            "a count of jobs that is not higher",
            active().and("account.jobs_counted total=7", t(1)),
            "account.jobs_counted total=7",
        ),
        ("002", "an update of the account", active(), "account.updated"),
        (
            "ours",
            "a renaming to the same name",
            active(),
            "client.renamed name=Bakery",
        ),
    ]
    .into_iter()
    .map(|(seed, sentence, given, event)| {
        story(seed, format!("{sentence}: no change"))
            .given(given)
            .when(on(event, t(5)))
            .changes(&[])
    })
    .collect()
}

fn at(events: &[Event], days: i64) -> Client {
    fold(events, t(days), &Policies::default())
}

fn published(before: &Client, after: &Client) -> serde_json::Value {
    json!(changes(before, after, &Policies::default()))
}

fn invited_in_one_step() -> Vec<Event> {
    draft().and(r#"client.invited steps=["accepted"]"#, t(-2))
}

#[test]
fn changes_follow_the_tables() {
    check(&stories());
}

#[test]
fn a_refusal_is_published_with_its_code() {
    for refusal in Refusal::ALL {
        assert_eq!(
            json!(Change::EventAccepted(*refusal)),
            json!({ "type": "event.accepted", "from": refusal.code() })
        );
        assert_eq!(
            json!(Change::EventRefused {
                refusal: *refusal,
                conflicts_with: None
            }),
            json!({ "type": "event.refused", "to": refusal.code() })
        );
        assert!(!refusal.words().is_empty());
    }
}

#[test]
fn a_late_event_is_published_as_the_difference_it_makes() {
    let assumed = active().and("subscription.added subscription_id=s1", t(5));
    let late = assumed.clone().and("client.archived", t(3));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([
            { "type": "link.archived", "from": "active", "to": "archived" },
            { "type": "access.none", "from": "enabled", "to": "none" },
            { "type": "subscription.removed", "id": "s1", "from": "active" },
            { "type": "commission.stopped" },
            { "type": "status_credit.withdrawn" },
        ]),
        "the subscription never existed"
    );
}

#[test]
fn a_late_event_can_take_back_the_creation_of_an_account() {
    let assumed = draft().and("account.created account_id=acc-1", t(1));
    let late = assumed
        .clone()
        .and("client.deleted", t(2))
        .and("client.added name=Bakery", t(3));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([{ "type": "account.created", "from": "partner" }])
    );
}

#[test]
fn a_handover_that_turns_out_to_be_open_begins_anew() {
    let assumed = draft()
        .and("account.created", t(1))
        .and("account.owner_set", t(2));
    let late = assumed
        .clone()
        .and("client.deleted", t(3))
        .and("client.added name=Bakery", t(4))
        .and("account.created", t(5));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([{ "type": "account.created", "to": "partner" }])
    );
}

#[test]
fn a_late_renewal_reverts_an_expiry() {
    let assumed = active();
    let late = assumed.clone().and("account.accessed", t(30));
    assert_eq!(
        published(&at(&assumed, 61), &at(&late, 61)),
        json!([{
            "type": "access.enabled", "from": "expired", "to": "enabled", "data": { "expires_at": z(t(90)) },
        }])
    );
}

#[test]
fn a_late_addition_replaces_the_terms_of_a_subscription() {
    let added = |terms: &str| format!("subscription.added subscription_id=s1 {terms}");
    let assumed = active().and(&added("plan=basic"), t(5));
    let late = assumed.clone().and(&added("plan=plus managed_by=client"), t(3));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([{
            "type": "subscription.started", "id": "s1", "from": "active", "to": "active",
            "data": { "managed_by": "client", "plan": "plus" },
        }])
    );
}

#[test]
fn a_late_invitation_is_sent_again_with_all_that_happened_to_it() {
    let sent = |count: u32, channel: &str| {
        json!({
            "type": "invitation.sent",
            "data": {
                "channel": channel, "steps": ["accepted", "onboarded", "consented"], "commission_eligible": true,
                "count": count,
            },
        })
    };
    let assumed = invited()
        .and("invitation.accepted", t(1))
        .and("invitation.bounced", t(1));
    let earlier = assumed
        .clone()
        .and("client.invited channel=referral", t(-2) - days(1));
    let between = assumed.clone().and("client.invited channel=referral", t(0));
    let after = assumed.clone().and("client.invited channel=referral", t(2));
    let accepted = json!({ "type": "invitation.step_completed", "to": "accepted" });
    let bounced = json!({ "type": "invitation.bounced" });
    for (late, expected) in [
        (earlier, json!([sent(2, "standard"), accepted, bounced])),
        (between, json!([sent(2, "referral"), accepted, bounced])),
        (after, json!([sent(2, "referral")])),
    ] {
        assert_eq!(published(&at(&assumed, 3), &at(&late, 3)), expected);
    }
}

#[test]
fn a_late_deletion_can_take_back_a_count_of_jobs() {
    let assumed = draft().and("account.jobs_counted total=7", t(1));
    let late = assumed
        .clone()
        .and("client.deleted", t(2))
        .and("client.added name=Bakery", t(3));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([{ "type": "account.jobs_counted", "from": "7" }])
    );
}

#[test]
fn a_request_that_was_opened_earlier_is_reported_again() {
    let assumed = active()
        .and("access.disabled", t(1))
        .and("access.requested", t(5));
    let late = assumed.clone().and("access.requested", t(3));
    assert_eq!(
        published(&at(&assumed, 6), &at(&late, 6)),
        json!([{ "type": "access.requested" }])
    );
}

#[test]
fn between_distant_states_only_the_nearest_warning_differs() {
    assert_eq!(
        published(&at(&active(), 1), &at(&active(), 59)),
        json!([{ "type": "access.expiring", "to": "P1D", "data": { "expires_at": z(t(60)) } }])
    );
    assert_eq!(
        published(&at(&active(), 1), &at(&active(), 60)),
        json!([{ "type": "access.expired", "from": "enabled", "to": "expired" }])
    );
}
