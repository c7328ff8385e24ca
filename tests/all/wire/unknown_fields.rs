//! Fields that an event's type does not have: ignored, with a warning.

use serde_json::json;
use tenure::domain::event::TYPES;
use tenure::wire::{BATCH, Message, Pairs, STRUCTURED};

use super::{bakery, decode, decoder, envelope};

fn warnings(kind: &str, data: &serde_json::Value) -> Vec<String> {
    let event = envelope(&json!({"type": kind, "data": data}));
    let decoded = decode(Some(STRUCTURED), &[], &event.to_string()).unwrap();
    decoded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_field_is_named_with_the_field_that_was_probably_intended() {
    for (kind, data, expected) in [
        (
            "client.invited",
            json!({"chanel": "referral"}),
            &["`chanel` is not known; `channel` is"][..],
        ),
        (
            "client.invited",
            json!({"channel": "referral", "Steps": [], "note": "hello"}),
            &["`Steps` is not known; `steps` is", "`note` is not known"],
        ),
        // Known elsewhere.
        (
            "consent.granted",
            json!({"reason": "x"}),
            &["`reason` is not known"],
        ),
        ("client.lost", json!({"reason": "x"}), &[]),
        (
            "client.lost",
            json!({"a": 1, "b": {"reason": 1}, "c": [], "d": null, "reasons": "x"}),
            &[
                "`a` is not known",
                "`b` is not known",
                "`c` is not known",
                "2 more fields are not known",
            ],
        ),
    ] {
        assert_eq!(warnings(kind, &data), expected, "{kind} {data}");
    }
    let long = warnings("client.lost", &json!({"n".repeat(9_000): 1})).remove(0);
    assert!(long.len() < 300, "{long}");
}

#[test]
fn a_known_field_makes_no_warning() {
    for kind in TYPES {
        let data = crate::generate::sample(kind);
        assert_eq!(warnings(kind, &data), [""; 0], "{kind} {data}");
    }
}

#[test]
fn an_event_is_the_same_with_and_without_an_unknown_field_in_every_mode() {
    let data = r#"{"name": "Bakery", "imprted": true}"#;
    let expected = ["`imprted` is not known; `imported` is"];
    let event =
        envelope(&json!({"data": serde_json::from_str::<serde_json::Value>(data).unwrap()})).to_string();
    let headers: Vec<(String, String)> = [
        ("specversion", "1.0"),
        ("id", "e-1"),
        ("source", "/space"),
        ("type", "client.added"),
        ("subject", "acme/c-1"),
        ("time", "2026-03-01T11:00:00Z"),
    ]
    .map(|(name, value)| (format!("cloudEvents_{name}"), value.to_owned()))
    .into();
    let headers = Pairs::from(headers);
    let message = |content_type, body| Message {
        origin: "test",
        content_type: Some(content_type),
        headers: &headers,
        body,
    };
    let batch = format!("[{event}]");
    for decoded in [
        decoder().event(message(STRUCTURED, event.as_bytes())),
        decoder().event(message("application/json", data.as_bytes())),
        decoder()
            .events(message(BATCH, batch.as_bytes()))
            .unwrap()
            .remove(0),
        decoder().line("file", event.as_bytes()).unwrap(),
    ] {
        let decoded = decoded.unwrap();
        assert_eq!(decoded.event, bakery());
        let warnings: Vec<_> = decoded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, expected);
    }
}
