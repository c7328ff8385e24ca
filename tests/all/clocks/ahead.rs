//! A clock that is ahead fires no timer.

use std::sync::Arc;

use chrono::TimeDelta;
use tenure::clock::{Clock, SimulatedClock, SystemClock};
use tenure::domain::{EventKind, Sweep};
use tenure::engine::{
    Adoption, AdoptionMode, Breaker, Engine, HeldBack, NOTICE, Reference, SweepMode, SweepOptions,
    SweepReport,
};
use tenure::store::{Lanes, PolicyHistory, Store, Sweeps, Watermark};

use crate::engine::breaker::{clients, of};
use crate::engine::policies::{World, accessed, active, adopt, day, event, idle, ingest, key};
use crate::store::Fresh;

async fn sweep(engine: &Engine) -> SweepReport {
    engine
        .sweep(Sweep::AccessExpiry, SweepOptions::new(SweepMode::ByHand), |_| {})
        .await
        .expect("a sweep")
}

/// Ingests one event for each client, which does not change its access.
pub async fn jobs_counted(engine: &Engine, count: usize) {
    let event = event(day(1), EventKind::AccountUpdated {});
    ingest(engine, (0..count).map(|number| of(number, event.clone()))).await;
}

pub async fn expired(store: &dyn Store) -> i64 {
    let census = store.census().await.expect("a census");
    census.access.get("expired").copied().unwrap_or(0)
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_fires_no_timer() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 5, 0).await;
    world.clock.jump(day(70));
    jobs_counted(&engine, 5).await;
    let report = sweep(&engine).await;
    assert_eq!(report.counts.changed, 0);
    let Some(HeldBack::Clock { clock }) = &report.held_back else {
        panic!("{report:?}");
    };
    assert!(
        clock.contains("70 days ahead of the time that has passed"),
        "{clock}"
    );
    assert_eq!(expired(&*world.store).await, 0);
    assert_eq!(
        world.store.runs(None, 9).await.expect("runs"),
        [],
        "no run is recorded for a tick of that time"
    );
    // The access decision uses the clock all the same.
    assert!(
        !engine
            .decide(&key_of(0), None, None)
            .await
            .expect("a decision")
            .allowed
    );

    world.clock.jump(day(0));
    assert_eq!(sweep(&engine).await.held_back, None);
    assert_eq!(expired(&*world.store).await, 0);
}

fn key_of(number: usize) -> tenure::domain::ClientKey {
    of(number, accessed(day(0))).key
}

/// A machine that slept, or whose clock was set right, has the right time after a jump, so a jump is accepted after a while.
#[tokio::test]
async fn a_jump_is_accepted_after_ten_minutes_without_another_clock() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 5, 0).await;
    world.clock.jump(day(70));
    for (minutes, held) in [(0, true), (9, true), (10, false)] {
        world.clock.set(day(70) + TimeDelta::minutes(minutes));
        engine.compare_clock().await.expect("compared");
        assert_eq!(engine.clock().ahead().is_some(), held, "{minutes} minutes");
    }
    assert_eq!(sweep(&engine).await.counts.changed, 5);
}

/// If no other clock shows that this one is wrong, the breaker still bounds the timers that events fire.
#[tokio::test]
async fn events_fire_no_more_timers_than_a_sweep_may() {
    for (count, fire) in [(100, 100), (150, 0)] {
        let world = World::new().await;
        let engine = world.engine(&idle(60)).await;
        clients(&engine, count, 0).await;
        // The monotonic clock moves along, so the jump cannot be seen.
        world.clock.set(day(70));
        jobs_counted(&engine, count).await;
        assert_eq!(expired(&*world.store).await, fire, "of {count} clients");
        let report = sweep(&engine).await;
        assert_eq!(report.tripped.is_some(), fire == 0, "{report:?}");
        let verified = engine.verify(|_| {}).await.expect("a verification");
        assert_eq!(verified.drifts, []);
    }
}

#[tokio::test]
async fn events_obey_the_configured_breaker() {
    let world = World::new().await;
    let breaker = Breaker {
        percent: 50,
        clients: 2,
    };
    let engine = world.engine(&idle(60)).await;
    let engine = engine.bounded(breaker, TimeDelta::minutes(1));
    clients(&engine, 5, 0).await;
    world.clock.set(day(70));
    jobs_counted(&engine, 5).await;
    assert_eq!(expired(&*world.store).await, 0);
}

#[tokio::test]
async fn the_clock_is_compared_with_the_clock_of_the_database() {
    let fresh = Fresh::postgres("clock").await;
    let clock = Arc::new(SimulatedClock::at(SystemClock.now()));
    let engine = Engine::start(fresh.store.clone(), clock.clone(), &idle(60))
        .await
        .expect("an engine");
    let compared = async |minutes: i64| {
        clock.jump(SystemClock.now() + TimeDelta::minutes(minutes));
        engine.compare_clock().await.expect("compared");
        engine.clock().wrong()
    };
    assert_eq!(compared(0).await, None);
    assert!(engine.clock().is_confirmed());
    let ahead = compared(10).await.expect("it is noticed");
    assert_eq!((ahead.reference, ahead.is_ahead()), (Reference::Database, true));
    let words = ahead.to_string();
    assert!(words.contains("ahead of the clock of the database"), "{words}");
    assert!(engine.clock().ahead().is_some());

    // No timer of a client that is new under this clock fires, either: there is no deadline yet for the breaker to count.
    let past = SystemClock.now() - TimeDelta::days(60) + TimeDelta::minutes(5);
    ingest(
        &engine,
        active()
            .into_iter()
            .map(|event| tenure::domain::Event { time: past, ..event }),
    )
    .await;
    assert_eq!(expired(&*fresh.store).await, 0);
    let adoption = adopt(&engine, &idle(30), AdoptionMode::Automatic).await;
    assert!(
        matches!(&adoption, Adoption::Waits { why } if why.contains("ahead")),
        "{adoption:?}"
    );

    let behind = compared(-10).await.expect("it is noticed");
    assert!(!behind.is_ahead(), "{behind}");
    assert_eq!(engine.clock().ahead(), None, "late timers are harmless");
    assert_eq!(compared(0).await, None, "right again");
}

/// A watermark that a wrong clock wrote ahead of now says nothing about the events that wait.
#[tokio::test]
async fn a_watermark_ahead_of_now_fires_no_timer() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    let lane = "tenure.events.0".to_owned();
    engine
        .set_lanes(std::slice::from_ref(&lane))
        .await
        .expect("a lane");
    let beat = async |engine: &Engine, at| {
        let lane = lane.clone();
        let watermark = Watermark {
            lane,
            at,
            partition_key: None,
        };
        engine
            .ingest_from_lane(Vec::new(), Some(watermark))
            .await
            .expect("ingested");
    };
    world.clock.set(day(100));
    beat(&engine, day(100)).await;
    world.clock.set(day(61));
    let another = world.engine(&idle(60)).await;
    let report = sweep(&another).await;
    assert_eq!((report.until, report.counts.changed), (None, 0), "{report:?}");
    beat(&another, day(61)).await;
    let lanes = world.store.lanes().await.expect("lanes");
    assert_eq!(
        lanes[0].watermark,
        Some(day(61)),
        "the next heartbeat corrects it"
    );
    assert_eq!(sweep(&world.engine(&idle(60)).await).await.counts.changed, 1);
    assert!(another.client(&key(), None).await.expect("an answer").is_some());
}

#[tokio::test]
async fn a_policy_from_a_clock_that_was_ahead_is_withdrawn_on_confirmation() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    world.clock.set(day(70));
    adopt(&engine, &idle(90), AdoptionMode::Confirmed).await;
    assert_eq!(world.store.policies().await.expect("policies").len(), 2);

    world.clock.set(day(10));
    let engine = world.read_only_engine(&idle(90)).await;
    // Either moment may be the wrong one: a person must decide.
    let adoption = adopt(&engine, &idle(90), AdoptionMode::Automatic).await;
    let Adoption::Held { why, .. } = &adoption else {
        panic!("{adoption:?}");
    };
    assert!(why.contains("tenure policy apply"), "{why}");
    let adoption = adopt(&engine, &idle(90), AdoptionMode::Confirmed).await;
    let Adoption::Recorded { from } = adoption else {
        panic!("{adoption:?}");
    };
    assert!(from < day(10) + TimeDelta::minutes(1), "{from}");
    engine
        .backfill_deadlines(&tokio_util::sync::CancellationToken::new())
        .await
        .expect("a backfill");
    world.clock.set(day(61));
    assert_eq!(sweep(&engine).await.counts.changed, 0, "the 90 days are in force");
    let verified = engine.verify(|_| {}).await.expect("a verification");
    assert_eq!(verified.drifts, []);
    world.clock.set(day(91));
    assert_eq!(sweep(&engine).await.counts.changed, 1);
}

/// The first policy is effective from the beginning of time, whatever moment is recorded with it.
#[tokio::test]
async fn the_first_policy_does_not_delay_the_next() {
    let world = World::new().await;
    world.clock.set(day(70));
    world.engine(&idle(60)).await;
    world.clock.set(day(0));
    let engine = world.read_only_engine(&idle(30)).await;
    let adoption = adopt(&engine, &idle(30), AdoptionMode::Automatic).await;
    assert_eq!(
        adoption,
        Adoption::Recorded {
            from: day(0) + NOTICE
        }
    );
}
