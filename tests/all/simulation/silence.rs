//! In half of the seeds, there is an expected source. While it is silent, no sweep goes beyond the time of its latest
//! event. At the end it sends events again, and its silence has no effect on the final state.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::domain::event::{AccessedBy, NameVerdict};
use tenure::domain::{Actor, Event, EventKind};

use super::world::{Delivery, World};
use crate::oracle::sent;

pub struct Silence {
    source: String,
    every: TimeDelta,
    /// The latest time of an event that a worker has received, whether or not it is committed.
    heard: DateTime<Utc>,
}

impl Silence {
    /// Adds the event by which the source is heard from at the end. It changes nothing else.
    pub fn new(seed: u64, world: &mut World) -> Option<Self> {
        // Numbers of its own, so that the rest of a seed is the same with and without a silence.
        let mut rng = StdRng::seed_from_u64(!seed);
        if world.deliveries.is_empty() || rng.random_bool(0.5) {
            return None;
        }
        let some = &world.deliveries[rng.random_range(0..world.deliveries.len())].event;
        let event = Event {
            source: some.source.clone(),
            id: "heard-again".into(),
            key: some.key.clone(),
            time: world.end,
            sequence: None,
            kind: EventKind::AccountAccessed {
                by: AccessedBy::Staff,
                user: None,
            },
            actor: Actor::default(),
            name_verdict: NameVerdict::Open,
        };
        let source = event.source.to_string();
        world.deliveries.push_back(Delivery {
            at: world.end,
            json: sent(&event),
            event,
        });
        Some(Self {
            source,
            // A clock may be two hours behind when it is heard from at the end.
            every: TimeDelta::hours(rng.random_range(3..1_000)),
            heard: world.start,
        })
    }

    pub fn expected(&self) -> BTreeMap<String, TimeDelta> {
        [(self.source.clone(), self.every)].into()
    }

    pub fn hear(&mut self, batch: &[Delivery]) {
        let events = batch.iter().map(|delivery| &delivery.event);
        let of_source = events.filter(|event| *event.source == *self.source);
        self.heard = self
            .heard
            .max(of_source.map(|event| event.time).max().unwrap_or(self.heard));
    }

    /// While the source is silent: the moment that no sweep may go beyond.
    pub fn bound(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (now - self.heard > self.every).then_some(self.heard)
    }
}
