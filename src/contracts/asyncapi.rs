//! The AsyncAPI 3.0 document: what Tenure receives from RabbitMQ, and what it sends.

use serde_json::{Map, Value, json};

use super::change_guide;
use super::examples::{change_examples, event_example, guide_to};
use super::reference::refusals_of;
use super::schemas;
use crate::domain::ChangeKind;
use crate::domain::event::TYPES;
use crate::wire::{STRUCTURED, SchemaUris};

/// What is declared in RabbitMQ for one lane. A test compares it with what Tenure declares.
const DEFINITIONS: &str = include_str!("../../config/rabbitmq/definitions.json");

const EVENTS: &str = "tenure.events";
const CHANGES: &str = "tenure.changes";
const LANE: &str = "tenure.events.0";
const DEAD: &str = "tenure.dead";

/// The AsyncAPI document.
///
/// # Panics
/// Never: the definitions of RabbitMQ are JSON, which a test checks.
#[must_use]
pub fn asyncapi(uris: &SchemaUris) -> Value {
    let definitions: Value = serde_json::from_str(DEFINITIONS).expect("the definitions of RabbitMQ are JSON");
    let changes: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tenure over RabbitMQ",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": STRUCTURED,
        "servers": {
            "rabbitmq": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "The RabbitMQ of the setting `broker.url` (`AMQP_URL`): amqp:// or amqps://.",
            },
        },
        "channels": {
            "events": exchange(&definitions, EVENTS, "eventType", TYPES, EVENTS_CHANNEL, &event_messages()),
            "changes": exchange(&definitions, CHANGES, "changeType", &changes, CHANGES_CHANNEL, &changes),
            "lane": queue(&definitions, LANE, LANE_CHANNEL),
            "dead": queue(&definitions, DEAD, DEAD_CHANNEL),
        },
        "operations": {
            "receiveEvents": {
                "action": "receive",
                "channel": {"$ref": "#/channels/events"},
                "summary": "Tenure receives events",
                "description": "Publish with confirms and `mandatory`: then a message that reaches no queue is an error for the \
                                publisher, not a loss. At least once is enough: the same `source` and `id` again change nothing.",
                "bindings": {"amqp": {"ack": true, "mandatory": true, "deliveryMode": 2, "bindingVersion": "0.3.0"}},
            },
            "sendChanges": {
                "action": "send",
                "channel": {"$ref": "#/channels/changes"},
                "summary": "Tenure publishes changes",
                "description": "Every change, at least once, in order for each client.",
                "bindings": {"amqp": {"deliveryMode": 2, "mandatory": false, "timestamp": true, "bindingVersion": "0.3.0"}},
            },
        },
        "components": {
            "messages": messages(uris),
            "schemas": component_schemas(uris),
        },
    })
}

const INTRODUCTION: &str = "\
Upstream apps publish events to the exchange `tenure.events`; Tenure publishes every change to the exchange `tenure.changes`. Both \
are CloudEvents 1.0. The HTTP API takes the same events and publishes the same changes, as pages, as a stream and by webhooks: its \
OpenAPI document is at `/openapi.json`.

An event may be in structured mode (content type `application/cloudevents+json`, the whole event in the body) or in binary mode (the \
attributes in headers `cloudEvents:id` or `cloudEvents_id`, the data in the body). Changes are in structured mode.

Each event is applied, a duplicate, refused, deferred, or a dead letter. A refused event is published as the change `event.refused`, \
with the code of the refusal; `x-refusals` of each message lists them. A message that is not a valid event becomes a dead letter: \
Tenure acknowledges it, stores it with its bytes and a reason, and `tenure dead` lists it. Nothing is rejected back to the queue.";

const EVENTS_CHANNEL: &str = "\
Events. The routing key is the event type; Tenure reads the type from the event itself and accepts any routing key. With several \
lanes (`broker.lanes`), the header `partitionkey` selects the lane, so that the events of a client stay in order: set it to the \
subject. Besides events, Tenure publishes its heartbeats here, with the routing key `tenure.heartbeat`.";

const CHANGES_CHANNEL: &str = "\
Changes. The routing key is the change type: bind a queue with a type (`link.active`) or a pattern (`access.*`). A change without a \
bound queue is not an error. `tenure subscribe QUEUE --type PATTERN` declares a queue with dead-lettering; `tenure replay` publishes \
past changes to one queue, with the header `tenure-replayed`.";

const LANE_CHANNEL: &str = "\
A lane: the queue from which workers consume events, one at a time. There are `broker.lanes` of them, counted from 0.";

const DEAD_CHANNEL: &str = "\
Messages that RabbitMQ dead-letters from a lane, after 20 deliveries without an acknowledgement. Tenure consumes them too: a valid event \
is ingested, anything else becomes a dead letter with the reason.";

/// A topic exchange, with the type as the routing key.
fn exchange(
    definitions: &Value,
    name: &str,
    parameter: &str,
    types: &[&str],
    description: &str,
    messages: &[impl AsRef<str>],
) -> Value {
    let declared = named(&definitions["exchanges"], name);
    let of_exchange =
        |message: &str| format!("{}.{message}", if name == EVENTS { "event" } else { "change" });
    let messages: Map<String, Value> = messages
        .iter()
        .map(|message| {
            let message = of_exchange(message.as_ref());
            let target = format!("#/components/messages/{message}");
            (message, json!({"$ref": target}))
        })
        .collect();
    json!({
        "address": format!("{{{parameter}}}"),
        "title": name,
        "description": description,
        "parameters": {parameter: {"description": "The type, which is the routing key.", "enum": types}},
        "messages": messages,
        "bindings": {"amqp": {
            "is": "routingKey",
            "exchange": {
                "name": name,
                "type": declared["type"],
                "durable": declared["durable"],
                "autoDelete": declared["auto_delete"],
                "vhost": declared["vhost"],
            },
            "bindingVersion": "0.3.0",
        }},
    })
}

fn queue(definitions: &Value, name: &str, description: &str) -> Value {
    let declared = named(&definitions["queues"], name);
    json!({
        "address": name,
        "title": name,
        "description": description,
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {
                "name": name,
                "durable": declared["durable"],
                "exclusive": false,
                "autoDelete": declared["auto_delete"],
                "vhost": declared["vhost"],
            },
            "bindingVersion": "0.3.0",
        }},
        "x-arguments": declared["arguments"],
    })
}

fn named<'a>(declared: &'a Value, name: &str) -> &'a Value {
    let found = declared
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["name"] == name);
    found.unwrap_or(&Value::Null)
}

fn event_messages() -> Vec<String> {
    let modes = |kind: &&str| [(*kind).to_owned(), format!("{kind}.binary")];
    TYPES.iter().flat_map(modes).collect()
}

fn messages(uris: &SchemaUris) -> Map<String, Value> {
    let mut messages = Map::new();
    for kind in TYPES {
        messages.insert(format!("event.{kind}"), structured(kind));
        messages.insert(format!("event.{kind}.binary"), binary(kind));
    }
    let examples = change_examples(uris);
    for kind in ChangeKind::ALL {
        let example = examples.get(kind).cloned().unwrap_or_default();
        messages.insert(format!("change.{kind}"), change(*kind, &example));
    }
    messages
}

fn structured(kind: &str) -> Value {
    let guide = guide_to(kind);
    let example = event_example(kind);
    json!({
        "name": kind,
        "title": kind,
        "summary": guide.when,
        "description": guide.effect,
        "contentType": STRUCTURED,
        "headers": {
            "type": "object",
            "properties": {"partitionkey": {"type": "string", "pattern": schemas::SUBJECT, "description": "The subject of the event."}},
        },
        "payload": {"$ref": format!("#/components/schemas/event.{kind}")},
        "examples": [{"name": "structured", "headers": {"partitionkey": example["subject"]}, "payload": example}],
        "bindings": {"amqp": {"messageType": kind, "bindingVersion": "0.3.0"}},
        "x-refusals": refusals(kind),
    })
}

fn binary(kind: &str) -> Value {
    let guide = guide_to(kind);
    let example = event_example(kind);
    let mut headers = Map::new();
    for name in ["specversion", "id", "source", "type", "subject", "time"] {
        headers.insert(format!("cloudEvents:{name}"), example[name].clone());
    }
    headers.insert("partitionkey".to_owned(), example["subject"].clone());
    json!({
        "name": format!("{kind}.binary"),
        "title": format!("{kind}, in binary mode"),
        "summary": guide.when,
        "description": guide.effect,
        "contentType": "application/json",
        "headers": binary_headers(kind),
        "payload": {"$ref": format!("#/components/schemas/event.{kind}.data")},
        "examples": [{"name": "binary", "headers": headers, "payload": example["data"]}],
        "bindings": {"amqp": {"messageType": kind, "bindingVersion": "0.3.0"}},
        "x-refusals": refusals(kind),
    })
}

/// The attributes as headers. A header is text, or a number or a timestamp of AMQP that stands for it.
fn binary_headers(kind: &str) -> Value {
    let mut attributes = schemas::event_attributes();
    let mut properties = Map::new();
    if let Value::Object(all) = attributes["properties"].take() {
        for (name, schema) in all {
            if !["data", "data_base64", "datacontenttype", "partitionkey"].contains(&name.as_str()) {
                properties.insert(format!("cloudEvents:{name}"), schema);
            }
        }
    }
    properties["cloudEvents:type"]["const"] = kind.into();
    properties.insert(
        "partitionkey".to_owned(),
        json!({"type": "string", "description": "The subject of the event."}),
    );
    let required: Vec<String> = attributes["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("cloudEvents:{name}"))
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn refusals(kind: &str) -> Vec<Value> {
    let row = |(refusal, advice): (crate::domain::Refusal, &str)| json!({"code": refusal.code(), "reason": refusal.words(), "advice": advice});
    refusals_of(kind).into_iter().map(row).collect()
}

fn change(kind: ChangeKind, example: &Value) -> Value {
    json!({
        "name": kind.as_str(),
        "title": kind.as_str(),
        "summary": change_guide::when(kind),
        "contentType": STRUCTURED,
        "headers": {
            "type": "object",
            "required": ["partitionkey"],
            "properties": {
                "partitionkey": {"type": "string", "pattern": schemas::SUBJECT, "description": "The subject of the change."},
                "tenure-replayed": {"type": "boolean", "description": "True if `tenure replay` published it."},
            },
        },
        "payload": {"$ref": format!("#/components/schemas/change.{kind}")},
        "examples": [{"name": "change", "headers": {"partitionkey": example["subject"]}, "payload": example}],
        "bindings": {"amqp": {"messageType": kind.as_str(), "bindingVersion": "0.3.0"}},
    })
}

/// The schemas, without identities: an AsyncAPI document refers to its components.
fn component_schemas(uris: &SchemaUris) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut add = |name: String, schema: Option<Value>| {
        if let Some(Value::Object(mut schema)) = schema {
            schema.shift_remove("$schema");
            schema.shift_remove("$id");
            schemas.insert(name, Value::Object(schema));
        }
    };
    for kind in TYPES {
        add(format!("event.{kind}"), schemas::event(kind, uris));
        add(format!("event.{kind}.data"), schemas::data_of_event(kind, uris));
    }
    for kind in ChangeKind::ALL {
        add(format!("change.{kind}"), schemas::change(kind.as_str(), uris));
    }
    schemas
}
