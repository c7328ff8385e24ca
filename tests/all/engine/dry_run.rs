//! A dry run says what ingesting would bring about, and leaves no trace.

use std::sync::Arc;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Event, EventKind, Name, Policy, Sweep};
use tenure::engine::{DryRun, Engine, Incoming, Outcome, SweepMode, SweepOptions};
use tenure::store::{DeadLetter, Record, Store};
use tokio::sync::mpsc;

use super::setup::on_both_stores;
use super::wild;
use crate::simulation::seeds;
use crate::store::Fresh;

/// Everything in a store, as an export has it, and what it leaves out.
async fn everything(store: &Arc<dyn Store>, keys: &[ClientKey]) -> (Vec<Record>, String) {
    let (sender, mut pages) = mpsc::channel(4);
    let exporting = store.clone();
    let export = tokio::spawn(async move { exporting.export(sender).await });
    let mut records = Vec::new();
    while let Some(page) = pages.recv().await {
        records.extend(page);
    }
    export.await.expect("an end").expect("an export");
    let snapshots = store.snapshots(keys, None).await.expect("snapshots");
    (records, format!("{snapshots:?}"))
}

/// Histories of clients of one partner that claim each other's names, with repeated events, ids that are used twice, and messages
/// that are no events; half of them late.
fn messages(rng: &mut StdRng, keys: &[ClientKey]) -> Vec<Incoming> {
    let names = ["Bakery", "Mill", "bakery "].map(|name| Name::try_from(name.to_owned()).expect("a name"));
    let mut events: Vec<Event> = Vec::new();
    for key in keys {
        let noise = rng.random_range(0..25);
        events.extend(wild::history(rng, key, 150, noise));
    }
    for event in &mut events {
        if let EventKind::ClientAdded { name, .. } | EventKind::ClientRenamed { name } = &mut event.kind
            && rng.random_bool(0.5)
        {
            *name = names.choose(rng).expect("a name").clone();
        }
    }
    let again: Vec<Event> = events.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
    let mut mistaken: Vec<Event> = events.iter().filter(|_| rng.random_bool(0.05)).cloned().collect();
    for event in &mut mistaken {
        event.key = keys.choose(rng).expect("a client").clone();
        event.time += TimeDelta::hours(1);
    }
    events.extend(again);
    events.extend(mistaken);
    events.sort_by_key(|event| event.time);
    let half = events.len() / 2;
    events[half..].shuffle(rng);
    let mut messages: Vec<Incoming> = events.into_iter().map(Incoming::Event).collect();
    for number in 0..3 {
        let place = rng.random_range(0..=messages.len());
        messages.insert(place, Incoming::Dead(dead_letter(number)));
    }
    messages
}

fn dead_letter(number: u8) -> DeadLetter {
    DeadLetter {
        origin: "file:events.ndjson:1".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: vec![0, number],
        reason: "it is no event".into(),
        retry_at: None,
    }
}

/// Batches of 1 to 30.
fn batches(rng: &mut StdRng, mut messages: &[Incoming]) -> Vec<Vec<Incoming>> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let (batch, rest) = messages.split_at(rng.random_range(1..=messages.len().min(30)));
        batches.push(batch.to_vec());
        messages = rest;
    }
    batches
}

async fn a_dry_run_answers_as_the_ingest_that_follows(fresh: Fresh) {
    let store = fresh.store.clone();
    let clock = Arc::new(SimulatedClock::at(wild::start()));
    let engine = Engine::start(store.clone(), clock.clone(), &Policy::default())
        .await
        .expect("an engine");
    let engine = Arc::new(engine);
    let mut seen = [0; 5];
    for seed in seeds(12) {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys: Vec<ClientKey> = (0..4)
            .map(|number| ClientKey::new(&format!("p{seed}"), &format!("c{number}")).expect("a key"))
            .collect();
        let messages = messages(&mut rng, &keys);
        let mut rest = batches(&mut rng, &messages);
        let mut day = 160;
        while !rest.is_empty() {
            clock.jump(wild::start() + TimeDelta::days(day));
            // Several batches, of which the later ones build on the earlier ones.
            let several: Vec<_> = rest.drain(..rest.len().min(rng.random_range(1..6))).collect();
            let before = everything(&store, &keys).await;
            let dry_run = DryRun::over(engine.clone()).await.expect("a dry run");
            let mut expected: Vec<Vec<Outcome>> = Vec::new();
            for batch in &several {
                expected.push(dry_run.examine(batch.clone()).await.expect("examined"));
            }
            dry_run.close().await;
            assert_eq!(everything(&store, &keys).await, before, "seed {seed}, day {day}");
            for (batch, expected) in several.into_iter().zip(expected) {
                let outcomes = engine.ingest(batch.clone()).await.expect("ingested");
                assert_eq!(expected, outcomes, "seed {seed}, day {day}: {batch:?}");
                for outcome in outcomes {
                    seen[place_of(&outcome)] += 1;
                }
            }
            day += rng.random_range(0..4);
            if rng.random_bool(0.4) {
                let sweep = Sweep::ALL[rng.random_range(0..Sweep::ALL.len())];
                let options = SweepOptions::new(SweepMode::Confirmed);
                engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
            }
        }
    }
    if seeds(12).count() > 5 {
        let [applied, duplicate, refused, conflicting, dead] = seen;
        assert!(
            applied > 0 && duplicate > 0 && refused > 0 && conflicting > 0 && dead > 0,
            "{seen:?}"
        );
    }
}

fn place_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Duplicate => 1,
        Outcome::Refused {
            conflicts_with: None, ..
        } => 2,
        Outcome::Refused { .. } => 3,
        Outcome::Dead(_) | Outcome::Deferred { .. } => 4,
    }
}

/// Touches are packed, and a packed touch is found again only in the runs of its client.
async fn a_dry_run_knows_packed_touches(fresh: Fresh) {
    let store = fresh.store.clone();
    let clock = Arc::new(SimulatedClock::at(wild::start() + TimeDelta::days(400)));
    let engine = Engine::start(store.clone(), clock, &Policy::default())
        .await
        .expect("an engine");
    let engine = Arc::new(engine);
    let key = ClientKey::new("acme", "bakery").expect("a key");
    let event = |number: i64, at: TimeDelta, kind: EventKind| {
        Incoming::Event(Event {
            source: "/accounts".into(),
            id: number.to_string().into(),
            key: key.clone(),
            time: wild::start() + at,
            sequence: None,
            actor: tenure::domain::Actor::default(),
            kind,
            name_verdict: tenure::domain::event::NameVerdict::Open,
        })
    };
    let data = |text: &str| serde_json::from_str::<EventKind>(text).expect("a type");
    let touch = |number: i64| {
        event(
            number,
            TimeDelta::hours(number),
            data(r#"{"type":"account.accessed","data":{"by":"partner"}}"#),
        )
    };
    let mut begin: Vec<Incoming> = [
        r#"{"type":"client.added","data":{"name":"Bakery"}}"#,
        r#"{"type":"client.invited","data":{"steps":["accepted"]}}"#,
        r#"{"type":"invitation.accepted","data":{}}"#,
    ]
    .into_iter()
    .zip(-3..)
    .map(|(kind, number)| event(number, TimeDelta::hours(number), data(kind)))
    .collect();
    // More than two runs.
    begin.extend((1..300).map(touch));
    engine.ingest(begin).await.expect("ingested");
    let again = vec![
        touch(5),
        touch(299),
        touch(300),
        // A late event, after which some of the touches are refused.
        event(
            1_000,
            TimeDelta::hours(10),
            data(r#"{"type":"access.disabled","data":{}}"#),
        ),
        touch(20),
        event(
            1_001,
            TimeDelta::hours(301),
            data(r#"{"type":"access.enabled","data":{}}"#),
        ),
        touch(302),
    ];
    let before = everything(&store, std::slice::from_ref(&key)).await;
    let dry_run = DryRun::over(engine.clone()).await.expect("a dry run");
    let mut expected = Vec::new();
    for message in &again {
        expected.extend(dry_run.examine(vec![message.clone()]).await.expect("examined"));
    }
    assert_eq!(everything(&store, std::slice::from_ref(&key)).await, before);
    let mut outcomes = Vec::new();
    for message in again {
        outcomes.extend(engine.ingest(vec![message]).await.expect("ingested"));
    }
    assert_eq!(expected, outcomes);
}

/// A client changes while a dry run examines others: the copies are not of one moment.
async fn a_dry_run_goes_on_while_others_write(fresh: Fresh) {
    let store = fresh.store.clone();
    let clock = Arc::new(SimulatedClock::at(wild::start()));
    let engine = Engine::start(store, clock, &Policy::default())
        .await
        .expect("an engine");
    let engine = Arc::new(engine);
    let event = |id: &str, client: &str, kind: &str, name: &str| {
        let kind = serde_json::json!({"type": kind, "data": {"name": name}});
        Incoming::Event(Event {
            source: "/space".into(),
            id: id.into(),
            key: ClientKey::new("acme", client).expect("a key"),
            time: wild::start(),
            sequence: None,
            actor: tenure::domain::Actor::default(),
            kind: serde_json::from_value(kind).expect("a type"),
            name_verdict: tenure::domain::event::NameVerdict::Open,
        })
    };
    engine
        .ingest(vec![event("1", "a", "client.added", "Bakery")])
        .await
        .expect("ingested");
    let dry_run = DryRun::over(engine.clone()).await.expect("a dry run");
    // Copies `a`, the holder of the name.
    let taken = dry_run
        .examine(vec![event("2", "b", "client.added", "Bakery")])
        .await
        .expect("examined");
    assert!(
        matches!(&taken[..], [Outcome::Refused { conflicts_with: Some(client), .. }] if **client == *"a")
    );
    // Meanwhile the name goes from `a` to `c`.
    engine
        .ingest(vec![
            event("3", "a", "client.renamed", "Mill"),
            event("4", "c", "client.added", "Bakery"),
        ])
        .await
        .expect("ingested");
    let after = dry_run
        .examine(vec![
            event("5", "d", "client.added", "Bakery"),
            event("6", "c", "client.renamed", "Forge"),
        ])
        .await
        .expect("examined");
    assert!(matches!(after[0], Outcome::Refused { .. }), "{after:?}");
    assert_eq!(after[1], Outcome::Applied);
}

on_both_stores!(
    a_dry_run_answers_as_the_ingest_that_follows,
    a_dry_run_knows_packed_touches,
    a_dry_run_goes_on_while_others_write,
);

#[tokio::test]
async fn without_a_store_a_dry_run_answers_as_an_empty_one() {
    for seed in seeds(5) {
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = wild::policy(&mut rng);
        let keys: Vec<ClientKey> = (0..3)
            .map(|number| ClientKey::new("p", &format!("c{number}")).expect("a key"))
            .collect();
        let messages = messages(&mut rng, &keys);
        let clock = Arc::new(SimulatedClock::at(wild::start() + TimeDelta::days(160)));
        let fresh = Fresh::sqlite("dry_run_empty").await;
        let engine = Engine::start(fresh.store.clone(), clock.clone(), &policy)
            .await
            .expect("an engine");
        let dry_run = DryRun::empty(clock, &policy).await.expect("a dry run");
        for batch in batches(&mut rng, &messages) {
            let expected = dry_run.examine(batch.clone()).await.expect("examined");
            let outcomes = engine.ingest(batch).await.expect("ingested");
            assert_eq!(expected, outcomes, "seed {seed}");
        }
    }
}
