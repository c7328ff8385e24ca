//! The link (000): adding, inviting, the steps of an invitation, rejections, parting.

use serde_json::{Value, json};
use tenure::domain::event::TYPES;

use super::*;

const TABLE: &str = "
seed | event                                | nothing         | draft           | invited         | referred            | active          | invitation_rejected      | access_rejected      | archived        | lost            | deleted
000  | client.added name=Bakery             | draft           | !already_exists | !already_exists | !already_exists     | !already_exists | !already_exists          | !already_exists      | !already_exists | !already_exists | draft
ours | client.renamed name=Mill             | !unknown_client | draft           | invited         | invited             | active          | invitation_rejected      | access_rejected      | archived        | lost            | !unknown_client
000  | client.invited                       | !unknown_client | invited         | invited         | invited             | !already_linked | !invitation_was_rejected | !access_was_rejected | invited         | invited         | !unknown_client
000  | client.invited channel=referral      | !unknown_client | invited         | invited         | invited             | !already_linked | !invitation_was_rejected | !access_was_rejected | invited         | invited         | !unknown_client
000  | invitation.accepted                  | !unknown_client | !not_invited    | invited         | invited             | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | onboarding.completed                 | !unknown_client | !not_invited    | invited         | invited             | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | onboarding.completed via=independent | !unknown_client | !not_invited    | invited         | invited             | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | consent.granted                      | !unknown_client | !not_invited    | invited         | invited             | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | invitation.rejected                  | !unknown_client | !not_invited    | !not_a_referral | invitation_rejected | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | identity.rejected reason=kyc         | !unknown_client | !not_invited    | access_rejected | access_rejected     | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
000  | client.archived                      | !unknown_client | !not_linked     | archived        | archived            | archived        | !not_linked              | !not_linked          | !not_linked     | !not_linked     | !unknown_client
000  | client.lost                          | !unknown_client | !not_linked     | !not_linked     | !not_linked         | lost            | !not_linked              | !not_linked          | !not_linked     | !not_linked     | !unknown_client
002  | partner.disconnected by=partner      | !unknown_client | !not_linked     | archived        | archived            | archived        | !not_linked              | !not_linked          | !not_linked     | !not_linked     | !unknown_client
002  | partner.disconnected by=client       | !unknown_client | !not_linked     | !not_linked     | !not_linked         | lost            | !not_linked              | !not_linked          | !not_linked     | !not_linked     | !unknown_client
ours | client.deleted                       | !unknown_client | deleted         | !still_linked   | !still_linked       | !still_linked   | deleted                  | deleted              | deleted         | deleted         | !unknown_client
";

fn link(view: &Value) -> String {
    view["link"].as_str().unwrap_or("nothing").to_owned()
}

pub fn stories() -> Vec<Story> {
    let matrix = Matrix {
        columns: vec![
            Column::new("nothing", nothing()),
            Column::new("draft", draft()),
            Column::new("invited", invited()),
            Column::new("referred", referred()),
            Column::new("active", active()),
            Column::new("invitation_rejected", invitation_rejected()),
            Column::new("access_rejected", access_rejected()),
            Column::new("archived", archived()),
            Column::new("lost", lost()),
            Column::new("deleted", deleted()),
        ],
        shows: link,
        table: TABLE,
    };
    [
        matrix.stories(),
        adding(),
        inviting(),
        steps(),
        parting(),
        tabs(),
        unknown_clients(),
    ]
    .concat()
}

fn adding() -> Vec<Story> {
    vec![
        story(
            "000",
            "a business that is added is a draft, and earns and costs nothing",
        )
        .when(on("client.added name=Bakery", t(0)))
        .shows(json!({
            "name": "Bakery", "link": "draft", "service": "pending_assigning", "access": "none",
            "connected": false, "billable": false, "visible": true, "retrieving": false,
            "commission": false, "status_credit": false, "tab": "active", "expires_at": null,
        }))
        .changes(&["link.draft", "service.pending_assigning"]),
        story("000", "a business that is imported is a draft too")
            .when(on("client.added name=Bakery imported=true", t(0)))
            .shows(json!({ "link": "draft" })),
    ]
}

fn inviting() -> Vec<Story> {
    vec![
        story(
            "000",
            "a draft that is invited is told of twice: it moved, and a letter went out",
        )
        .given(draft())
        .when(on("client.invited", t(0)))
        .changes(&["link.invited", "invitation.sent"]),
        story("000", "a resend is a new letter and no move")
            .given(invited())
            .when(on("client.invited", t(0)))
            .shows(json!({ "link": "invited" }))
            .changes(&["invitation.sent"]),
        story("000", "a resend starts the steps anew")
            .given(
                invited()
                    .and("invitation.accepted", t(-1))
                    .and("onboarding.completed", t(-1))
                    .and("client.invited", t(0)),
            )
            .when(on("consent.granted", t(1)))
            .shows(json!({ "link": "invited" })),
        story("000", "after a resend all the steps lead to the link")
            .given(
                invited()
                    .and("consent.granted", t(-1))
                    .and("client.invited", t(0))
                    .and("invitation.accepted", t(1))
                    .and("onboarding.completed", t(1)),
            )
            .when(on("consent.granted", t(2)))
            .shows(json!({ "link": "active" })),
        story("000", "a resend may ask for fewer steps")
            .given(invited().and(r#"client.invited steps=["consented"]"#, t(0)))
            .when(on("consent.granted", t(1)))
            .shows(json!({ "link": "active" })),
        story(
            "000",
            "a resend may leave the referral channel, and can then not be rejected",
        )
        .given(referred().and("client.invited", t(0)))
        .when(on("invitation.rejected", t(1)))
        .refused("not_a_referral"),
        story(
            "000",
            "a resend may turn to the referral channel, and can then be rejected",
        )
        .given(invited().and("client.invited channel=referral", t(0)))
        .when(on("invitation.rejected", t(1)))
        .shows(json!({ "link": "invitation_rejected", "tab": "active" }))
        .changes(&["link.invitation_rejected"]),
        story(
            "000",
            "an identity check that fails is an access that is rejected",
        )
        .given(invited())
        .when(on("identity.rejected", t(0)))
        .shows(json!({ "link": "access_rejected", "access": "none", "tab": "active" }))
        .changes(&["link.access_rejected"]),
        story(
            "000",
            "an archived client is invited like a draft, and the steps link it again",
        )
        .given(all_steps(archived().and("client.invited", t(20)), t(22)))
        .until(t(22))
        .shows(json!({ "link": "active", "access": "enabled", "expires_at": z(t(82)) })),
        story(
            "000",
            "a lost client is invited like a draft, and the steps link it again",
        )
        .given(all_steps(lost().and("client.invited", t(20)), t(22)))
        .until(t(22))
        .shows(json!({ "link": "active", "access": "enabled", "tab": "active" })),
        story(
            "002",
            "the partner that was not eligible may be so by the next invitation",
        )
        .given(
            all_steps(
                draft().and("client.invited commission_eligible=false", t(-2)),
                t(0),
            )
            .and("client.archived", t(10))
            .and("client.invited", t(11)),
        )
        .when(on("identity.rejected", t(12)))
        .shows(json!({ "commission": false })),
    ]
}

fn steps() -> Vec<Story> {
    let two_steps = || {
        invited()
            .and("invitation.accepted", t(-1))
            .and("onboarding.completed", t(-1))
    };
    vec![
        story(
            "000",
            "the last step of an invitation links: access, credit and commission begin",
        )
        .given(two_steps())
        .when(on("consent.granted", t(0)))
        .shows(json!({
            "link": "active", "access": "enabled", "connected": true, "commission": true,
            "status_credit": true, "expires_at": z(t(60)), "service": "pending_assigning",
        }))
        .changes(&[
            "link.active",
            "access.enabled",
            "commission.started",
            "status_credit.granted",
        ]),
        story("000", "the steps may be done in any order")
            .given(
                invited()
                    .and("consent.granted", t(-1))
                    .and("onboarding.completed", t(-1)),
            )
            .when(on("invitation.accepted", t(0)))
            .shows(json!({ "link": "active" })),
        story("000", "a step that is done twice stays done")
            .given(two_steps())
            .when(on("onboarding.completed", t(0)))
            .shows(json!({ "link": "invited" }))
            .changes(&[]),
        story("000", "two steps done, one of them twice, are not three")
            .given(
                invited()
                    .and("consent.granted", t(-1))
                    .and("consent.granted", t(0)),
            )
            .when(on("invitation.accepted", t(1)))
            .shows(json!({ "link": "invited" })),
        story("000", "onboarding without the invitation does not count")
            .given(
                invited()
                    .and("invitation.accepted", t(-1))
                    .and("consent.granted", t(-1)),
            )
            .when(on("onboarding.completed via=independent", t(0)))
            .shows(json!({ "link": "invited", "access": "none" }))
            .changes(&[]),
        story(
            "000",
            "onboarding through the invitation counts after an independent one",
        )
        .given(
            invited()
                .and("invitation.accepted", t(-1))
                .and("consent.granted", t(-1))
                .and("onboarding.completed via=independent", t(-1)),
        )
        .when(on("onboarding.completed via=invitation", t(0)))
        .shows(json!({ "link": "active" })),
        story("000", "an invitation of one step is done with that step")
            .given(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
            .when(on("invitation.accepted", t(0)))
            .shows(json!({ "link": "active" })),
        story(
            "000",
            "a step that the invitation does not ask for changes nothing",
        )
        .given(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
        .when(on("consent.granted", t(0)))
        .shows(json!({ "link": "invited" }))
        .changes(&[]),
        story(
            "002",
            "a partner that is not eligible gets status credit and no commission",
        )
        .given(draft().and(
            r#"client.invited steps=["accepted"] commission_eligible=false"#,
            t(-2),
        ))
        .when(on("invitation.accepted", t(0)))
        .shows(json!({ "commission": false, "status_credit": true }))
        .changes(&["link.active", "access.enabled", "status_credit.granted"]),
    ]
}

fn parting() -> Vec<Story> {
    let parted = [
        "link.archived",
        "access.none",
        "commission.stopped",
        "status_credit.withdrawn",
    ];
    let left = [
        "link.lost",
        "access.none",
        "commission.stopped",
        "status_credit.withdrawn",
    ];
    let after = |link: &str| {
        json!({
            "link": link, "access": "none", "connected": false, "commission": false,
            "status_credit": false, "expires_at": null, "tab": "inactive",
        })
    };
    vec![
        story(
            "000",
            "a partner that archives a client has no access and earns no more",
        )
        .given(active())
        .when(on("client.archived", t(5)))
        .shows(after("archived"))
        .changes(&parted),
        story("002", "a partner that disconnects has archived the client")
            .given(active())
            .when(on("partner.disconnected by=partner", t(5)))
            .shows(after("archived"))
            .changes(&parted),
        story("000", "a client that leaves is lost")
            .given(active())
            .when(on("client.lost reason=moved", t(5)))
            .shows(after("lost"))
            .changes(&left),
        story("002", "a client that disconnects is lost")
            .given(active())
            .when(on("partner.disconnected by=client", t(5)))
            .shows(after("lost"))
            .changes(&left),
        story("002", "an open request is dropped with the connection")
            .given(
                active()
                    .and("access.disabled", t(1))
                    .and("access.requested", t(2)),
            )
            .when(on("client.archived", t(5)))
            .shows(json!({ "access": "none", "access_request": null }))
            .changes(&[
                "link.archived",
                "access.none",
                "access.request_closed",
                "commission.stopped",
                "status_credit.withdrawn",
            ]),
        story("000", "an invitation that is withdrawn leaves an archived client")
            .given(invited())
            .when(on("client.archived", t(0)))
            .shows(after("archived"))
            .changes(&["link.archived"]),
        story(
            "001",
            "parting does not touch the service: it stays billable until it is terminated",
        )
        .given(active().and("assignment.added assignment_id=a1", t(1)))
        .when(on("client.lost", t(5)))
        .shows(json!({ "service": "active", "billable": true, "retrieving": true, "assignments": ["a1"] })),
    ]
}

fn tabs() -> Vec<Story> {
    [
        ("draft", draft(), json!("active")),
        ("invited", invited(), json!("active")),
        ("active", active(), json!("active")),
        ("invitation_rejected", invitation_rejected(), json!("active")),
        ("access_rejected", access_rejected(), json!("active")),
        ("archived", archived(), json!("inactive")),
        ("lost", lost(), json!("inactive")),
        ("deleted", deleted(), json!(null)),
    ]
    .into_iter()
    .map(|(link, given, tab)| {
        story("000", format!("a client that is {link} is on the tab {tab}"))
            .given(given)
            .until(t(12))
            .shows(json!({ "link": link, "tab": tab }))
    })
    .collect()
}

/// Only `client.added` creates a client; whatever else comes for one that is not there is refused.
fn unknown_clients() -> Vec<Story> {
    TYPES
        .iter()
        .filter(|kind| **kind != "client.added")
        .flat_map(|kind| {
            [("was never added", nothing()), ("is deleted", deleted())].map(|(state, given)| {
                story("ours", format!("{kind} is not for a client that {state}"))
                    .given(given)
                    .when(ev(kind, t(20), &sample(kind)))
                    .refused("unknown_client")
                    .changes(&[])
                    .decides(None, false, "unknown_client")
            })
        })
        .collect()
}

/// Data that an event of this type can have.
pub fn sample(kind: &str) -> Value {
    match kind {
        "client.added" | "client.renamed" => json!({ "name": "Bakery" }),
        "partner.disconnected" => json!({ "by": "partner" }),
        "assignment.added" | "assignment.removed" => json!({ "assignment_id": "x" }),
        "report_schedule.created" | "report_schedule.deleted" => json!({ "schedule_id": "x" }),
        "margin_rule.created" | "margin_rule.deleted" => json!({ "rule_id": "x" }),
        "subscription.added" | "subscription.ended" => json!({ "subscription_id": "x" }),
        "subscription.renewed" => json!({ "subscription_id": "x", "paid_until": z(t(90)) }),
        "user.added" | "user.removed" => json!({ "user_id": "x" }),
        "integration.added" | "integration.removed" => json!({ "integration_id": "x" }),
        "account.jobs_counted" => json!({ "total": 1 }),
        _ => json!({}),
    }
}

#[test]
fn the_link_moves_as_the_tables_say() {
    tell(&stories());
}

#[test]
fn an_invitation_asks_for_at_least_one_step_that_there_is() {
    for bad in [json!([]), json!(["signed"]), json!("accepted")] {
        assert!(
            kind_of("client.invited", &json!({ "steps": bad })).is_err(),
            "{bad}"
        );
    }
    assert!(kind_of("client.invited", &json!({ "channel": "pigeon" })).is_err());
    assert!(kind_of("partner.disconnected", &json!({})).is_err(), "by whom?");
}
