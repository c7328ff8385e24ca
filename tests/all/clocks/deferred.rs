//! Deferred events: an event that is ahead of the clock is stored, and ingested when its time comes.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenure::domain::Policy;
use tenure::engine::{Incoming, Outcome};
use tenure::store::{DeadLetterFilter, DeadLetterStatus, DeadLetterSummary};
use tenure::wire::{Decoder, Limits};

use crate::engine::policies::day;
use crate::engine::setup::{Setup as World, on_both_stores};
use crate::store::Fresh;

impl World {
    async fn empty(fresh: Fresh) -> Self {
        Self::start(fresh, day(0), &Policy::default()).await
    }

    fn decoder(&self) -> Decoder {
        Decoder::new(Limits::default(), self.engine.now())
    }

    async fn add(&self, id: usize, time: DateTime<Utc>) -> Outcome {
        let event = json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "client.added",
            "subject": format!("acme/c{id}"), "time": time.to_rfc3339(), "data": { "name": format!("Bakery {id}") },
        });
        let read = self.decoder().line("test", event.to_string().as_bytes());
        let incoming = read.map(Incoming::from).expect("no blank line");
        self.engine
            .ingest(vec![incoming])
            .await
            .expect("ingested")
            .remove(0)
    }

    async fn redrive(&self) -> usize {
        self.engine
            .redrive_deferred(&self.decoder())
            .await
            .expect("redriven")
    }

    async fn dead_letters(&self) -> Vec<DeadLetterSummary> {
        let all = DeadLetterFilter::default();
        self.fresh
            .store
            .dead_letters(&all, 0, 2_000)
            .await
            .expect("dead letters")
    }

    async fn events(&self) -> i64 {
        self.fresh.store.census().await.expect("a census").events
    }
}

async fn a_deferred_event_is_ingested_when_its_time_comes(fresh: Fresh) {
    let world = World::empty(fresh).await;
    let time = day(0) + TimeDelta::minutes(10);
    let ripe = day(0) + TimeDelta::minutes(5);
    let outcome = world.add(1, time).await;
    let Outcome::Deferred { until, reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(*until, ripe);
    assert!(
        reason.contains("more than 5m ahead of this worker's clock"),
        "{reason}"
    );
    assert_eq!(world.engine.recently_deferred(), Some(1));
    // A redelivery has the same outcome.
    assert_eq!(world.add(1, time).await, outcome);
    assert_eq!(
        world.add(2, day(0)).await,
        Outcome::Applied,
        "other events do not wait for it"
    );

    world.clock.set(ripe - TimeDelta::microseconds(1));
    assert_eq!((world.redrive().await, world.events().await), (0, 1));
    world.clock.set(ripe);
    assert_eq!((world.redrive().await, world.events().await), (1, 2));
    let dead_letters = world.dead_letters().await;
    assert_eq!(
        (dead_letters.len(), dead_letters[0].status),
        (1, DeadLetterStatus::Redriven)
    );
    assert_eq!(dead_letters[0].redrive_outcome.as_deref(), Some("applied"));
    assert_eq!(world.redrive().await, 0, "once");
    assert_eq!(world.engine.recently_deferred(), None, "the spell is over");
}

async fn an_event_more_than_a_day_ahead_is_dead_until_its_time_comes(fresh: Fresh) {
    let world = World::empty(fresh).await;
    let limit = day(1) + TimeDelta::minutes(5);
    assert!(matches!(world.add(1, limit).await, Outcome::Deferred { .. }));
    let beyond = world.add(2, limit + TimeDelta::microseconds(1)).await;
    assert!(matches!(beyond, Outcome::Dead(_)), "{beyond:?}");
    assert_eq!(world.engine.recently_deferred(), Some(1));
    assert_eq!(world.redrive().await, 0);
    assert_eq!(world.dead_letters().await[1].status, DeadLetterStatus::Open);
    // This worker's clock was behind, and has been set: both events are right now.
    world.clock.set(day(30));
    assert_eq!((world.redrive().await, world.events().await), (2, 2));
}

/// When the clock was ahead for a moment, for example.
async fn an_event_that_is_still_ahead_is_deferred_again(fresh: Fresh) {
    let world = World::empty(fresh).await;
    world.add(1, day(0) + TimeDelta::minutes(10)).await;
    world.clock.set(day(0) + TimeDelta::minutes(6));
    // The clock of the decoder was set back meanwhile.
    let decoder = Decoder::new(Limits::default(), day(0));
    assert_eq!(
        world.engine.redrive_deferred(&decoder).await.expect("redriven"),
        1
    );
    let dead_letter = world.dead_letters().await.remove(0);
    assert_eq!(dead_letter.status, DeadLetterStatus::Open);
    assert_eq!(dead_letter.retry_at, Some(day(0) + TimeDelta::minutes(5)));
    assert_eq!((world.redrive().await, world.events().await), (1, 1));
}

async fn several_workers_share_the_deferred_events(fresh: Fresh) {
    let world = Arc::new(World::empty(fresh).await);
    for id in 0..1_200 {
        world.add(id, day(0) + TimeDelta::minutes(10)).await;
    }
    world.clock.set(day(0) + TimeDelta::minutes(5));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut read = 0;
                loop {
                    match world.redrive().await {
                        0 => return read,
                        some => read += some,
                    }
                }
            })
        })
        .collect();
    let mut read = 0;
    for worker in workers {
        read += worker.await.expect("it ends");
    }
    assert_eq!((read, world.events().await), (1_200, 1_200));
}

on_both_stores!(
    a_deferred_event_is_ingested_when_its_time_comes,
    an_event_more_than_a_day_ahead_is_dead_until_its_time_comes,
    an_event_that_is_still_ahead_is_deferred_again,
    several_workers_share_the_deferred_events
);
