//! The schemas of events and changes in the OpenAPI document, the requests of webhooks, and the errors that every operation can have.

use serde_json::{Map, Value, json};

use crate::contracts;
use crate::domain::ChangeKind;
use crate::domain::event::TYPES;
use crate::wire::STRUCTURED;

/// Adds a schema for each type of event and of change, and replaces `CloudEvent` and `PublishedChange` by the choice among them.
pub(super) fn add(schemas: &mut Map<String, Value>) {
    schemas.insert("EventAttributes".to_owned(), contracts::event_attributes());
    let events = TYPES
        .iter()
        .filter_map(|kind| Some((*kind, contracts::event_specifics(kind)?)));
    let events = variants(schemas, "Event", "EventAttributes", events);
    schemas.insert("CloudEvent".to_owned(), choice(EVENT, events));
    let mut attributes = contracts::change_attributes();
    if let Some(properties) = attributes["properties"].as_object_mut() {
        // Only changes in RabbitMQ have a trace context: see docs/decisions/0022-trace-contexts-are-stored-while-traces-are-on.md.
        properties.retain(|name, _| !matches!(name.as_str(), "traceparent" | "tracestate"));
    }
    schemas.insert("ChangeAttributes".to_owned(), attributes);
    let of_data = |kind: &ChangeKind| {
        let name = kind.as_str();
        let data = contracts::change_specifics(*kind);
        (
            name,
            json!({"properties": {"type": {"const": name}, "data": data}}),
        )
    };
    let changes = variants(
        schemas,
        "Change",
        "ChangeAttributes",
        ChangeKind::ALL.iter().map(of_data),
    );
    schemas.insert("PublishedChange".to_owned(), choice(CHANGE, changes));
    requests(schemas);
    for (name, example) in [("EventType", "client.added"), ("ChangeType", "link.active")] {
        if let Some(schema) = schemas.get_mut(name) {
            schema["example"] = example.into();
        }
    }
}

/// What AuthZEN requires of a single request and leaves to the defaults in a list: serde's types cannot say both.
fn requests(schemas: &mut Map<String, Value>) {
    let item = schemas.get("EvaluationRequest").cloned().unwrap_or_default();
    schemas.insert("EvaluationItem".to_owned(), item);
    let entity = json!({
        "type": "object",
        "required": ["type", "id"],
        "properties": {"type": {"type": "string"}, "id": {"type": "string"}},
    });
    let at = json!({
        "description": "The moment of the decision. Absent: now.",
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
    });
    let single = json!({
        "description": "A request for an access decision.",
        "type": "object",
        "required": ["subject", "action", "resource"],
        "properties": {
            "subject": entity,
            "action": {"type": "object", "required": ["name"], "properties": {"name": {"$ref": reference("ActionName")}}},
            "resource": entity,
            "context": {"type": ["object", "null"], "properties": {"at": at}},
        },
    });
    schemas.insert("EvaluationRequest".to_owned(), single);
    if let Some(several) = schemas.get_mut("EvaluationsRequest") {
        several["properties"]["evaluations"]["items"] = json!({"$ref": reference("EvaluationItem")});
        several["anyOf"] = json!([
            {"required": ["evaluations"], "properties": {"evaluations": {"type": "array", "minItems": 1}}},
            {"$ref": reference("EvaluationRequest")},
        ]);
    }
    if let Some(options) = schemas.get_mut("EvaluationsOptions") {
        options["properties"]["evaluations_semantic"]["enum"] = json!([
            "execute_all",
            "deny_on_first_deny",
            "permit_on_first_permit",
            null
        ]);
    }
}

const EVENT: &str =
    "A CloudEvents 1.0 event. Unknown extensions are ignored, and unknown fields in `data` with a warning.";
const CHANGE: &str = "A change as it is published, a CloudEvents 1.0 event.";

/// Adds the schema of each type. Returns the names by type.
fn variants<'k>(
    schemas: &mut Map<String, Value>,
    family: &str,
    attributes: &str,
    of_types: impl Iterator<Item = (&'k str, Value)>,
) -> Vec<(&'k str, String)> {
    let attributes = reference(attributes);
    let mut names = Vec::new();
    for (kind, specifics) in of_types {
        let name = format!("{}{family}", pascal_case(kind));
        schemas.insert(name.clone(), json!({"allOf": [{"$ref": attributes}, specifics]}));
        names.push((kind, name));
    }
    names
}

fn choice(description: &str, variants: Vec<(&str, String)>) -> Value {
    let refs: Vec<Value> = variants
        .iter()
        .map(|(_, name)| json!({"$ref": reference(name)}))
        .collect();
    let mapping: Map<String, Value> = variants
        .into_iter()
        .map(|(kind, name)| (kind.to_owned(), reference(&name).into()))
        .collect();
    json!({
        "description": description,
        "type": "object",
        "required": ["type"],
        "oneOf": refs,
        "discriminator": {"propertyName": "type", "mapping": mapping},
    })
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// `report_schedule.created` as `ReportScheduleCreated`.
fn pascal_case(kind: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    };
    kind.split(['.', '_']).map(word).collect()
}

/// Adds the errors that do not depend on the operation, where it does not describe them itself.
pub(super) fn add_errors(paths: &mut Map<String, Value>) {
    for (path, operations) in paths.iter_mut() {
        for operation in operations.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let is_open = operation["security"] == json!([{}]);
            let mut errors = vec![
                ("500", "Internal error; the log of the worker has the cause"),
                (
                    "503",
                    "The request exceeded `http.timeout`, or the worker is starting, busy or stopping; send it again",
                ),
            ];
            // Probes accept every host.
            if !["/livez", "/readyz"].contains(&path.as_str()) {
                errors.push(("421", "The host of the request is not in `http.hosts`"));
            }
            if !is_open {
                errors.push(("401", "Missing or wrong token"));
                errors.push(("403", "The token lacks the scope, or is for other partners"));
            }
            let Some(responses) = operation["responses"].as_object_mut() else {
                continue;
            };
            for (status, description) in errors {
                responses.entry(status).or_insert_with(|| {
                    let content = json!({"application/json": {"schema": {"$ref": reference("ErrorBody")}}});
                    json!({"description": description, "content": content})
                });
            }
        }
    }
}

/// The requests that Tenure sends to the endpoints of webhooks.
pub(super) fn webhooks() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description, "schema": {"type": "string"},
        })
    };
    json!({
        "change": {
            "post": {
                "operationId": "receive_change",
                "tags": ["changes"],
                "summary": "Receive a change",
                "description": "Tenure sends each change to the endpoints of webhooks that select it, at least once, in order for \
                                each client. `docs/webhooks.md` describes how to verify the signature, and when Tenure sends a \
                                change again. `tenure webhook test` sends an event of the type `tenure.ping`, which is no change.",
                "security": [{}],
                "parameters": [
                    header("webhook-id", "The `id` of the change, the same at each attempt"),
                    header("webhook-timestamp", "The time of this attempt, in seconds since 1970"),
                    header(
                        "webhook-signature",
                        "One or two signatures by the Standard Webhooks specification, separated by a space",
                    ),
                ],
                "requestBody": {
                    "required": true,
                    "content": {STRUCTURED: {"schema": {"$ref": reference("PublishedChange")}}},
                },
                "responses": {
                    "2XX": {"description": "The endpoint has the change; Tenure does not send it again"},
                    "410": {"description": "The endpoint wants no changes; Tenure disables it"},
                    "default": {"description": "Tenure sends the change again, after a pause that grows"},
                },
            },
        },
    })
}
