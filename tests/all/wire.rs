//! CloudEvents in and out: what is an event, what is a dead letter and why, and that nothing panics.

mod random;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenure::domain::access::AccessStatus;
use tenure::domain::event::NameVerdict;
use tenure::domain::{Cause, Change, ClientKey, Entry, Event, EventKind, Id, Name, Timer};
use tenure::store::{Cursor, DeadLetter, Recorded};
use tenure::wire::{self, BATCH, Decoder, Limits, Message, Pairs, STRUCTURED};

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    moment("2026-03-01T12:00:00Z")
}

fn decoder() -> Decoder {
    let limits = Limits {
        max_event_bytes: 10_000,
        max_clock_skew: Duration::from_mins(5),
    };
    Decoder::new(limits, now())
}

fn name(text: &str) -> Name {
    Name::try_from(text.to_owned()).unwrap()
}

fn id(text: &str) -> Id {
    Id::try_from(text.to_owned()).unwrap()
}

/// A valid event with some members set, or with `null` taken away.
fn envelope(changes: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "e-1", "source": "/space", "type": "client.added",
        "subject": "acme/c-1", "time": "2026-03-01T11:00:00Z", "data": {"name": "Bakery"},
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(key);
        } else {
            event[key] = value.clone();
        }
    }
    event
}

fn structured(event: &Value) -> Result<Event, String> {
    decoder().structured(event.to_string().as_bytes())
}

fn data(kind: &str, data: &str) -> Result<EventKind, String> {
    let json = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"{kind}","subject":"a/c","time":"2026-03-01T11:00:00Z","data":{data}}}"#
    );
    decoder().structured(json.as_bytes()).map(|event| event.kind)
}

fn pairs(headers: &[(&str, &str)]) -> Pairs {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    headers.iter().map(owned).collect::<Vec<_>>().into()
}

fn read(content_type: Option<&str>, headers: &[(&str, &str)], body: &str) -> Result<Event, DeadLetter> {
    decoder().event(Message {
        origin: "test",
        content_type,
        headers: &pairs(headers),
        body: body.as_bytes(),
    })
}

fn bakery() -> Event {
    Event {
        source: "/space".into(),
        id: "e-1".into(),
        key: ClientKey::new("acme", "c-1").unwrap(),
        time: moment("2026-03-01T11:00:00Z"),
        sequence: None,
        kind: EventKind::ClientAdded {
            name: name("Bakery"),
            imported: false,
        },
        name_verdict: NameVerdict::Open,
    }
}

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
            "the type `client.exploded` is not one that Tenure knows",
        ),
        (
            json!({"type": "a\u{0}"}),
            "the type `a\\u{0}` is not one that Tenure knows",
        ),
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
fn data_must_be_right() {
    let cases = [
        ("client.added", "{}", "`name` is missing"),
        (
            "client.added",
            r#"{"name": 5}"#,
            "`name` is integer `5`; expected a string",
        ),
        ("client.added", r#"{"name": " "}"#, "`name`: the name is empty"),
        (
            "client.added",
            r#"{"name": "A", "name": "B"}"#,
            "`name` is given twice",
        ),
        (
            "client.added",
            "{\n  \"name\": \"A\",\n  \"imported\": \"yes\"\n}",
            "`imported` is string \"yes\"; expected true or false",
        ),
        (
            "client.invited",
            r#"{"channel": "pigeon"}"#,
            "`channel` is `pigeon`; expected `standard` or `referral`",
        ),
        (
            "client.invited",
            r#"{"steps": []}"#,
            "`steps`: `steps` is empty; leave it out for all three",
        ),
        (
            "client.invited",
            r#"{"steps": "accepted"}"#,
            "`steps` is string \"accepted\"; expected a list",
        ),
        ("partner.disconnected", "{}", "`by` is missing"),
        (
            "account.jobs_counted",
            r#"{"total": -1}"#,
            "`total` is integer `-1`; expected a whole number, 0 or more",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 1.5}"#,
            "`total` is floating point `1.5`; expected a whole",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 1e400}"#,
            "`total`: number out of range",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 18446744073709551616}"#,
            "`total` is floating point",
        ),
        (
            "subscription.renewed",
            r#"{"subscription_id": "s", "paid_until": "soon"}"#,
            "`paid_until` is not an RFC 3339 time such as",
        ),
        (
            "subscription.added",
            r#"{"subscription_id": ""}"#,
            "`subscription_id`: an id is empty",
        ),
    ];
    for (kind, json, reason) in cases {
        let found = data(kind, json).unwrap_err();
        let reason = format!("the data of {kind}: {reason}");
        assert!(found.starts_with(&reason), "{kind} {json}: {found}");
    }
    assert_eq!(
        data(
            "subscription.renewed",
            r#"{"subscription_id": "s", "paid_until": "+10000-01-01T00:00:00Z"}"#
        ),
        Err("`paid_until` is outside the years 1 to 9999 (UTC)".into())
    );
}

#[test]
fn times_in_data_are_truncated() {
    assert_eq!(
        data(
            "subscription.renewed",
            r#"{"subscription_id": "s", "paid_until": "2030-01-01T00:00:00.1234567Z"}"#
        ),
        Ok(EventKind::SubscriptionRenewed {
            subscription_id: id("s"),
            paid_until: moment("2030-01-01T00:00:00.123456Z"),
        })
    );
}

#[test]
fn a_nul_in_data_that_is_kept_is_refused() {
    for (kind, json, field) in [
        ("client.added", r#"{"name": "a\u0000b"}"#, "name"),
        ("client.lost", r#"{"reason": "\u0000"}"#, "reason"),
        (
            "assignment.added",
            r#"{"assignment_id": "a", "service": "\u0000"}"#,
            "service",
        ),
        ("user.added", r#"{"user_id": "\u0000"}"#, "user_id"),
    ] {
        let reason = data(kind, json).unwrap_err();
        let start = format!("the data's `{field}` has a NUL character (U+0000)");
        assert!(reason.starts_with(&start), "{reason}");
    }
    // Six characters that only look like one.
    assert_eq!(
        data("client.added", r#"{"name": "\\u0000"}"#),
        Ok(EventKind::ClientAdded {
            name: name("\\u0000"),
            imported: false
        })
    );
}

#[test]
fn dead_letters_contain_the_message() {
    let headers = [("cloudEvents_specversion", "1.0"), ("x\0", "y\0")];
    let dead_letter = read(Some("application/json"), &headers, "{\0").unwrap_err();
    assert_eq!(
        dead_letter,
        DeadLetter {
            origin: "test".into(),
            content_type: Some("application/json".into()),
            headers: vec![
                ("cloudEvents_specversion".into(), "1.0".into()),
                ("x\\u0000".into(), "y\\u0000".into()),
            ],
            body: b"{\0".to_vec(),
            reason: "the attribute `type` is missing".into(),
            retry_at: None,
        }
    );
}

#[test]
fn no_reason_has_control_characters() {
    let dead_letter = read(Some(STRUCTURED), &[], "{\"\u{1b}[2J\u{0}\":").unwrap_err();
    assert!(
        !dead_letter.reason.contains(char::is_control),
        "{:?}",
        dead_letter.reason
    );
    let event = envelope(&json!({"type": "\u{1b}]0;boo\u{7}"}));
    let dead_letter = read(Some(STRUCTURED), &[], &event.to_string()).unwrap_err();
    assert!(
        !dead_letter.reason.contains(char::is_control),
        "{:?}",
        dead_letter.reason
    );
}

#[test]
fn bodies_that_are_too_long_too_deep_or_not_text_are_dead_letters() {
    let reason = |body: &[u8]| decoder().structured(body).unwrap_err();
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
fn a_batch_is_read_up_to_its_bound_and_no_further() {
    let read = |body: &str, most: usize| {
        let decoder = decoder().with_max_events(most);
        decoder.events(Message {
            origin: "http",
            content_type: Some(BATCH),
            headers: &Pairs::default(),
            body: body.as_bytes(),
        })
    };
    assert_eq!(read("[1, 2, 3]", 3).unwrap().len(), 3);
    let error = read("[1, 2, 3]", 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the batch has more than 2 events; send them in smaller batches"
    );
    // What comes after the first one too many is not looked at.
    assert_eq!(read("[1, 2, 3, and then no JSON", 2).unwrap_err().most, 2);
    assert!(read("[1, 2, and then no JSON", 2).unwrap()[0].is_err());
    // A dead letter with such a batch stays one, and says why.
    let dead_letter = DeadLetter {
        origin: "amqp:tenure.events.0".into(),
        content_type: Some(BATCH.into()),
        headers: Vec::new(),
        body: b"[1, 2, 3]".to_vec(),
        reason: "a batch".into(),
        retry_at: None,
    };
    let again = decoder().with_max_events(2).again(&dead_letter);
    assert_eq!(again.len(), 1);
    assert!(
        again[0]
            .as_ref()
            .unwrap_err()
            .reason
            .contains("more than 2 events")
    );
    assert_eq!(decoder().again(&dead_letter).len(), 3);
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
fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
    for (total, expected) in [
        ("100.0", 100),
        ("1e2", 100),
        ("-0.0", 0),
        ("9007199254740993", 9_007_199_254_740_993),
    ] {
        assert_eq!(
            data("account.jobs_counted", &format!("{{\"total\": {total}}}")),
            Ok(EventKind::JobsCounted { total: expected }),
            "{total}"
        );
    }
    for total in [
        "100.5",
        "18446744073709551616",
        "9007199254740994.0",
        "-1.0",
        "\"100\"",
    ] {
        let reason = data("account.jobs_counted", &format!("{{\"total\": {total}}}")).unwrap_err();
        assert!(reason.ends_with("expected a whole number, 0 or more"), "{reason}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = format!("\u{feff}{}", envelope(&json!({})));
    assert_eq!(decoder().structured(body.as_bytes()), Ok(bakery()));
}

#[test]
fn a_batch_is_read_member_by_member() {
    let events = |body: &str| {
        decoder()
            .events(Message {
                origin: "http",
                content_type: Some("application/cloudevents-batch+json; charset=utf-8"),
                headers: &pairs(&[("ce-x", "y")]),
                body: body.as_bytes(),
            })
            .unwrap()
    };
    let body = format!("[{}, {{\"id\": 1}} , 7]", envelope(&json!({})));
    let read = events(&body);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0], Ok(bakery()));
    let dead_letter = read[1].as_ref().unwrap_err();
    assert_eq!(dead_letter.body, b"{\"id\": 1}");
    assert_eq!(dead_letter.content_type.as_deref(), Some(STRUCTURED));
    assert_eq!(read[2].as_ref().unwrap_err().body, b"7");
    assert_eq!(events("[]"), []);
    for whole in ["{}", "[{}", "", "[1,]", "7"] {
        let read = events(whole);
        assert_eq!(read.len(), 1, "{whole}");
        let dead_letter = read[0].as_ref().unwrap_err();
        assert_eq!(dead_letter.body, whole.as_bytes());
        assert!(
            dead_letter
                .reason
                .starts_with("the batch is not a JSON array of events"),
            "{}",
            dead_letter.reason
        );
    }
}

#[test]
fn a_file_is_read_line_by_line() {
    assert_eq!(decoder().line("file:x:1", b" \r"), None);
    let line = format!("{}\r", envelope(&json!({})));
    assert_eq!(decoder().line("file:x:2", line.as_bytes()), Some(Ok(bakery())));
    let dead_letter = decoder().line("file:x:3", b"oops").unwrap().unwrap_err();
    assert_eq!(
        (&*dead_letter.origin, &*dead_letter.body),
        ("file:x:3", &b"oops"[..])
    );
}

#[test]
fn dead_letters_can_be_read_again() {
    let ahead = envelope(&json!({"time": "2026-03-01T12:30:00Z"})).to_string();
    let headers = [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", "%20"),
        ("cloudEvents_source", "s"),
        ("cloudEvents_type", "consent.granted"),
        ("cloudEvents_subject", "a/c"),
        ("cloudEvents_time", "2026-03-01T12:30:00Z"),
    ];
    let dead_letters = [
        read(Some(STRUCTURED), &[], &ahead).unwrap_err(),
        read(None, &headers, "").unwrap_err(),
        decoder().line("f:1", ahead.as_bytes()).unwrap().unwrap_err(),
    ];
    let later = Decoder::new(Limits::default(), now() + TimeDelta::hours(1));
    for dead_letter in dead_letters {
        assert_eq!(decoder().again(&dead_letter), [Err(dead_letter.clone())]);
        assert!(later.again(&dead_letter)[0].is_ok(), "{dead_letter:?}");
    }
}

#[test]
fn the_published_form_of_a_change() {
    let line = Recorded {
        cursor: Cursor {
            transaction: 7,
            sequence: 42,
        },
        entry: Entry {
            key: ClientKey::new("acme", "c-1").unwrap(),
            change: Change::Access {
                from: AccessStatus::Enabled,
                to: AccessStatus::Expired,
            },
            time: moment("2026-03-01T11:00:00.5Z"),
            cause: Cause::Timer {
                timer: Timer::AccessExpiry,
            },
            correction: false,
        },
        recorded_at: now(),
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&wire::change(1_764_119_999_123_000_042, &line)).unwrap(),
        json!({
            "specversion": "1.0",
            "id": "1764119999123000042_0000000000000000042",
            "source": "tenure",
            "type": "access.expired",
            "subject": "acme/c-1",
            "time": "2026-03-01T11:00:00.500Z",
            "partitionkey": "acme/c-1",
            "datacontenttype": "application/json",
            "data": {
                "epoch": "1764119999123000042",
                "sequence": 42,
                "type": "access.expired",
                "from": "enabled",
                "to": "expired",
                "recorded": "2026-03-01T12:00:00Z",
                "cause": {"timer": "access_expiry"},
                "correction": false,
            },
        })
    );
}
