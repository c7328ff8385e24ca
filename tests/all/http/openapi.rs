//! The OpenAPI document: it is of what is answered, and refuses what is refused.

use std::collections::BTreeSet;

use jsonschema::Validator;

use super::*;

#[tokio::test]
async fn the_openapi_document_is_of_what_is_answered() {
    let server = Server::start().await;
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let paths: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        paths,
        BTreeSet::from([
            "/livez",
            "/readyz",
            "/v1/dead-letters",
            "/v1/events",
            "/v1/partners/{partner}/clients",
            "/v1/partners/{partner}/clients/{client}",
            "/v1/partners/{partner}/clients/{client}/access",
            "/v1/partners/{partner}/clients/{client}/journal",
        ])
    );

    server.linked("bakery").await;
    server
        .send(&[event(
            "bakery",
            "subscription.added",
            noon(),
            json!({"subscription_id": "s", "plan": "p"}),
        )])
        .await;
    server.post(STRUCTURED, "{").await;
    let client = server.get("/v1/partners/acme/clients/bakery").await.1;
    let journal = server
        .get("/v1/partners/acme/clients/bakery/journal?limit=2")
        .await
        .1;
    let answers = [
        ("Client", client.clone()),
        ("Subscription", client["subscriptions"][0].clone()),
        ("ClientsPage", server.get("/v1/partners/acme/clients").await.1),
        ("JournalPage", journal.clone()),
        ("JournalLine", journal["journal"][0].clone()),
        (
            "Decision",
            server.get("/v1/partners/acme/clients/bakery/access").await.1,
        ),
        ("DeadLettersPage", server.get("/v1/dead-letters").await.1.clone()),
        (
            "DeadLetterLine",
            server.get("/v1/dead-letters").await.1["dead_letters"][0].clone(),
        ),
        ("Readiness", server.get("/readyz").await.1),
        ("ErrorBody", server.get("/nothing").await.1),
    ];
    for (name, answer) in answers {
        let schema = &document["components"]["schemas"][name];
        let described: BTreeSet<&String> = schema["properties"]
            .as_object()
            .unwrap_or_else(|| panic!("no schema {name}"))
            .keys()
            .collect();
        let answered: BTreeSet<&String> = answer.as_object().unwrap().keys().collect();
        assert!(
            answered.is_subset(&described),
            "{name}: {answered:?} {described:?}"
        );
        for required in schema["required"].as_array().unwrap() {
            assert!(
                answered.iter().any(|name| *name == required),
                "{name}: {required}"
            );
        }
    }
}

/// Every `$ref` of the document, wherever it stands.
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
fn every_reference_leads_somewhere_and_every_schema_is_one() {
    let document = http::openapi();
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let pointer = target.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        validator(
            &document,
            &json!({"$ref": format!("#/components/schemas/{name}")}),
        );
    }
}

/// A validator for a schema of the document.
fn validator(document: &Value, schema: &Value) -> Validator {
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

/// What a text in a URL is to a schema: a number where it looks like one, and the schema wants one.
fn instance(document: &Value, schema: &Value, text: &str) -> Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|target| document.pointer(&target[1..]))
        .unwrap_or(schema);
    if target["type"] == "integer"
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    text.into()
}

/// What somebody may send as any of the parameters.
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
    for length in [64, 65, 128, 129, 600] {
        texts.push("x".repeat(length));
    }
    texts
}

#[tokio::test]
async fn parameters_are_refused_by_the_document_where_they_are_by_the_worker() {
    let server = Server::start().await;
    server.linked("a").await;
    let document = http::openapi();
    let mut refused = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(parameters) = operations["get"]["parameters"].as_array() else {
            continue;
        };
        for parameter in parameters {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let validator = validator(&document, schema);
            for text in texts() {
                let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let encoded = bytes.concat();
                let mut url = path.clone();
                if parameter["in"] == "path" {
                    // A client cannot send these as they are, nor in any other way.
                    if text == "." || text == ".." {
                        assert!(!validator.is_valid(&json!(text)), "{path} {name}");
                        continue;
                    }
                    url = url.replace(&format!("{{{name}}}"), &encoded);
                } else {
                    url = format!("{url}?{name}={encoded}");
                }
                let url = url.replace("{partner}", "acme").replace("{client}", "a");
                let (status, body) = server.get(&url).await;
                let is_taken = status == StatusCode::OK || status == StatusCode::NOT_FOUND;
                assert!(
                    is_taken || status == StatusCode::BAD_REQUEST,
                    "{url}: {status} {body}"
                );
                let is_valid = validator.is_valid(&instance(&document, schema, &text));
                // The worker also takes numbers with a sign.
                assert!(
                    is_taken == is_valid || (is_taken && text == "+1"),
                    "{url}: taken {is_taken}, valid {is_valid}: {body}"
                );
                if !is_taken {
                    refused.insert((path.clone(), name.to_owned()));
                }
            }
        }
    }
    assert_eq!(
        refused.len(),
        20,
        "every parameter refuses something: {refused:#?}"
    );
}

/// Right events, each with what may be otherwise in it.
fn right_events() -> Vec<Value> {
    let event = |kind: &str, data: Value| event("bakery", kind, noon(), data);
    let mut events: Vec<Value> = tenure::domain::event::TYPES
        .iter()
        .map(|kind| {
            let data = match *kind {
                "client.added" => json!({"name": "Bakery", "imported": true}),
                "client.renamed" => json!({"name": "Mill"}),
                "client.invited" => json!({"channel": "referral", "steps": ["accepted"], "commission_eligible": false}),
                "onboarding.completed" => json!({"via": "independent"}),
                "partner.disconnected" => json!({"by": "client"}),
                "assignment.added" => json!({"assignment_id": "a", "service": "seo"}),
                "assignment.removed" => json!({"assignment_id": "a"}),
                "report_schedule.created" | "report_schedule.deleted" => json!({"schedule_id": "r"}),
                "margin_rule.created" | "margin_rule.deleted" => json!({"rule_id": "m"}),
                "subscription.added" => json!({
                    "subscription_id": "s", "plan": "p", "managed_by": "client", "paid_until": "2026-05-01T00:00:00Z",
                }),
                "subscription.renewed" => json!({"subscription_id": "s", "paid_until": "2026-05-01T00:00:00Z"}),
                "subscription.ended" => json!({"subscription_id": "s"}),
                "user.added" | "user.removed" => json!({"user_id": "u"}),
                "integration.added" | "integration.removed" => json!({"integration_id": "i"}),
                "account.accessed" => json!({"by": "staff", "user": "u"}),
                "account.jobs_counted" => json!({"total": 100}),
                other => {
                    let mut data = crate::generate::sample(other);
                    data["reason"] = json!("why");
                    data
                }
            };
            event(kind, data)
        })
        .collect();
    let first = events[0].clone();
    for (name, value) in [
        ("sequence", json!(7)),
        ("sequence", json!("7")),
        ("sequence", Value::Null),
        ("datacontenttype", json!("text/json; charset=utf-8")),
        ("mood", json!({"a": 1})),
    ] {
        let mut event = first.clone();
        event[name] = value;
        events.push(event);
    }
    events
}

/// What may come in the place of any member.
fn values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(7),
        json!(7.0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!([]),
        json!(["x"]),
        json!({}),
        json!(["accepted"]),
        json!(["accepted", "x"]),
    ];
    let texts = [
        "",
        " ",
        "x",
        "\u{200b}",
        "a\0b",
        "1.0",
        "0.3",
        "tenure",
        "tenure:touch",
        "tenured",
        "acme",
        "acme/",
        "/c",
        "acme/..",
        "./c",
        "acme/c d",
        "a/b/c",
        "client.exploded",
        "client.added",
        "2026-03-01",
        "2026-03-01T11:00:00Z",
        "yesterday",
        "text/plain",
        "text/json",
        "json",
        "application/x+json",
        "partner",
        "client",
        "staff",
        "standard",
        "accepted",
        "e30=",
        "e30",
        "*",
    ];
    values.extend(texts.map(Value::from));
    for length in [128, 129, 200, 201, 512, 513] {
        values.push("x".repeat(length).into());
    }
    values
}

#[tokio::test]
async fn events_are_refused_by_the_document_where_they_are_by_the_worker() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/CloudEvent"}));
    let decoder = tenure::wire::Decoder::new(Limits::default(), noon());
    let right = right_events();
    for event in &right {
        assert!(
            validator.is_valid(event),
            "{event}: {:?}",
            validator.validate(event)
        );
        assert!(
            decoder.structured(event.to_string().as_bytes()).is_ok(),
            "{event}"
        );
    }
    let (mut both, mut stricter) = (0, BTreeSet::new());
    for event in &right {
        let mut changed = Vec::new();
        for place in ["", "/data"] {
            let members = event.pointer(place).unwrap().as_object().unwrap().keys();
            let more = ["sequence", "datacontenttype", "data_base64"].map(str::to_owned);
            for name in members
                .cloned()
                .chain(more.into_iter().filter(|_| place.is_empty()))
            {
                let mut without = event.clone();
                without
                    .pointer_mut(place)
                    .unwrap()
                    .as_object_mut()
                    .unwrap()
                    .remove(&name);
                changed.push((name.clone(), without));
                for value in values() {
                    let mut with = event.clone();
                    with.pointer_mut(place).unwrap()[&name] = value;
                    changed.push((name.clone(), with));
                }
            }
        }
        for (name, event) in changed {
            let is_valid = validator.is_valid(&event);
            let read = decoder.structured(event.to_string().as_bytes());
            // Whoever goes by the document sends nothing that is refused.
            assert!(!is_valid || read.is_ok(), "`{name}` in {event}: {read:?}");
            both += usize::from(!is_valid && read.is_err());
            if !is_valid && read.is_ok() {
                stricter.insert(name);
            }
        }
    }
    assert!(both > 1_000, "{both} events that both refuse");
    // Where the worker takes more than it asks for: `null` for `data` that has to be there is said in base64, and so on.
    let known = BTreeSet::from(["data"].map(str::to_owned));
    assert!(stricter.is_subset(&known), "{stricter:?}");
}
