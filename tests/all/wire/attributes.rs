//! The attributes of an event: which are required, and what each may contain.

use serde_json::{Value, json};
use tenure::domain::{Actor, ActorKind};
use tenure::wire::{BATCH, Message, Pairs, STRUCTURED};

use super::{bakery, decode, decoder, envelope, moment, read, structured};

fn refuses(cases: &[(Value, &str)]) {
    for (changes, reason) in cases {
        let dead_letter = read(Some(STRUCTURED), &[], &envelope(changes).to_string()).unwrap_err();
        assert!(
            dead_letter.reason.starts_with(reason),
            "{changes}: {}",
            dead_letter.reason
        );
    }
}

#[test]
fn attributes_must_be_right() {
    let long = "x".repeat(513);
    let cases = [
        (
            json!({"specversion": null}),
            "the attribute `specversion` is missing",
        ),
        (
            json!({"specversion": "0.3"}),
            "the `specversion` is `0.3`; Tenure reads CloudEvents 1.0",
        ),
        (json!({"id": null}), "the attribute `id` is missing"),
        (json!({"id": ""}), "the attribute `id` is empty"),
        (
            json!({"id": 5}),
            "the event: `id` is integer `5`; expected a string",
        ),
        (
            json!({"id": long}),
            "the attribute `id` is 513 bytes long; 512 are allowed",
        ),
        (
            json!({"id": "a\u{0}b"}),
            "the attribute `id` has a NUL character (U+0000)",
        ),
        (json!({"source": null}), "the attribute `source` is missing"),
        (
            json!({"source": long}),
            "the attribute `source` is 513 bytes long; 512 are allowed",
        ),
        (
            json!({"source": "\u{0}"}),
            "the attribute `source` has a NUL character (U+0000)",
        ),
        (json!({"type": null}), "the attribute `type` is missing"),
        (
            json!({"type": "client.exploded"}),
            "unknown event type `client.exploded`",
        ),
        (json!({"type": "a\u{0}"}), "unknown event type `a\\u{0}`"),
        (json!({"subject": null}), "the attribute `subject` is missing"),
        (
            json!({"subject": "acme"}),
            "the subject `acme` is not `{partner}/{client}`",
        ),
        (
            json!({"subject": "acme/c 1"}),
            "the client id `c 1` has the character ' '",
        ),
    ];
    refuses(&cases);
}

#[test]
fn time_order_and_data_must_be_right() {
    let cases = [
        (json!({"time": null}), "the attribute `time` is missing"),
        (
            json!({"time": "yesterday"}),
            "the attribute `time` is `yesterday`, not an RFC 3339 time",
        ),
        (
            json!({"time": "2026-03-01"}),
            "the attribute `time` is `2026-03-01`, not an RFC 3339 time",
        ),
        (
            json!({"time": "0000-06-01T00:00:00Z"}),
            "`time` is outside the years 1 to 9999 (UTC)",
        ),
        (
            json!({"time": "9999-12-31T23:59:59-01:00"}),
            "`time` is outside the years 1 to 9999 (UTC)",
        ),
        (
            json!({"time": "2026-03-01T12:05:01Z"}),
            "the attribute `time` is 2026-03-01T12:05:01Z, more than 5m ahead of this worker's clock",
        ),
        (
            json!({"sequence": ""}),
            "the attribute `sequence` is empty; leave it out",
        ),
        (
            json!({"sequence": -7}),
            "the event: `sequence` is integer `-7`; expected text, or a whole number, 0 or more",
        ),
        (
            json!({"sequence": 7.5}),
            "the event: `sequence` is floating point `7.5`; expected text, or a whole number, 0 or more",
        ),
        (
            json!({"sequence": true}),
            "the event: `sequence` is boolean `true`; expected text, or a whole number, 0 or more",
        ),
        (
            json!({"sequence": "1".repeat(129)}),
            "the attribute `sequence` is 129 bytes long; 128 are allowed",
        ),
        (
            json!({"sequence": "\u{0}"}),
            "the attribute `sequence` has a NUL character (U+0000)",
        ),
        (
            json!({"datacontenttype": "text/xml"}),
            "the data is `text/xml`; Tenure reads JSON: application/json, or another type that ends in /json or +json",
        ),
        (
            json!({"dataschema": ""}),
            "the attribute `dataschema` is ``, not a URI such as urn:example:client-added",
        ),
        (
            json!({"dataschema": "/schemas/1"}),
            "the attribute `dataschema` is `/schemas/1`, not a URI",
        ),
        (
            json!({"data": [], "data_base64": ""}),
            "the event has both `data` and `data_base64`",
        ),
        (json!({"data": "{}"}), "the data is not a JSON object"),
        (json!({"data": ["Bakery", true]}), "the data is not a JSON object"),
        (
            json!({"data": null, "data_base64": "e30"}),
            "the data of client.added: `name` is missing",
        ),
        (
            json!({"data": null, "data_base64": "*"}),
            "the event's `data_base64` is not base64",
        ),
        (
            json!({"data": null, "data_base64": "/w=="}),
            "the event's `data_base64` is not UTF-8",
        ),
        (
            json!({"data": null, "data_base64": "e3s="}),
            "the data of client.added: is not JSON",
        ),
    ];
    refuses(&cases);
}

#[test]
fn times_are_truncated_to_the_microsecond_and_may_be_slightly_ahead() {
    for (time, read) in [
        ("2026-03-01T12:05:00Z", "2026-03-01T12:05:00Z"),
        ("2026-03-01T11:00:00.123456789Z", "2026-03-01T11:00:00.123456Z"),
        ("2026-03-01T11:00:00.9999999+00:00", "2026-03-01T11:00:00.999999Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        assert_eq!(
            structured(&envelope(&json!({"time": time}))).unwrap().time,
            moment(read),
            "{time}"
        );
    }
}

#[test]
fn reserved_sources_are_refused_at_every_entry_point() {
    for source in ["tenure:touch", "tenure", "tenure:", "tenure:anything"] {
        let event = envelope(&json!({"source": source}));
        let expected = format!("the source `{source}` is Tenure's own");
        let mut reasons = vec![structured(&event).unwrap_err()];
        let line = decoder().line("file", event.to_string().as_bytes()).unwrap();
        reasons.push(line.unwrap_err().reason);
        let batch = format!("[{event}]");
        let headers = Pairs::default();
        let message = Message {
            origin: "http",
            content_type: Some(BATCH),
            headers: &headers,
            body: batch.as_bytes(),
        };
        reasons.push(decoder().events(message).unwrap().remove(0).unwrap_err().reason);
        for prefix in ["ce-", "cloudEvents_"] {
            let headers: Vec<_> = ["specversion", "id", "source", "type", "subject", "time"]
                .map(|name| {
                    (
                        format!("{prefix}{name}"),
                        event[name].as_str().unwrap().to_owned(),
                    )
                })
                .to_vec();
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            reasons.push(read(None, &headers, r#"{"name": "Bakery"}"#).unwrap_err().reason);
        }
        for reason in reasons {
            assert!(reason.starts_with(&expected), "{reason}");
        }
    }
    for source in ["tenured", "Tenure", "/tenure:touch", "tenure.touch"] {
        assert!(
            structured(&envelope(&json!({"source": source}))).is_ok(),
            "{source}"
        );
    }
}

#[test]
fn a_sequence_may_be_a_number_and_stands_for_its_digits() {
    for (sequence, text) in [
        (json!("007"), "007"),
        (json!(11), "11"),
        (json!(11.0), "11"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let event = structured(&envelope(&json!({"sequence": sequence}))).unwrap();
        assert_eq!(event.sequence.as_deref(), Some(text));
    }
}

#[test]
fn a_sequence_keeps_all_digits() {
    for digits in ["18446744073709551616", &"9".repeat(128)] {
        let json = envelope(&json!({"sequence": "digits"})).to_string();
        let event = decoder().structured(json.replace("\"digits\"", digits).as_bytes());
        assert_eq!(event.unwrap().sequence.as_deref(), Some(digits));
    }
}

#[test]
fn an_actor_has_an_id_a_kind_both_or_neither() {
    let read = |changes: Value| structured(&envelope(&changes)).unwrap().actor;
    let actor = |id: Option<&str>, kind| Actor {
        id: id.map(Into::into),
        kind,
    };
    assert_eq!(read(json!({})), Actor::default());
    assert_eq!(read(json!({"actor": "u-1"})), actor(Some("u-1"), None));
    for (name, kind) in ActorKind::NAMES.into_iter().zip(ActorKind::ALL) {
        assert_eq!(read(json!({"actorkind": name})), actor(None, Some(kind)));
    }
    let longest = "ü".repeat(128);
    assert_eq!(
        read(json!({"actor": longest, "actorkind": "back_office"})),
        actor(Some(&longest), Some(ActorKind::BackOffice))
    );
    let cases = [
        (json!({"actor": ""}), "the attribute `actor` is empty"),
        (
            json!({"actor": "x".repeat(129)}),
            "the attribute `actor` is 129 characters long; 128 are allowed",
        ),
        (
            json!({"actor": "a\u{0}"}),
            "the attribute `actor` has a NUL character (U+0000)",
        ),
        (
            json!({"actorkind": "client"}),
            "the attribute `actorkind` is `client`; expected partner, customer, back_office, system",
        ),
        (
            json!({"actorkind": ""}),
            "the attribute `actorkind` is ``; expected partner",
        ),
    ];
    refuses(&cases);
}

#[test]
fn an_actor_is_the_same_in_headers_of_every_binding_and_when_it_is_read_again() {
    let mut expected = bakery();
    expected.actor = Actor {
        id: Some("u 1".into()),
        kind: Some(ActorKind::Customer),
    };
    for (prefix, id) in [
        ("cloudEvents_", "u 1"),
        ("cloudEvents:", "u 1"),
        ("ce-", "u%201"),
        ("CE-", "\"u 1\""),
    ] {
        let header = |name: &str, value: &str| (format!("{prefix}{name}"), value.to_owned());
        let headers: Vec<(String, String)> = vec![
            header("specversion", "1.0"),
            header("id", "e-1"),
            header("source", "/space"),
            header("type", "client.added"),
            header("subject", "acme/c-1"),
            header("time", "2026-03-01T11:00:00Z"),
            header("actor", id),
            header("actorkind", "customer"),
        ];
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let body = r#"{"name": "Bakery"}"#;
        let event = read(Some("application/json"), &headers, body).unwrap();
        assert_eq!(event, expected, "{prefix}");
        assert_eq!(decoder().structured(&tenure::wire::event(&event)), Ok(event));
        let wrong = [&headers[..7], &[("ce-actorkind", "nobody")]].concat();
        let dead_letter = read(Some("application/json"), &wrong, body).unwrap_err();
        assert_eq!(decoder().again(&dead_letter), [Err(dead_letter)], "{prefix}");
    }
}

#[test]
fn the_schema_of_another_type_is_a_warning() {
    use tenure::wire::{SchemaFamily, SchemaUris};
    let warnings = |uri: &str| {
        let json = envelope(&json!({"dataschema": uri})).to_string();
        let decoded = decode(Some(STRUCTURED), &[], &json).expect("an event");
        let warnings: Vec<String> = decoded.warnings.iter().map(ToString::to_string).collect();
        warnings
    };
    for uris in [
        SchemaUris::default(),
        SchemaUris::new(Some("https://tenure.example.com")),
    ] {
        assert_eq!(
            warnings(&uris.data(SchemaFamily::Events, "client.added")),
            [""; 0]
        );
        assert_eq!(
            warnings(&uris.data(SchemaFamily::Events, "client.renamed")),
            [
                "`dataschema` is the schema of `client.renamed`, another type; the data is read by the type of the event"
            ]
        );
    }
    assert_eq!(warnings("https://schemas.example.com/anything"), [""; 0]);
}

#[test]
fn a_schema_in_a_header_counts_too() {
    let header = |uri| {
        let mut headers: Vec<(&str, &str)> = vec![
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/app"),
            ("ce-type", "access.disabled"),
            ("ce-subject", "acme/bakery"),
            ("ce-time", "2026-03-01T11:00:00Z"),
        ];
        headers.push(("ce-dataschema", uri));
        decode(Some("application/json"), &headers, "{}")
    };
    assert!(
        header("urn:tenure:schemas:events:access.disabled:data")
            .expect("an event")
            .warnings
            .is_empty()
    );
    assert_eq!(
        header("urn:tenure:schemas:events:access.enabled:data")
            .expect("an event")
            .warnings
            .len(),
        1
    );
    let dead = header("no uri").expect_err("a dead letter");
    assert!(
        dead.reason.starts_with("the attribute `dataschema` is `no uri`"),
        "{}",
        dead.reason
    );
}
