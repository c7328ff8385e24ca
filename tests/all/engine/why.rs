//! Explanations of stored clients rest on the events that the event log has.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::domain::why::{Answer, explain};
use tenure::domain::{ClientKey, Event, Policies, Policy};
use tenure::engine::Incoming;

use super::policies::{accessed, active, day, ingest, key};
use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::simulation::seeds;
use crate::store::Fresh;
use crate::why::{Life, events_hold};

on_both_stores! {
    explanations_rest_on_the_event_log,
    an_unknown_client_has_no_explanations,
}

/// Requests and connections are served meanwhile.
#[tokio::test]
async fn an_explanation_does_not_hold_up_the_runtime() {
    let policy = Policy {
        access_idle: TimeDelta::days(2),
        ..Policy::default()
    };
    let setup = Setup::start(Fresh::sqlite("why").await, day(0), &policy).await;
    setup.clock.set(day(2_000));
    ingest(&setup.engine, active()).await;
    let entries: Vec<Event> = (0..8_000)
        .map(|hour| accessed(day(0) + TimeDelta::hours(hour)))
        .collect();
    for batch in entries.chunks(1_000) {
        ingest(&setup.engine, batch.iter().cloned()).await;
    }
    let log = setup.fresh.store.history(&key()).await.expect("a history");
    let log: Vec<Event> = log.into_iter().map(|logged| logged.event).collect();
    let policies = Policies::always(policy);
    let started = Instant::now();
    let expected = explain(&key(), &log, &Answer::Access, &policies, day(1_000));
    let computed = started.elapsed();

    let mut longest = Duration::ZERO;
    let key = key();
    let why = setup.engine.why(&key, Some(Answer::Access), Some(day(1_000)));
    tokio::pin!(why);
    let answered = loop {
        let paused = Instant::now();
        tokio::select! {
            biased;
            answered = &mut why => {
                longest = longest.max(paused.elapsed());
                break answered;
            }
            () = tokio::time::sleep(Duration::from_millis(1)) => longest = longest.max(paused.elapsed()),
        }
    };
    assert_eq!(answered.expect("read").expect("a client").answers, [expected]);
    assert!(longest < computed / 2, "{longest:?} of {computed:?}");
}

async fn explanations_rest_on_the_event_log(fresh: Fresh) {
    let mut rng = StdRng::seed_from_u64(2);
    let policy = wild::policy(&mut rng);
    let setup = Setup::start(fresh, wild::start(), &policy).await;
    // After every event of every history: until then, an answer of now is one as of the last event.
    setup.clock.set(wild::start() + TimeDelta::days(2_000));
    let policies = Policies::always(policy);
    let (mut causes, mut supporting, mut subscriptions) = (0, 0, 0);
    for seed in seeds(6) {
        let mut rng = StdRng::seed_from_u64(seed);
        let key = ClientKey::new("p", &format!("c{seed}")).expect("a key");
        let mut events = wild::history(&mut rng, &key, 150, 20);
        events.shuffle(&mut rng);
        for batch in events.chunks(16) {
            let incoming = batch.iter().cloned().map(Incoming::Event).collect();
            setup.engine.ingest(incoming).await.expect("ingested");
        }
        let log = setup.fresh.store.history(&key).await.expect("a history");
        let log: Vec<Event> = log.into_iter().map(|logged| logged.event).collect();
        let at = log[rng.random_range(0..log.len())].time;
        for at in [None, Some(at)] {
            let why = setup
                .engine
                .why(&key, None, at)
                .await
                .expect("read")
                .expect("a client");
            assert_eq!(why.omitted, 0);
            let at = at.unwrap_or_else(|| setup.engine.now());
            let mut events = log.clone();
            events.retain(|event| event.time <= at);
            let life = Life {
                key: key.clone(),
                events,
                policies: &policies,
                at,
            };
            for explanation in &why.answers {
                assert_eq!(explanation.at, at);
                events_hold(&life, explanation);
                causes += explanation.causes.len();
                supporting += explanation.supporting.len();
                subscriptions += usize::from(matches!(explanation.answer, Answer::Subscription(_)));
            }
        }
    }
    assert!(
        causes > 50 && supporting > 0 && subscriptions > 0,
        "{causes} {supporting} {subscriptions}"
    );
}

async fn an_unknown_client_has_no_explanations(fresh: Fresh) {
    let setup = Setup::start(fresh, wild::start(), &Policy::default()).await;
    let key = ClientKey::new("p", "nobody").expect("a key");
    let why = setup.engine.why(&key, Some(Answer::Access), None).await;
    assert!(why.expect("read").is_none());
}
