//! Whatever the contracts of the last release accepted is accepted by those of today. A compatible change is additive; anything else
//! needs a new type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::comparison::{Contract, breaks, contract_of, incompatible};
use super::current::files;
use crate::support::packages::skip;
use crate::support::repository::root;

fn committed() -> BTreeMap<PathBuf, String> {
    files(&root().join("docs/contracts"))
}

/// The place of each schema within a schema, as a JSON pointer.
fn places(schema: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(place) = found.get(next).cloned() {
        next += 1;
        let schema = schema.pointer(&place).expect("a schema");
        let fields = schema["properties"].as_object().into_iter().flatten();
        found.extend(fields.map(|(name, _)| format!("{place}/properties/{name}")));
        for keyword in ["anyOf", "oneOf"] {
            let choices = schema[keyword].as_array().map_or(0, Vec::len);
            found.extend((0..choices).map(|number| format!("{place}/{keyword}/{number}")));
        }
        if schema.get("items").is_some() {
            found.push(format!("{place}/items"));
        }
    }
    found
}

/// The schema with one keyword changed, or removed.
fn with(schema: &Value, keyword: &str, value: Option<Value>) -> Value {
    let mut new = schema.clone();
    let keywords = new.as_object_mut().expect("a schema");
    match value {
        Some(value) => keywords.insert(keyword.to_owned(), value),
        None => keywords.remove(keyword),
    };
    new
}

/// Lists of a keyword, each without one of its members.
fn shorter(schema: &Value, keyword: &str) -> Vec<Value> {
    let all = schema[keyword].as_array().cloned().unwrap_or_default();
    let without = |place: usize| {
        let mut rest = all.clone();
        rest.remove(place);
        Value::from(rest)
    };
    // A list of one is removed as a whole, which accepts more.
    if all.len() < 2 {
        Vec::new()
    } else {
        (0..all.len()).map(without).collect()
    }
}

fn longer(schema: &Value, keyword: &str, member: Value) -> Value {
    let mut all = schema[keyword].as_array().cloned().unwrap_or_default();
    all.push(member);
    all.into()
}

/// This schema in each way in which it accepts less, or promises less.
fn narrower(contract: Contract, schema: &Value) -> Vec<Value> {
    let mut found = vec![
        json!(false),
        with(
            schema,
            "required",
            Some(longer(schema, "required", json!("of_tomorrow"))),
        ),
        with(schema, "pattern", Some(json!("^of tomorrow$"))),
        with(schema, "format", Some(json!("uuid"))),
        with(schema, "type", Some(json!("boolean of tomorrow"))),
        with(schema, "enum", Some(json!(["of tomorrow"]))),
        with(schema, "not", Some(json!({"required": ["of_tomorrow"]}))),
    ];
    for name in schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        let rest = with(&schema["properties"], name, None);
        found.push(with(schema, "properties", Some(rest)));
    }
    for keyword in ["enum", "type", "anyOf", "oneOf"] {
        found.extend(
            shorter(schema, keyword)
                .into_iter()
                .map(|rest| with(schema, keyword, Some(rest))),
        );
    }
    if contract == Contract::Change && schema.get("type").is_some() {
        found.push(with(schema, "type", None));
    }
    if contract == Contract::Change && schema.get("required").is_some() {
        found.push(with(schema, "required", None));
        found.extend(
            shorter(schema, "required")
                .into_iter()
                .map(|rest| with(schema, "required", Some(rest))),
        );
    }
    for (keyword, step) in STEPS {
        if let Some(bound) = schema[keyword].as_i64() {
            found.push(with(schema, keyword, Some(json!(bound + step))));
        }
    }
    if schema.get("default").is_some() {
        found.push(with(schema, "default", None));
    }
    found
}

/// This schema in each way in which it only accepts more.
fn wider(contract: Contract, schema: &Value) -> Vec<Value> {
    let mut found = vec![with(schema, "description", Some(json!("In other words.")))];
    if schema.get("properties").is_some() {
        let more = with(
            &schema["properties"],
            "of_tomorrow",
            Some(json!({"type": "string"})),
        );
        found.push(with(schema, "properties", Some(more)));
    }
    for keyword in ["pattern", "format", "not", "const", "enum"] {
        found.push(with(schema, keyword, None));
    }
    if contract == Contract::Event {
        for keyword in ["required", "anyOf", "type"] {
            found.push(with(schema, keyword, None));
        }
        if let Some(kind) = schema["type"].as_str() {
            found.push(with(schema, "type", Some(json!([kind, "of tomorrow"]))));
        }
    }
    for keyword in ["enum", "anyOf"] {
        if schema.get(keyword).is_some() {
            found.push(with(
                schema,
                keyword,
                Some(longer(schema, keyword, json!({"const": "of tomorrow"}))),
            ));
        }
    }
    for (keyword, step) in STEPS {
        if let Some(bound) = schema[keyword].as_i64() {
            found.push(with(schema, keyword, Some(json!(bound - step))));
            found.push(with(schema, keyword, None));
        }
    }
    found
}

/// By how much a bound changes to be narrower.
const STEPS: [(&str, i64); 6] = [
    ("minLength", 1),
    ("minimum", 1),
    ("minItems", 1),
    ("maxLength", -1),
    ("maximum", -1),
    ("maxItems", -1),
];

/// Changes each place of each committed schema. A place that several types share is changed once.
fn for_each_change(
    changed: impl Fn(Contract, &Value) -> Vec<Value>,
    check: impl Fn(&str, &Value, &Value, &[String]),
) -> usize {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (path, text) in committed() {
        let Some(contract) = contract_of(&path) else {
            continue;
        };
        let old: Value = serde_json::from_str(&text).expect("JSON");
        for place in places(&old) {
            let schema = old.pointer(&place).expect("a schema");
            if !seen.insert((contract as u8, place.clone(), schema.to_string())) {
                continue;
            }
            for now in changed(contract, schema) {
                let mut new = old.clone();
                *new.pointer_mut(&place).expect("a schema") = now.clone();
                let found = breaks(contract, &old, &new);
                check(&format!("{}{place}", path.display()), schema, &now, &found);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn whatever_narrows_a_committed_schema_is_found() {
    let changes = for_each_change(narrower, |place, old, new, found| {
        assert!(!found.is_empty(), "{place}: {old}\nbecame {new}");
    });
    assert!(changes > 2_000, "{changes} changes");
}

#[test]
fn whatever_widens_a_committed_schema_is_accepted() {
    let changes = for_each_change(wider, |place, old, new, found| {
        assert_eq!(found, [""; 0], "{place}: {old}\nbecame {new}");
    });
    assert!(changes > 2_000, "{changes} changes");
}

#[test]
fn a_type_that_is_gone_is_found_and_a_new_one_is_accepted() {
    let old = committed();
    assert_eq!(incompatible(&old, &old), [""; 0]);
    for path in old.keys() {
        let mut rest = old.clone();
        let text = rest.remove(path).expect("the file");
        assert_eq!(
            incompatible(&old, &rest),
            [format!("{}: is gone", path.display())]
        );
        let mut more = old.clone();
        more.insert(path.with_extension("tomorrow.json"), text);
        assert_eq!(incompatible(&old, &more), [""; 0]);
    }
}

#[test]
fn what_the_api_no_longer_offers_is_found() {
    let old = committed();
    let path = PathBuf::from("openapi.json");
    let document: Value = serde_json::from_str(&old[&path]).expect("JSON");
    let after = |pointer: &str, change: fn(&mut Value)| {
        let mut changed = document.clone();
        change(changed.pointer_mut(pointer).expect("a place"));
        let mut new = old.clone();
        new.insert(path.clone(), changed.to_string());
        incompatible(&old, &new)
    };
    let found = after("/paths", |paths| {
        assert!(
            paths
                .as_object_mut()
                .expect("paths")
                .remove("/v1/webhooks")
                .is_some()
        );
    });
    assert!(
        found.contains(&"openapi.json: get /v1/webhooks is gone".to_owned()),
        "{found:?}"
    );
    assert_eq!(
        after("/paths/~1v1~1changes/get/parameters", |parameters| {
            parameters
                .as_array_mut()
                .expect("parameters")
                .retain(|one| one["name"] != "wait");
        }),
        ["openapi.json: get /v1/changes: parameter \"wait\" is gone"]
    );
    assert_eq!(
        after("/paths/~1v1~1changes/get/parameters", |parameters| {
            parameters
                .as_array_mut()
                .expect("parameters")
                .push(json!({"name": "reader", "required": true}));
        }),
        ["openapi.json: get /v1/changes requires \"reader\" now"]
    );
    assert_eq!(
        after("/paths/~1v1~1changes/get/parameters", |parameters| {
            parameters
                .as_array_mut()
                .expect("parameters")
                .push(json!({"name": "reader", "required": false}));
        }),
        [""; 0]
    );
    assert_eq!(
        after("/paths/~1v1~1events/post/requestBody/content", |content| {
            content.as_object_mut().expect("types").remove("application/json");
        }),
        ["openapi.json: post /v1/events: request in application/json is gone"]
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

/// The contracts of a commit or a tag, as [`committed`] has those of today.
fn contracts_of(commit: &str) -> BTreeMap<PathBuf, String> {
    let listed = git(&["ls-tree", "-r", "--name-only", commit, "docs/contracts"]).unwrap_or_default();
    let text = |path: &str| git(&["show", &format!("{commit}:{path}")]).expect("the file");
    let name = |path: &str| path.trim_start_matches("docs/contracts/").into();
    listed.lines().map(|path| (name(path), text(path))).collect()
}

#[test]
fn the_contracts_of_a_commit_are_read() {
    if git(&["rev-parse", "HEAD"]).is_none() {
        return skip("this is no git repository");
    }
    let read = contracts_of("HEAD");
    assert!(read.len() > 190, "{} files", read.len());
    assert!(read.contains_key(&PathBuf::from("events/client.added.json")));
}

#[test]
fn the_contracts_accept_what_those_of_the_last_release_did() {
    // On the commit of a release, that is also the one before.
    let describe = |commit| git(&["describe", "--tags", "--abbrev=0", commit]);
    let tags: BTreeSet<String> = ["HEAD", "HEAD^"].into_iter().filter_map(describe).collect();
    if tags.is_empty() {
        return skip("there is no release in the history to compare the contracts with");
    }
    for tag in tags.iter().map(|tag| tag.trim()) {
        let old = contracts_of(tag);
        if old.is_empty() {
            skip(&format!(
                "the release {tag} has no docs/contracts to compare with"
            ));
        }
        let found = incompatible(&old, &committed());
        assert!(
            found.is_empty(),
            "incompatible with {tag}; make a new type instead of changing one: {found:#?}"
        );
    }
}
