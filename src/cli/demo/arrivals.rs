//! What arrives while the demo serves: the lives of more clients, in a fraction of their time.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

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

/// Ingests the deliveries one by one, as if each happened now.
pub async fn arrive(engine: Arc<Engine>, limits: Limits, world: World) {
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
            } => wire::event(&Event {
                time: Event::truncate(now - (at - event.time).min(LATEST)),
                ..event
            }),
        };
        let read = Decoder::new(limits, now).line("demo", &body);
        if let Some(read) = read
            && let Err(error) = engine.ingest(vec![Incoming::from(read)]).await
        {
            tracing::warn!(%error, "a message of the demo was not ingested");
        }
    }
}
