//! The JSON Schema of events in the OpenAPI document: the worker accepts every event that it accepts.

use std::collections::BTreeSet;

use super::openapi::validator;
use super::*;

/// Valid events of every type, with every optional field.
fn valid_events() -> Vec<Value> {
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
                "account.created" => json!({"by": "customer", "account_id": "acc-1"}),
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
        ("actor", json!("u-1")),
        ("actor", Value::Null),
        ("actorkind", json!("system")),
        ("actorkind", Value::Null),
        ("datacontenttype", json!("text/json; charset=utf-8")),
        ("dataschema", json!("https://schemas.example.com/added?v=1#data")),
        ("dataschema", Value::Null),
        ("mood", json!({"a": 1})),
    ] {
        let mut event = first.clone();
        event[name] = value;
        events.push(event);
    }
    events
}

/// Values to put in the place of any member.
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
        "customer",
        "standard",
        "accepted",
        "urn:a:b",
        "a:",
        "1a:b",
        "a:b c",
        "a:{b}",
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
async fn the_document_accepts_only_events_that_the_worker_accepts() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/CloudEvent"}));
    let decoder = tenure::wire::Decoder::new(Limits::default(), noon());
    let valid = valid_events();
    for event in &valid {
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
    for event in &valid {
        let mut changed = Vec::new();
        for place in ["", "/data"] {
            let members = event.pointer(place).unwrap().as_object().unwrap().keys();
            let more = [
                "sequence",
                "actor",
                "actorkind",
                "datacontenttype",
                "dataschema",
                "data_base64",
            ]
            .map(str::to_owned);
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
            // An event that the document accepts is never rejected.
            assert!(!is_valid || read.is_ok(), "`{name}` in {event}: {read:?}");
            both += usize::from(!is_valid && read.is_err());
            if !is_valid && read.is_ok() {
                stricter.insert(name);
            }
        }
    }
    assert!(both > 1_000, "{both} events that both reject");
    // Here the worker accepts more: `data` may be `null` if `data_base64` is set.
    let known = BTreeSet::from(["data"].map(str::to_owned));
    assert!(stricter.is_subset(&known), "{stricter:?}");
}
