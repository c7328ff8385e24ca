//! Whatever the contracts of the last release accepted is accepted by those of today. A compatible change is additive; anything else
//! needs a new type.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::current::files;
use crate::support::repository::root;

/// How a schema accepts less than an older one, or describes less. Empty: it is compatible.
///
/// It knows the keywords that the contracts use. It may reject a change that is compatible after all (another pattern), and accepts
/// a new optional field, although an old event might have had a field of that name: unknown fields were ignored.
fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        // `true` and `{}` accept everything, `false` nothing.
        if new == &json!(false) && old != &json!(false) {
            found.push(format!("{place}: accepts nothing any more"));
        }
        return;
    };
    let (old, new) = (&Value::Object(old.clone()), &Value::Object(new.clone()));
    types(place, old, new, found);
    values(place, old, new, found);
    bounds(place, old, new, found);
    for keyword in ["pattern", "format", "not", "allOf", "additionalProperties"] {
        if new.get(keyword).is_some_and(|now| old.get(keyword) != Some(now)) {
            found.push(format!("{place}: `{keyword}` is another or new"));
        }
    }
    fields(place, old, new, found);
    if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
        compare(&format!("{place}/items"), old, new, found);
    }
    for keyword in ["anyOf", "oneOf"] {
        choices(place, keyword, old, new, found);
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

fn types(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (before, now) = (names(old.get("type")), names(new.get("type")));
    if now.is_empty() {
        return;
    }
    let is_accepted =
        |name: &String| now.contains(name) || (name == "integer" && now.iter().any(|name| name == "number"));
    if before.is_empty() {
        // Without a type, the values may still be listed.
        if old.get("const").is_none() && old.get("enum").is_none() {
            found.push(format!("{place}: has a type now"));
        }
        return;
    }
    for name in before.iter().filter(|name| !is_accepted(name)) {
        found.push(format!("{place}: the type {name} is gone"));
    }
}

/// The values that `const` or `enum` list.
fn listed(schema: &Value) -> Option<Vec<Value>> {
    match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(values)) => Some(values.clone()),
        (None, None) => None,
    }
}

fn values(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let Some(now) = listed(new) else { return };
    let Some(before) = listed(old) else {
        found.push(format!("{place}: only some values now"));
        return;
    };
    for value in before.iter().filter(|value| !now.contains(value)) {
        found.push(format!("{place}: the value {value} is gone"));
    }
}

fn bounds(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
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
        let is_narrower = bound(old).is_none_or(|before| if is_least { now > before } else { now < before });
        if is_narrower {
            found.push(format!("{place}: `{keyword}` is {now}, narrower than before"));
        }
    }
}

fn fields(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let required = names(old.get("required"));
    for name in names(new.get("required")) {
        if !required.contains(&name) {
            found.push(format!("{place}: `{name}` is required now"));
        }
    }
    let none = serde_json::Map::new();
    let of = |schema: &'_ Value| schema.get("properties").and_then(Value::as_object).cloned();
    let now = of(new).unwrap_or_default();
    for (name, before) in &of(old).unwrap_or(none) {
        match now.get(name) {
            Some(now) => compare(&format!("{place}/{name}"), before, now, found),
            None => found.push(format!("{place}: the field `{name}` is gone")),
        }
    }
}

/// Each old choice is compatible with one that there is now.
fn choices(place: &str, keyword: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let of = |schema: &Value| schema.get(keyword).and_then(Value::as_array).cloned();
    let Some(now) = of(new) else { return };
    let Some(before) = of(old) else {
        found.push(format!("{place}: `{keyword}` is new"));
        return;
    };
    for (number, choice) in before.iter().enumerate() {
        if !now.iter().any(|now| breaks(choice, now).is_empty()) {
            found.push(format!(
                "{place}: choice {number} of `{keyword}` is gone or narrower"
            ));
        }
    }
}

/// What a subscriber of the old contract would miss: fields that were always there and are not any more.
fn misses(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let required = names(new.get("required"));
    for name in names(old.get("required")) {
        if !required.contains(&name) {
            found.push(format!("{place}: `{name}` is not always there any more"));
        }
    }
    for (name, before) in old
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(now) = new.get("properties").and_then(|fields| fields.get(name)) {
            misses(&format!("{place}/{name}"), before, now, found);
        }
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
    assert_eq!(breaks(&old, &old), [""; 0]);
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
        assert_eq!(breaks(&old, &new), [""; 0], "{what}");
    }
}

#[test]
fn narrower_contracts_are_not_compatible() {
    let old = json!({
        "type": "object", "required": ["name"],
        "properties": {
            "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 9},
            "steps": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
            "only": {"const": "a"},
            "any": {},
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
    ] {
        assert_eq!(breaks(&old, &new), [expected]);
    }
}

#[test]
fn a_subscriber_misses_a_field_that_is_optional_now() {
    let old = json!({"required": ["a", "data"], "properties": {"data": {"required": ["b"]}}});
    let new = json!({"required": ["data"], "properties": {"data": {"required": ["c"]}}});
    let mut found = Vec::new();
    misses("", &old, &new, &mut found);
    assert_eq!(
        found,
        [
            ": `a` is not always there any more",
            "/data: `b` is not always there any more"
        ]
    );
}

/// What git prints, or none if it fails.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root()).args(args).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_contracts_accept_what_those_of_the_last_release_did() {
    use crate::support::packages::skip;
    let Some(tag) = git(&["describe", "--tags", "--abbrev=0"]) else {
        return skip("there is no release in the history to compare the contracts with");
    };
    let tag = tag.trim();
    let listed = git(&[
        "ls-tree",
        "-r",
        "--name-only",
        tag,
        "docs/contracts/events",
        "docs/contracts/changes",
    ]);
    let listed = listed.unwrap_or_default();
    if listed.is_empty() {
        return skip(&format!(
            "the release {tag} has no docs/contracts to compare with"
        ));
    }
    let current = files(&root().join("docs/contracts"));
    let mut found = Vec::new();
    for path in listed.lines() {
        let name = path.strip_prefix("docs/contracts/").unwrap_or(path);
        let Some(new) = current.get(Path::new(name)) else {
            found.push(format!("{name}: the type is gone"));
            continue;
        };
        let old = git(&["show", &format!("{tag}:{path}")]).expect("the file");
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let (old, new) = (json(&old), json(new));
        let mut differing = breaks(&old, &new);
        if name.starts_with("changes/") {
            misses("", &old, &new, &mut differing);
        }
        found.extend(differing.into_iter().map(|what| format!("{name}{what}")));
    }
    assert!(
        found.is_empty(),
        "incompatible with {tag}; make a new type instead of changing one: {found:#?}"
    );
}
