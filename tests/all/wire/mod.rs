//! CloudEvents in and out: which messages are events, which are dead letters and why. No input panics.

mod attributes;
mod batches;
mod changes;
mod data;
mod dead_letters;
mod modes;
mod random;
mod unknown_fields;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenure::domain::event::NameVerdict;
use tenure::domain::{Actor, ClientKey, Event, EventKind, Id, Name};
use tenure::store::DeadLetter;
use tenure::wire::{Decoded, Decoder, Limits, Message, Pairs};

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    moment("2026-03-01T12:00:00Z")
}

fn decoder() -> Decoder {
    let limits = Limits {
        max_event_bytes: 10_000,
        max_clock_skew: Duration::from_mins(5),
    };
    Decoder::new(limits, now())
}

fn name(text: &str) -> Name {
    Name::try_from(text.to_owned()).unwrap()
}

fn id(text: &str) -> Id {
    Id::try_from(text.to_owned()).unwrap()
}

/// A valid event with some members set, or removed with `null`.
fn envelope(changes: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "e-1", "source": "/space", "type": "client.added",
        "subject": "acme/c-1", "time": "2026-03-01T11:00:00Z", "data": {"name": "Bakery"},
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(key);
        } else {
            event[key] = value.clone();
        }
    }
    event
}

/// An event, or the reason of its dead letter.
fn structured(event: &Value) -> Result<Event, String> {
    decoder()
        .structured(event.to_string().as_bytes())
        .map_err(|error| error.to_string())
}

fn data(kind: &str, data: &str) -> Result<EventKind, String> {
    let json = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"{kind}","subject":"a/c","time":"2026-03-01T11:00:00Z","data":{data}}}"#
    );
    decoder()
        .structured(json.as_bytes())
        .map(|event| event.kind)
        .map_err(|error| error.to_string())
}

fn pairs(headers: &[(&str, &str)]) -> Pairs {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    headers.iter().map(owned).collect::<Vec<_>>().into()
}

fn decode(content_type: Option<&str>, headers: &[(&str, &str)], body: &str) -> Result<Decoded, DeadLetter> {
    decoder().event(Message {
        origin: "test",
        content_type,
        headers: &pairs(headers),
        body: body.as_bytes(),
    })
}

fn read(content_type: Option<&str>, headers: &[(&str, &str)], body: &str) -> Result<Event, DeadLetter> {
    decode(content_type, headers, body).map(|decoded| decoded.event)
}

fn bakery() -> Event {
    Event {
        source: "/space".into(),
        id: "e-1".into(),
        key: ClientKey::new("acme", "c-1").unwrap(),
        time: moment("2026-03-01T11:00:00Z"),
        sequence: None,
        kind: EventKind::ClientAdded {
            name: name("Bakery"),
            imported: false,
        },
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}
