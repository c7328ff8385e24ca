//! The account that a partner creates, and passes over to its owner (002).

use serde_json::{Value, json};
use tenure::domain::action::HANDOVER_ACTION;

use super::*;

pub fn stories() -> Vec<Story> {
    [creating(), adding_an_owner()].concat()
}

fn created() -> Vec<Event> {
    active().and("account.created account_id=acc-1", t(1))
}

fn handover(status: &str) -> Value {
    json!({ "handover": status })
}

fn creating() -> Vec<Story> {
    vec![
        story("002", "the account that a partner creates waits for its owner")
            .given(draft())
            .when(on("account.created account_id=acc-1", t(0)))
            .shows(json!({ "handover": "pending", "account_id": "acc-1" }))
            .changes(&["account.created acc-1"]),
        story("002", "the account that the customer creates has an owner")
            .given(draft())
            .when(on("account.created by=customer account_id=acc-1", t(0)))
            .shows(json!({ "handover": "none", "account_id": "acc-1" }))
            .changes(&["account.created acc-1"]),
        story("002", "an account needs no id")
            .given(draft())
            .when(on("account.created", t(0)))
            .shows(json!({ "handover": "pending", "account_id": null }))
            .changes(&["account.created"]),
        story("ours", "an account is created once: the first creation counts")
            .given(draft().and("account.created by=customer", t(0)))
            .when(on("account.created by=partner", t(1)))
            .shows(handover("none"))
            .changes(&[]),
        story("ours", "a later creation adds the id that was missing")
            .given(draft().and("account.created", t(0)))
            .when(on("account.created by=customer account_id=acc-1", t(1)))
            .shows(json!({ "handover": "pending", "account_id": "acc-1" }))
            .changes(&["account.created acc-1"]),
        story("ours", "a later creation does not change the id")
            .given(created())
            .when(on("account.created account_id=acc-2", t(2)))
            .shows(json!({ "account_id": "acc-1" }))
            .changes(&[]),
        story("002", "the handover is done when the owner is set")
            .given(created())
            .when(on("account.owner_set", t(2)))
            .shows(handover("done"))
            .changes(&["account.handed_over"]),
        story("002", "an account is handed over once")
            .given(created().and("account.owner_set", t(2)))
            .when(on("account.owner_set", t(3)))
            .refused("no_handover"),
        story(
            "002",
            "nobody sets the owner of an account that the customer created",
        )
        .given(active().and("account.created by=customer", t(1)))
        .when(on("account.owner_set", t(2)))
        .refused("no_handover"),
        story("ours", "the handover outlives the link")
            .given(created().and("client.archived", t(5)))
            .until(t(6))
            .shows(handover("pending")),
    ]
}

fn adding_an_owner() -> Vec<Story> {
    let add_owner = Some(HANDOVER_ACTION);
    vec![
        story("002", "the partner that created the account may add its owner")
            .given(created())
            .until(t(2))
            .decides(add_owner, true, "access_enabled"),
        story(
            "002",
            "once the account has an owner, the partner may not add one",
        )
        .given(created().and("account.owner_set", t(2)))
        .until(t(3))
        .decides(add_owner, false, "action_forbidden"),
        story(
            "002",
            "a partner that did not create the account may not add its owner",
        )
        .given(active())
        .until(t(1))
        .decides(add_owner, false, "action_forbidden"),
        story(
            "002",
            "a partner may not add an owner to the account that the customer created",
        )
        .given(active().and("account.created by=customer", t(1)))
        .until(t(2))
        .decides(add_owner, false, "action_forbidden"),
        story("ours", "without access the partner may not add an owner either")
            .given(draft().and("account.created", t(0)))
            .until(t(1))
            .decides(add_owner, false, "access_none"),
        story("ours", "a partner whose access is disabled may not add an owner")
            .given(created().and("access.disabled", t(2)))
            .until(t(3))
            .decides(add_owner, false, "access_disabled"),
        story("ours", "a partner whose access has expired may not add an owner")
            .given(created())
            .until(t(60))
            .decides(add_owner, false, "access_expired"),
        story(
            "ours",
            "a client that was deleted and added again has no handover",
        )
        .given(all_steps(
            draft()
                .and("account.created", t(-3))
                .and("client.deleted", t(-2))
                .and_event(sequenced(on("client.added name=Bakery", t(-2)), "1"))
                .and("client.invited", t(-1)),
            t(0),
        ))
        .until(t(1))
        .shows(handover("none"))
        .decides(add_owner, false, "action_forbidden"),
    ]
}

#[test]
fn the_handover_follows_the_table() {
    check(&stories());
}
