//! The deliveries of a year from three apps: most arrive in order, some late, some twice, some broken. The same seed gives the
//! same world.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::life;
use crate::domain::{ClientKey, Event};

/// The size of the world, and the shares of irregular deliveries among all events, between 0 and 1.
#[derive(Clone, Debug)]
pub struct Shape {
    pub seed: u64,
    pub clients: usize,
    /// The number of the first client.
    pub first: usize,
    pub start: DateTime<Utc>,
    pub days: i64,
    /// Share of events that arrive hours or days late.
    pub late: f64,
    /// Share of events that arrive a second time.
    pub twice: f64,
    /// Share of events that a message follows which is not an event.
    pub broken: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            clients: 400,
            first: 0,
            start: DateTime::from_timestamp(1_735_689_600, 0).unwrap_or_default(), // 2025-01-01
            days: 365,
            late: 0.05,
            twice: 0.05,
            broken: 0.01,
        }
    }
}

/// A message and the moment of its arrival.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub at: DateTime<Utc>,
    pub what: Arriving,
}

#[derive(Clone, Debug)]
pub enum Arriving {
    Event(Event),
    /// Bytes that are not an event.
    Broken(Vec<u8>),
}

/// All deliveries, in order of arrival.
#[derive(Clone, Debug)]
pub struct World {
    pub deliveries: Vec<Delivery>,
    pub end: DateTime<Utc>,
}

impl World {
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let mut rng = StdRng::seed_from_u64(shape.seed);
        let end = shape.start + TimeDelta::days(shape.days);
        let mut deliveries = Vec::new();
        for number in shape.first..shape.first + shape.clients {
            // Each life has a seed of its own, so that an additional client does not change the others.
            let mut own =
                StdRng::seed_from_u64(shape.seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for event in life::of(number, shape.start, end, &mut own) {
                deliver(event, shape, &mut rng, &mut deliveries);
            }
        }
        deliveries.retain(|delivery| delivery.at <= end);
        deliveries.sort_by_key(|delivery| delivery.at);
        Self { deliveries, end }
    }

    /// Each event once, by client: the input of an independent fold.
    #[must_use]
    pub fn histories(&self) -> HashMap<ClientKey, Vec<Event>> {
        let mut histories: HashMap<ClientKey, Vec<Event>> = HashMap::new();
        let mut names = std::collections::HashSet::new();
        for delivery in &self.deliveries {
            if let Arriving::Event(event) = &delivery.what
                && names.insert((event.source.clone(), event.id.clone()))
            {
                histories
                    .entry(event.key.clone())
                    .or_default()
                    .push(event.clone());
            }
        }
        histories
    }
}

fn deliver(event: Event, shape: &Shape, rng: &mut StdRng, deliveries: &mut Vec<Delivery>) {
    let soon = TimeDelta::milliseconds(rng.random_range(5..2_000));
    let delay = if rng.random_bool(shape.late) {
        TimeDelta::minutes(rng.random_range(30..5 * 24 * 60))
    } else {
        soon
    };
    let at = event.time + delay;
    if rng.random_bool(shape.twice) {
        deliveries.push(Delivery {
            at: at + TimeDelta::minutes(rng.random_range(0..2_000)),
            what: Arriving::Event(event.clone()),
        });
    }
    if rng.random_bool(shape.broken) {
        deliveries.push(Delivery {
            at: at + soon,
            what: Arriving::Broken(broken(&event, rng)),
        });
    }
    deliveries.push(Delivery {
        at,
        what: Arriving::Event(event),
    });
}

/// A message that is broken in one of the ways that occur in practice.
fn broken(event: &Event, rng: &mut StdRng) -> Vec<u8> {
    let subject = event.key.to_string();
    let time = crate::domain::time::rfc3339(event.time);
    let number: u32 = rng.random();
    let json = |kind: &str, subject: &str, time: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"broken-{number}","source":"/partner-space","type":"{kind}","subject":"{subject}","time":"{time}","data":{data}}}"#
        )
    };
    match rng.random_range(0..7) {
        0 => json("client.added", &subject, &time, "{}"),
        1 => json("client.vanished", &subject, &time, "{}"),
        2 => json("client.archived", "no-slash", &time, "{}"),
        3 => json("client.archived", &subject, "yesterday", "{}"),
        4 => json("account.jobs_counted", &subject, &time, r#"{"total":-3}"#),
        5 => json("client.renamed", &subject, &time, r#"{"name":"Nul\u0000 Ltd"}"#),
        _ => json("client.archived", &subject, &time, "{}")[..60].to_owned(),
    }
    .into_bytes()
}
