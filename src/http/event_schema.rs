//! The JSON Schema of an event in structured mode.
//!
//! It is written by hand, because the fields that the decoder accepts depend on the event's type. A test compares it with the
//! decoder.

use serde_json::{Value, json};

use super::schema::SUBJECT;
use crate::domain::ActorKind;
use crate::domain::actor::MAX_ACTOR_CHARS;
use crate::domain::event::{Field, FieldType, TYPES, fields};
use crate::domain::id::MAX_HOLDING_ID_CHARS;
use crate::domain::name::MAX_NAME_CHARS;
use crate::wire::{MAX_NAME_BYTES, MAX_SEQUENCE_BYTES};

/// Text that both databases can store: without NUL.
const TEXT: &str = "^[^\\u0000]*$";
/// The same with at least one visible character. The decoder knows more invisible characters than this pattern.
const VISIBLE: &str = "^[^\\u0000]*[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u180b-\\u180f\
                       \\u200b-\\u200f\\u2028-\\u202f\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\
                       \\ufff0-\\ufffb][^\\u0000]*$";
/// Any source except reserved ones.
const SOURCE: &str = "^(?!tenure(:|$))[^\\u0000]+$";
const JSON: &str = "^[^/;\\s]+/([^;\\s]*\\+)?[Jj][Ss][Oo][Nn]\\s*(;.*)?$";
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$";

/// 2^53, up to which a JSON number is exact in any notation. In digits alone it may be larger.
const LARGEST: u64 = 9_007_199_254_740_992;

/// The schema of an event in structured mode.
pub(super) fn cloud_event() -> Value {
    let of_type = TYPES.iter().map(|kind| {
        let fields = fields(kind);
        let data = data(&fields);
        let mut schema = json!({"properties": {"type": {"const": kind}, "data": data}});
        if fields.iter().any(|field| field.is_required) {
            // In base64, only the decoder sees whether fields are missing.
            schema["anyOf"] = json!([{"required": ["data"]}, {"required": ["data_base64"]}]);
        }
        schema
    });
    let actor_kinds: Vec<Value> = ActorKind::NAMES
        .into_iter()
        .map(Value::from)
        .chain([Value::Null])
        .collect();
    json!({
        "description": "A CloudEvents 1.0 event. Unknown extensions are ignored, and unknown fields in `data` with a warning.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time"],
        "properties": {
            "specversion": {"type": "string", "enum": ["1.0"]},
            "id": {
                "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": TEXT,
                "description": "Identifies the event together with `source`: the same pair again changes nothing. The length is in bytes.",
            },
            "source": {
                "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": SOURCE,
                "description": "`tenure` and sources that begin with `tenure:` are reserved. The length is in bytes.",
                "example": "/apps/accounts",
            },
            "type": {"type": "string", "enum": TYPES, "example": "client.added"},
            "subject": {"type": "string", "pattern": SUBJECT, "description": "`{partner}/{client}`", "example": "acme/bakery"},
            "time": {"type": "string", "format": "date-time", "description": "When the event happened, in the years 1 to 9999."},
            "sequence": {
                "description": "Orders events with the same time. Digits alone are a number of any length and are ordered by \
                                value (`9` before `10`; `07` before `7`), before all other text, which is ordered byte by \
                                byte. Events without a sequence come first. A JSON number is read as its digits.",
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": MAX_SEQUENCE_BYTES, "pattern": TEXT},
                    {"type": "integer", "minimum": 0, "maximum": LARGEST},
                    {"type": "null"},
                ],
            },
            "actor": {
                "type": ["string", "null"], "minLength": 1, "maxLength": MAX_ACTOR_CHARS, "pattern": TEXT,
                "description": "Who caused the event: an id of the sender's own. The cause of each change repeats it.",
                "example": "u-42",
            },
            "actorkind": {
                "type": ["string", "null"], "enum": actor_kinds, "description": "The side that the actor belongs to.",
            },
            "datacontenttype": {"type": ["string", "null"], "pattern": JSON, "description": "default application/json"},
            "data": {"type": ["object", "null"]},
            "data_base64": {"type": ["string", "null"], "pattern": BASE64, "description": "`data` in base64, instead of `data`"},
        },
        "oneOf": of_type.collect::<Vec<_>>(),
        "not": {
            "properties": {"data": {"type": "object"}, "data_base64": {"type": "string"}},
            "required": ["data", "data_base64"],
        },
    })
}

fn data(fields: &[Field]) -> Value {
    let properties: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), value(field)))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.is_required)
        .map(|field| field.name)
        .collect();
    let mut schema = json!({"properties": properties, "required": required});
    // Without required fields, `data` may be null.
    schema["type"] = if required.is_empty() {
        json!(["object", "null"])
    } else {
        json!("object")
    };
    schema
}

/// The schema of a field's value.
fn value(field: &Field) -> Value {
    let mut schema = match field.value {
        FieldType::Name => {
            json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": VISIBLE})
        }
        FieldType::Id => {
            json!({"type": "string", "minLength": 1, "maxLength": MAX_HOLDING_ID_CHARS, "pattern": TEXT})
        }
        FieldType::Text => json!({"type": "string", "pattern": TEXT}),
        FieldType::Time => json!({"type": "string", "format": "date-time"}),
        FieldType::Flag => json!({"type": "boolean"}),
        FieldType::Number => json!({"type": "integer", "minimum": 0, "maximum": LARGEST}),
        FieldType::OneOf(names) => json!({"type": "string", "enum": names}),
        FieldType::SomeOf(names) => {
            json!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": names}})
        }
    };
    if field.is_nullable {
        schema["type"] = json!([schema["type"], "null"]);
    }
    schema
}
