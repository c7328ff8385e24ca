//! Compares the OpenAPI and AsyncAPI documents with older ones: what they offered is still there, accepts what it accepted, and
//! responds as it did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::comparison::{Contract, breaks};

/// How a document about an API offers less than an older one, asks for more, or responds with something else.
pub fn withdrawn(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (Offer::of(old), Offer::of(new));
    let gone = old
        .parts
        .difference(&new.parts)
        .map(|part| format!(": {part} is gone"));
    let required = new.required.difference(&old.required);
    let required = required.filter(|(operation, _)| old.parts.contains(operation));
    let required = required.map(|(operation, name)| format!(": {operation} requires {name} now"));
    let schemas = old.schemas.iter().filter_map(|(place, (contract, before))| {
        let (_, now) = new.schemas.get(place)?;
        Some((place, breaks(*contract, before, now)))
    });
    let differing = schemas.flat_map(|(place, found)| {
        found
            .into_iter()
            .map(move |what| format!(": {place}{}", at_field(&what)))
    });
    gone.chain(required).chain(differing).collect()
}

/// A finding of [`breaks`] begins with the place in the schema, which is empty for the schema as a whole.
fn at_field(found: &str) -> String {
    match found.strip_prefix('/') {
        Some(_) => format!(" at {found}"),
        None => found.to_owned(),
    }
}

/// What a document offers, each by a name.
#[derive(Default)]
struct Offer {
    parts: BTreeSet<String>,
    /// Operations, and parameters and bodies that they require.
    required: BTreeSet<(String, String)>,
    /// The schemas of parameters and bodies, without references.
    schemas: BTreeMap<String, (Contract, Value)>,
}

impl Offer {
    fn of(document: &Value) -> Self {
        let mut offer = Self::default();
        for (path, operations) in members(&document["paths"]) {
            for (method, operation) in members(operations) {
                offer.add_operation(document, &format!("{method} {path}"), operation);
            }
        }
        for (name, channel) in members(&document["channels"]) {
            let messages =
                members(&channel["messages"]).map(|(message, _)| format!("channel {name}: {message}"));
            offer.parts.extend(messages);
            offer
                .parts
                .insert(format!("channel {name} at {}", channel["address"]));
            offer.parts.extend(
                members(&channel["bindings"]["amqp"])
                    .filter_map(|(kind, bound)| Some((kind, bound["name"].as_str()?)))
                    .map(|(kind, bound)| format!("channel {name}: {kind} {bound}")),
            );
        }
        let operations = members(&document["operations"]).map(|(name, _)| format!("operation {name}"));
        offer.parts.extend(operations);
        offer
    }

    fn add_operation(&mut self, document: &Value, place: &str, operation: &Value) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].to_string();
            let part = format!("{place}: parameter {name}");
            if parameter["required"] == true {
                self.required.insert((place.to_owned(), name));
            }
            self.add_schema(document, part, Contract::Event, &parameter["schema"]);
        }
        let body = &operation["requestBody"];
        if body["required"] == true {
            self.required.insert((place.to_owned(), "a body".to_owned()));
        }
        for (kind, content) in members(&body["content"]) {
            let part = format!("{place}: request in {kind}");
            self.add_schema(document, part, Contract::Event, &content["schema"]);
        }
        for (status, response) in members(&operation["responses"]) {
            self.parts.insert(format!("{place}: response {status}"));
            for (kind, content) in members(&response["content"]) {
                let part = format!("{place}: response {status} in {kind}");
                self.add_schema(document, part, Contract::Response, &content["schema"]);
            }
        }
        self.parts
            .insert(format!("{place}: {}", operation["operationId"]));
        self.parts.insert(place.to_owned());
    }

    fn add_schema(&mut self, document: &Value, part: String, contract: Contract, schema: &Value) {
        let schema = inlined(document, schema, &mut Vec::new());
        self.schemas.insert(part.clone(), (contract, schema));
        self.parts.insert(part);
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A schema with the schemas that it refers to. A reference from within the schema that it refers to stays.
fn inlined<'a>(document: &'a Value, schema: &'a Value, within: &mut Vec<&'a str>) -> Value {
    match schema {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            let Some(reference) = reference.filter(|reference| !within.contains(reference)) else {
                let fields = fields.iter();
                return fields
                    .map(|(name, value)| (name.clone(), inlined(document, value, within)))
                    .collect();
            };
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference within the document");
            let referred = document.pointer(pointer).expect("what it refers to");
            within.push(reference);
            let whole = inlined(document, referred, within);
            within.pop();
            whole
        }
        Value::Array(values) => values
            .iter()
            .map(|value| inlined(document, value, within))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn an_api_that_offers_less_is_not_compatible() {
    let old = json!({
        "paths": {"/v1/things": {"post": {
            "operationId": "add",
            "parameters": [{"name": "limit", "schema": {"type": "integer", "maximum": 100}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
            "responses": {
                "200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}}},
                "404": {},
            },
        }}},
        "components": {"schemas": {"Thing": {
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}},
        }}},
    });
    assert_eq!(withdrawn(&old, &old), [""; 0]);
    let post = "/paths/~1v1~1things/post";
    let thing = "/components/schemas/Thing";
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).expect("what changes") = value;
        new
    };
    let add = |pointer: &str, name: &str, value: Value| {
        let mut new = old.clone();
        new.pointer_mut(pointer).expect("what changes")[name] = value;
        new
    };
    let response = "post /v1/things: response 200 in application/json";
    let request = "post /v1/things: request in application/json";
    for (new, expected) in [
        (
            change(
                &format!("{post}/responses"),
                json!({"200": old.pointer(&format!("{post}/responses/200"))}),
            ),
            vec![": post /v1/things: response 404 is gone".to_owned()],
        ),
        (
            change(&format!("{post}/parameters/0/schema/maximum"), json!(50)),
            vec![": post /v1/things: parameter \"limit\": `maximum` is 50, narrower than before".to_owned()],
        ),
        (
            change(&format!("{post}/parameters/0/schema/type"), json!("string")),
            vec![": post /v1/things: parameter \"limit\": the type integer is gone".to_owned()],
        ),
        (
            add(&format!("{post}/parameters/0"), "required", json!(true)),
            vec![": post /v1/things requires \"limit\" now".to_owned()],
        ),
        (
            add(&format!("{post}/requestBody"), "required", json!(true)),
            vec![": post /v1/things requires a body now".to_owned()],
        ),
        (
            change(&format!("{thing}/required"), json!(["name", "parts"])),
            vec![format!(": {request}: `parts` is required now")],
        ),
        (
            change(&format!("{thing}/required"), json!([])),
            vec![format!(
                ": {response} at /items: `name` is not always there any more"
            )],
        ),
        (
            change(
                &format!("{thing}/properties/name/type"),
                json!(["string", "null"]),
            ),
            vec![format!(": {response} at /items/name: may be of type null now")],
        ),
        (
            change(&format!("{post}/responses/200/content"), json!({"text/csv": {}})),
            vec![format!(": {response} is gone")],
        ),
    ] {
        assert_eq!(withdrawn(&old, &new), expected);
    }
    for wider in [
        add(&format!("{post}/responses"), "409", json!({})),
        add(&format!("{thing}/properties"), "note", json!({"type": "string"})),
        change(&format!("{post}/parameters/0/schema/maximum"), json!(200)),
    ] {
        assert_eq!(withdrawn(&old, &wider), [""; 0]);
    }
}
