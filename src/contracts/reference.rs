//! `docs/events.md` and `docs/changes.md`: the contracts for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::change_guide;
use super::examples::{change_examples, event_example, guide_to};
use super::guide::{App, EVENT_GUIDES, EventGuide, NOT_THEIRS_ADVICE, UNKNOWN_CLIENT_ADVICE};
use super::schemas;
use crate::domain::{ChangeKind, EventKind, Refusal};
use crate::wire::SchemaUris;

/// The refusals that a type can get, with what to do about each: its own, then those of every type.
#[must_use]
pub fn refusals_of(kind: &str) -> Vec<(Refusal, &'static str)> {
    let mut refusals = guide_to(kind).refusals.to_vec();
    if kind != "client.added" {
        refusals.push((Refusal::UnknownClient, UNKNOWN_CLIENT_ADVICE));
    }
    refusals.push((Refusal::NotTheirs, NOT_THEIRS_ADVICE));
    refusals
}

/// Whose event an example is: `partner`, `customer` or `back_office`.
fn side_of(example: &Value) -> String {
    let kind = serde_json::json!({"type": example["type"], "data": example["data"]});
    serde_json::from_value::<EventKind>(kind).map_or_else(|_| String::new(), |kind| kind.side().to_string())
}

/// The reference of events, in Markdown.
#[must_use]
pub fn events() -> String {
    let mut text = String::from(EVENTS_HEAD);
    attributes(&mut text);
    text.push_str(EVENTS_AFTER_ATTRIBUTES);
    text.push_str("\n## Event types\n\n");
    for app in App::ALL {
        let links: Vec<String> = of_app(app).map(|guide| link(guide.kind)).collect();
        let _ = writeln!(text, "- {}: {}", app.title(), links.join(", "));
    }
    for app in App::ALL {
        let _ = write!(text, "\n## {}\n", app.title());
        for guide in of_app(app) {
            event(&mut text, guide);
        }
    }
    text
}

fn of_app(app: App) -> impl Iterator<Item = &'static EventGuide> {
    EVENT_GUIDES.iter().filter(move |guide| guide.app == app)
}

fn link(kind: &str) -> String {
    format!("[`{kind}`](#{})", kind.replace('.', ""))
}

fn attributes(text: &mut String) {
    text.push_str("| attribute | required | type | meaning |\n|---|---|---|---|\n");
    let schema = schemas::event_attributes();
    for (name, attribute) in schema["properties"].as_object().into_iter().flatten() {
        let required = is_required(&schema, name);
        let description = attribute["description"].as_str().unwrap_or_default();
        let kind = kind_of(attribute);
        let _ = writeln!(text, "| `{name}` | {} | {kind} | {description} |", yes(required));
    }
}

fn event(text: &mut String, guide: &EventGuide) {
    let kind = guide.kind;
    let example = event_example(kind);
    let _ = write!(text, "\n### `{kind}`\n\n{}\n\n", guide.when);
    let data = schemas::event_data(kind).cloned().unwrap_or_default();
    fields(text, &data);
    let _ = write!(text, "\n{}\n", json_block(&example));
    let _ = write!(
        text,
        "\n**Effect.** {} Whose event: `{}`.\n",
        guide.effect,
        side_of(&example)
    );
    text.push_str("\n| refused as | because | what to do |\n|---|---|---|\n");
    for (refusal, advice) in refusals_of(kind) {
        let _ = writeln!(text, "| `{refusal}` | {} | {advice} |", refusal.words());
    }
}

/// The table of the fields of an object.
fn fields(text: &mut String, schema: &Value) {
    let properties = schema["properties"]
        .as_object()
        .filter(|fields| !fields.is_empty());
    let Some(properties) = properties else {
        text.push_str("It has no data: leave `data` out, or send `{}`.\n");
        return;
    };
    text.push_str("| field | required | type | meaning |\n|---|---|---|---|\n");
    for (name, field) in properties {
        let description = field["description"].as_str().unwrap_or_default();
        let default = match &field["default"] {
            Value::Null => String::new(),
            default => format!(" By default `{default}`."),
        };
        let required = yes(is_required(schema, name));
        let _ = writeln!(
            text,
            "| `{name}` | {required} | {} | {description}{default} |",
            kind_of(field)
        );
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"]
        .as_array()
        .is_some_and(|required| required.iter().any(|one| one == name))
}

fn yes(required: bool) -> &'static str {
    if required { "yes" } else { "no" }
}

/// The type of a value in words, with its limits.
fn kind_of(schema: &Value) -> String {
    if let Some(value) = schema["const"].as_str() {
        return format!("`\"{value}\"`");
    }
    if let Some(values) = schema["enum"].as_array() {
        let names: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|name| format!("`{name}`"))
            .collect();
        return if names.len() > 12 {
            "text: a code".to_owned()
        } else {
            names.join(", ")
        };
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let kinds: Vec<String> = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .map(kind_of)
            .collect();
        return kinds.join(", or ");
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or_default(),
        _ => return "anything".to_owned(),
    };
    match (kind, schema["format"].as_str()) {
        ("string", Some("date-time")) => "time (RFC 3339)".to_owned(),
        ("string", _) => text_kind(schema),
        ("integer", _) => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
            (Some(least), None) => format!("whole number, {least} or more"),
            _ => "whole number".to_owned(),
        },
        ("boolean", _) => "`true` or `false`".to_owned(),
        ("array", _) => format!("list, not empty, of {}", kind_of(&schema["items"])),
        (other, _) => other.to_owned(),
    }
}

fn text_kind(schema: &Value) -> String {
    match (schema["minLength"].as_u64(), schema["maxLength"].as_u64()) {
        (Some(least), Some(most)) => format!("text, {least} to {most} characters"),
        _ => "text".to_owned(),
    }
}

fn json_block(value: &Value) -> String {
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("```json\n{json}\n```")
}

/// The reference of changes, in Markdown.
#[must_use]
pub fn changes() -> String {
    let mut text = String::from(CHANGES_HEAD);
    let examples = change_examples(&SchemaUris::default());
    for kind in ChangeKind::ALL {
        let _ = write!(text, "\n## `{kind}`\n\n{}\n", change_guide::when(*kind));
        let specifics = schemas::change_specifics(*kind);
        change_fields(&mut text, &specifics);
        if let Some(example) = examples.get(kind) {
            let _ = write!(text, "\n{}\n", json_block(example));
        }
    }
    text
}

/// The fields that a type adds to those of all types, the details in `data` included.
fn change_fields(text: &mut String, specifics: &Value) {
    let own = specifics["properties"].as_object().into_iter().flatten();
    let mut rows = String::new();
    for (name, field) in own.filter(|(name, _)| *name != "type") {
        let nested = field["properties"].as_object().filter(|_| name == "data");
        if let Some(nested) = nested {
            for (detail, schema) in nested {
                let always = is_required(specifics, "data") && is_required(field, detail);
                row(&mut rows, &format!("data.{detail}"), schema, always);
            }
        } else {
            row(&mut rows, name, field, is_required(specifics, name));
        }
    }
    if !rows.is_empty() {
        let _ = write!(
            text,
            "\n| field of `data` | always | type | meaning |\n|---|---|---|---|\n{rows}"
        );
    }
}

fn row(rows: &mut String, name: &str, schema: &Value, is_always_there: bool) {
    let description = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(
        rows,
        "| `{name}` | {} | {} | {description} |",
        yes(is_always_there),
        kind_of(schema)
    );
}

const EVENTS_HEAD: &str = "\
# Events

Everything that a publisher needs: how to send an event, what each type means, and what to do when Tenure refuses one. Generated
from the code; a test fails if this file is out of date, and with `TENURE_TEST_UPDATE_CONTRACTS=1` it writes the file.
[lifecycles.md](lifecycles.md) has the rules behind it.

## Send an event

An event is a [CloudEvent](https://cloudevents.io) 1.0 in JSON. Send it in one of these ways; all have the same effect.

| way | structured | binary |
|---|---|---|
| RabbitMQ: exchange `tenure.events`, routing key = type | content type `application/cloudevents+json`, the event in the body | attributes in headers `cloudEvents:id`, `cloudEvents:source` …, content type `application/json`, the data in the body |
| HTTP: `POST /v1/events` | the same | attributes in headers `ce-id`, `ce-source` …, the same body |
| HTTP batch | content type `application/cloudevents-batch+json`, an array of events | |
| file: `tenure ingest`, `tenure publish` | one event per line, or an array | |

With RabbitMQ, wait for the confirm, publish with `mandatory`, and set the header `partitionkey` to the subject. If you do not know
whether an event arrived, send it again with the same `id`: that changes nothing. If Tenure has tokens, add
`-H \"authorization: Bearer $API_TOKEN\"` to the command.

```sh
curl -s localhost:8080/v1/events -H 'content-type: application/cloudevents+json' -d \\
  '{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/partner-space\",\"type\":\"client.added\",
    \"subject\":\"acme/c-1\",\"time\":\"2026-01-05T09:00:00Z\",\"data\":{\"name\":\"Bluebird Bakery\"}}'
```

### Attributes

";

const EVENTS_AFTER_ATTRIBUTES: &str = "
An event as sent has at most 256 KiB (`events.max_bytes`). Text may not contain the character U+0000. Optional attributes and fields
may be absent or `null`, unless a field has a default: then leave it out. Other extension attributes are ignored. Unknown fields in
`data` are ignored too, with a warning to the sender, because they may be misspelt.

### Outcomes

HTTP reports the outcome of each event. RabbitMQ confirms that the message is stored; the outcome follows as a change, or is in the
list of dead letters.

| outcome | means | what to do |
|---|---|---|
| `applied` | the event counts | nothing |
| `duplicate` | Tenure has this event (`source` and `id`) | nothing |
| `refused` | the event is not possible at its place in the client's history. It is stored, published as `event.refused`, and evaluated again when an earlier event arrives | look at the code below. Never send it again: it is there |
| `deferred` | `time` is more than five minutes ahead of Tenure's clock, by up to a day | nothing, if the clock of the sender is right |
| `dead` | the message is not a valid event, is more than a day ahead of Tenure's clock, or its `source` and `id` are those of another event. It is stored with the reason | correct the sender and send the event again, with a new `id` if the reason says that another event has it. `tenure dead` lists, shows and discards dead letters |

A message is a dead letter if it is not JSON, lacks an attribute, has an unknown type, a value outside its limits, or the `id` of
another event. The reason names the attribute or field, what it is, and what is expected.

### Order

Tenure orders the events of a client by `time`, then `sequence`, whatever the order in which they arrive. Send an event late rather
than with another time. Two events of a client with the same time are in the order of `sequence`, if they have one.

### Schemas

Each type has two JSON Schemas: of the whole event and of its data. They are in `docs/contracts/events`, printed by
`tenure schema event TYPE`, and served at `/v1/schemas/events/{type}` and `/v1/schemas/events/{type}/data`. The URI of the latter is
the value for `dataschema`, if you send it: `urn:tenure:schemas:events:{type}:data`, or the URL if `http.public_url` is set. Tenure
reads the data by the type of the event in any case. `/asyncapi.json` describes exchanges, headers and all messages.

A new version of Tenure accepts every event that an older one accepts. What could break a publisher becomes a new type.
";

const CHANGES_HEAD: &str = "\
# Changes

Every change that Tenure publishes: when it comes, its fields, and an example. Generated from the code; a
test fails if this file is out of date, and with `TENURE_TEST_UPDATE_CONTRACTS=1` it writes the file. [subscribing.md](subscribing.md)
describes how to receive changes, and what you can rely on.

## What all changes have

A change is a CloudEvent 1.0 in structured mode, the same over RabbitMQ, HTTP, server-sent events and webhooks. `type` is also the
routing key, `subject` is the client (`{partner}/{client}`), and `time` is when the change took effect. `dataschema` is the URI of the JSON Schema
of `data`: a URL if `http.public_url` is set, otherwise a URN. The schemas are in `docs/contracts/changes`, printed by
`tenure schema change TYPE`, and served at `/v1/schemas/changes/{type}`.

`data` always has `epoch`, `sequence`, `type`, `recorded`, `cause` and `correction`:

- `cause` is the event (`source`, `id`, `type`, and its `actor`, `actorkind` and `reason` if it has them), the timer (`timer`), or
  `rebuild`, that made the change.
- `correction` is `true` if the change amends what was published before. `corrected_by` then says what made that necessary.
- `id`, `from`, `to` and `data` depend on the type; the tables below list them.

New versions add fields and types. Ignore what you do not know.
";
