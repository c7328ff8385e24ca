//! Events with one error: the reason of the dead letter names it.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tenure::wire::STRUCTURED;

use super::{MAX_BYTES, QUEUE, cases, check_dead_letter, read};

const REQUIRED: [&str; 6] = ["specversion", "id", "source", "type", "subject", "time"];
const TEXTS: [&str; 7] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "sequence",
];

fn right() -> Value {
    json!({
        "specversion": "1.0", "id": "e-1", "source": "/space", "type": "subscription.added", "subject": "acme/c-1",
        "time": "2026-03-01T11:00:00Z", "sequence": "7", "datacontenttype": "application/json",
        "data": { "subscription_id": "s", "plan": "p", "managed_by": "client", "paid_until": "2026-04-01T00:00:00Z" },
    })
}

/// A body with one error, and the text that the reason must contain.
type Wrong = (Vec<u8>, String);

fn with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event = right();
    change(&mut event);
    event.to_string().into_bytes()
}

fn named(name: &str) -> String {
    format!("`{name}`")
}

/// JSON values that are not text.
fn not_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_map(Value::from)
            .prop_filter("a number", Value::is_number),
        any::<bool>().prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
        Just(json!({})),
    ]
}

fn attributes() -> impl Strategy<Value = Wrong> {
    let missing = (select(&REQUIRED[..]), any::<bool>()).prop_map(|(name, null)| {
        let body = with(|event| {
            if null {
                event[name] = Value::Null;
            } else {
                event.as_object_mut().expect("an object").remove(name);
            }
        });
        (body, named(name))
    });
    let empty = select(&TEXTS[..]).prop_map(|name| (with(|event| event[name] = "".into()), named(name)));
    let typed = (select(&TEXTS[..]), not_text())
        // A sequence may be an integer.
        .prop_filter("wrong", |(name, value)| {
            *name != "sequence"
                || value
                    .as_f64()
                    .is_none_or(|number| number < 0.0 || number.fract() != 0.0)
        })
        .prop_map(|(name, value)| (with(|event| event[name] = value), named(name)));
    let long = (select(vec!["id", "source", "sequence"]), 513..900usize)
        .prop_map(|(name, n)| (with(|event| event[name] = "x".repeat(n).into()), named(name)));
    let nul = (select(vec!["id", "source", "sequence"]), "[a-z]{0,5}").prop_map(|(name, text)| {
        (
            with(|event| event[name] = format!("{text}\0").into()),
            named(name),
        )
    });
    let twice = select(&TEXTS[..]).prop_map(|name| {
        let event = right();
        let body = format!("{{\"{name}\":{},{}", event[name], &event.to_string()[1..]);
        (body.into_bytes(), named(name))
    });
    let reserved = "tenure(:[a-z:]{0,9})?".prop_map(|text| {
        (
            with(|event| event["source"] = text.clone().into()),
            format!("the source `{text}`"),
        )
    });
    let version = "[2-9]\\.[0-9]".prop_map(|text| {
        (
            with(|event| event["specversion"] = text.into()),
            named("specversion"),
        )
    });
    let kind = "[a-z]{1,9}\\.[A-Z]{1,9}".prop_map(|text| {
        (
            with(|event| event["type"] = text.clone().into()),
            format!("event type `{text}`"),
        )
    });
    let subject = prop_oneof![
        "[a-z]{1,9}".prop_map(|text| (text, "the subject")),
        "/[a-z]{1,9}".prop_map(|text| (text, "the partner id")),
        "[a-z]{1,9}/".prop_map(|text| (text, "the client id")),
        "[a-z]{1,9}/[a-z]{0,4}[ /ü\u{0}%?#]".prop_map(|text| (text, "the client id")),
        "[a-z]{1,9}/\\.{1,2}".prop_map(|text| (text, "the client id")),
        "\\.{1,2}/[a-z]{1,9}".prop_map(|text| (text, "the partner id")),
        "[a-z]{129,200}/c".prop_map(|text| (text, "the partner id")),
    ]
    .prop_map(|(text, words)| (with(|event| event["subject"] = text.into()), words.to_owned()));
    let time = prop_oneof![
        "[a-z0-9: -]{1,30}",
        select(vec![
            "2026-03-01",
            "2026-03-01T11:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-03-01T12:05:01Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "+262143-01-01T00:00:00Z",
            "1772366400",
            "2026-03-01T24:00:00Z",
        ])
        .prop_map(str::to_owned),
    ]
    .prop_map(|text| (with(|event| event["time"] = text.into()), named("time")));
    prop_oneof![
        missing, empty, typed, long, nul, twice, reserved, version, kind, subject, time
    ]
}

fn data() -> impl Strategy<Value = Wrong> {
    let no_object = not_text()
        .prop_filter("no object", |value| !value.is_object())
        .prop_map(|value| (with(|event| event["data"] = value), "the data".to_owned()));
    let missing = Just((
        with(|event| {
            event["data"]
                .as_object_mut()
                .expect("an object")
                .remove("subscription_id");
        }),
        named("subscription_id"),
    ));
    let typed = (
        select(vec!["subscription_id", "plan", "managed_by", "paid_until"]),
        not_text(),
    )
        .prop_map(|(name, value)| (with(|event| event["data"][name] = value), named(name)));
    let nul = select(vec!["subscription_id", "plan"])
        .prop_map(|name| (with(|event| event["data"][name] = "a\0".into()), named(name)));
    let choice = "[a-z]{1,5}x".prop_map(|text| {
        (
            with(|event| event["data"]["managed_by"] = text.into()),
            named("managed_by"),
        )
    });
    let date = "[0-9-]{0,12}".prop_map(|text| {
        (
            with(|event| event["data"]["paid_until"] = text.into()),
            named("paid_until"),
        )
    });
    let twice = select(vec!["subscription_id", "plan", "managed_by", "paid_until"]).prop_map(|name| {
        let event = right();
        let body = event.to_string().replacen(
            "\"data\":{",
            &format!("\"data\":{{\"{name}\":{},", event["data"][name]),
            1,
        );
        (body.into_bytes(), named(name))
    });
    let content_type = "(text|image)/[a-ik-z]{1,8}".prop_map(|text| {
        (
            with(|event| event["datacontenttype"] = text.clone().into()),
            named(&text),
        )
    });
    let both = Just((
        with(|event| event["data_base64"] = "e30=".into()),
        named("data_base64"),
    ));
    let base64 = "[*!ä]{1,9}".prop_map(|text| {
        let body = with(|event| {
            event.as_object_mut().expect("an object").remove("data");
            event["data_base64"] = text.into();
        });
        (body, named("data_base64"))
    });
    prop_oneof![
        no_object,
        missing,
        typed,
        nul,
        choice,
        date,
        twice,
        content_type,
        both,
        base64
    ]
}

/// Invalid JSON and invalid bytes.
fn form() -> impl Strategy<Value = Wrong> {
    let bytes = right().to_string().into_bytes();
    let whole = bytes.len();
    let cut = (1..whole).prop_map(move |end| (bytes[..end].to_vec(), "is not JSON".to_owned()));
    let utf8 = (0..whole, 0x80..=0xffu8).prop_map(|(at, byte)| {
        let mut body = right().to_string().into_bytes();
        body.insert(at, byte);
        (body, format!("not UTF-8, from byte {at} on"))
    });
    let surrogate = "\\\\u[dD][89abAB][0-9a-f]{2}".prop_map(|escape| {
        (
            right().to_string().replacen("e-1", &escape, 1).into_bytes(),
            named("id"),
        )
    });
    let long = (MAX_BYTES..3 * MAX_BYTES).prop_map(|n| {
        (
            with(|event| event["more"] = "x".repeat(n).into()),
            "bytes long".to_owned(),
        )
    });
    prop_oneof![cut, utf8, surrogate, long]
}

fn check(properties: &BasicProperties, (body, words): &Wrong) -> Result<(), TestCaseError> {
    let dead_letter = match read(QUEUE, properties, body) {
        Ok(event) => return Err(TestCaseError::fail(format!("an event: {event:?}"))),
        Err(dead_letter) => dead_letter,
    };
    check_dead_letter(&dead_letter, body).map_err(TestCaseError::fail)?;
    prop_assert!(
        dead_letter.reason.contains(words.as_str()),
        "no {:?} in {:?}",
        words,
        dead_letter.reason
    );
    Ok(())
}

#[test]
fn the_reason_names_the_error() {
    let properties = BasicProperties::default().with_content_type(STRUCTURED.into());
    read(QUEUE, &properties, right().to_string().as_bytes()).expect("right but for that");
    let wrong = prop_oneof![5 => attributes(), 5 => data(), 2 => form()];
    TestRunner::new(cases(30_000))
        .run(&wrong, |wrong| check(&properties, &wrong))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn binary(change: impl FnOnce(&mut FieldTable)) -> BasicProperties {
    let event = right();
    let mut headers = FieldTable::default();
    for name in TEXTS {
        let text = event[name].as_str().expect("text");
        headers.insert(
            format!("cloudEvents_{name}").as_str().into(),
            AMQPValue::LongString(text.into()),
        );
    }
    change(&mut headers);
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
}

#[test]
fn the_reason_names_the_error_in_a_header() {
    let body = right()["data"].to_string().into_bytes();
    read(QUEUE, &binary(|_| {}), &body).expect("right but for that");
    let value = prop_oneof![
        Just(AMQPValue::LongString("".into())),
        Just(AMQPValue::LongString(vec![0xff, b'a'].into())),
        Just(AMQPValue::LongString("x".repeat(600).into())),
        Just(AMQPValue::LongString("\0".into())),
        Just(AMQPValue::FieldArray(
            vec![AMQPValue::LongString("\0".into())].into()
        )),
    ];
    TestRunner::new(cases(6_000))
        .run(&(select(&TEXTS[..]), value), |(name, value)| {
            let properties = binary(|headers| {
                headers.insert(format!("cloudEvents_{name}").as_str().into(), value);
            });
            // For these two the reason names a part.
            let words = match name {
                "type" => "type",
                "subject" => "",
                name => name,
            };
            check(&properties, &(body.clone(), words.to_owned()))
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
