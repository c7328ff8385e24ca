//! A source that gives one id to two events: the first to arrive counts, and the others become dead letters.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::clock::SimulatedClock;
use tenure::domain::time::rfc3339;
use tenure::domain::{ClientKey, Event, EventKind, Policy, Refusal};
use tenure::engine::{Engine, Incoming, Outcome, Redrive};
use tenure::store::{DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, Store};
use tenure::wire::{self, Decoder, Limits};

use super::policies::{accessed, active, day, event};
use super::setup::{Setup, on_both_stores};
use crate::store::Fresh;

async fn setup(fresh: Fresh) -> Setup {
    Setup::start(fresh, day(110), &Policy::default()).await
}

async fn ingest(engine: &Engine, events: &[Event]) -> Vec<Outcome> {
    let incoming = events.iter().cloned().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("ingested")
}

fn kind(name: &str, data: &Value) -> EventKind {
    serde_json::from_value(json!({ "type": name, "data": data })).expect("a kind")
}

fn client(name: &str) -> ClientKey {
    ClientKey::new("p", name).expect("a key")
}

/// An event of a client of its own.
fn added(name: &str, id: &str) -> Event {
    Event {
        key: client(name),
        id: id.into(),
        ..event(day(0), kind("client.added", &json!({ "name": name })))
    }
}

/// The reason for which an event is dead that has the id of another.
fn reason(first: &Event, differences: &str) -> String {
    format!(
        "another event has this source and id: {} of {} at {}, which differs in {differences}; send each event with an id of its \
         own",
        first.kind.type_name(),
        first.key,
        rfc3339(first.time)
    )
}

fn dead(first: &Event, differences: &str) -> Outcome {
    Outcome::Dead(reason(first, differences))
}

async fn dead_letters(store: &dyn Store) -> Vec<DeadLetterRecord> {
    let listed = store.dead_letters(&DeadLetterFilter::default(), 0, 1_000).await;
    let mut records = Vec::new();
    for summary in listed.expect("a list") {
        let record = store.dead_letter(summary.id).await.expect("an answer");
        records.push(record.expect("a record"));
    }
    records
}

/// The event in a dead letter.
fn event_of(record: &DeadLetterRecord) -> Event {
    let read = Decoder::new(Limits::default(), day(110)).again(&record.dead_letter);
    let [Ok(decoded)] = &read[..] else {
        panic!("{read:?}");
    };
    decoded.event.clone()
}

async fn the_first_event_with_an_id_counts(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    let first = added("a", "1");
    assert_eq!(
        ingest(&engine, std::slice::from_ref(&first)).await,
        [Outcome::Applied]
    );
    let others = [
        (
            Event {
                key: client("b"),
                ..first.clone()
            },
            "subject",
        ),
        (
            Event {
                time: day(1),
                ..first.clone()
            },
            "time",
        ),
        (
            Event {
                kind: kind("client.added", &json!({ "name": "a", "imported": true })),
                ..first.clone()
            },
            "data",
        ),
        (
            Event {
                kind: kind("client.deleted", &json!({})),
                time: day(2),
                ..first.clone()
            },
            "type and time",
        ),
    ];
    for (n, (other, differences)) in others.iter().enumerate() {
        for times_seen in 1..=2 {
            assert_eq!(
                ingest(&engine, std::slice::from_ref(other)).await,
                [dead(&first, differences)]
            );
            let records = dead_letters(fresh.store.as_ref()).await;
            assert_eq!(records.len(), n + 1);
            let record = &records[n];
            assert_eq!(
                (record.status, record.times_seen),
                (DeadLetterStatus::Open, times_seen)
            );
            assert_eq!(record.dead_letter.reason, reason(&first, differences));
            assert_eq!(record.dead_letter.retry_at, None);
            assert_eq!(event_of(record), *other);
        }
    }
    let again = Event {
        sequence: Some("7".into()),
        ..first.clone()
    };
    assert_eq!(
        ingest(&engine, &[first.clone(), again]).await,
        [Outcome::Duplicate, Outcome::Duplicate]
    );
    let of_another_source = Event {
        source: "/other".into(),
        ..added("b", "1")
    };
    assert_eq!(ingest(&engine, &[of_another_source]).await, [Outcome::Applied]);
    assert_eq!(fresh.store.census().await.expect("a census").events, 2);
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:?}", report.drifts);
}

async fn the_order_within_a_batch_is_that_of_arrival(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    let (a, b) = (added("a", "1"), added("b", "1"));
    let (known, c) = (added("known", "2"), added("c", "2"));
    ingest(&engine, std::slice::from_ref(&known)).await;
    let refused = Event {
        id: "3".into(),
        ..event(day(1), kind("client.deleted", &json!({})))
    };
    let after_refused = Event {
        id: "3".into(),
        ..event(day(1), kind("client.archived", &json!({})))
    };
    let batch = [
        a.clone(),
        b.clone(),
        a.clone(),
        b.clone(),
        c.clone(),
        known.clone(),
        refused.clone(),
        after_refused.clone(),
        refused.clone(),
    ];
    let expected = [
        Outcome::Applied,
        dead(&a, "subject and data"),
        Outcome::Duplicate,
        dead(&a, "subject and data"),
        dead(&known, "subject and data"),
        Outcome::Duplicate,
        Outcome::refused(Refusal::UnknownClient),
        dead(&refused, "type"),
        Outcome::Duplicate,
    ];
    assert_eq!(ingest(&engine, &batch).await, expected);
    let records = dead_letters(fresh.store.as_ref()).await;
    let found: Vec<(Event, i64)> = records
        .iter()
        .map(|record| (event_of(record), record.times_seen))
        .collect();
    assert_eq!(found, [(b, 2), (c, 1), (after_refused, 1)]);
    let history = fresh.store.history(&client("b")).await.expect("a history");
    assert!(history.is_empty(), "{history:?}");
}

/// A sender with a constant for an id, over several transactions or parts of one.
async fn a_source_with_one_id_for_all_events(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    let events: Vec<Event> = (0..2_500).map(|n| added(&format!("c{n}"), "id")).collect();
    let mut expected = vec![dead(&events[0], "subject and data"); events.len()];
    expected[0] = Outcome::Applied;
    assert_eq!(ingest(&engine, &events).await, expected);
    let census = fresh.store.census().await.expect("a census");
    assert_eq!((census.events, census.dead_letters_open), (1, 2_499));
}

async fn a_redrive_of_a_reused_id_stays_open(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    let (first, other) = (added("a", "1"), added("b", "1"));
    ingest(&engine, &[first.clone(), other.clone()]).await;
    let decoder = Decoder::new(Limits::default(), day(110));
    let id = dead_letters(fresh.store.as_ref()).await[0].id;
    for _ in 0..2 {
        let redriven = engine.redrive(id, &decoder).await.expect("redriven");
        assert_eq!(redriven, Redrive::Now(vec![dead(&first, "subject and data")]));
        let records = dead_letters(fresh.store.as_ref()).await;
        let [record] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!((record.id, record.status), (id, DeadLetterStatus::Open));
        assert_eq!(record.dead_letter.reason, reason(&first, "subject and data"));
        let outcome = format!("dead: {}", reason(&first, "subject and data"));
        assert_eq!(record.redrive_outcome.as_deref(), Some(&*outcome));
    }
    let history = fresh.store.history(&other.key).await.expect("a history");
    assert!(history.is_empty(), "{history:?}");
}

/// A deferred event has not arrived: an event that arrives before its time has the id.
async fn a_deferred_event_whose_id_was_used_meanwhile_is_not_tried_again(fresh: Fresh) {
    let Setup { fresh, clock, engine } = Setup::start(fresh, day(0), &Policy::default()).await;
    let ahead = Event {
        time: day(0) + TimeDelta::hours(1),
        ..added("a", "1")
    };
    let line = wire::event(&ahead);
    let read = Decoder::new(Limits::default(), day(0)).line("test", &line);
    let incoming = Incoming::from(read.expect("a line"));
    let outcomes = engine.ingest(vec![incoming]).await.expect("ingested");
    assert!(matches!(outcomes[..], [Outcome::Deferred { .. }]), "{outcomes:?}");
    let first = added("b", "1");
    assert_eq!(
        ingest(&engine, std::slice::from_ref(&first)).await,
        [Outcome::Applied]
    );
    clock.set(day(1));
    let decoder = Decoder::new(Limits::default(), day(1));
    assert_eq!(engine.redrive_deferred(&decoder).await.expect("redriven"), 1);
    let records = dead_letters(fresh.store.as_ref()).await;
    let [record] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(
        (
            record.status,
            record.dead_letter.retry_at,
            &*record.dead_letter.origin
        ),
        (DeadLetterStatus::Open, None, "test")
    );
    assert_eq!(
        record.dead_letter.reason,
        reason(&first, "subject, time and data")
    );
    clock.set(day(2));
    assert_eq!(engine.redrive_deferred(&decoder).await.expect("redriven"), 0);
}

/// A touch that is applied is stored without its id, and one that only renews access is not looked up.
async fn touches_that_are_applied_have_no_id(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    let touch = |id: &str, days: i64| Event {
        id: id.into(),
        ..accessed(day(days))
    };
    ingest(&engine, &active()).await;
    assert_eq!(ingest(&engine, &[touch("1", 50)]).await, [Outcome::Applied]);
    assert_eq!(ingest(&engine, &[touch("1", 51)]).await, [Outcome::Applied]);
    assert_eq!(ingest(&engine, &[added("b", "1")]).await, [Outcome::Applied]);
    // One that is refused has a row in the log, and its id.
    let of_nobody = Event {
        key: client("nobody"),
        ..touch("2", 52)
    };
    let unknown = Outcome::refused(Refusal::UnknownClient);
    assert_eq!(ingest(&engine, std::slice::from_ref(&of_nobody)).await, [unknown]);
    assert_eq!(
        ingest(&engine, std::slice::from_ref(&of_nobody)).await,
        [Outcome::Duplicate]
    );
    assert_eq!(
        ingest(&engine, &[added("c", "2")]).await,
        [dead(&of_nobody, "subject, type and time")]
    );
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:?}", report.drifts);
}

/// Two workers, each with one of the events.
async fn of_two_events_at_the_same_moment_one_counts(fresh: Fresh) {
    let mut workers = Vec::new();
    for _ in 0..2 {
        let clock = Arc::new(SimulatedClock::at(day(110)));
        let engine = Engine::start(fresh.store.clone(), clock, &Policy::default()).await;
        workers.push(Arc::new(engine.expect("an engine")));
    }
    for round in 0..20 {
        let events = ["a", "b"].map(|name| added(&format!("{name}{round}"), &round.to_string()));
        let running = workers.iter().zip(&events).map(|(engine, event)| {
            let (engine, event) = (engine.clone(), event.clone());
            tokio::spawn(async move { ingest(&engine, &[event]).await.remove(0) })
        });
        let running: Vec<_> = running.collect();
        let mut outcomes = Vec::new();
        for one in running {
            outcomes.push(one.await.expect("it ends"));
        }
        let winner = outcomes.iter().position(|outcome| *outcome == Outcome::Applied);
        let winner = winner.unwrap_or_else(|| panic!("none is applied: {outcomes:?}"));
        let expected = dead(&events[winner], "subject and data");
        assert_eq!(outcomes[1 - winner], expected, "round {round}");
    }
    assert_eq!(fresh.store.census().await.expect("a census").events, 20);
}

on_both_stores!(
    the_first_event_with_an_id_counts,
    the_order_within_a_batch_is_that_of_arrival,
    a_source_with_one_id_for_all_events,
    a_redrive_of_a_reused_id_stays_open,
    a_deferred_event_whose_id_was_used_meanwhile_is_not_tried_again,
    touches_that_are_applied_have_no_id,
    of_two_events_at_the_same_moment_one_counts,
);
