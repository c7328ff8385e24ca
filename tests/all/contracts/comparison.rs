//! Compares contracts with older ones. A compatible change is additive; anything else needs a new type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::api;

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// A sender can send what it sent before.
    Event,
    /// A subscriber also finds what was always there: the same fields, of the same types.
    Change,
    /// A client finds what was always there. Nobody sends it, so it may promise more than before.
    Response,
}

impl Contract {
    /// What was valid before must remain valid.
    fn accepts(self) -> bool {
        self != Self::Response
    }

    /// What was always there must still be there.
    fn promises(self) -> bool {
        self != Self::Event
    }
}

/// What a file of `docs/contracts` describes. None: it is a document about the API.
pub fn contract_of(path: &Path) -> Option<Contract> {
    let folder = path.iter().next()?;
    [("events", Contract::Event), ("changes", Contract::Change)]
        .into_iter()
        .find_map(|(name, contract)| (folder == name).then_some(contract))
}

/// How the files of `docs/contracts` are incompatible with older ones. Empty: they are compatible.
pub fn incompatible(old: &BTreeMap<PathBuf, String>, new: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let mut found = Vec::new();
    for (path, before) in old {
        let name = path.display();
        let Some(now) = new.get(path) else {
            found.push(format!("{name}: is gone"));
            continue;
        };
        if before == now {
            continue;
        }
        let (before, now) = (json(before), json(now));
        let differing = match contract_of(path) {
            Some(contract) => breaks(contract, &before, &now),
            None => api::withdrawn(&before, &now),
        };
        found.extend(differing.into_iter().map(|what| format!("{name}{what}")));
    }
    found
}

/// How a schema accepts less than an older one, or promises less. Empty: it is compatible.
///
/// It knows the keywords that the contracts use. It may reject a change that is compatible after all (another pattern), and accepts
/// a new optional field, although an old event might have had a field of that name: unknown fields were ignored.
pub fn breaks(contract: Contract, old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison {
        contract,
        found: Vec::new(),
    };
    comparison.compare("", old, new);
    comparison.found
}

struct Comparison {
    contract: Contract,
    found: Vec<String>,
}

impl Comparison {
    fn add(&mut self, place: &str, what: &str) {
        self.found.push(format!("{place}: {what}"));
    }

    fn compare(&mut self, place: &str, old: &Value, new: &Value) {
        // `true` and `{}` accept everything, `false` nothing.
        if new == &json!(false) && old != &json!(false) {
            self.add(place, "accepts nothing any more");
        }
        let anything = json!({});
        let old = if old == &json!(true) { &anything } else { old };
        let new = if new == &json!(true) { &anything } else { new };
        if !old.is_object() || !new.is_object() {
            return;
        }
        self.types(place, old, new);
        if self.contract.accepts() {
            self.limits(place, old, new);
        }
        self.fields(place, old, new);
        if let Some(now) = new.get("items") {
            let before = old.get("items").unwrap_or(&anything);
            self.compare(&format!("{place}/items"), before, now);
        } else if self.contract.promises() && old.get("items").is_some() {
            self.add(place, "`items` is gone");
        }
        for keyword in ["anyOf", "oneOf"] {
            self.choices(place, keyword, old, new);
        }
    }

    fn limits(&mut self, place: &str, old: &Value, new: &Value) {
        self.values(place, old, new);
        self.bounds(place, old, new);
        for keyword in ["pattern", "format", "not", "allOf", "additionalProperties"] {
            if new.get(keyword).is_some_and(|now| old.get(keyword) != Some(now)) {
                self.add(place, &format!("`{keyword}` is another or new"));
            }
        }
        // A sender that omits the field would mean something else.
        if old
            .get("default")
            .is_some_and(|before| new.get("default") != Some(before))
        {
            self.add(place, "`default` is another or gone");
        }
    }

    fn types(&mut self, place: &str, old: &Value, new: &Value) {
        let (before, now) = (names(old.get("type")), names(new.get("type")));
        let is_among = |names: &[String], name: &String| {
            names.contains(name) || (name == "integer" && names.iter().any(|name| name == "number"))
        };
        if now.is_empty() {
            if self.contract.promises() && !before.is_empty() {
                self.add(place, "has no type any more");
            }
            return;
        }
        if before.is_empty() {
            if self.contract.accepts() {
                self.add(place, "has a type now");
            }
            return;
        }
        let accepts = self.contract.accepts();
        let gone = before.iter().filter(|name| !is_among(&now, name));
        for name in gone.filter(|_| accepts) {
            self.add(place, &format!("the type {name} is gone"));
        }
        if self.contract.promises() {
            for name in now.iter().filter(|name| !is_among(&before, name)) {
                self.add(place, &format!("may be of type {name} now"));
            }
        }
    }

    fn values(&mut self, place: &str, old: &Value, new: &Value) {
        let Some(now) = listed(new) else { return };
        let Some(before) = listed(old) else {
            self.add(place, "only some values now");
            return;
        };
        for value in before.iter().filter(|value| !now.contains(value)) {
            self.add(place, &format!("the value {value} is gone"));
        }
    }

    fn bounds(&mut self, place: &str, old: &Value, new: &Value) {
        for (keyword, is_least) in [
            ("minLength", true),
            ("minimum", true),
            ("minItems", true),
            ("maxLength", false),
            ("maximum", false),
            ("maxItems", false),
        ] {
            let bound = |schema: &Value| schema.get(keyword).and_then(Value::as_f64);
            let Some(now) = bound(new) else { continue };
            let is_narrower =
                bound(old).is_none_or(|before| if is_least { now > before } else { now < before });
            if is_narrower {
                self.add(place, &format!("`{keyword}` is {now}, narrower than before"));
            }
        }
    }

    fn fields(&mut self, place: &str, old: &Value, new: &Value) {
        let (before, now) = (names(old.get("required")), names(new.get("required")));
        let accepts = self.contract.accepts();
        let required = now.iter().filter(|name| !before.contains(name));
        for name in required.filter(|_| accepts) {
            self.add(place, &format!("`{name}` is required now"));
        }
        if self.contract.promises() {
            for name in before.iter().filter(|name| !now.contains(name)) {
                self.add(place, &format!("`{name}` is not always there any more"));
            }
        }
        for (name, before) in old
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            match new.get("properties").and_then(|fields| fields.get(name)) {
                Some(now) => self.compare(&format!("{place}/{name}"), before, now),
                None => self.add(place, &format!("the field `{name}` is gone")),
            }
        }
    }

    /// Each old choice is compatible with one that there is now.
    fn choices(&mut self, place: &str, keyword: &str, old: &Value, new: &Value) {
        let of = |schema: &Value| schema.get(keyword).and_then(Value::as_array).cloned();
        let Some(now) = of(new) else {
            if self.contract.promises() && of(old).is_some() {
                self.add(place, &format!("`{keyword}` is gone"));
            }
            return;
        };
        let Some(before) = of(old) else {
            if self.contract.accepts() {
                self.add(place, &format!("`{keyword}` is new"));
            }
            return;
        };
        for (number, choice) in before.iter().enumerate() {
            if !now
                .iter()
                .any(|now| breaks(self.contract, choice, now).is_empty())
            {
                self.add(
                    place,
                    &format!("choice {number} of `{keyword}` is gone or narrower"),
                );
            }
        }
    }
}

fn names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// The values that `const` or `enum` list.
fn listed(schema: &Value) -> Option<Vec<Value>> {
    match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
        (Some(value), Some(values)) if !values.contains(value) => Some(Vec::new()),
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(values)) => Some(values.clone()),
        (None, None) => None,
    }
}

#[test]
fn additive_changes_are_compatible() {
    let old = json!({
        "type": "object", "required": ["name", "kind"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^a"},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "steps": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        },
        "anyOf": [{"required": ["data"]}, {"required": ["data_base64"]}],
    });
    assert_eq!(breaks(Contract::Event, &old, &old), [""; 0]);
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        new.pointer_mut(parent).expect("the parent")[name] = value;
        new
    };
    for (what, new) in [
        (
            "a new optional field",
            change("/properties/note", json!({"type": "string"})),
        ),
        ("a field is optional", change("/required", json!(["name"]))),
        (
            "a new value",
            change("/properties/kind/enum", json!(["a", "b", "c"])),
        ),
        ("any value", change("/properties/kind", json!({"type": "string"}))),
        ("a longer text", change("/properties/name/maxLength", json!(300))),
        ("an empty text", change("/properties/name/minLength", json!(0))),
        (
            "null too",
            change("/properties/name/type", json!(["string", "null"])),
        ),
        (
            "any number",
            change(
                "/properties/steps/items",
                json!({"type": "number", "minimum": -1}),
            ),
        ),
        ("an empty list", change("/properties/steps/minItems", json!(0))),
        (
            "another choice",
            change(
                "/anyOf",
                json!([{"required": ["data"]}, {"required": ["data_base64"]}, {}]),
            ),
        ),
        ("another description", change("/description", json!("words"))),
        ("anything", change("/properties/kind", json!({}))),
    ] {
        assert_eq!(breaks(Contract::Event, &old, &new), [""; 0], "{what}");
    }
}

#[test]
fn narrower_contracts_are_not_compatible() {
    let old = json!({
        "type": "object", "required": ["name"],
        "properties": {
            "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
            "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "count": {"type": "integer", "minimum": 0, "maximum": 9},
            "steps": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
            "only": {"const": "a"},
            "any": {},
            "all": true,
            "list": {"type": "array"},
        },
        "anyOf": [{"required": ["data"]}, {"required": ["data_base64"]}],
    });
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        new.pointer_mut(parent).expect("the parent")[name] = value;
        new
    };
    let without = |field: &str| {
        let mut new = old.clone();
        new["properties"].as_object_mut().expect("fields").remove(field);
        new
    };
    for (new, expected) in [
        (
            change("/required", json!(["name", "kind"])),
            ": `kind` is required now",
        ),
        (without("kind"), ": the field `kind` is gone"),
        (
            change("/properties/name/type", json!("string")),
            "/name: the type null is gone",
        ),
        (
            change("/properties/count/type", json!("string")),
            "/count: the type integer is gone",
        ),
        (
            change("/properties/any/type", json!("string")),
            "/any: has a type now",
        ),
        (
            change("/properties/kind/enum", json!(["a"])),
            "/kind: the value \"b\" is gone",
        ),
        (
            change("/properties/only/const", json!("b")),
            "/only: the value \"a\" is gone",
        ),
        (
            change("/properties/name/enum", json!(["a"])),
            "/name: only some values now",
        ),
        (
            change("/properties/name/maxLength", json!(100)),
            "/name: `maxLength` is 100, narrower than before",
        ),
        (
            change("/properties/name/minLength", json!(2)),
            "/name: `minLength` is 2, narrower than before",
        ),
        (
            change("/properties/count/minimum", json!(1)),
            "/count: `minimum` is 1, narrower than before",
        ),
        (
            change("/properties/count/maximum", json!(8)),
            "/count: `maximum` is 8, narrower than before",
        ),
        (
            change("/properties/steps/minItems", json!(1)),
            "/steps: `minItems` is 1, narrower than before",
        ),
        (
            change("/properties/steps/items/enum", json!(["x"])),
            "/steps/items: the value \"y\" is gone",
        ),
        (
            change("/properties/name/pattern", json!("^a")),
            "/name: `pattern` is another or new",
        ),
        (
            change("/properties/name/format", json!("uri")),
            "/name: `format` is another or new",
        ),
        (
            change("/additionalProperties", json!(false)),
            ": `additionalProperties` is another or new",
        ),
        (
            change("/not", json!({"required": ["x"]})),
            ": `not` is another or new",
        ),
        (
            change("/anyOf", json!([{"required": ["data"]}])),
            ": choice 1 of `anyOf` is gone or narrower",
        ),
        (change("/oneOf", json!([{}])), ": `oneOf` is new"),
        (
            change("/properties/any", json!(false)),
            "/any: accepts nothing any more",
        ),
        (
            change("/properties/all", json!({"type": "string"})),
            "/all: has a type now",
        ),
        (
            change("/properties/list/items", json!({"maxLength": 9})),
            "/list/items: `maxLength` is 9, narrower than before",
        ),
        (
            change("/properties/kind/default", json!("b")),
            "/kind: `default` is another or gone",
        ),
    ] {
        assert_eq!(breaks(Contract::Event, &old, &new), [expected]);
    }
}

#[test]
fn a_subscriber_misses_a_field_that_is_optional_now() {
    let old = json!({"required": ["a", "data"], "properties": {"data": {"required": ["b"]}}, "anyOf": [{"required": ["x"]}]});
    let new = json!({"required": ["data"], "properties": {"data": {}}, "anyOf": [{}]});
    assert_eq!(
        breaks(Contract::Change, &old, &new),
        [
            ": `a` is not always there any more",
            "/data: `b` is not always there any more",
            ": choice 0 of `anyOf` is gone or narrower",
        ]
    );
    assert_eq!(breaks(Contract::Event, &old, &new), [""; 0]);

    let old =
        json!({"properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "string"}}}});
    let new = json!({"properties": {"a": true, "b": {"type": "array"}}});
    assert_eq!(
        breaks(Contract::Change, &old, &new),
        ["/a: has no type any more", "/b: `items` is gone"]
    );
    assert_eq!(breaks(Contract::Event, &old, &new), [""; 0]);
}
