//! Whose events: what an actor of the other side cannot do.

use serde_json::json;
use tenure::domain::event::TYPES;
use tenure::domain::{Actor, ActorKind, Event};

use super::{And, Story, active, deleted, draft, ev, nothing, on, story, t};

/// The event, caused by an actor of this kind.
fn by(kind: ActorKind, event: Event) -> Event {
    Event {
        actor: Actor {
            id: Some("u-1".into()),
            kind: Some(kind),
        },
        ..event
    }
}

/// The types of each side. All others are the partner's.
const CUSTOMER: [&str; 8] = [
    "invitation.accepted",
    "onboarding.completed",
    "consent.granted",
    "client.lost",
    "access.disabled",
    "access.enabled",
    "access.approved",
    "access.denied",
];
const BACK_OFFICE: [&str; 7] = [
    "invitation.rejected",
    "invitation.bounced",
    "identity.rejected",
    "identity.cleared",
    "account.updated",
    "account.jobs_counted",
    "commission.eligibility_changed",
];

pub fn stories() -> Vec<Story> {
    let sample = |kind: &str| -> Event { ev(kind, t(5), &crate::generate::sample(kind)) };
    let others = TYPES.iter().flat_map(|kind| {
        let mut strangers = vec![ActorKind::Partner, ActorKind::Customer];
        if CUSTOMER.contains(kind) {
            strangers = vec![ActorKind::Partner];
        } else if !BACK_OFFICE.contains(kind) {
            strangers = vec![ActorKind::Customer];
        }
        strangers.into_iter().map(move |stranger| {
            story("ours", format!("{kind} is not for the {stranger} to do"))
                .given(active())
                .when(by(stranger, sample(kind)))
                .refused("not_theirs")
        })
    });
    let requested = || {
        active()
            .and("access.disabled", t(1))
            .and("access.requested", t(2))
    };
    let named = [
        story("002", "a partner cannot approve its own request")
            .given(requested())
            .when(by(ActorKind::Partner, on("access.approved", t(3))))
            .refused("not_theirs"),
        story("002", "the customer approves it")
            .given(requested())
            .when(by(ActorKind::Customer, on("access.approved", t(3))))
            .shows(json!({"access": "enabled"})),
        story("ours", "the back office may do what is the customer's to do")
            .given(requested())
            .when(by(ActorKind::BackOffice, on("access.approved", t(3))))
            .shows(json!({"access": "enabled"})),
        story("ours", "and a system what is the back office's")
            .given(active())
            .when(by(ActorKind::System, on("account.jobs_counted total=7", t(3))))
            .shows(json!({"jobs_total": 7})),
        story("ours", "the side that disconnects is the side that may say so")
            .given(active())
            .when(by(ActorKind::Partner, on("partner.disconnected by=client", t(3))))
            .refused("not_theirs"),
        story("ours", "a partner does not create the account for its customer")
            .given(active())
            .when(by(ActorKind::Partner, on("account.created by=customer", t(3))))
            .refused("not_theirs"),
        story("ours", "staff are on the customer's side")
            .given(active())
            .when(by(ActorKind::Partner, on("account.accessed by=staff", t(3))))
            .refused("not_theirs"),
        story(
            "ours",
            "an entry that the customer makes does not renew the partner's access",
        )
        .given(active())
        .when(by(ActorKind::Customer, on("account.accessed", t(3))))
        .refused("not_theirs"),
        story("ours", "a client must exist before it matters whose event it is")
            .given(deleted())
            .when(by(ActorKind::Customer, on("client.renamed name=Mill", t(12))))
            .refused("unknown_client"),
        story("ours", "it matters before any other refusal")
            .given(draft())
            .when(by(ActorKind::Customer, sample("client.added")))
            .refused("not_theirs"),
        story("ours", "no customer adds itself")
            .given(nothing())
            .when(by(ActorKind::Customer, sample("client.added")))
            .refused("not_theirs"),
    ];
    others.chain(named).collect()
}
