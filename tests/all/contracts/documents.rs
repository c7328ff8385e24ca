//! The contracts say what the rules and RabbitMQ's definitions say.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure::contracts;
use tenure::domain::event::fields;
use tenure::domain::{ChangeKind, event};
use tenure::wire::SchemaUris;

use crate::lifecycles::document::refusals_by_type;

#[test]
fn each_event_has_the_refusals_of_its_rule() {
    for (kind, listed) in refusals_by_type() {
        let mut expected: BTreeSet<&str> = listed.into_iter().collect();
        expected.insert("not_theirs");
        if kind != "client.added" {
            expected.insert("unknown_client");
        }
        let described: BTreeSet<&str> = contracts::refusals_of(kind)
            .into_iter()
            .map(|(refusal, _)| refusal.code())
            .collect();
        assert_eq!(
            described, expected,
            "{kind}: correct src/contracts/guide.rs or docs/lifecycles.md"
        );
    }
}

#[test]
fn each_schema_has_the_fields_of_its_type() {
    let uris = SchemaUris::default();
    for kind in event::TYPES {
        let schema = contracts::data_of_event(kind, &uris).expect("a schema");
        let required = |name: &str| {
            schema["required"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(name)))
        };
        let described = schema["properties"].as_object().cloned().unwrap_or_default();
        let expected: BTreeSet<&str> = fields(kind).iter().map(|field| field.name).collect();
        assert_eq!(
            described.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            expected,
            "{kind}"
        );
        for field in fields(kind) {
            assert_eq!(required(field.name), field.is_required, "{kind}.{}", field.name);
            let text = &described[field.name]["description"];
            assert!(
                text.as_str().is_some_and(|text| text.len() > 10),
                "{kind}.{} has no description",
                field.name
            );
        }
    }
}

#[test]
fn the_asyncapi_document_has_every_message_and_its_routing_key() {
    let document = contracts::asyncapi(&SchemaUris::default());
    let keys = |channel: &str, parameter: &str| {
        document["channels"][channel]["parameters"][parameter]["enum"].clone()
    };
    assert_eq!(keys("events", "eventType"), json!(event::TYPES));
    let changes: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(keys("changes", "changeType"), json!(changes));
    let count = |channel: &str| {
        document["channels"][channel]["messages"]
            .as_object()
            .map(serde_json::Map::len)
    };
    assert_eq!(count("events"), Some(2 * event::TYPES.len()));
    assert_eq!(count("changes"), Some(changes.len()));
    for (channel, exchange) in [
        ("events", tenure::broker::topology::EVENTS),
        ("changes", tenure::broker::topology::CHANGES),
    ] {
        assert_eq!(
            document["channels"][channel]["bindings"]["amqp"]["exchange"]["name"],
            exchange
        );
    }
    for (channel, queue) in [
        ("lane", tenure::broker::topology::lane(0)),
        ("dead", tenure::broker::topology::DEAD.to_owned()),
    ] {
        assert_eq!(document["channels"][channel]["address"], Value::from(queue));
        assert!(
            document["channels"][channel]["x-arguments"]["x-queue-type"].is_string(),
            "{channel}"
        );
    }
}

#[test]
fn every_operation_of_the_openapi_document_has_an_id_of_its_own() {
    let document = tenure::http::openapi();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(
                id.contains('_') && ids.insert(id.to_owned()),
                "{method} {path}: `operation_id = \"{id}\"` is not unique, or the name of its function: name it in its `utoipa::path`"
            );
        }
    }
}

#[test]
fn the_openapi_document_types_data_by_the_type() {
    let document = tenure::http::openapi();
    let schemas = &document["components"]["schemas"];
    let changes: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    for (name, types) in [("CloudEvent", event::TYPES), ("PublishedChange", &changes)] {
        let schema = &schemas[name];
        assert_eq!(schema["discriminator"]["propertyName"], "type", "{name}");
        let mapping = schema["discriminator"]["mapping"].as_object().expect("a mapping");
        assert_eq!(
            mapping.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            types.iter().copied().collect::<BTreeSet<_>>(),
            "{name}"
        );
        let choices = schema["oneOf"].as_array().expect("choices");
        assert_eq!(choices.len(), types.len(), "{name}");
        for (kind, target) in mapping {
            assert!(choices.contains(&json!({ "$ref": target })), "{name}: {kind}");
            let place = target.as_str().expect("a reference").trim_start_matches('#');
            let schema = document.pointer(place).unwrap_or_else(|| panic!("no {target}"));
            let own = &schema["allOf"][1]["properties"];
            assert_eq!(own["type"]["const"], **kind, "{target}");
            assert!(own.get("data").is_some(), "{target}");
        }
    }
}
