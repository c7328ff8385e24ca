//! Which events a client would accept: each type is tried on a copy of the client, by the rules themselves.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::actor::{Actor, ActorKind};
use super::client::Client;
use super::event::{Event, EventKind, Field, FieldType, NameVerdict, OWN_SOURCE, TYPES, fields};
use super::holdings::Subscription;
use super::id::{ClientKey, Id};
use super::policy::Policies;
use super::refusal::Refusal;
use super::time::rfc3339;

/// Whether an event of one type would be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Possibility {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The data that was tried: required fields, and `by`, which says who did it.
    pub data: Map<String, Value>,
    /// The side whose event it is. An event with another `actorkind` is refused as `not_theirs`.
    pub side: ActorKind,
    pub possible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The refusal in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// Tries an event of every type at a moment, in the order of the tables of `docs/lifecycles.md`. The client must have seen no
/// later event, and its timers must have fired.
///
/// The data is representative, so that the answer is about the client and not about the data: a name is free; a holding that
/// is added has a new id; a holding that is changed or removed is one that the client has.
///
/// # Panics
/// Never: every type accepts the data of its table.
#[must_use]
pub fn possibilities(
    key: &ClientKey,
    client: &Client,
    at: DateTime<Utc>,
    policies: &Policies,
) -> Vec<Possibility> {
    let trial = &Trial {
        key,
        client,
        at,
        policies,
    };
    TYPES
        .iter()
        .flat_map(|kind| doers(kind).into_iter().map(move |by| trial.of(kind, by)))
        .collect()
}

/// Events of every type at a moment, with the data of [`possibilities`]: for every value of `by`, with flags on and off, and with
/// numbers on both sides of `threshold`. Those about a holding are about the one with this id.
pub(super) fn examples(
    key: &ClientKey,
    client: &Client,
    at: DateTime<Utc>,
    id: Option<&Id>,
    threshold: u64,
) -> Vec<Event> {
    let trial = &Trial {
        key,
        client,
        at,
        policies: &Policies::default(),
    };
    let mut events = Vec::new();
    for kind in TYPES {
        let other = Sample {
            flag: false,
            number: threshold,
        };
        let mut samples = vec![Sample::default()];
        if fields(kind).iter().any(is_of_two_samples) {
            samples.push(other);
        }
        for by in doers(kind) {
            events.extend(samples.iter().map(|sample| trial.event(kind, by, id, *sample).0));
        }
    }
    events
}

fn is_of_two_samples(field: &Field) -> bool {
    field.is_required && matches!(field.value, FieldType::Flag | FieldType::Number)
}

/// The values of required flags and numbers.
#[derive(Clone, Copy)]
struct Sample {
    flag: bool,
    number: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            flag: true,
            number: 0,
        }
    }
}

/// The values of the field `by`, if the type has it: they can make a difference.
fn doers(kind: &str) -> Vec<Option<&'static str>> {
    let by = fields(kind).into_iter().find(|field| field.name == "by");
    match by.map(|field| field.value) {
        Some(FieldType::OneOf(names)) => names.iter().copied().map(Some).collect(),
        _ => vec![None],
    }
}

/// What the events are tried on.
struct Trial<'a> {
    key: &'a ClientKey,
    client: &'a Client,
    at: DateTime<Utc>,
    policies: &'a Policies,
}

impl Trial<'_> {
    /// The best of the attempts with a new id and with the id of a holding that the client has. A refusal that is about the
    /// client says more than one that is about the id.
    fn of(&self, kind: &'static str, by: Option<&'static str>) -> Possibility {
        let held = fields(kind)
            .iter()
            .find_map(|field| held_id(self.client, field.name));
        [None, held]
            .into_iter()
            .enumerate()
            .filter(|(place, id)| *place == 0 || id.is_some())
            .map(|(_, id)| self.attempt(kind, by, id))
            .min_by_key(|attempt| match attempt.refusal {
                None => 0,
                Some(Refusal::UnknownId | Refusal::DuplicateId) => 2,
                Some(_) => 1,
            })
            .expect("the attempt with a new id is always there")
    }

    fn attempt(&self, kind: &'static str, by: Option<&'static str>, id: Option<&Id>) -> Possibility {
        let (event, data) = self.event(kind, by, id, Sample::default());
        let refusal = self.client.clone().apply(&event, self.policies).err();
        Possibility {
            kind: event.kind.type_name(),
            data,
            side: event.kind.side(),
            possible: refusal.is_none(),
            refusal,
            reason: refusal.map(Refusal::words),
        }
    }

    /// An event of the type, and its data.
    fn event(
        &self,
        kind: &'static str,
        by: Option<&'static str>,
        id: Option<&Id>,
        sample: Sample,
    ) -> (Event, Map<String, Value>) {
        let data = self.data(kind, by, id, sample);
        let kind = serde_json::from_value::<EventKind>(json!({"type": kind, "data": data}))
            .expect("the type accepts the data of its table");
        let name_verdict = match kind.claimed_name() {
            Some(_) => NameVerdict::Granted,
            None => NameVerdict::Open,
        };
        let event = Event {
            source: OWN_SOURCE.into(),
            id: kind.type_name().into(),
            key: self.key.clone(),
            time: self.at,
            sequence: None,
            actor: Actor::default(),
            kind,
            name_verdict,
        };
        (event, data)
    }

    /// The required fields of a type, and `by`.
    fn data(
        &self,
        kind: &str,
        by: Option<&'static str>,
        id: Option<&Id>,
        sample: Sample,
    ) -> Map<String, Value> {
        let mut data = Map::new();
        for field in fields(kind) {
            if field.name == "by" {
                data.extend(by.map(|by| ("by".to_owned(), by.into())));
            } else if field.is_required {
                let value = match field.value {
                    FieldType::Id => id
                        .map_or_else(|| self.new_id(field.name), |id| id.as_str().to_owned())
                        .into(),
                    FieldType::Name | FieldType::Text => "Example".into(),
                    FieldType::Time => rfc3339(self.at).into(),
                    FieldType::Flag => sample.flag.into(),
                    FieldType::Number => sample.number.into(),
                    FieldType::OneOf(names) => names[0].into(),
                    FieldType::SomeOf(names) => json!([names[0]]),
                };
                data.insert(field.name.to_owned(), value);
            }
        }
        data
    }

    /// An id that no holding of the client has.
    fn new_id(&self, field: &str) -> String {
        let mut id = "example".to_owned();
        while held_ids(self.client, field).any(|held| held.as_str() == id) {
            id.push('+');
        }
        id
    }
}

/// The ids of the holdings that a field of an event names.
fn held_ids<'a>(client: &'a Client, field: &str) -> Box<dyn Iterator<Item = &'a Id> + 'a> {
    match field {
        "assignment_id" => Box::new(client.assignments.keys()),
        "schedule_id" => Box::new(client.report_schedules.keys()),
        "rule_id" => Box::new(client.margin_rules.keys()),
        "subscription_id" => Box::new(client.subscriptions.keys()),
        "user_id" => Box::new(client.users.keys()),
        "integration_id" => Box::new(client.integrations.keys()),
        _ => Box::new(std::iter::empty()),
    }
}

/// A holding that the client has: a subscription that has not ended, if there is one.
fn held_id<'a>(client: &'a Client, field: &str) -> Option<&'a Id> {
    let has_ended = |id: &Id| {
        field == "subscription_id" && client.subscriptions.get(id).is_some_and(Subscription::has_ended)
    };
    held_ids(client, field)
        .find(|id| !has_ended(id))
        .or_else(|| held_ids(client, field).next())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_required_id_names_a_kind_of_holding() {
        let required: BTreeSet<&str> = TYPES
            .iter()
            .flat_map(|kind| fields(kind))
            .filter(|field| field.is_required && field.value == FieldType::Id)
            .map(|field| field.name)
            .collect();
        let mut client = Client::default();
        let id = Id::try_from("x".to_owned()).unwrap();
        let _ = (
            client.assignments.add(&id, None),
            client.report_schedules.add(&id, ()),
            client.margin_rules.add(&id, ()),
            client.users.add(&id, ()),
            client.integrations.add(&id, ()),
        );
        let missing: Vec<&str> = required
            .into_iter()
            .filter(|field| *field != "subscription_id" && held_id(&client, field).is_none())
            .collect();
        assert_eq!(missing, [""; 0], "add the field to `held_ids`");
    }
}
