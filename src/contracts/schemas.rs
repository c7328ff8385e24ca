//! The JSON Schemas (2020-12) of events and changes, made from the types that the decoder reads and the encoder writes.

use std::collections::HashMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::change_guide::{self, Shape};
use super::examples::{change_examples, event_example, guide_to};
use crate::domain::actor::MAX_ACTOR_CHARS;
use crate::domain::event::{OWN_SOURCE, TYPES};
use crate::domain::{ActorKind, Cause, ChangeKind, Corrector, EventKind};
use crate::wire::{MAX_NAME_BYTES, MAX_SEQUENCE_BYTES, SchemaFamily, SchemaUris};

pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Text that both databases can store: without NUL.
const TEXT: &str = "^[^\\u0000]*$";
/// Any source except reserved ones.
const SOURCE: &str = "^(?!tenure(:|$))[^\\u0000]+$";
const JSON: &str = "^[^/;\\s]+/([^;\\s]*\\+)?[Jj][Ss][Oo][Nn]\\s*(;.*)?$";
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$";
/// An absolute URI.
const URI: &str = "^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\\[\\]_a-z~]+$";
/// `{partner}/{client}`.
pub const SUBJECT: &str = r"^(?!\.{1,2}/)[A-Za-z0-9._~:@-]{1,128}/(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}$";
const CLIENT_ID: &str = r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]+$";

/// 2^53, up to which a JSON number is exact in any notation. In digits alone it may be larger.
const LARGEST: u64 = 9_007_199_254_740_992;

/// The schema of a type, without references.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    tidy(&mut schema);
    schema.to_value()
}

/// Removes formats that only Rust knows, and adds what both databases require of text.
fn tidy(schema: &mut Schema) {
    let is_number_format = |format: &Value| format.as_str().is_some_and(|name| name.contains("int"));
    if schema.get("format").is_some_and(is_number_format) {
        schema.remove("format");
    }
    let is_text = match schema.get("type") {
        Some(Value::String(name)) => name == "string",
        Some(Value::Array(names)) => names.contains(&json!("string")),
        _ => false,
    };
    let is_bounded = ["enum", "const", "pattern", "format"]
        .iter()
        .any(|keyword| schema.get(*keyword).is_some());
    if is_text && !is_bounded {
        schema.insert("pattern".to_owned(), TEXT.into());
    }
    transform_subschemas(&mut tidy, schema);
}

/// Removes null from every schema: what is absent is not published.
fn never_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = members.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if members.get("default") == Some(&Value::Null) {
                members.shift_remove("default");
            }
            members.values_mut().for_each(never_null);
        }
        Value::Array(items) => items.iter_mut().for_each(never_null),
        _ => {}
    }
}

/// The schema of the data of each event type.
static EVENT_DATA: LazyLock<HashMap<&'static str, Value>> = LazyLock::new(|| {
    let all = schema_of::<EventKind>();
    let variants = all["oneOf"].as_array().into_iter().flatten();
    let data = |variant: &Value| {
        (
            variant["properties"]["type"]["const"].clone(),
            variant["properties"]["data"].clone(),
        )
    };
    let by_type: HashMap<String, Value> = variants
        .map(data)
        .filter_map(|(kind, data)| Some((kind.as_str()?.to_owned(), data)))
        .collect();
    TYPES
        .iter()
        .map(|kind| {
            let mut data = by_type.get(*kind).cloned().unwrap_or_default();
            // The default of a field that may be null is null: it needs no mention.
            if let Some(fields) = data.get_mut("properties").and_then(Value::as_object_mut) {
                for field in fields.values_mut().filter_map(Value::as_object_mut) {
                    if field.get("default") == Some(&Value::Null) {
                        field.shift_remove("default");
                    }
                }
            }
            data["title"] = format!("Data of {kind}").into();
            data["examples"] = json!([event_example(kind)["data"]]);
            (*kind, data)
        })
        .collect()
});

/// The schema of the data of an event type, without its identity. None: there is no such type.
pub(super) fn event_data(kind: &str) -> Option<&'static Value> {
    EVENT_DATA.get(kind)
}

/// The schema of everything in an event in structured mode that does not depend on its type.
pub(crate) fn event_attributes() -> Value {
    let text = |description: &str| json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "description": description});
    let nullable_kinds: Vec<Value> = ActorKind::NAMES
        .into_iter()
        .map(Value::from)
        .chain([Value::Null])
        .collect();
    let mut id = text(
        "Identifies the event together with `source`: the same pair again changes nothing. At most 512 bytes in UTF-8.",
    );
    id["pattern"] = TEXT.into();
    let mut source = text(
        "The app that reports the event. `tenure` and sources that begin with `tenure:` are reserved. At most 512 bytes in UTF-8.",
    );
    source["pattern"] = SOURCE.into();
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time"],
        "properties": {
            "specversion": {"type": "string", "enum": ["1.0"], "description": "The version of CloudEvents."},
            "id": id,
            "source": source,
            "type": {"type": "string", "description": "The event type."},
            "subject": {"type": "string", "pattern": SUBJECT, "description": "The client: `{partner}/{client}`."},
            "time": {"type": "string", "format": "date-time", "description": "When the event happened (RFC 3339), in the years 1 to 9999."},
            "sequence": sequence(),
            "actor": {
                "type": ["string", "null"], "minLength": 1, "maxLength": MAX_ACTOR_CHARS, "pattern": TEXT,
                "description": "Who caused the event: an id of the sender's own. The cause of each change repeats it.",
            },
            "actorkind": {
                "type": ["string", "null"], "enum": nullable_kinds, "description": "The side that the actor belongs to.",
            },
            "traceparent": trace_attribute("The span of the sender, as W3C Trace Context writes it. If traces are on, those of Tenure continue it. One that is invalid is ignored."),
            "tracestate": trace_attribute("What tracing systems add to `traceparent`."),
            "partitionkey": {"description": "The subject again, in messages to RabbitMQ: several lanes are chosen by it. Elsewhere it is ignored."},
            "datacontenttype": {"type": ["string", "null"], "pattern": JSON, "description": "The content type of `data`. By default application/json."},
            "dataschema": {
                "type": ["string", "null"], "pattern": URI,
                "description": "The URI of the schema of `data`. Tenure does not fetch it. If it is Tenure's schema of another type, the sender gets a warning.",
            },
            "data": {"type": ["object", "null"], "description": "What happened. Unknown fields are ignored with a warning."},
            "data_base64": {"type": ["string", "null"], "pattern": BASE64, "description": "`data` in base64, instead of `data`."},
        },
        "not": {
            "properties": {"data": {"type": "object"}, "data_base64": {"type": "string"}},
            "required": ["data", "data_base64"],
        },
    })
}

/// An attribute that a receiver ignores if it is invalid.
fn trace_attribute(description: &str) -> Value {
    json!({"description": description})
}

fn sequence() -> Value {
    json!({
        "description": "Orders events with the same time. Digits alone are a number of any length and are ordered by value (`9` \
                        before `10`; `07` before `7`), before all other text, which is ordered byte by byte. Events without a \
                        sequence come first. A JSON number is read as its digits.",
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": MAX_SEQUENCE_BYTES, "pattern": TEXT},
            {"type": "integer", "minimum": 0, "maximum": LARGEST},
            {"type": "null"},
        ],
    })
}

/// What the schema of an event type adds to [`event_attributes`].
pub(crate) fn event_specifics(kind: &str) -> Option<Value> {
    let mut data = event_data(kind)?.clone();
    let mut schema = json!({"properties": {"type": {"const": kind}}});
    let is_required = data["required"]
        .as_array()
        .is_some_and(|fields| !fields.is_empty());
    if is_required {
        // In base64, only the decoder sees whether fields are missing.
        schema["anyOf"] = json!([{"required": ["data"]}, {"required": ["data_base64"]}]);
        data["type"] = json!("object");
    } else {
        data["type"] = json!(["object", "null"]);
    }
    schema["properties"]["data"] = data;
    Some(schema)
}

/// Adds what identifies a schema, first.
fn identified(id: String, title: &str, description: &str, schema: Value) -> Value {
    let mut members = Map::new();
    members.insert("$schema".to_owned(), DIALECT.into());
    members.insert("$id".to_owned(), id.into());
    members.insert("title".to_owned(), title.into());
    members.insert("description".to_owned(), description.into());
    if let Value::Object(rest) = schema {
        members.extend(
            rest.into_iter()
                .filter(|(name, _)| name != "title" && name != "description"),
        );
    }
    Value::Object(members)
}

/// The schema of a whole event of a type, in structured mode. None: there is no such type.
#[must_use]
pub fn event(kind: &str, uris: &SchemaUris) -> Option<Value> {
    let specifics = event_specifics(kind)?;
    let mut schema = event_attributes();
    schema["properties"]["type"]["const"] = kind.into();
    let mut data = specifics["properties"]["data"].clone();
    data["description"] = schema["properties"]["data"]["description"].clone();
    schema["properties"]["data"] = data;
    if let Some(any_of) = specifics.get("anyOf") {
        schema["anyOf"] = any_of.clone();
    }
    schema["examples"] = json!([event_example(kind)]);
    let id = uris.whole(SchemaFamily::Events, kind);
    Some(identified(id, kind, guide_to(kind).when, schema))
}

/// The schema of the data of an event type. None: there is no such type.
#[must_use]
pub fn data_of_event(kind: &str, uris: &SchemaUris) -> Option<Value> {
    let data = event_data(kind)?.clone();
    let id = uris.data(SchemaFamily::Events, kind);
    Some(identified(
        id,
        &format!("Data of {kind}"),
        guide_to(kind).when,
        data,
    ))
}

/// The schema of what a published change has whatever its type.
pub(crate) fn change_attributes() -> Value {
    let digits = "^[0-9]{19}$";
    json!({
        "type": "object",
        "required": [
            "specversion", "id", "source", "type", "subject", "time", "partitionkey", "datacontenttype", "dataschema", "data",
        ],
        "properties": {
            "specversion": {"type": "string", "enum": ["1.0"], "description": "The version of CloudEvents."},
            "id": {
                "type": "string", "pattern": "^[0-9]{19}_[0-9]{19}$",
                "description": "The epoch and the number of the change. Of two changes of a client, the newer has the greater id, compared as text.",
            },
            "source": {"type": "string", "const": OWN_SOURCE, "description": "Tenure."},
            "type": {"type": "string", "description": "The change type. In RabbitMQ also the routing key."},
            "subject": {"type": "string", "pattern": SUBJECT, "description": "The client: `{partner}/{client}`."},
            "time": {"type": "string", "format": "date-time", "description": "When the change took effect: the time of the event, or the due time of the timer."},
            "partitionkey": {"type": "string", "pattern": SUBJECT, "description": "The subject again: the changes of a client are in order."},
            "traceparent": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$", "description": "The span of the publication, if traces are on and the change belongs to the trace of an event."},
            "tracestate": {"type": "string", "description": "What tracing systems added to the `traceparent` of the event."},
            "datacontenttype": {"type": "string", "const": "application/json", "description": "The content type of `data`."},
            "dataschema": {"type": "string", "pattern": URI, "description": "The URI of the schema of `data`: a URL if `http.public_url` is set, otherwise a URN."},
            "data": {
                "type": "object",
                "required": ["epoch", "sequence", "type", "recorded", "cause", "correction"],
                "properties": {
                    "epoch": {"type": "string", "pattern": digits, "description": "The epoch of the journal. A restore from a backup begins a new, greater one."},
                    "sequence": {"type": "integer", "minimum": 0, "description": "The number of the change. It increases within a client."},
                    "type": {"type": "string", "description": "The change type again."},
                    "recorded": {"type": "string", "format": "date-time", "description": "When Tenure recorded the change."},
                    "cause": cause(),
                    "correction": {"type": "boolean", "description": "Whether the change amends what was published before, because an event arrived late."},
                    "corrected_by": corrected_by(),
                },
            },
        },
    })
}

fn cause() -> Value {
    let mut schema = schema_of::<Cause>();
    never_null(&mut schema);
    schema["description"] = "What caused the change: an event, a timer, or `tenure rebuild`.".into();
    schema
}

fn corrected_by() -> Value {
    let mut schema = schema_of::<Corrector>();
    never_null(&mut schema);
    schema["description"] =
        "Only of a correction: what made it necessary, a late event or `tenure rebuild`.".into();
    schema
}

/// What the schema of a change type adds to the properties of the data in [`change_attributes`].
pub(crate) fn change_specifics(kind: ChangeKind) -> Value {
    let shape = Shape::of(kind);
    let mut properties = Map::new();
    let mut required = Vec::new();
    properties.insert("type".to_owned(), json!({"const": kind.as_str()}));
    for field in shape.fields {
        if field.is_required {
            required.push(field.name);
        }
        let mut schema = field.schema;
        schema["description"] = field.description.into();
        properties.insert(field.name.to_owned(), schema);
    }
    if !shape.details.is_empty() {
        let mut details = schema_of::<crate::domain::change::Details>();
        never_null(&mut details);
        let of_all = details["properties"].take();
        let of_type = |name: &&str| ((*name).to_owned(), of_all[*name].clone());
        let fields: Map<String, Value> = shape.details.iter().map(of_type).collect();
        let mut data =
            json!({"type": "object", "description": "What else the change changes.", "properties": fields});
        if !shape.required_details.is_empty() {
            data["required"] = json!(shape.required_details);
        }
        if let Some(client) = data["properties"].get_mut("conflicts_with") {
            client["pattern"] = CLIENT_ID.into();
        }
        properties.insert("data".to_owned(), data);
        if shape.needs_details {
            required.push("data");
        }
    }
    json!({"required": required, "properties": properties})
}

/// The schema of the data of a change type, with what all types have.
fn change_data(kind: ChangeKind) -> Value {
    let mut data = change_attributes()["properties"]["data"].take();
    let mut specifics = change_specifics(kind);
    if let Value::Object(properties) = specifics["properties"].take() {
        for (name, schema) in properties {
            if name == "type" {
                data["properties"]["type"]["const"] = kind.as_str().into();
            } else {
                data["properties"][&name] = schema;
            }
        }
    }
    if let (Some(all), Value::Array(more)) = (data["required"].as_array_mut(), specifics["required"].take()) {
        all.extend(more);
    }
    data
}

/// The schema of a whole published change of a type. None: there is no such type.
#[must_use]
pub fn change(kind: &str, uris: &SchemaUris) -> Option<Value> {
    let kind = ChangeKind::from_name(kind)?;
    let mut schema = change_attributes();
    schema["properties"]["type"]["const"] = kind.as_str().into();
    schema["properties"]["data"] = change_data(kind);
    schema["examples"] = json!([change_examples(uris).get(&kind)]);
    let id = uris.whole(SchemaFamily::Changes, kind.as_str());
    Some(identified(id, kind.as_str(), &change_guide::when(kind), schema))
}

/// The schema of the data of a change type. None: there is no such type.
#[must_use]
pub fn data_of_change(kind: &str, uris: &SchemaUris) -> Option<Value> {
    let kind = ChangeKind::from_name(kind)?;
    let mut schema = change_data(kind);
    schema["examples"] = json!([change_examples(uris).get(&kind).map(|example| &example["data"])]);
    let id = uris.data(SchemaFamily::Changes, kind.as_str());
    let title = format!("Data of {kind}");
    Some(identified(id, &title, &change_guide::when(kind), schema))
}
