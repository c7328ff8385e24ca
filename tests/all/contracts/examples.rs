//! Every example of an event is accepted, and every example of a change is emitted, by a real store.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::Value;
use tenure::contracts::{self, Story};
use tenure::domain::{ChangeKind, Event, Policy, Sweep};
use tenure::engine::{FeedStart, Incoming, Outcome, SweepMode, SweepOptions};
use tenure::store::FeedFilter;
use tenure::wire::{self, Decoder, Limits, SchemaUris};

use crate::engine::setup::{Setup, on_both_stores};
use crate::store::Fresh;

on_both_stores! {
    every_example_of_a_change_is_emitted,
}

async fn ingest(setup: &Setup, event: &Event) -> Outcome {
    let event = Event {
        name_verdict: tenure::domain::event::NameVerdict::Open,
        ..event.clone()
    };
    let outcomes = setup
        .engine
        .ingest(vec![Incoming::Event(event)])
        .await
        .expect("ingested");
    outcomes.into_iter().next().expect("an outcome")
}

/// Each in a store of its own, because the examples are of one client.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_an_event_is_applied() {
    for kind in tenure::domain::event::TYPES {
        let setup = Setup::start(
            Fresh::sqlite(&format!("example_{kind}")).await,
            contracts::events_of("client.added")[0].time + TimeDelta::days(10),
            &Policy::default(),
        )
        .await;
        let at_present = Decoder::new(Limits::default(), setup.engine.now());
        let example = contracts::event_example(kind);
        let decoded = at_present.structured(example.to_string().as_bytes());
        let decoded = decoded.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let events = contracts::events_of(kind);
        let (last, before) = events.split_last().expect("the example");
        for event in before {
            let outcome = ingest(&setup, event).await;
            assert!(
                matches!(outcome, Outcome::Applied),
                "{kind}: before it {event:?}: {outcome:?}"
            );
        }
        assert_eq!(
            (&decoded.key, decoded.time, &decoded.kind),
            (&last.key, last.time, &last.kind)
        );
        let outcome = ingest(&setup, &decoded).await;
        assert!(matches!(outcome, Outcome::Applied), "{kind}: {outcome:?}");
    }
}

/// A change without what differs between stores and times of recording.
fn comparable(mut change: Value) -> Value {
    for member in ["epoch", "sequence", "recorded"] {
        change["data"][member] = Value::Null;
    }
    change["id"] = Value::Null;
    change
}

async fn play(setup: &Setup, story: &Story) {
    for event in &story.events {
        setup.clock.set(setup.engine.now().max(event.time));
        ingest(setup, event).await;
        sweep(setup).await;
    }
    // Day by day, because of several overdue warnings only the nearest is published.
    while setup.engine.now() < story.until {
        let next = setup.engine.now() + TimeDelta::days(1);
        setup.clock.set(next.min(story.until));
        sweep(setup).await;
    }
}

async fn sweep(setup: &Setup) {
    for sweep in Sweep::ALL {
        let options = SweepOptions::new(SweepMode::Confirmed);
        setup.engine.sweep(sweep, options, |_| {}).await.expect("swept");
    }
}

async fn every_example_of_a_change_is_emitted(fresh: Fresh) {
    let start = contracts::events_of("client.added")[0].time;
    let setup = Setup::start(fresh, start, &Policy::default()).await;
    let mut stories = contracts::stories();
    // Time does not go back.
    stories.sort_by_key(|story| story.until);
    for story in &stories {
        play(&setup, story).await;
    }
    let uris = SchemaUris::default();
    let place = setup
        .engine
        .feed_place(FeedStart::Beginning)
        .await
        .expect("a place");
    let page = setup
        .engine
        .feed(&place, &FeedFilter::default(), 1_000)
        .await
        .expect("a page");
    assert!(!page.more, "all on one page");
    let emitted: BTreeSet<String> = page
        .lines
        .iter()
        .map(|line| serde_json::from_slice(&wire::change(page.epoch, line, &uris)).expect("JSON"))
        .map(|change| comparable(change).to_string())
        .collect();
    let examples = contracts::change_examples(&uris);
    for kind in ChangeKind::ALL {
        let example = comparable(examples[kind].clone()).to_string();
        assert!(
            emitted.contains(&example),
            "{kind} is not emitted: {example}\n{emitted:#?}"
        );
    }
}
