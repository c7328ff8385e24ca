//! Namesakes: two different events that a source gave the same id by mistake. The first to arrive counts.

use chrono::{DateTime, Utc};

use super::event::{Event, EventKind};
use super::id::ClientKey;
use super::time::rfc3339;

/// An event, as far as another with the same source and id must agree with it to be the same event. The sequence and the actor
/// do not matter: a sender that publishes an event again may number it differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    pub key: ClientKey,
    /// In whole microseconds.
    pub time: DateTime<Utc>,
    /// The type, and the data as far as Tenure understands it.
    pub kind: EventKind,
}

impl Namesake {
    /// Why an event with the same source and id is a mistake of its sender. None: it is the same event.
    #[must_use]
    pub fn conflict_with(&self, event: &Event) -> Option<String> {
        let (ours, theirs) = (self.kind.type_name(), event.kind.type_name());
        let differences: Vec<&str> = [
            ("subject", self.key != event.key),
            ("type", ours != theirs),
            ("time", self.time != event.time),
            ("data", ours == theirs && self.kind != event.kind),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect();
        let (last, rest) = differences.split_last()?;
        let named = match rest {
            [] => (*last).to_owned(),
            rest => format!("{} and {last}", rest.join(", ")),
        };
        Some(format!(
            "another event has this source and id: {ours} of {} at {}, which differs in {named}; send each event with an id of its \
             own",
            self.key,
            rfc3339(self.time)
        ))
    }
}

impl From<&Event> for Namesake {
    fn from(event: &Event) -> Self {
        Self {
            key: event.key.clone(),
            time: event.time,
            kind: event.kind.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::actor::{Actor, ActorKind};
    use crate::domain::event::NameVerdict;

    fn event(client: &str, second: i64, kind: &str, data: &Value) -> Event {
        Event {
            source: "/app".into(),
            id: "1".into(),
            key: ClientKey::new("acme", client).unwrap(),
            time: DateTime::from_timestamp(second, 0).unwrap(),
            sequence: None,
            actor: Actor::default(),
            kind: serde_json::from_value(json!({ "type": kind, "data": data })).unwrap(),
            name_verdict: NameVerdict::Open,
        }
    }

    #[test]
    fn the_reason_names_the_first_event_and_the_differences() {
        let first = event("c", 0, "client.added", &json!({"name": "Bakery"}));
        let bakery = json!({"name": "Bakery"});
        let conflict = |event: &Event| Namesake::from(&first).conflict_with(event);
        for (other, differences) in [
            (event("d", 0, "client.added", &bakery), "subject"),
            (event("c", 0, "client.renamed", &bakery), "type"),
            (event("c", 1, "client.added", &bakery), "time"),
            (event("c", 0, "client.added", &json!({"name": "Mill"})), "data"),
            (event("d", 1, "client.added", &bakery), "subject and time"),
            (
                event("d", 1, "client.deleted", &json!({})),
                "subject, type and time",
            ),
        ] {
            let expected = format!(
                "another event has this source and id: client.added of acme/c at 1970-01-01T00:00:00Z, which differs in \
                 {differences}; send each event with an id of its own"
            );
            assert_eq!(conflict(&other), Some(expected));
        }
    }

    #[test]
    fn another_sequence_or_actor_is_the_same_event() {
        let first = event("c", 0, "client.added", &json!({"name": "Bakery"}));
        let again = Event {
            sequence: Some("7".into()),
            actor: Actor {
                id: Some("u-1".into()),
                kind: Some(ActorKind::Partner),
            },
            ..event(
                "c",
                0,
                "client.added",
                &json!({"imported": false, "name": " Bakery "}),
            )
        };
        assert_eq!(Namesake::from(&first).conflict_with(&again), None);
        assert!(first.is_repeated_by(&again));
    }
}
