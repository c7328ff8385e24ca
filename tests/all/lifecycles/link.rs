//! The link (000): adding, inviting, the steps of an invitation, rejections and the end of the link.

use serde_json::{Value, json};
use tenure::domain::event::TYPES;

use super::*;
use crate::generate;

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
000  | identity.cleared reason=passport     | !unknown_client | !not_rejected   | !not_rejected   | !not_rejected       | !not_rejected   | !not_rejected            | draft                | !not_rejected   | !not_rejected   | !unknown_client
000  | invitation.bounced                   | !unknown_client | !not_invited    | invited         | invited             | !not_invited    | !not_invited             | !not_invited         | !not_invited    | !not_invited    | !unknown_client
002  | commission.eligibility_changed eligible=false | !unknown_client | !not_linked | invited | invited | active | !not_linked | !not_linked | !not_linked | !not_linked | !unknown_client
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
        commission(),
        ending(),
        lists(),
        unknown_clients(),
    ]
    .concat()
}

fn adding() -> Vec<Story> {
    vec![
        story(
            "000",
            "an added business is a draft without billing or commission",
        )
        .when(on("client.added name=Bakery", t(0)))
        .shows(json!({
            "name": "Bakery", "link": "draft", "service": "pending_assigning", "access": "none",
            "connected": false, "billable": false, "visible": true, "retrieving": false,
            "commission": false, "status_credit": false, "tab": "inactive", "expires_at": null,
            "on_client_list": true, "origin": "added", "invitation": null, "view_as_client": "no_connections",
            "assignable": true, "former_assignments": [], "account_id": null, "handover": "none",
            "holds_until": null,
        }))
        .changes(&[
            "link.draft",
            "client.named",
            "service.pending_assigning",
            "visibility.started",
        ]),
        story("000", "an imported business is a draft")
            .when(on("client.added name=Bakery imported=true", t(0)))
            .shows(json!({ "link": "draft", "origin": "imported" })),
        story(
            "ours",
            "a client that is added again has the origin of the last time",
        )
        .given(deleted())
        .when(on("client.added name=Bakery imported=true", t(12)))
        .shows(json!({ "origin": "imported" })),
    ]
}

fn inviting() -> Vec<Story> {
    vec![
        story(
            "000",
            "inviting a draft reports the new status and the invitation",
        )
        .given(draft())
        .when(on("client.invited", t(0)))
        .changes(&["link.invited", "invitation.sent"]),
        story("000", "a resend reports an invitation and no new status")
            .given(invited())
            .when(on("client.invited", t(0)))
            .shows(json!({ "link": "invited" }))
            .changes(&["invitation.sent"]),
        story("000", "a resend starts the steps again")
            .given(
                invited()
                    .and("invitation.accepted", t(-1))
                    .and("onboarding.completed", t(-1))
                    .and("client.invited", t(0)),
            )
            .when(on("consent.granted", t(1)))
            .shows(json!({ "link": "invited" })),
        story("000", "after a resend all steps lead to an active link")
            .given(
                invited()
                    .and("consent.granted", t(-1))
                    .and("client.invited", t(0))
                    .and("invitation.accepted", t(1))
                    .and("onboarding.completed", t(1)),
            )
            .when(on("consent.granted", t(2)))
            .shows(json!({ "link": "active" })),
        story("000", "a resend can require fewer steps")
            .given(invited().and(r#"client.invited steps=["consented"]"#, t(0)))
            .when(on("consent.granted", t(1)))
            .shows(json!({ "link": "active" })),
        story("000", "a resend through the standard channel cannot be rejected")
            .given(referred().and("client.invited", t(0)))
            .when(on("invitation.rejected", t(1)))
            .refused("not_a_referral"),
        story("000", "a resend through the referral channel can be rejected")
            .given(invited().and("client.invited channel=referral", t(0)))
            .when(on("invitation.rejected", t(1)))
            .shows(json!({ "link": "invitation_rejected", "tab": "inactive", "invitation": null }))
            .changes(&["link.invitation_rejected"]),
        story("000", "a failed identity check rejects access")
            .given(invited())
            .when(on("identity.rejected", t(0)))
            .shows(json!({ "link": "access_rejected", "access": "none", "tab": "inactive" }))
            .changes(&["link.access_rejected"]),
        story(
            "000",
            "a client whose identity is cleared is a draft, and can be invited again",
        )
        .given(access_rejected().and("identity.cleared", t(0)))
        .when(on("client.invited", t(1)))
        .shows(json!({ "link": "invited" }))
        .changes(&["link.invited", "invitation.sent"]),
        story("000", "an archived client can be invited and linked again")
            .given(all_steps(archived().and("client.invited", t(20)), t(22)))
            .until(t(22))
            .shows(json!({ "link": "active", "access": "enabled", "expires_at": z(t(82)) })),
        story("000", "a lost client can be invited and linked again")
            .given(all_steps(lost().and("client.invited", t(20)), t(22)))
            .until(t(22))
            .shows(json!({ "link": "active", "access": "enabled", "tab": "active", "on_client_list": true })),
        story(
            "002",
            "the next invitation can make the partner eligible for commission",
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
            "the last step makes the link active: access, status credit and commission begin",
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
            "invitation.step_completed",
            "commission.started",
            "status_credit.granted",
        ]),
        story("000", "the steps can be completed in any order")
            .given(
                invited()
                    .and("consent.granted", t(-1))
                    .and("onboarding.completed", t(-1)),
            )
            .when(on("invitation.accepted", t(0)))
            .shows(json!({ "link": "active" })),
        story("000", "a step that is completed twice stays complete")
            .given(two_steps())
            .when(on("onboarding.completed", t(0)))
            .shows(json!({ "link": "invited" }))
            .changes(&[]),
        story("000", "completing one step twice does not replace another")
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
            .changes(&["invitation.bypassed"]),
        story(
            "000",
            "onboarding through the invitation counts even after an independent one",
        )
        .given(
            invited()
                .and("invitation.accepted", t(-1))
                .and("consent.granted", t(-1))
                .and("onboarding.completed via=independent", t(-1)),
        )
        .when(on("onboarding.completed via=invitation", t(0)))
        .shows(json!({ "link": "active" })),
        story("000", "an invitation with one step is complete with that step")
            .given(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
            .when(on("invitation.accepted", t(0)))
            .shows(json!({ "link": "active" })),
        story(
            "000",
            "a step that the invitation does not require changes nothing",
        )
        .given(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
        .when(on("consent.granted", t(0)))
        .shows(json!({ "link": "invited" }))
        .changes(&[]),
        story(
            "002",
            "a partner that is not eligible gets status credit but no commission",
        )
        .given(draft().and(
            r#"client.invited steps=["accepted"] commission_eligible=false"#,
            t(-2),
        ))
        .when(on("invitation.accepted", t(0)))
        .shows(json!({ "commission": false, "status_credit": true }))
        .changes(&[
            "link.active",
            "access.enabled",
            "invitation.step_completed",
            "status_credit.granted",
        ]),
    ]
}

fn commission() -> Vec<Story> {
    let promised = |eligible: bool| {
        draft().and(r#"client.invited steps=["accepted"]"#, t(-2)).and(
            &format!("commission.eligibility_changed eligible={eligible}"),
            t(-1),
        )
    };
    vec![
        story("002", "commission stops when the partner is no longer eligible")
            .given(active())
            .when(on("commission.eligibility_changed eligible=false", t(5)))
            .shows(json!({ "commission": false, "status_credit": true, "access": "enabled" }))
            .changes(&["commission.stopped"]),
        story("002", "commission starts when the partner becomes eligible")
            .given(active().and("commission.eligibility_changed eligible=false", t(5)))
            .when(on("commission.eligibility_changed eligible=true", t(6)))
            .shows(json!({ "commission": true }))
            .changes(&["commission.started"]),
        story("002", "the same eligibility again changes nothing")
            .given(active())
            .when(on("commission.eligibility_changed eligible=true", t(5)))
            .changes(&[]),
        story(
            "002",
            "an invited partner that loses its eligibility gets no commission",
        )
        .given(promised(false))
        .when(on("invitation.accepted", t(0)))
        .shows(json!({ "commission": false }))
        .changes(&[
            "link.active",
            "access.enabled",
            "invitation.step_completed",
            "status_credit.granted",
        ]),
        story(
            "002",
            "a resent invitation says anew whether the partner is eligible",
        )
        .given(promised(false).and(r#"client.invited steps=["accepted"]"#, t(0)))
        .when(on("invitation.accepted", t(1)))
        .shows(json!({ "commission": true })),
    ]
}

fn ending() -> Vec<Story> {
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
            "a partner that archives a client loses access and commission",
        )
        .given(active())
        .when(on("client.archived", t(5)))
        .shows(after("archived"))
        .changes(&parted),
        story("002", "a partner that disconnects archives the client")
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
        story("002", "an open request closes with the connection")
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
        story("000", "withdrawing an invitation archives the client")
            .given(invited())
            .when(on("client.archived", t(0)))
            .shows(after("archived"))
            .changes(&["link.archived"]),
        story(
            "001",
            "the end of the link does not change the service: the client stays billable until it is terminated",
        )
        .given(active().and("assignment.added assignment_id=a1", t(1)))
        .when(on("client.lost", t(5)))
        .shows(json!({ "service": "active", "billable": true, "retrieving": true, "assignments": ["a1"] })),
    ]
}

fn lists() -> Vec<Story> {
    [
        ("draft", draft(), json!("inactive"), true),
        ("invited", invited(), json!("inactive"), true),
        ("active", active(), json!("active"), true),
        (
            "invitation_rejected",
            invitation_rejected(),
            json!("inactive"),
            false,
        ),
        ("access_rejected", access_rejected(), json!("inactive"), false),
        ("archived", archived(), json!("inactive"), false),
        ("lost", lost(), json!("inactive"), false),
        ("deleted", deleted(), json!(null), false),
    ]
    .into_iter()
    .flat_map(|(link, given, tab, listed)| {
        let whether = if listed { "is" } else { "is not" };
        [
            story("000", format!("a client that is {link} is on the tab {tab}"))
                .given(given.clone())
                .until(t(11))
                .shows(json!({ "link": link, "tab": tab })),
            story(
                "002",
                format!("a client that is {link} {whether} on the client list"),
            )
            .given(given)
            .until(t(11))
            .shows(json!({ "link": link, "on_client_list": listed })),
        ]
    })
    .collect()
}

/// Only `client.added` creates a client. Every other event for an unknown client is refused.
fn unknown_clients() -> Vec<Story> {
    TYPES
        .iter()
        .filter(|kind| **kind != "client.added")
        .flat_map(|kind| {
            [("was never added", nothing()), ("is deleted", deleted())].map(|(state, given)| {
                story("ours", format!("{kind} is refused for a client that {state}"))
                    .given(given)
                    .when(ev(kind, t(20), &generate::sample(kind)))
                    .refused("unknown_client")
                    .changes(&[])
                    .decides(None, false, "unknown_client")
            })
        })
        .collect()
}

#[test]
fn the_link_follows_the_tables() {
    check(&stories());
}

#[test]
fn an_invitation_requires_at_least_one_known_step() {
    for bad in [json!([]), json!(["signed"]), json!("accepted")] {
        assert!(
            kind_of("client.invited", &json!({ "steps": bad })).is_err(),
            "{bad}"
        );
    }
    assert!(kind_of("client.invited", &json!({ "channel": "pigeon" })).is_err());
    assert!(
        kind_of("partner.disconnected", &json!({})).is_err(),
        "without `by`"
    );
}
