//! The content modes: structured, binary, and messages in neither.

use serde_json::json;
use tenure::domain::EventKind;
use tenure::wire::{BATCH, Decoder, Limits, STRUCTURED};

use super::{bakery, data, decoder, envelope, moment, now, read, structured};

#[test]
fn a_structured_event_is_read() {
    assert_eq!(structured(&envelope(&json!({}))), Ok(bakery()));
}

#[test]
fn unknown_attributes_and_fields_are_ignored() {
    let event = envelope(&json!({
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "weather": {"rain": [1, 2]},
        "data": {"name": "Bakery", "mood": "\u{0}", "deep": [[[[]]]]},
    }));
    assert_eq!(structured(&event), Ok(bakery()));
}

#[test]
fn binary_events_of_amqp_and_http_are_read() {
    let attributes = [
        ("specversion", "1.0"),
        ("id", "e-1"),
        ("source", "/space"),
        ("type", "client.added"),
        ("subject", "acme/c-1"),
        ("time", "2026-03-01T11:00:00Z"),
    ];
    for prefix in ["cloudEvents_", "cloudEvents:", "ce-", "CE-"] {
        let headers = attributes.map(|(name, value)| (format!("{prefix}{name}"), value));
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        for content_type in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/vnd.space+json"),
            Some("text/json; charset=utf-8"),
            Some("application/x.a+b+JSON"),
        ] {
            assert_eq!(
                read(content_type, &headers, r#"{"name": "Bakery"}"#),
                Ok(bakery()),
                "{prefix} {content_type:?}"
            );
        }
        let dead_letter = read(Some("text/plain"), &headers, r#"{"name": "Bakery"}"#).unwrap_err();
        assert_eq!(
            dead_letter.reason,
            "the data is `text/plain`; Tenure reads JSON: application/json, or another type that ends in /json or +json"
        );
    }
}

#[test]
fn binary_events_without_a_body_have_empty_data() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20%C3%BC"),
        ("ce-source", "s"),
        ("ce-type", "consent.granted"),
        ("ce-subject", "acme/c-1"),
        ("ce-time", "2026-03-01T12:00:00+01:00"),
    ];
    let event = read(None, &headers, " ").unwrap();
    assert_eq!(
        (&*event.id, event.time, event.kind),
        (
            "a ü",
            moment("2026-03-01T11:00:00Z"),
            EventKind::ConsentGranted {}
        )
    );
}

#[test]
fn a_message_in_no_mode_names_what_is_missing() {
    let reason = |content_type| read(content_type, &[("x", "y")], "{}").unwrap_err().reason;
    assert!(reason(None).starts_with("the message has no content type and no header for `specversion`"));
    assert!(reason(Some("application/json")).contains("has the content type `application/json`"));
    assert!(reason(Some(BATCH)).contains("a batch"));
}

#[test]
fn bodies_that_are_too_long_too_deep_or_not_text_are_dead_letters() {
    let reason = |body: &[u8]| decoder().structured(body).unwrap_err().to_string();
    assert_eq!(
        reason(&[b' '; 10_001]),
        "the event is 10001 bytes long; 10000 are allowed"
    );
    assert_eq!(reason(b""), "the event is empty");
    assert_eq!(reason(b"{\xff}"), "the event is not UTF-8, from byte 1 on");
    assert_eq!(reason(b"[]"), "the event is JSON, but not an object");
    assert!(reason(b"hello").starts_with("the event is not JSON"));
    let huge = Decoder::new(
        Limits {
            max_event_bytes: usize::MAX,
            ..Limits::default()
        },
        now(),
    );
    for deep in ["[", "{\"a\":"] {
        let deep = deep.repeat(1_000_000);
        assert!(huge.structured(deep.as_bytes()).is_err());
        assert!(huge.structured(format!("{{\"x\":{deep}").as_bytes()).is_err());
        assert!(
            huge.structured(format!("{{\"data\":{{\"x\":{deep}").as_bytes())
                .is_err()
        );
    }
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(data("consent.granted", &format!("{{\"x\":{deep}}}")).is_ok());
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = format!("\u{feff}{}", envelope(&json!({})));
    assert_eq!(decoder().structured(body.as_bytes()), Ok(bakery()));
}

#[test]
fn an_event_of_the_maximum_size_is_read() {
    let event = envelope(&json!({})).to_string();
    assert_eq!(
        decoder().structured(format!("{event:10000}").as_bytes()),
        Ok(bakery())
    );
}

#[test]
fn only_a_body_without_an_encoding_is_read() {
    let body = envelope(&json!({})).to_string();
    for encoding in ["", "identity", "UTF-8", " us-ascii "] {
        assert_eq!(
            read(Some(STRUCTURED), &[("Content-Encoding", encoding)], &body),
            Ok(bakery()),
            "{encoding}"
        );
    }
    let dead_letter = read(Some(STRUCTURED), &[("Content-Encoding", "gzip")], &body).unwrap_err();
    assert!(
        dead_letter
            .reason
            .starts_with("the body has the content encoding `gzip`")
    );
}
