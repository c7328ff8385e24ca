//! The OpenAPI document: it describes the responses, and rejects the parameters that the worker rejects.

mod samples;

use std::collections::BTreeSet;

use jsonschema::Validator;
use tenure::domain::{Cause, Corrector, Repair, Timer};

use super::*;
use samples::{samples, start};

/// Every field of a response is described, and every described field occurs in a response.
#[tokio::test]
async fn the_document_describes_exactly_the_fields_of_responses() {
    let server = start().await;
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    for (name, values) in samples(&server).await {
        let schema = &document["components"]["schemas"][name];
        let described: BTreeSet<&String> = schema["properties"]
            .as_object()
            .unwrap_or_else(|| panic!("no schema {name}"))
            .keys()
            .collect();
        let validator = validator(
            &document,
            &json!({"$ref": format!("#/components/schemas/{name}")}),
        );
        let mut answered = BTreeSet::new();
        for value in &values {
            let errors: Vec<_> = validator
                .iter_errors(value)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
            answered.extend(value.as_object().unwrap().keys());
        }
        assert_eq!(answered, described, "{name}");
    }
}

/// Otherwise no test compares them with responses.
#[tokio::test]
async fn every_schema_of_a_response_has_samples() {
    let document = http::openapi();
    let mut described = BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            references(&operation["responses"], &mut described);
        }
    }
    let samples = samples(&start().await).await;
    for target in described {
        let name = target.rsplit('/').next().unwrap();
        assert!(
            samples.contains_key(name) || name == "Client",
            "no sample of {name}: add a response to `samples` in tests/all/http/openapi/samples.rs"
        );
    }
}

/// The names that the document writes out occur in responses, and no others do. The other names come from the real enums.
#[tokio::test]
async fn the_document_lists_exactly_the_names_in_responses() {
    let server = start().await;
    let samples = samples(&server).await;
    let document = http::openapi();
    for (schema, of, field) in [
        ("Tab", "Client", "tab"),
        ("SubscriptionStatus", "Subscription", "status"),
        ("ManagedBy", "Subscription", "managed_by"),
        ("DecisionReason", "Decision", "reason"),
        ("OutcomeKind", "EventOutcome", "outcome"),
    ] {
        let described: BTreeSet<&str> = document["components"]["schemas"][schema]["enum"]
            .as_array()
            .map_or_else(
                || variants(&document["components"]["schemas"][schema]),
                |names| names.iter().filter_map(Value::as_str).collect(),
            );
        let answered: BTreeSet<&str> = samples[of]
            .iter()
            .filter_map(|value| value[field].as_str())
            .collect();
        assert_eq!(answered, described, "{schema}");
    }
}

/// The names of an enum whose variants have descriptions of their own.
fn variants(schema: &Value) -> BTreeSet<&str> {
    let one_of = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    one_of
        .iter()
        .flat_map(|variant| variant["enum"].as_array().map(Vec::as_slice).unwrap_or_default())
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn the_document_describes_every_corrector() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/Corrector"}));
    let correctors = [
        Corrector::LateEvent {
            source: "/s".into(),
            id: "1".into(),
            kind: tenure::domain::event::TYPES[0].into(),
        },
        Corrector::Rebuild {
            rebuild: Repair::State,
        },
        Corrector::Rebuild {
            rebuild: Repair::Journal,
        },
    ];
    for corrector in correctors {
        let written = serde_json::to_value(corrector).unwrap();
        assert!(validator.is_valid(&written), "{written}");
    }
    assert!(!validator.is_valid(&json!({"timer": "access_expiry"})));
}

#[test]
fn the_document_describes_every_cause_of_a_change() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/Cause"}));
    let mut described = BTreeSet::new();
    for variant in document["components"]["schemas"]["Cause"]["oneOf"]
        .as_array()
        .unwrap()
    {
        let fields: BTreeSet<&str> = variant["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        described.insert(fields);
    }
    let causes = [
        Cause::Event {
            source: "/s".into(),
            id: "1".into(),
            kind: tenure::domain::event::TYPES[0].into(),
            actor: crate::generate::actor(7),
            reason: Some("moved".into()),
        },
        Cause::Timer { timer: Timer::ALL[0] },
        Cause::Rebuild {
            rebuild: Repair::State,
        },
        Cause::Rebuild {
            rebuild: Repair::Journal,
        },
    ]
    .map(|cause| serde_json::to_value(cause).unwrap());
    let mut written = BTreeSet::new();
    for cause in &causes {
        assert!(validator.is_valid(cause), "{cause}");
        written.insert(cause.as_object().unwrap().keys().map(String::as_str).collect());
    }
    assert_eq!(written, described);
}

/// Every `$ref` of the document.
fn references(part: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves_and_every_schema_is_valid() {
    let document = http::openapi();
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let pointer = target.strip_prefix('#').expect("within the document");
        assert!(
            document.pointer(pointer).is_some(),
            "no schema {target}: if only parameters refer to it, add it to `components(schemas(…))` in src/http/openapi.rs"
        );
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        validator(
            &document,
            &json!({"$ref": format!("#/components/schemas/{name}")}),
        );
    }
}

/// A validator for a schema of the document.
pub fn validator(document: &Value, schema: &Value) -> Validator {
    let mut root = json!({"components": document["components"]});
    root.as_object_mut()
        .unwrap()
        .extend(schema.as_object().unwrap().clone());
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&root)
        .unwrap_or_else(|error| panic!("{schema}: {error}"))
}

/// The path with the example of each parameter in it.
pub fn example_path(document: &Value, path: &str, parameters: &[Value]) -> String {
    let mut filled = path.to_owned();
    for parameter in parameters {
        let example = match &resolved(document, &parameter["schema"])["example"] {
            Value::Null => "a".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        filled = filled.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &example);
    }
    filled
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|target| document.pointer(&target[1..]))
        .unwrap_or(schema)
}

/// Text from a URL as the schema sees it: a number if the schema expects one.
fn instance(document: &Value, schema: &Value, text: &str) -> Value {
    if resolved(document, schema)["type"] == "integer"
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    text.into()
}

/// Values that a caller may send as any parameter.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a",
        "A",
        "0",
        "1",
        "-1",
        "+1",
        "1000",
        "1001",
        "1.0",
        "1e2",
        "0x1",
        "99999999999999999999",
        ".",
        "..",
        "...",
        ".a",
        "a b",
        "a/b",
        "ü",
        "a\0",
        "a\n",
        "a%",
        "a?",
        "a#",
        "~:@_.-",
        "active",
        "Active",
        "archived",
        "inactive",
        "expired",
        "terminated",
        "all_active",
        "none",
        "open",
        "redriven",
        "discarded",
        "all",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01t12:00:00z",
        "2026-03-01T12:00:00.123456+01:00",
        "2026-02-30T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "yesterday",
        "invoice_create",
        "Account_Cancel",
        "account-cancel",
        "account_cancel",
        "account_cancel ",
        "null",
        "true",
        "[]",
        "{}",
    ]
    .map(str::to_owned)
    .to_vec();
    for length in [64, 65, 128, 129, 600, 2_001] {
        texts.push("x".repeat(length));
    }
    texts
}

#[tokio::test]
async fn the_document_and_the_worker_reject_the_same_parameters() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let document = http::openapi();
    let (mut described, mut rejected) = (BTreeSet::new(), BTreeSet::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(parameters) = operations["get"]["parameters"].as_array() else {
            continue;
        };
        for parameter in parameters {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            described.insert((path.clone(), name.to_owned()));
            let validator = validator(&document, schema);
            for text in texts() {
                let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let encoded = bytes.concat();
                let mut url = path.clone();
                if parameter["in"] == "path" {
                    // A client cannot send these in a path.
                    if text == "." || text == ".." {
                        assert!(!validator.is_valid(&json!(text)), "{path} {name}");
                        continue;
                    }
                    url = url.replace(&format!("{{{name}}}"), &encoded);
                } else {
                    url = format!("{url}?{name}={encoded}");
                }
                let url = example_path(&document, &url, parameters);
                let (status, body) = server.get(&url).await;
                let is_accepted = status == StatusCode::OK || status == StatusCode::NOT_FOUND;
                assert!(
                    is_accepted || status == StatusCode::BAD_REQUEST,
                    "{url}: {status} {body}"
                );
                let is_valid = validator.is_valid(&instance(&document, schema, &text));
                // The worker also accepts a plus sign.
                assert!(
                    is_accepted == is_valid || (is_accepted && text == "+1"),
                    "{url}: accepted {is_accepted}, valid {is_valid}: {body}"
                );
                if !is_accepted {
                    rejected.insert((path.clone(), name.to_owned()));
                }
            }
        }
    }
    assert_eq!(rejected, described, "every parameter rejects something");
}

#[tokio::test]
async fn every_query_rejects_an_unknown_parameter() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let document = http::openapi();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations["get"];
        if operation.is_null() || operation["tags"] == json!(["operations"]) {
            continue;
        }
        let parameters = operation["parameters"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let path = example_path(&document, path, parameters);
        let (status, body) = server.get(&format!("{path}?no_such_parameter=1")).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{path} ignores it: call `Params::of(query)?.finish()?`, also without parameters"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("unknown parameter `no_such_parameter`"),
            "{message}"
        );
        checked += 1;
    }
    assert!(checked >= 6, "{checked} queries");
}

/// What operators do has a reason in the audit log.
#[test]
fn every_request_that_changes_something_accepts_a_reason() {
    // They change nothing, or send events, which are not actions of operators.
    let exempt = [
        "decide_access",
        "evaluate_access",
        "evaluate_accesses",
        "ingest_events",
    ];
    let document = http::openapi();
    let mut actions = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            if method == "get" || exempt.contains(&id) {
                continue;
            }
            let parameters = operation["parameters"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            assert!(
                parameters
                    .iter()
                    .any(|parameter| parameter["name"] == "reason" && parameter["in"] == "query"),
                "{method} {path} ({id}) has no parameter `reason`"
            );
            actions.insert(id);
        }
    }
    assert_eq!(actions, BTreeSet::from(["close_statement", "remove_worker"]));
}
