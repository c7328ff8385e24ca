//! Names: the first claim wins and is decided once, however the events are split into batches.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tenure::clock::SimulatedClock;
use tenure::domain::event::{Channel, NameVerdict, Steps};
use tenure::domain::{Actor, Cause, Change, ClientKey, Event, EventKind, Name, Policies, Policy, Refusal};
use tenure::engine::{Engine, HistoryRequest, Incoming, Outcome};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Clients, Logged, Touch, Upkeep};

use super::laws::cases;
use super::wild::start;
use crate::generate::arbitrary_history;
use crate::store::{Database, Fresh};

fn at(hours: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(hours)
}

fn event(client: &str, hours: i64, kind: EventKind) -> Event {
    Event {
        source: "/space".into(),
        id: format!("{client}-{hours}-{}", kind.type_name()).into(),
        key: ClientKey::new("p", client).expect("a key"),
        time: at(hours),
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}

fn added(client: &str, hours: i64, name: &str) -> Event {
    let name = Name::try_from(name.to_owned()).expect("a name");
    event(
        client,
        hours,
        EventKind::ClientAdded {
            name,
            imported: false,
        },
    )
}

fn renamed(client: &str, hours: i64, name: &str) -> Event {
    let name = Name::try_from(name.to_owned()).expect("a name");
    event(client, hours, EventKind::ClientRenamed { name })
}

fn deleted(client: &str, hours: i64) -> Event {
    event(client, hours, EventKind::ClientDeleted {})
}

/// Ingests the events into a new store, in batches of `size`, and returns their outcomes in the log and the names at the end.
async fn ingest_all(events: &[Event], size: usize) -> (Vec<Outcome>, Vec<Option<String>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
    store.migrate().await.expect("migrated");
    let clock = Arc::new(SimulatedClock::at(at(1_000)));
    let engine = Engine::start(store.clone(), clock, &Policy::default())
        .await
        .expect("an engine");
    for batch in events.chunks(size) {
        let incoming = batch.iter().cloned().map(Incoming::Event).collect();
        engine.ingest(incoming).await.expect("ingested");
    }
    let mut outcomes = Vec::new();
    for event in events {
        let history = store.history(&event.key).await.expect("a history");
        let logged = history.iter().find(|logged| logged.event.id == event.id);
        outcomes.push(logged.expect("an event of the log").outcome.into());
    }
    let mut names = Vec::new();
    for client in ["a", "b", "c"] {
        let key = ClientKey::new("p", client).expect("a key");
        names.push(
            engine
                .client(&key, None)
                .await
                .expect("an answer")
                .and_then(|view| view.name),
        );
    }
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:#?}", report.drifts);
    (outcomes, names)
}

const TAKEN: Outcome = Outcome::refused(Refusal::NameTaken);
const LINKED: Outcome = Outcome::refused(Refusal::StillLinked);

#[tokio::test]
async fn the_batch_size_does_not_change_who_holds_a_name() {
    use Outcome::Applied;
    type Case = (&'static str, Vec<Event>, Vec<Outcome>, [Option<&'static str>; 3]);
    let cases: Vec<Case> = vec![
        (
            "the second to come is refused, compared trimmed and case-folded (001)",
            vec![added("a", 1, "Bakery"), added("b", 0, " BAKERY ")],
            vec![Applied, TAKEN],
            [Some("Bakery"), None, None],
        ),
        (
            "a released name is free for the next claim",
            vec![
                added("a", 1, "Bakery"),
                renamed("a", 2, "Bikes"),
                added("b", 3, "Bakery"),
                renamed("b", 4, "Bikes"),
            ],
            vec![Applied, Applied, Applied, TAKEN],
            [Some("Bikes"), Some("Bakery"), None],
        ),
        (
            "a claim before the release stays refused",
            vec![
                added("a", 1, "Bakery"),
                added("b", 2, "Bakery"),
                renamed("a", 3, "Bikes"),
                added("c", 4, "Bakery"),
            ],
            vec![Applied, TAKEN, Applied, Applied],
            [Some("Bikes"), None, Some("Bakery")],
        ),
        (
            "two clients pass a name on",
            vec![
                added("a", 1, "One"),
                added("b", 2, "Two"),
                renamed("a", 3, "Three"),
                renamed("b", 4, "One"),
                renamed("a", 5, "Two"),
            ],
            vec![Applied, Applied, Applied, Applied, Applied],
            [Some("Two"), Some("One"), None],
        ),
        (
            "a deleted client's name is free again",
            vec![added("a", 1, "Bakery"), deleted("a", 2), added("b", 3, "Bakery")],
            vec![Applied, Applied, Applied],
            [Some("Bakery"), Some("Bakery"), None],
        ),
        (
            "a client that a late event brings back has its name without holding it",
            vec![
                added("a", 1, "Bakery"),
                deleted("a", 5),
                added("b", 6, "Bakery"),
                event(
                    "a",
                    3,
                    EventKind::ClientInvited {
                        channel: Channel::Standard,
                        steps: Steps::default(),
                        commission_eligible: true,
                    },
                ),
                event("a", 7, EventKind::ClientTerminated { reason: None }),
                added("c", 7, "Bakery"),
                renamed("b", 8, "Bikes"),
                renamed("a", 9, "Bakery"),
                added("c", 10, "Bakery"),
            ],
            vec![
                Applied, LINKED, Applied, Applied, Applied, TAKEN, Applied, Applied, TAKEN,
            ],
            [Some("Bakery"), Some("Bikes"), None],
        ),
    ];
    for (sentence, events, outcomes, names) in cases {
        for size in [1, 2, 3, events.len()] {
            let found = ingest_all(&events, size).await;
            let names: Vec<_> = names.iter().map(|name| name.map(str::to_owned)).collect();
            assert_eq!(
                found,
                (outcomes.clone(), names),
                "{sentence}, in batches of {size}"
            );
        }
    }
}

/// An outcome as the log has it, without the client that has the name.
fn recorded(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Refused { refusal, .. } => Outcome::refused(*refusal),
        other => other.clone(),
    }
}

/// Ingests the events in batches of `size`, and returns the clients that the refusals for a name report: in the outcomes, in the
/// journal, and in the history.
async fn holders(fresh: &Fresh, events: &[Event], size: usize) -> [Vec<Option<String>>; 3] {
    let clock = Arc::new(SimulatedClock::at(at(1_000)));
    let engine = Engine::start(fresh.store.clone(), clock, &Policy::default())
        .await
        .expect("an engine");
    let (mut told, mut written, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for batch in events.chunks(size) {
        let incoming = batch.iter().cloned().map(Incoming::Event).collect();
        let outcomes = engine.ingest(incoming).await.expect("ingested");
        told.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Refused {
                refusal: Refusal::NameTaken,
                conflicts_with,
            } => Some(conflicts_with.map(|client| client.to_string())),
            _ => None,
        }));
    }
    for event in events {
        let is_its_own = |cause: &Cause| matches!(cause, Cause::Event { id, .. } if *id == event.id);
        let journal = fresh
            .store
            .journal(&event.key, 0, 1_000)
            .await
            .expect("a journal");
        written.extend(journal.into_iter().filter_map(|line| match line.entry.change {
            Change::EventRefused {
                refusal: Refusal::NameTaken,
                conflicts_with,
            } if is_its_own(&line.entry.cause) => Some(conflicts_with.map(|client| client.to_string())),
            _ => None,
        }));
        let history = engine.history(&event.key, &HistoryRequest::default()).await;
        let entries = history.expect("read").expect("a history").entries;
        let of_event = entries.into_iter().filter(|entry| {
            let shown = entry.event.as_ref();
            shown.is_some_and(|shown| shown.id == event.id && shown.refusal == Some(Refusal::NameTaken))
        });
        shown.extend(
            of_event
                .flat_map(|entry| entry.changes)
                .map(|change| change.conflicts_with.map(|client| client.to_string())),
        );
    }
    [told, written, shown]
}

/// The client that had the name when the claim arrived, whatever happens to the name later.
#[tokio::test]
async fn a_refusal_for_a_name_says_who_has_it_on_postgres() {
    let cases = [
        (
            vec![
                added("a", 1, "Bakery"),
                added("b", 2, "BAKERY"),
                renamed("a", 3, "Bikes"),
                added("c", 4, "Bakery"),
                renamed("a", 5, "bakery"),
                renamed("c", 6, "Deli"),
                renamed("a", 7, "Bakery"),
            ],
            vec!["a", "c"],
        ),
        (
            vec![
                added("b", 5, "Bakery"),
                added("a", 1, "Bakery"),
                deleted("b", 9),
                added("a", 2, "Bakery"),
                renamed("b", 10, "Bikes"),
            ],
            vec!["b"],
        ),
    ];
    for (number, (events, expected)) in cases.into_iter().enumerate() {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|client| Some(client.to_owned()))
            .collect();
        for size in [1, 2, events.len()] {
            let database = format!("holders_{number}_{size}");
            for fresh in [Fresh::sqlite(&database).await, Fresh::postgres(&database).await] {
                let found = holders(&fresh, &events, size).await;
                for found in found {
                    assert_eq!(found, expected, "in batches of {size} on {}", fresh.store.kind());
                }
            }
        }
    }
}

/// What one batch of these events must have in common with the same events one by one: the state of each client, whether it
/// holds its name, and its log. A touch has a row of its own only if it was refused when it arrived.
async fn stored_by(events: &[Event], alone: usize) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
    store.migrate().await.expect("migrated");
    let end = events.iter().map(|event| event.time).max().unwrap_or(start());
    let clock = Arc::new(SimulatedClock::at(end + TimeDelta::days(400)));
    let engine = Engine::start(store.clone(), clock, &Policy::default())
        .await
        .expect("an engine");
    let (alone, batch) = events.split_at(alone);
    for batch in alone.iter().map(std::slice::from_ref).chain([batch]) {
        let incoming = batch.iter().cloned().map(Incoming::Event).collect();
        let outcomes = engine.ingest(incoming).await.expect("ingested");
        for (event, outcome) in batch.iter().zip(outcomes) {
            let history = store.history(&event.key).await.expect("a history");
            let logged = history.iter().find(|logged| logged.event.id == event.id);
            let in_log = logged.map_or(Outcome::Applied, |logged| logged.outcome.into());
            assert_eq!(recorded(&outcome), in_log, "the outcome and the log of {event:?}");
        }
    }
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:#?}", report.drifts);
    let mut found = Vec::new();
    for key in events.iter().map(|event| &event.key).collect::<BTreeSet<_>>() {
        let stored = store.client(key).await.expect("read").expect("a client");
        let client = stored.client(&Policies::default());
        found.push(format!("{key} {client:#?} {:?}", stored.document.held_name()));
        for Logged { event, outcome } in store.history(key).await.expect("a history") {
            found.push(match Touch::of(&event) {
                Some(touch) => format!("{key} {touch:?}"),
                None => format!("{key} {event:?} {outcome:?}"),
            });
        }
    }
    store.close().await;
    found
}

#[test]
fn a_batch_is_stored_as_its_events_one_by_one() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let events = arbitrary_history(6, 60).prop_shuffle();
    TestRunner::new(cases(100))
        .run(&(events, 0..30_usize), |(events, alone)| {
            let batch = runtime.block_on(stored_by(&events, alone.min(events.len())));
            let one_by_one = runtime.block_on(stored_by(&events, events.len()));
            prop_assert_eq!(batch, one_by_one);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Rows of a version that compared names differently: two clients hold names that are equal now.
#[tokio::test]
async fn clients_whose_names_became_equal_can_still_be_written_on_postgres() {
    for fresh in [
        Fresh::sqlite("disputed_names").await,
        Fresh::postgres("disputed_names").await,
    ] {
        let name = fresh.store.kind();
        let clock = Arc::new(SimulatedClock::at(at(1_000)));
        let engine = Engine::start(fresh.store.clone(), clock, &Policy::default())
            .await
            .expect("an engine");
        let take = async |events: Vec<Event>| {
            let incoming = events.into_iter().map(Incoming::Event).collect();
            engine.ingest(incoming).await.expect("ingested")
        };
        let both = take(vec![added("a", 1, "Cafe"), added("b", 1, "Café")]).await;
        assert_eq!(both, [Outcome::Applied, Outcome::Applied]);
        // `a` has its name in another spelling, and the key that it had under earlier rules.
        let statement = match fresh.database {
            Database::Postgres(_) => {
                "update clients set doc = replace(doc::text, 'Cafe', 'CAFÉ')::json, name = 'CAFÉ', name_key = 'earlier' \
                 where client = (select number from client_keys where client = 'a') returning ''"
            }
            Database::Sqlite(_) => {
                "update clients set doc = replace(doc, 'Cafe', 'CAFÉ'), name = 'CAFÉ', name_key = 'earlier' \
                 where client = (select number from client_keys where client = 'a') returning ''"
            }
        };
        assert_eq!(fresh.database.sql(statement).await.len(), 1, "{name}");
        let terminated = event("a", 2, EventKind::ClientTerminated { reason: None });
        assert_eq!(take(vec![terminated]).await, [Outcome::Applied], "{name}");
        let taken = take(vec![added("c", 3, "CAFE\u{301}")]).await;
        assert_eq!(recorded(&taken[0]), TAKEN, "{name}");
        assert_eq!(
            take(vec![renamed("b", 4, "Bikes")]).await,
            [Outcome::Applied],
            "{name}"
        );
        assert_eq!(
            take(vec![renamed("a", 5, "Café")]).await,
            [Outcome::Applied],
            "{name}"
        );
    }
}
