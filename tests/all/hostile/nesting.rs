//! Headers nested as deep as RabbitMQ forwards them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::servers::{RabbitMq, name_in};
use crate::support::tenure::Tenure;

/// A level takes five bytes: about as many as fit into a frame of 128 KiB.
const LEVELS: usize = 25_000;

#[test]
fn deeply_nested_headers_do_not_crash_a_worker() {
    let url = RabbitMq::shared().vhost("nested");
    let vhost = name_in(&url);
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &url)]);
    let running = tenure.run();
    let event = |client: &str| {
        json!({
            "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
            "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
        })
    };
    let publish = |content_type: &str, header: &str, body: &str| {
        let message = format!(
            r#"{{"routing_key":"any","payload_encoding":"string","payload":{},"properties":{{"content_type":"{content_type}","headers":{{{header}}}}}}}"#,
            Value::from(body)
        );
        RabbitMq::shared().publish_as_json(vhost, "tenure.events", &message);
    };
    let arrays = ["[", "]"].map(|bracket| bracket.repeat(LEVELS)).concat();
    let tables = ["{\"a\":".repeat(LEVELS * 5 / 8), "}".repeat(LEVELS * 5 / 8)].join("1");
    let structured = "application/cloudevents+json";
    publish(
        structured,
        &format!("\"x\":{arrays}"),
        &event("first").to_string(),
    );
    publish(
        structured,
        &format!("\"x\":{tables}"),
        &event("second").to_string(),
    );
    // In an attribute, which becomes a header of a dead letter.
    let attributes = format!("\"cloudEvents_specversion\":\"1.0\",\"cloudEvents_id\":{arrays}");
    publish("application/json", &attributes, "{}");
    publish(structured, "", &event("last").to_string());
    for client in ["first", "second", "last"] {
        let path = format!("/v1/partners/p/clients/{client}");
        running.wait_until(client, || running.get(&path).0 == 200);
    }
    RabbitMq::shared().wait_for_depth(vhost, "tenure.events.0", 0, Duration::from_secs(30));
    RabbitMq::shared().wait_for_depth(vhost, "tenure.dead", 0, Duration::from_secs(30));
    let dead_letters = tenure.json(&["dead", "list"]);
    assert_eq!(dead_letters.len(), 1, "{dead_letters:?}");
    let log = running.log();
    assert!(
        !log.contains("overflow") && !log.contains("reconnected to RabbitMQ"),
        "{log}"
    );
    assert!(running.stop().success());
}
