//! The lifecycles as tables: given events, when another event arrives or time passes, then statuses, refusal, changes.
//! Every row names the article that it follows (`000`, `001`, `002`, or `ours`), as `docs/lifecycles.md` does.

mod access;
mod actors;
mod changes;
mod completeness;
mod deletion;
pub mod document;
mod endings;
mod eras;
mod handover;
mod holdings;
mod invitation;
mod link;
mod matrix;
mod names;
mod order;
mod service;
mod story;
mod timers;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tenure::domain::event::NameVerdict;
use tenure::domain::{Actor, ClientKey, Event, EventKind, Policies, Policy};

pub use matrix::{Column, Matrix};
pub use story::{Story, check, story};

pub const MICRO: TimeDelta = TimeDelta::microseconds(1);

/// The moment this many days after the client of [`active`] became active.
pub fn t(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01") + TimeDelta::days(days)
}

pub fn days(n: i64) -> TimeDelta {
    TimeDelta::days(n)
}

/// A moment in JSON.
pub fn z(moment: DateTime<Utc>) -> String {
    tenure::domain::time::rfc3339(moment)
}

pub fn key() -> ClientKey {
    ClientKey::new("acme", "c-1").expect("a key")
}

/// An event of the client that the tables are about, deserialized from JSON.
pub fn ev(kind: &str, time: DateTime<Utc>, data: &Value) -> Event {
    Event {
        source: "app".into(),
        id: format!("{kind} {data} {}", z(time)).into(),
        key: key(),
        time,
        sequence: None,
        kind: kind_of(kind, data).unwrap_or_else(|error| panic!("{kind} {data}: {error}")),
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}

pub fn kind_of(kind: &str, data: &Value) -> Result<EventKind, serde_json::Error> {
    serde_json::from_value::<EventKind>(json!({ "type": kind, "data": data })).map(EventKind::truncate)
}

/// The same in short form: `assignment.added assignment_id=a1`. Values are JSON, or text without blanks.
pub fn on(text: &str, time: DateTime<Utc>) -> Event {
    let mut words = text.split_whitespace();
    let kind = words.next().expect("a type");
    let data: Map<String, Value> = words
        .map(|word| {
            let (field, value) = word.split_once('=').expect("field=value");
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            (field.to_owned(), value)
        })
        .collect();
    ev(kind, time, &Value::Object(data))
}

/// The event, with the verdict that its name is taken.
pub fn name_taken(event: Event) -> Event {
    Event {
        name_verdict: NameVerdict::Taken,
        ..event
    }
}

pub fn sequenced(event: Event, sequence: &str) -> Event {
    Event {
        sequence: Some(sequence.into()),
        ..event
    }
}

pub fn named(event: Event, source: &str, id: &str) -> Event {
    Event {
        source: source.into(),
        id: id.into(),
        ..event
    }
}

/// The default policy with a change.
pub fn policy(set: impl FnOnce(&mut Policy)) -> Policies {
    Policies::always(changed(set))
}

pub fn changed(set: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    set(&mut policy);
    policy
}

/// The default policy, and a changed one from a moment on.
pub fn policy_from(moment: DateTime<Utc>, set: impl FnOnce(&mut Policy)) -> Policies {
    policy_change(Policy::default(), moment, changed(set))
}

pub fn policy_change(first: Policy, moment: DateTime<Utc>, then: Policy) -> Policies {
    Policies::recorded(vec![(t(-1000), first), (moment, then)]).expect("two policies")
}

/// Extends a history.
pub trait And {
    fn and(self, text: &str, time: DateTime<Utc>) -> Self;
    fn and_event(self, event: Event) -> Self;
}

impl And for Vec<Event> {
    fn and(self, text: &str, time: DateTime<Utc>) -> Self {
        self.and_event(on(text, time))
    }

    fn and_event(mut self, event: Event) -> Self {
        self.push(event);
        self
    }
}

pub fn nothing() -> Vec<Event> {
    Vec::new()
}

pub fn draft() -> Vec<Event> {
    nothing().and("client.added name=Bakery", t(-3))
}

pub fn invited() -> Vec<Event> {
    draft().and("client.invited", t(-2))
}

pub fn referred() -> Vec<Event> {
    draft().and("client.invited channel=referral", t(-2))
}

/// A linked client, with access from `t(0)` on.
pub fn active() -> Vec<Event> {
    all_steps(invited(), t(0))
}

/// The history with the three steps of an invitation, the last one at this moment.
pub fn all_steps(given: Vec<Event>, last: DateTime<Utc>) -> Vec<Event> {
    given
        .and("invitation.accepted", last - TimeDelta::hours(2))
        .and("onboarding.completed", last - TimeDelta::hours(1))
        .and("consent.granted", last)
}

pub fn invitation_rejected() -> Vec<Event> {
    referred().and("invitation.rejected", t(-1))
}

pub fn access_rejected() -> Vec<Event> {
    invited().and("identity.rejected", t(-1))
}

pub fn archived() -> Vec<Event> {
    active().and("client.archived", t(10))
}

pub fn lost() -> Vec<Event> {
    active().and("client.lost", t(10))
}

pub fn deleted() -> Vec<Event> {
    archived().and("client.deleted", t(11))
}

/// The stories of every table.
fn every_story() -> Vec<Story> {
    [
        link::stories(),
        invitation::stories(),
        names::stories(),
        deletion::stories(),
        service::stories(),
        holdings::stories(),
        access::stories(),
        handover::stories(),
        timers::stories(),
        endings::stories(),
        eras::stories(),
        changes::stories(),
        actors::stories(),
    ]
    .concat()
}
