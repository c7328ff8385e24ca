//! What arrives while the demo serves: the lives of more clients, in a fraction of their time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::demo::{Arriving, Delivery, Shape, World};
use crate::domain::Event;
use crate::engine::{Engine, Incoming};
use crate::wire::{self, Decoder, Limits};

/// New clients.
const CLIENTS: usize = 100;
/// How late a message is at most.
const LATEST: TimeDelta = TimeDelta::minutes(10);
/// The pause between two messages, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..1_900;

/// The lives of the clients that come after those of a year.
pub fn next(year: &Shape) -> World {
    World::new(&Shape {
        first: year.first + year.clients,
        clients: CLIENTS,
        ..year.clone()
    })
}

/// The events that were sent, by their ids. An app that sends an event twice sends the same event, with the time at which it
/// happened.
#[derive(Default)]
struct Sent(HashMap<(Arc<str>, Arc<str>), Event>);

impl Sent {
    /// The event as it arrives now: as it was sent before, or as if it had just happened. `at`: when it arrives in its world.
    fn arriving(&mut self, event: Event, at: DateTime<Utc>, now: DateTime<Utc>) -> Event {
        let late = (at - event.time).min(LATEST);
        let id = (event.source.clone(), event.id.clone());
        let arriving = self.0.entry(id).or_insert(Event {
            time: Event::truncate(now - late),
            ..event
        });
        arriving.clone()
    }
}

/// Ingests the deliveries one by one, as if each happened now.
pub async fn arrive(engine: Arc<Engine>, limits: Limits, world: World) {
    let mut sent = Sent::default();
    for delivery in world.deliveries {
        let pause = Duration::from_millis(rand::random_range(PAUSE));
        tokio::time::sleep(pause).await;
        let now = engine.now();
        let body = match delivery {
            Delivery {
                what: Arriving::Broken(bytes),
                ..
            } => bytes,
            Delivery {
                at,
                what: Arriving::Event(event),
            } => wire::event(&sent.arriving(event, at, now)),
        };
        let read = Decoder::new(limits, now).line("demo", &body);
        if let Some(read) = read
            && let Err(error) = engine.ingest(vec![Incoming::from(read)]).await
        {
            tracing::warn!(%error, "a message of the demo was not ingested");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_arrives_twice_is_the_same_event() {
        let world = next(&Shape {
            days: 30,
            twice: 1.0,
            ..Shape::default()
        });
        let mut sent = Sent::default();
        let mut now = world.end;
        let mut arrived: HashMap<_, Vec<Event>> = HashMap::new();
        for Delivery { at, what } in world.deliveries {
            now += TimeDelta::seconds(1);
            if let Arriving::Event(event) = what {
                let event = sent.arriving(event, at, now);
                assert!(event.time <= now && event.time > world.end - LATEST, "{event:?}");
                let id = (event.source.clone(), event.id.clone());
                arrived.entry(id).or_default().push(event);
            }
        }
        let twice = arrived.values().filter(|events| events.len() == 2);
        assert!(twice.count() > 100);
        for events in arrived.values() {
            assert!(events.iter().all(|event| *event == events[0]), "{events:?}");
        }
    }
}
