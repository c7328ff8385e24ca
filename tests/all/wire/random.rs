//! Random input: the decoder returns an event or a reason, and never panics.

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::Value;
use tenure::domain::event::{AccessedBy, Channel, ManagedBy, NameVerdict, Steps};
use tenure::domain::{ClientKey, Event, EventKind};
use tenure::wire::{self, BATCH, Decoded, Message, STRUCTURED};

use super::{decoder, id, name, pairs};

fn kinds() -> impl Strategy<Value = EventKind> {
    let text = "[^\u{0}]{0,20}";
    let an_id = || "[^\u{0}]{1,20}".prop_map(|text| id(&text));
    let a_time = || {
        (-62_135_596_800_000_000i64..=253_402_300_799_999_999)
            .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
    };
    prop_oneof![
        ("[a-zA-Zäß\"\\\\]{1,20}", any::<bool>()).prop_map(|(text, imported)| EventKind::ClientAdded {
            name: name(&text),
            imported,
        }),
        any::<bool>().prop_map(|commission_eligible| EventKind::ClientInvited {
            channel: Channel::Referral,
            steps: Steps::default(),
            commission_eligible,
        }),
        prop::option::of(text).prop_map(|reason| EventKind::ClientArchived { reason }),
        Just(EventKind::AccessRequested {}),
        (an_id(), prop::option::of(text), prop::option::of(a_time())).prop_map(
            |(subscription_id, plan, paid_until)| EventKind::SubscriptionAdded {
                subscription_id,
                plan,
                managed_by: ManagedBy::Client,
                paid_until,
            }
        ),
        (an_id(), a_time()).prop_map(|(subscription_id, paid_until)| EventKind::SubscriptionRenewed {
            subscription_id,
            paid_until,
        }),
        prop::option::of(text).prop_map(|user| EventKind::AccountAccessed {
            by: AccessedBy::Staff,
            user
        }),
        any::<u64>().prop_map(|total| EventKind::JobsCounted { total }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    (
        "[^\u{0}]{1,40}",
        "[^\u{0}]{1,40}",
        "[A-Za-z0-9._~:@-]{1,128}".prop_filter("a dot segment", |id| id != "." && id != ".."),
        -62_135_596_800_000_000i64..=1_772_366_400_000_000,
        prop::option::of("[^\u{0}]{1,30}"),
        kinds(),
    )
        .prop_map(|(source, id, client, micros, sequence, kind)| Event {
            actor: crate::generate::actor(source.len() + id.len()),
            source: source.into(),
            id: id.into(),
            key: ClientKey::new("acme", &client).unwrap(),
            time: DateTime::from_timestamp_micros(micros).unwrap(),
            sequence: sequence.map(Into::into),
            kind,
            name_verdict: NameVerdict::Open,
        })
}

/// JSON with the names that we know, in all the wrong places.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "sequence",
        "data",
        "data_base64",
        "datacontenttype",
        "name",
        "steps",
        "total",
        "paid_until",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "1.0",
            "client.added",
            "account.jobs_counted",
            "a/c",
            "2026-01-01T00:00:00Z"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(names.clone(), inner, 0..12).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

/// An event, or a reason that is fit to print and to keep.
fn event_or_reason(content_type: Option<&str>, headers: &[(&str, &str)], body: &[u8]) {
    let message = Message {
        origin: "test",
        content_type,
        headers: &pairs(headers),
        body,
    };
    for read in decoder().events(message).expect("a few events") {
        match read {
            Ok(Decoded { event, .. }) => assert_eq!(decoder().structured(&wire::event(&event)), Ok(event)),
            Err(dead_letter) => {
                assert!(!dead_letter.reason.is_empty());
                assert!(
                    !dead_letter.reason.contains(char::is_control),
                    "{:?}",
                    dead_letter.reason
                );
                assert!(
                    dead_letter.reason.chars().count() < 1000,
                    "{:?}",
                    dead_letter.reason
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_can_be_decoded(event in events()) {
        prop_assert_eq!(decoder().structured(&wire::event(&event)), Ok(event));
    }

    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), value in "\\PC{0,20}") {
        event_or_reason(Some(STRUCTURED), &[], &body);
        event_or_reason(Some(BATCH), &[], &body);
        event_or_reason(Some(&value), &[("ce-specversion", &value), ("ce-time", &value)], &body);
    }

    #[test]
    fn random_json_never_panics(json in any_json()) {
        let body = json.to_string();
        event_or_reason(Some(STRUCTURED), &[], body.as_bytes());
        event_or_reason(Some(BATCH), &[], body.as_bytes());
        let known = [
            ("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "client.invited"),
            ("ce-subject", "a/c"), ("ce-time", "2026-01-01T00:00:00Z"),
        ];
        event_or_reason(None, &known, body.as_bytes());
    }

    #[test]
    fn wrong_values_never_panic(event in events(), key in 0..12usize, value in any_json()) {
        let mut json: Value = serde_json::from_slice(&wire::event(&event)).unwrap();
        let names: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        json[&names[key % names.len()]] = value;
        event_or_reason(Some(STRUCTURED), &[], json.to_string().as_bytes());
    }

    #[test]
    fn damaged_events_never_panic(
        event in events(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = wire::event(&event);
        let index = at.index(body.len());
        body[index] = byte;
        event_or_reason(Some(STRUCTURED), &[], &body);
        body.truncate(cut.index(body.len()));
        event_or_reason(Some(STRUCTURED), &[], &body);
    }
}
