//! Random bytes, JSON and headers: each message becomes an event or a valid dead letter, and the store accepts both.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tenure::clock::SimulatedClock;
use tenure::domain::{Event, Policies, Policy};
use tenure::engine::{CheckpointSpacing, Engine, Incoming, Outcome, Situation, plan};
use tenure::store::Upkeep;
use tenure::store::sqlite::SqliteStore;
use tenure::wire;

use super::{QUEUE, cases, check_dead_letter, now, read};
use crate::generate::arbitrary_history;

/// Texts that often cause trouble.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "",
            "1.0",
            "0.3",
            "client.added",
            "account.jobs_counted",
            "acme/c-1",
            "a/b/c",
            "/",
            "null",
            "{}",
            "\0",
            "a\0b",
            "\u{feff}",
            "\u{202e}",
            "'; drop table clients; --",
            "{{7*7}}",
            "%00%ff",
            "../../etc/passwd",
            "2026-01-01T00:00:00Z",
            "2026-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "+262143-12-31T23:59:59Z",
            "-262144-01-01T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "1e999",
            "-0",
            "18446744073709551616",
            "NaN",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,20}",
        vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect()),
        (select(vec!["a", "\u{10ffff}", "\0", "%"]), 1..3_000usize)
            .prop_map(|(part, times)| part.repeat(times)),
    ]
}

fn short() -> impl Strategy<Value = ShortString> {
    text().prop_map(|text| {
        let end = (0..=text.len().min(255))
            .rev()
            .find(|&end| text.is_char_boundary(end));
        ShortString::try_new(&text[..end.unwrap_or(0)]).expect("255 bytes at most")
    })
}

/// Values of every type of AMQP 0-9-1.
fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        short().prop_map(AMQPValue::ShortString),
        text().prop_map(|text| AMQPValue::LongString(text.into())),
        vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| AMQPValue::FieldArray(values.into())),
            table(inner, 0..4).prop_map(AMQPValue::FieldTable),
        ]
    })
}

fn header_name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (
            select(vec!["cloudEvents_", "cloudEvents:", "ce-", ""]),
            select(vec!["specversion", "id", "source", "type", "subject", "time", "sequence", "datacontenttype"]),
        )
            .prop_map(|(prefix, name)| format!("{prefix}{name}")),
        1 => select(vec!["x-death", "x-first-death-reason", "partitionkey", "reason", "queue"])
            .prop_map(str::to_owned),
        1 => short().prop_map(|name| name.as_str().to_owned()),
    ]
}

fn table(
    values: impl Strategy<Value = AMQPValue>,
    size: std::ops::Range<usize>,
) -> impl Strategy<Value = FieldTable> {
    vec((header_name(), values), size).prop_map(|pairs| {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert(name.as_str().into(), value);
        }
        table
    })
}

fn properties() -> impl Strategy<Value = BasicProperties> {
    let content_type = prop_oneof![
        4 => Just(Some(wire::STRUCTURED.into())),
        1 => Just(Some(wire::BATCH.into())),
        2 => Just(Some("application/json".into())),
        1 => Just(None),
        1 => short().prop_map(Some),
    ];
    (content_type, proptest::option::of(table(value(), 0..9))).prop_map(|(content_type, headers)| {
        let mut properties = BasicProperties::default();
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(content_type);
        }
        match headers {
            Some(headers) => properties.with_headers(headers),
            None => properties,
        }
    })
}

/// JSON as text, so that it may contain duplicate names, and numbers that no type holds.
fn json() -> impl Strategy<Value = String> {
    let quoted = || text().prop_map(|text| serde_json::Value::from(text).to_string());
    let leaf = prop_oneof![
        select(vec![
            "null",
            "true",
            "0",
            "-0.0",
            "1e400",
            "123456789012345678901234567890",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\u0000\"",
            "{}",
            "[]",
            "nul",
            "'a'",
            "\"a",
            "",
        ])
        .prop_map(str::to_owned),
        quoted(),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (select(vec![("[", "]"), ("{\"data\":", "}")]), 1..300usize)
            .prop_map(|((open, close), depth)| format!("{}1{}", open.repeat(depth), close.repeat(depth))),
    ];
    let name = prop_oneof![
        9 => select(vec![
            "specversion", "id", "source", "type", "subject", "time", "sequence", "data", "data_base64",
            "datacontenttype", "name", "total", "paid_until", "steps", "subscription_id",
        ])
        .prop_map(|name| format!("\"{name}\"")),
        1 => quoted(),
    ];
    leaf.prop_recursive(4, 30, 9, move |inner| {
        prop_oneof![
            3 => vec((name.clone(), inner.clone()), 0..9).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            1 => vec(inner, 0..5).prop_map(|values| format!("[{}]", values.join(","))),
        ]
    })
}

/// A valid event with a damaged byte or range.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let event = arbitrary_history(3, 3).prop_filter_map("none", |events| events.into_iter().next());
    (
        event,
        any::<prop::sample::Index>(),
        vec(any::<u8>(), 0..4),
        any::<bool>(),
    )
        .prop_map(|(event, at, bytes, cut)| {
            let mut body = wire::event(&event);
            let at = at.index(body.len());
            let end = if cut {
                body.len()
            } else {
                (at + bytes.len()).min(body.len())
            };
            body.splice(at..end, bytes);
            body
        })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => vec(any::<u8>(), 0..120),
        4 => json().prop_map(String::into_bytes),
        3 => damaged(),
        1 => (select(vec![0u8, b' ', b'{', b'[', b'"', 0xff]), 4_000..5_000usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
}

#[test]
fn every_message_is_an_event_or_a_valid_dead_letter() {
    let queue = prop_oneof![9 => Just(QUEUE), 1 => Just("tenure.dead")];
    TestRunner::new(cases(60_000))
        .run(&(queue, properties(), body()), |(queue, properties, body)| {
            match read(queue, &properties, &body) {
                Ok(event) => {
                    let again = read(
                        QUEUE,
                        &BasicProperties::default().with_content_type(wire::STRUCTURED.into()),
                        &wire::event(&event),
                    );
                    // Encoding it again may make it longer.
                    prop_assert!(
                        again.as_ref().is_ok_and(|again| *again == event)
                            || wire::event(&event).len() > super::MAX_BYTES
                    );
                }
                Err(dead_letter) => check_dead_letter(&dead_letter, &body).map_err(TestCaseError::fail)?,
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Events with any allowed contents, in any order, each once.
fn odd_events() -> impl Strategy<Value = Vec<Event>> {
    let odd = (vec(any::<prop::sample::Index>(), 0..6), text(), text());
    (arbitrary_history(4, 40), odd).prop_map(|(mut events, (places, id, sequence))| {
        for (number, place) in places.iter().enumerate() {
            if events.is_empty() {
                break;
            }
            let event = place.get(&events).clone();
            let odd = Event {
                id: format!("{number}{id}").into(),
                sequence: Some(format!("0{sequence}").into()),
                ..event
            };
            events.push(odd);
        }
        let properties = BasicProperties::default().with_content_type(wire::STRUCTURED.into());
        let mut seen = HashSet::new();
        events
            .iter()
            .filter_map(|event| read(QUEUE, &properties, &wire::event(event)).ok())
            .filter(|event| seen.insert((event.source.clone(), event.id.clone())))
            .collect()
    })
}

#[test]
fn every_decoded_event_can_be_planned() {
    let policies = Policies::default();
    TestRunner::new(cases(5_000))
        .run(&odd_events(), |events| {
            let asked = events.len();
            let situation = Situation {
                present: tenure::engine::Present {
                    now: now(),
                    tolerance: TimeDelta::zero(),
                },
                low_watermark: Some(now()),
                policies: &policies,
                stored: Vec::new(),
                histories: HashMap::new(),
                spacing: CheckpointSpacing::default(),
                holders: HashMap::new(),
            };
            prop_assert_eq!(plan(situation, events).outcomes.len(), asked);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_event_and_dead_letter_can_be_stored() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let messages = vec((properties(), body()), 0..40);
    TestRunner::new(cases(40))
        .run(&(odd_events(), messages), |(events, messages)| {
            let dead_letters = messages
                .iter()
                .filter_map(|(properties, body)| read(QUEUE, properties, body).err());
            let incoming: Vec<Incoming> = events
                .into_iter()
                .map(Incoming::Event)
                .chain(dead_letters.map(Incoming::Dead))
                .collect();
            runtime.block_on(store(incoming));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

async fn store(incoming: Vec<Incoming>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
    store.migrate().await.expect("migrated");
    let clock = Arc::new(SimulatedClock::at(now()));
    let engine = Engine::start(store, clock, &Policy::default())
        .await
        .expect("an engine");
    for batch in incoming.chunks(17) {
        let outcomes = engine.ingest(batch.to_vec()).await.expect("ingested");
        for (incoming, outcome) in batch.iter().zip(outcomes) {
            if let Outcome::Dead(reason) = &outcome
                && reason.starts_with("another event has this source and id")
            {
                continue;
            }
            let dead = matches!(outcome, Outcome::Dead(_) | Outcome::Deferred { .. });
            assert_eq!(matches!(incoming, Incoming::Dead(_)), dead, "{outcome:?}");
        }
    }
    let report = engine.verify(|_| {}).await.expect("verified");
    assert!(report.drifts.is_empty(), "{report:?}");
}
