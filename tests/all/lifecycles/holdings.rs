//! Subscriptions, users and integrations (000).

use serde_json::{Value, json};

use super::*;

const SUBSCRIPTIONS: &str = "
seed | event                                                                   | draft        | prepared                  | invited      | active      | running               | archived       | lost           | invitation_rejected | access_rejected
000  | subscription.added subscription_id=new                                  | new prepared | s1 prepared, new prepared | new prepared | new active  | s1 active, new active | !not_linked    | !not_linked    | !not_linked         | !not_linked
000  | subscription.added subscription_id=new managed_by=client                | new prepared | s1 prepared, new prepared | new prepared | new active  | s1 active, new active | !not_linked    | !not_linked    | !not_linked         | !not_linked
000  | subscription.added subscription_id=s1                                   | s1 prepared  | !duplicate_id             | s1 prepared  | s1 active   | !duplicate_id         | !not_linked    | !not_linked    | !not_linked         | !not_linked
000  | subscription.renewed subscription_id=s1 paid_until=2026-12-31T00:00:00Z | !unknown_id  | s1 prepared               | !unknown_id  | !unknown_id | s1 active             | !already_ended | !already_ended | !unknown_id         | !unknown_id
000  | subscription.ended subscription_id=s1                                   | !unknown_id  | s1 ended                  | !unknown_id  | !unknown_id | s1 ended              | !already_ended | !already_ended | !unknown_id         | !unknown_id
";

const PEOPLE: &str = "
seed | event                                  | draft         | invited       | active        | archived    | lost        | invitation_rejected | access_rejected | terminated  | reactivated
000  | user.added user_id=new                 | u1 new / i1   | u1 new / i1   | u1 new / i1   | !not_linked | !not_linked | u1 new / i1         | u1 new / i1     | !terminated | u1 new / i1
000  | user.added user_id=u1                  | !duplicate_id | !duplicate_id | !duplicate_id | !not_linked | !not_linked | !duplicate_id       | !duplicate_id   | !terminated | !duplicate_id
000  | user.removed user_id=u1                | / i1          | / i1          | / i1          | /           | /           | / i1                | / i1            | / i1        | / i1
000  | user.removed user_id=new               | !unknown_id   | !unknown_id   | !unknown_id   | !unknown_id | !unknown_id | !unknown_id         | !unknown_id     | !unknown_id | !unknown_id
000  | integration.added integration_id=new   | u1 / i1 new   | u1 / i1 new   | u1 / i1 new   | !not_linked | !not_linked | u1 / i1 new         | u1 / i1 new     | !terminated | u1 / i1 new
000  | integration.added integration_id=i1    | !duplicate_id | !duplicate_id | !duplicate_id | !not_linked | !not_linked | !duplicate_id       | !duplicate_id   | !terminated | !duplicate_id
000  | integration.removed integration_id=i1  | u1 /          | u1 /          | u1 /          | !unknown_id | !unknown_id | u1 /                | u1 /            | u1 /        | u1 /
000  | integration.removed integration_id=new | !unknown_id   | !unknown_id   | !unknown_id   | !unknown_id | !unknown_id | !unknown_id         | !unknown_id     | !unknown_id | !unknown_id
";

/// Each subscription with its status.
pub fn statuses(view: &Value) -> String {
    let mut all: Vec<&Value> = view["subscriptions"].as_array().expect("a list").iter().collect();
    all.sort_by_key(|s| s["id"] == "new");
    let text = |s: &Value, field: &str| s[field].as_str().expect("a text").to_owned();
    all.iter()
        .map(|s| format!("{} {}", text(s, "id"), text(s, "status")))
        .collect::<Vec<_>>()
        .join(", ")
}

fn people(view: &Value) -> String {
    let list = |field: &str| {
        let mut ids: Vec<String> = view[field]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("an id").to_owned())
            .collect();
        ids.sort_by_key(|id| id == "new");
        ids.join(" ")
    };
    format!("{} / {}", list("users"), list("integrations"))
        .trim()
        .to_owned()
}

/// The history with a user and an integration from the start.
fn peopled(given: Vec<Event>) -> Vec<Event> {
    given
        .and("user.added user_id=u1", t(-3))
        .and("integration.added integration_id=i1", t(-3))
}

fn subscribed(given: Vec<Event>) -> Vec<Event> {
    given.and("subscription.added subscription_id=s1", t(-3))
}

pub fn stories() -> Vec<Story> {
    let subscriptions = Matrix {
        columns: vec![
            Column::new("draft", draft()),
            Column::new("prepared", subscribed(draft())),
            Column::new("invited", invited()),
            Column::new("active", active()),
            Column::new("running", subscribed(active())),
            Column::new("archived", subscribed(archived())),
            Column::new("lost", subscribed(lost())),
            Column::new("invitation_rejected", invitation_rejected()),
            Column::new("access_rejected", access_rejected()),
        ],
        shows: statuses,
        table: SUBSCRIPTIONS,
    };
    let people = Matrix {
        columns: vec![
            Column::new("draft", peopled(draft())),
            Column::new("invited", peopled(invited())),
            Column::new("active", peopled(active())),
            Column::new("archived", peopled(archived())),
            Column::new("lost", peopled(lost())),
            Column::new("invitation_rejected", peopled(invitation_rejected())),
            Column::new("access_rejected", peopled(access_rejected())),
            Column::new("terminated", peopled(active()).and("client.terminated", t(10))),
            Column::new(
                "reactivated",
                peopled(active())
                    .and("client.terminated", t(10))
                    .and("client.reactivated", t(11)),
            ),
        ],
        shows: people,
        table: PEOPLE,
    };
    [
        subscriptions.stories(),
        people.stories(),
        single_subscriptions(),
        single_people(),
    ]
    .concat()
}

fn single_subscriptions() -> Vec<Story> {
    vec![
        story("000", "a subscription of a draft is prepared, not active")
            .given(draft())
            .when(ev(
                "subscription.added",
                t(0),
                &json!({ "subscription_id": "s1", "plan": "gold", "paid_until": z(t(365)) }),
            ))
            .shows(json!({ "subscriptions": [{
                "id": "s1", "status": "prepared", "managed_by": "partner", "plan": "gold",
                "paid_until": z(t(365)), "ended_at": null,
            }] }))
            .changes(&["subscription.prepared s1"]),
        story(
            "000",
            "a subscription of a linked client is active from the start",
        )
        .given(active())
        .when(on(
            "subscription.added subscription_id=s1 managed_by=client",
            t(1),
        ))
        .shows(json!({ "subscriptions": [{
                "id": "s1", "status": "active", "managed_by": "client", "plan": null,
                "paid_until": null, "ended_at": null,
            }] }))
        .changes(&["subscription.started s1"]),
        story("000", "prepared subscriptions start with the link")
            .given(
                subscribed(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
                    .and("subscription.added subscription_id=s2 managed_by=client", t(-1)),
            )
            .when(on("invitation.accepted", t(0)))
            .reads(statuses, "s1 active, s2 active")
            .changes(&[
                "link.active",
                "access.enabled",
                "invitation.step_completed",
                "subscription.started s1",
                "subscription.started s2",
                "commission.started",
                "status_credit.granted",
            ]),
        story("000", "a subscription that ended while prepared does not start")
            .given(
                subscribed(draft().and(r#"client.invited steps=["accepted"]"#, t(-2)))
                    .and("subscription.ended subscription_id=s1", t(-1)),
            )
            .when(on("invitation.accepted", t(0)))
            .reads(statuses, "s1 ended"),
        story("000", "a renewal sets `paid_until`")
            .given(subscribed(active()))
            .when(ev(
                "subscription.renewed",
                t(5),
                &json!({ "subscription_id": "s1", "paid_until": z(t(400)) }),
            ))
            .shows(json!({ "subscriptions": [{
                "id": "s1", "status": "active", "managed_by": "partner", "plan": null,
                "paid_until": z(t(400)), "ended_at": null,
            }] }))
            .changes(&["subscription.renewed s1"]),
        story(
            "000",
            "an ended subscription states when it ended, and its id cannot be used again",
        )
        .given(subscribed(active()).and("subscription.ended subscription_id=s1", t(5)))
        .when(on("subscription.added subscription_id=s1", t(6)))
        .refused("duplicate_id")
        .shows(json!({ "subscriptions": [{
                "id": "s1", "status": "ended", "managed_by": "partner", "plan": null,
                "paid_until": null, "ended_at": z(t(5)),
            }] })),
        story(
            "000",
            "a subscription that the client manages does not end with the link",
        )
        .given(active().and("subscription.added subscription_id=s1 managed_by=client", t(1)))
        .when(on("client.archived", t(5)))
        .reads(statuses, "s1 active"),
        story(
            "000",
            "a subscription that the client manages can be ended after the link is gone",
        )
        .given(
            active()
                .and("subscription.added subscription_id=s1 managed_by=client", t(1))
                .and("client.lost", t(5)),
        )
        .when(on("subscription.ended subscription_id=s1", t(6)))
        .changes(&["subscription.ended s1"]),
    ]
}

fn single_people() -> Vec<Story> {
    vec![
        story("000", "users can be prepared for a draft")
            .given(draft())
            .when(on("user.added user_id=u1", t(0)))
            .shows(json!({ "users": ["u1"] }))
            .changes(&["user.added u1"]),
        story("000", "a user can be removed")
            .given(peopled(draft()))
            .when(on("user.removed user_id=u1", t(0)))
            .shows(json!({ "users": [] }))
            .changes(&["user.removed u1"]),
        story("000", "integrations can be prepared for a draft")
            .given(draft())
            .when(on("integration.added integration_id=i1", t(0)))
            .shows(json!({ "integrations": ["i1"] }))
            .changes(&["integration.added i1"]),
        story("000", "an integration can be removed")
            .given(peopled(draft()))
            .when(on("integration.removed integration_id=i1", t(0)))
            .shows(json!({ "integrations": [] }))
            .changes(&["integration.removed i1"]),
        story("001", "termination removes neither users nor integrations")
            .given(peopled(active()))
            .when(on("client.terminated", t(5)))
            .shows(json!({ "users": ["u1"], "integrations": ["i1"] })),
        story(
            "000",
            "an archived client has no integration, and keeps its users",
        )
        .given(peopled(active()).and("integration.added integration_id=i2", t(1)))
        .when(on("client.archived", t(5)))
        .shows(json!({ "users": ["u1"], "integrations": [] }))
        .changes(&[
            "link.archived",
            "access.none",
            "integration.removed i1",
            "integration.removed i2",
            "commission.stopped",
            "status_credit.withdrawn",
        ]),
        story("000", "a lost client has no integration, and keeps its users")
            .given(peopled(active()))
            .when(on("client.lost", t(5)))
            .shows(json!({ "users": ["u1"], "integrations": [] }))
            .changes(&[
                "link.lost",
                "access.none",
                "integration.removed i1",
                "commission.stopped",
                "status_credit.withdrawn",
            ]),
        story(
            "000",
            "an invitation that is withdrawn takes the prepared integrations with it",
        )
        .given(peopled(invited()))
        .when(on("client.archived", t(0)))
        .shows(json!({ "users": ["u1"], "integrations": [] }))
        .changes(&["link.archived", "integration.removed i1"]),
        story(
            "000",
            "the same integration can be added again after a new invitation",
        )
        .given(peopled(archived()).and("client.invited", t(11)))
        .when(on("integration.added integration_id=i1", t(12)))
        .changes(&["integration.added i1"]),
        story(
            "ours",
            "for an archived and terminated client the refusal names the link",
        )
        .given(archived().and("client.terminated", t(11)))
        .when(on("user.added user_id=u1", t(12)))
        .refused("not_linked"),
        story("000", "a client that is invited again can get users again")
            .given(archived().and("client.invited", t(11)))
            .when(on("user.added user_id=u1", t(12)))
            .shows(json!({ "users": ["u1"] })),
    ]
}

#[test]
fn holdings_follow_the_tables() {
    check(&stories());
}

#[test]
fn ids_of_holdings_are_texts_of_a_bounded_length() {
    let id = |id: &str| kind_of("user.added", &json!({ "user_id": id }));
    assert!(id("").is_err());
    assert!(id(&"x".repeat(200)).is_ok());
    assert!(id(&"x".repeat(201)).is_err());
    assert!(kind_of("user.added", &json!({ "user_id": 7 })).is_err());
    assert!(
        kind_of("subscription.renewed", &json!({ "subscription_id": "s" })).is_err(),
        "without `paid_until`"
    );
}
