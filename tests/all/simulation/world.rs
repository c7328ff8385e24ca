//! The world of a seed: clients, their events as apps send them, the arrival of each, and policies.
//!
//! The events come from the generator of the property tests (`generate.rs`), from the differential test's histories in whole
//! hours (`engine/wild.rs`), or from lives full of touches (`dense.rs`).

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::Value;
use tenure::domain::{ClientKey, Event, Policies, Policy};
use tenure::wire::{Decoder, Limits};

use super::dense;
use crate::engine::wild;
use crate::generate;
use crate::oracle::sent;

/// An event as it is sent and as it is read, and its arrival time.
#[derive(Clone)]
pub struct Delivery {
    pub at: DateTime<Utc>,
    pub json: Value,
    pub event: Event,
}

pub struct World {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub policy: Policy,
    /// The changes of the settings, each with its approximate time.
    pub changes: VecDeque<(DateTime<Utc>, Policy)>,
    pub deliveries: VecDeque<Delivery>,
}

impl World {
    pub fn new(rng: &mut StdRng) -> Self {
        let mut samples = Samples::new(rng);
        let policy = samples.draw(&generate::arbitrary_policy());
        let events = match rng.random_range(0..10) {
            0..3 => {
                let clients = rng.random_range(1..=6);
                let lived_under = Policies::always(policy.clone());
                samples.draw(&generate::history(lived_under, clients, 120))
            }
            3..5 => wild_events(rng),
            _ => dense::events(rng, &policy),
        };
        let start = events.iter().map(|event| event.time).min();
        let start = start.unwrap_or_else(generate::beginning);
        let last = events.iter().map(|event| event.time).max().unwrap_or(start);
        let end = last + TimeDelta::days(rng.random_range(0..200));
        let span = (end - start).num_hours().max(1);
        let mut changes: Vec<_> = (0..rng.random_range(0..=2))
            .map(|_| {
                let at = start + TimeDelta::hours(rng.random_range(0..span));
                (at, samples.draw(&generate::arbitrary_policy()))
            })
            .collect();
        changes.sort_by_key(|(at, _)| *at);
        let changes = changes.into();
        let events = with_mistakes(rng, events);
        let deliveries = deliveries(rng, events, end);
        Self {
            start,
            end,
            policy,
            changes,
            deliveries,
        }
    }
}

/// Draws from the strategies of the property tests.
struct Samples(TestRunner);

impl Samples {
    fn new(rng: &mut StdRng) -> Self {
        let seed: [u8; 32] = rng.random();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        Self(TestRunner::new_with_rng(Config::default(), rng))
    }

    fn draw<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        let tree = strategy.new_tree(&mut self.0);
        tree.expect("these strategies reject nothing").current()
    }
}

fn wild_events(rng: &mut StdRng) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..rng.random_range(1..=4) {
        let key = ClientKey::new("p", &format!("c{number}")).expect("a key");
        let noise = rng.random_range(0..40);
        events.extend(wild::history(rng, &key, 150, noise));
    }
    events
}

/// Adds events to which their source gave the id of another event. A touch that is applied has no id, so none is among them.
fn with_mistakes(rng: &mut StdRng, mut events: Vec<Event>) -> Vec<Event> {
    if events.is_empty() || rng.random_bool(0.5) {
        return events;
    }
    for _ in 0..rng.random_range(1..=4) {
        let [first, other] = [(); 2].map(|()| events[rng.random_range(0..events.len())].clone());
        let mistake = match rng.random_range(0..3) {
            0 => Event {
                time: other.time,
                ..first.clone()
            },
            1 => Event {
                key: other.key,
                ..first.clone()
            },
            _ => Event {
                source: first.source.clone(),
                id: first.id.clone(),
                ..other
            },
        };
        if !first.is_touch() && !mistake.is_touch() && !first.is_repeated_by(&mistake) {
            events.push(mistake);
        }
    }
    events
}

/// Delivers each event at least once: in random order, or most of them soon, some late, some long after all others. Late events
/// arrive one by one or together, as from a source that was cut off for a while.
fn deliveries(rng: &mut StdRng, events: Vec<Event>, end: DateTime<Utc>) -> VecDeque<Delivery> {
    let in_no_order = rng.random_bool(0.15);
    let untidy = rng.random_range(0.0..0.4);
    let mut together: Vec<DateTime<Utc>> = Vec::new();
    if let Some(start) = events.iter().map(|event| event.time).min()
        && rng.random_bool(0.6)
    {
        let hours = (end - start).num_hours().max(1);
        let moments = rng.random_range(1..=6);
        together = (0..moments)
            .map(|_| start + TimeDelta::hours(rng.random_range(0..=hours)))
            .collect();
        together.sort_unstable();
    }
    let mut deliveries = Vec::new();
    for event in events {
        let (json, event) = through_the_wire(rng, &event, end);
        for _ in 0..if rng.random_bool(0.15) { 2 } else { 1 } {
            let delay = match rng.random_range(0..4) {
                _ if !rng.random_bool(untidy) => TimeDelta::seconds(rng.random_range(0..5)),
                0 => TimeDelta::days(rng.random_range(0..200)),
                1 => TimeDelta::days(rng.random_range(0..20)),
                _ => TimeDelta::minutes(rng.random_range(0..3_000)),
            };
            let mut at = if in_no_order { end } else { event.time + delay };
            if delay >= TimeDelta::seconds(5)
                && let Some(moment) = together.iter().find(|moment| **moment > event.time)
            {
                at = *moment;
            }
            let (json, event) = (json.clone(), event.clone());
            deliveries.push(Delivery {
                at: at.min(end),
                json,
                event,
            });
        }
    }
    deliveries.shuffle(rng);
    deliveries.sort_by_key(|delivery| delivery.at);
    deliveries.into()
}

/// Apps may send more digits of a second than Tenure stores.
fn through_the_wire(rng: &mut StdRng, event: &Event, end: DateTime<Utc>) -> (Value, Event) {
    let mut json = sent(event);
    if rng.random_bool(0.1) {
        let time = event.time + TimeDelta::nanoseconds(rng.random_range(1..1_000));
        json["time"] = time.to_rfc3339_opts(SecondsFormat::Nanos, true).into();
    }
    let decoder = Decoder::new(Limits::default(), end);
    let read = decoder.line("simulation", json.to_string().as_bytes());
    let read = read.expect("a line").expect("an event");
    (json, read.event)
}
