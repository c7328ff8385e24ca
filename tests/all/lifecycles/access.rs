//! Access (002): entering, disabling and enabling, requests, the account, and decisions.

use serde_json::{Value, json};
use tenure::domain::action::FORBIDDEN_ACTIONS;
use tenure::domain::timer::Timer::{AccessExpiry, RequestLapse};

use super::*;

const TABLE: &str = "
seed | event                        | enabled          | disabled          | disabled_requested | expired         | expired_requested  | archived       | draft          | reinvited
002  | account.accessed             | enabled          | !no_access        | !no_access         | !no_access      | !no_access         | !no_access     | !no_access     | !no_access
002  | account.accessed by=staff    | enabled          | disabled          | disabled+request   | expired         | expired+request    | none           | none           | none
002  | access.disabled              | disabled         | !already_disabled | !already_disabled  | disabled        | disabled           | !not_connected | !not_connected | !not_connected
002  | access.enabled               | !already_enabled | enabled           | enabled            | enabled         | enabled            | !not_connected | !not_connected | !not_connected
002  | access.requested             | !already_enabled | disabled+request  | !already_requested | expired+request | !already_requested | !not_connected | !not_connected | !not_connected
002  | access.approved              | !no_request      | !no_request       | enabled            | !no_request     | enabled            | !no_request    | !no_request    | !no_request
002  | access.denied                | !no_request      | !no_request       | disabled           | !no_request     | expired            | !no_request    | !no_request    | !no_request
002  | account.jobs_counted total=5 | enabled          | disabled          | disabled+request   | expired         | expired+request    | none           | none           | none
002  | account.updated              | enabled          | disabled          | disabled+request   | expired         | expired+request    | none           | none           | none
002  | account.created              | enabled          | disabled          | disabled+request   | expired         | expired+request    | none           | none           | none
002  | account.created by=customer  | enabled          | disabled          | disabled+request   | expired         | expired+request    | none           | none           | none
002  | account.owner_set            | !no_handover     | !no_handover      | !no_handover       | !no_handover    | !no_handover       | !no_handover   | !no_handover   | !no_handover
";

fn access(view: &Value) -> String {
    let status = view["access"].as_str().expect("a status");
    if view["access_request"].is_null() {
        status.to_owned()
    } else {
        format!("{status}+request")
    }
}

fn disabled() -> Vec<Event> {
    active().and("access.disabled", t(5))
}

fn requested() -> Vec<Event> {
    disabled().and("access.requested", t(6))
}

/// Access that has expired at `t(10)`.
fn short() -> Policies {
    policy(|p| {
        p.access_idle = days(10);
        p.warn_before = vec![days(1)];
    })
}

pub fn stories() -> Vec<Story> {
    let matrix = Matrix {
        columns: vec![
            Column::new("enabled", active()),
            Column::new("disabled", disabled()),
            Column::new("disabled_requested", requested()),
            Column::new("expired", active()).under(short()),
            Column::new("expired_requested", active().and("access.requested", t(12))).under(short()),
            Column::new("archived", archived()),
            Column::new("draft", draft()),
            Column::new("reinvited", archived().and("client.invited", t(11))),
        ],
        shows: access,
        table: TABLE,
    };
    [
        matrix.stories(),
        entering(),
        the_customer(),
        asking(),
        lapsing(),
        deciding(),
        answering(),
    ]
    .concat()
}

fn entering() -> Vec<Story> {
    vec![
        story("002", "access expires 60 days after the partner last entered")
            .given(active())
            .when(on("account.accessed user=ann", t(30)))
            .shows(json!({ "access": "enabled", "expires_at": z(t(90)), "last_accessed_at": z(t(30)) }))
            .changes(&[]),
        story("002", "staff who enter do not renew access")
            .given(active())
            .when(on("account.accessed by=staff", t(30)))
            .shows(json!({ "expires_at": z(t(60)), "last_accessed_at": null }))
            .changes(&[]),
        story("002", "staff have access when the partner has none")
            .given(disabled())
            .when(on("account.accessed by=staff", t(30)))
            .shows(json!({ "access": "disabled" })),
        story("002", "a partner that enters at the moment of expiry is refused")
            .given(active())
            .when(on("account.accessed", t(60)))
            .refused("no_access")
            .shows(json!({ "access": "expired", "last_accessed_at": null })),
        story("002", "a partner that enters a microsecond earlier is not")
            .given(active())
            .when(on("account.accessed", t(60) - MICRO))
            .shows(json!({ "access": "enabled", "expires_at": z(t(120) - MICRO) })),
        story("002", "access never expires for a partner that keeps entering")
            .given(
                active()
                    .and("account.accessed", t(59))
                    .and("account.accessed", t(118))
                    .and("account.accessed", t(177)),
            )
            .until(t(236))
            .shows(json!({ "access": "enabled", "expires_at": z(t(237)) })),
    ]
}

fn the_customer() -> Vec<Story> {
    vec![
        story(
            "002",
            "disabled access keeps the connection, the commission and the status credit",
        )
        .given(active())
        .when(on("access.disabled", t(5)))
        .shows(json!({
            "access": "disabled", "connected": true, "commission": true, "status_credit": true,
            "expires_at": null, "link": "active",
        }))
        .changes(&["access.disabled"]),
        story(
            "002",
            "expired access keeps the connection, the commission and the status credit",
        )
        .given(active())
        .until(t(60))
        .shows(json!({
            "access": "expired", "connected": true, "commission": true, "status_credit": true,
            "expires_at": null, "link": "active",
        })),
        story("002", "enabling access again renews it")
            .given(disabled())
            .when(on("access.enabled", t(50)))
            .shows(json!({ "access": "enabled", "expires_at": z(t(110)) }))
            .changes(&["access.enabled"]),
        story("002", "enabling access closes the open request")
            .given(requested())
            .when(on("access.enabled", t(7)))
            .shows(json!({ "access": "enabled", "access_request": null }))
            .changes(&["access.enabled", "access.request_closed"]),
        story("002", "disabling expired access closes the open request")
            .under(short())
            .given(active().and("access.requested", t(12)))
            .when(on("access.disabled", t(13)))
            .shows(json!({ "access": "disabled", "access_request": null }))
            .changes(&["access.disabled", "access.request_closed"]),
        story("002", "disabled access does not expire")
            .given(disabled())
            .until(t(1000))
            .shows(json!({ "access": "disabled" }))
            .changes(&[]),
    ]
}

fn asking() -> Vec<Story> {
    vec![
        story("002", "a partner requests access that the customer disabled")
            .given(disabled())
            .when(on("access.requested", t(6)))
            .shows(json!({ "access": "disabled", "access_request": z(t(6)) }))
            .changes(&["access.requested"]),
        story("002", "a partner requests access that has expired")
            .given(active())
            .when(on("access.requested", t(61)))
            .shows(json!({ "access": "expired", "access_request": z(t(61)) }))
            .changes(&["access.requested"]),
        story("002", "approving a request enables and renews access")
            .given(requested())
            .when(on("access.approved", t(50)))
            .shows(json!({ "access": "enabled", "access_request": null, "expires_at": z(t(110)) }))
            .changes(&["access.enabled", "access.request_closed"]),
        story("002", "denying a request closes it")
            .given(requested())
            .when(on("access.denied", t(7)))
            .shows(json!({ "access": "disabled", "access_request": null }))
            .changes(&["access.request_closed"]),
        story("002", "a denied request can be followed by another")
            .given(requested().and("access.denied", t(7)))
            .when(on("access.requested", t(8)))
            .shows(json!({ "access_request": z(t(8)) })),
        story("002", "disabling disabled access leaves the open request open")
            .given(requested())
            .when(on("access.disabled", t(7)))
            .refused("already_disabled")
            .shows(json!({ "access_request": z(t(6)) })),
        story(
            "002",
            "a disconnected partner cannot request access and needs a new invitation",
        )
        .given(lost())
        .when(on("access.requested", t(11)))
        .refused("not_connected"),
        story("002", "a new invitation alone does not enable access")
            .given(archived().and("client.invited", t(11)))
            .until(t(12))
            .shows(json!({ "link": "invited", "access": "none", "connected": false })),
        story("002", "the highest total of jobs is remembered")
            .given(draft().and("account.jobs_counted total=80", t(0)))
            .when(on("account.jobs_counted total=30", t(1)))
            .shows(json!({ "jobs_total": 80 }))
            .changes(&[]),
        story("002", "jobs are counted whatever the status of the link")
            .given(archived())
            .when(on("account.jobs_counted total=0", t(11)))
            .shows(json!({ "jobs_total": 0 })),
    ]
}

/// Requests close 30 days after they were opened.
fn lapsing() -> Vec<Story> {
    let month = || policy(|p| p.request_lapses = days(30));
    let open = |day| json!({ "access": "disabled", "access_request": z(t(day)) });
    let closed = json!({ "access": "disabled", "access_request": null });
    vec![
        story("ours", "by default a request stays open until an event closes it")
            .given(requested())
            .until(t(10_000))
            .shows(open(6))
            .fires(&[])
            .no_timer_is_due(),
        story("ours", "a request is open until a microsecond before it lapses")
            .under(month())
            .given(requested())
            .until(t(36) - MICRO)
            .shows(open(6))
            .fires(&[])
            .next(RequestLapse, t(36)),
        story(
            "ours",
            "a request that nobody answers lapses, and the status stays",
        )
        .under(month())
        .given(requested())
        .until(t(36))
        .shows(closed.clone())
        .fires(&[(RequestLapse, t(36))])
        .publishes(json!([{ "type": "access.request_closed", "to": "lapsed" }]))
        .no_timer_is_due(),
        story("ours", "a request for expired access lapses too")
            .under(policy(|p| {
                p.access_idle = days(10);
                p.warn_before = Vec::new();
                p.request_lapses = days(30);
            }))
            .given(active().and("access.requested", t(12)))
            .until(t(100))
            .shows(json!({ "access": "expired", "access_request": null }))
            .fires(&[(RequestLapse, t(42))]),
        story(
            "ours",
            "the partner asks again when its request has lapsed, at that very moment",
        )
        .under(month())
        .given(requested())
        .when(on("access.requested", t(36)))
        .shows(open(36))
        .changes(&["access.requested"]),
        story("ours", "a request that has lapsed cannot be approved any more")
            .under(month())
            .given(requested())
            .when(on("access.approved", t(36)))
            .refused("no_request")
            .shows(closed),
        story("ours", "an answer before that cancels the timer")
            .under(policy(|p| {
                p.warn_before = Vec::new();
                p.request_lapses = days(30);
            }))
            .given(requested())
            .when(on("access.approved", t(36) - MICRO))
            .shows(json!({ "access": "enabled", "access_request": null }))
            .next(AccessExpiry, t(96) - MICRO),
        story("ours", "the end of the connection cancels it")
            .under(month())
            .given(requested().and("client.lost", t(20)))
            .until(t(100))
            .fires(&[]),
        story("ours", "each request has its own time")
            .under(month())
            .given(
                requested()
                    .and("access.denied", t(7))
                    .and("access.requested", t(20)),
            )
            .until(t(100))
            .fires(&[(RequestLapse, t(50))]),
        story(
            "ours",
            "a policy closes the requests that it makes overdue when it takes effect",
        )
        .under(policy_from(t(50), |p| p.request_lapses = days(30)))
        .given(requested())
        .until(t(100))
        .fires(&[(RequestLapse, t(50))]),
    ]
}

fn deciding() -> Vec<Story> {
    let mut rows = vec![
        story("002", "a partner with access is allowed")
            .given(active())
            .until(t(60) - MICRO)
            .decides(None, true, "access_enabled"),
        story("002", "a partner is not allowed from the moment of expiry on")
            .given(active())
            .until(t(60))
            .decides(None, false, "access_expired"),
        story("002", "a partner whose access is disabled is not allowed")
            .given(disabled())
            .until(t(6))
            .decides(None, false, "access_disabled"),
        story("002", "a disconnected partner is not allowed")
            .given(lost())
            .until(t(11))
            .decides(None, false, "access_none"),
        story("002", "a partner is not allowed before the link is active")
            .given(invited())
            .until(t(0))
            .decides(None, false, "access_none"),
        story(
            "ours",
            "no partner is allowed into the account of a deleted client",
        )
        .given(deleted())
        .until(t(12))
        .decides(None, false, "unknown_client"),
        story(
            "002",
            "a partner has the role of a business owner: every action that is not forbidden is allowed",
        )
        .given(active())
        .until(t(1))
        .decides(Some("invoices_read"), true, "access_enabled"),
        story(
            "002",
            "a forbidden action without access is refused for the lack of access",
        )
        .given(disabled())
        .until(t(6))
        .decides(Some("account_cancel"), false, "access_disabled"),
    ];
    rows.extend(FORBIDDEN_ACTIONS.iter().map(|action| {
        story("002", format!("a partner is never allowed {action}"))
            .given(active())
            .until(t(1))
            .decides(Some(action), false, "action_forbidden")
    }));
    rows
}

/// What a decision says besides yes or no.
fn answering() -> Vec<Story> {
    let longer = |from| policy_from(from, |p| p.access_idle = days(90));
    let forbidden = [&FORBIDDEN_ACTIONS[..], &["account_owner_add"]].concat();
    vec![
        story("002", "a decision names the role, the forbidden actions, and when access expires")
            .given(active())
            .until(t(1))
            .answers(
                Some("invoices_read"),
                json!({
                    "allowed": true, "reason": "access_enabled", "role": "business_owner", "forbidden": forbidden,
                    "expires_at": z(t(60)), "holds_until": z(t(60)), "decided_at": z(t(1)),
                }),
            ),
        story("002", "a forbidden action does not take the role away")
            .given(active())
            .until(t(1))
            .answers(
                Some("account_cancel"),
                json!({ "allowed": false, "role": "business_owner", "forbidden": forbidden }),
            ),
        story("002", "a partner that waits to hand an account over may add its owner")
            .given(active().and("account.created", t(1)))
            .until(t(2))
            .answers(None, json!({ "forbidden": FORBIDDEN_ACTIONS })),
        story("ours", "without access there is no role, and only an event brings it back")
            .given(active())
            .until(t(60))
            .answers(
                None,
                json!({
                    "reason": "access_expired", "role": null, "forbidden": [], "expires_at": null, "holds_until": null,
                    "decided_at": z(t(60)),
                }),
            ),
        story("ours", "warnings and other timers do not end what a decision says")
            .given(active().and("client.terminated", t(1)))
            .until(t(2))
            .answers(None, json!({ "holds_until": z(t(60)) })),
        story("ours", "a decision holds until a policy moves the expiry")
            .under(longer(t(20)))
            .given(active())
            .until(t(1))
            .answers(None, json!({ "expires_at": z(t(60)), "holds_until": z(t(20)) })),
        story("ours", "a policy that comes after the expiry does not matter")
            .under(longer(t(61)))
            .given(active())
            .until(t(1))
            .answers(None, json!({ "expires_at": z(t(60)), "holds_until": z(t(60)) })),
        story("ours", "a decision about access that does not expire holds until an event")
            .given(active().and("account.jobs_counted total=5", t(1)))
            .until(t(2))
            .answers(
                None,
                json!({ "allowed": true, "expires_at": null, "holds_until": null }),
            ),
    ]
}

#[test]
fn access_follows_the_tables() {
    check(&stories());
}

#[test]
fn the_forbidden_actions_are_those_of_the_document() {
    let named = [
        "account_owner_settings",
        "activity_history",
        "subscription_change",
        "account_cancel",
        "accept_partner_invitation",
    ];
    assert_eq!(FORBIDDEN_ACTIONS, named);
}

#[test]
fn a_total_of_jobs_is_a_whole_number_of_at_least_zero() {
    for bad in [json!(-1), json!(1.5), json!(1e300), json!("7"), json!(null)] {
        assert!(
            kind_of("account.jobs_counted", &json!({ "total": bad })).is_err(),
            "{bad}"
        );
    }
    assert!(kind_of("account.accessed", &json!({ "by": "robot" })).is_err());
}
