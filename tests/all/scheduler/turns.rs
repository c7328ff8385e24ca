//! The turns of a sweep: which runs it starts, the ticks that a run covers, and how runs end.

use std::sync::Arc;

use chrono::{SubsecRound, TimeDelta};
use tenure::clock::{Clock, SystemClock};
use tenure::domain::Sweep;
use tenure::engine::Breaker;
use tenure::scheduler::{Scheduler, TickOutcome};
use tenure::store::{Halt, HaltKind, RunStatus, Watermark};

use super::{
    EVERY_SECOND, HOURLY, WIDE, clients, done, engine, engine_at, engine_with, expired, moment, runs,
    runs_until, settings, start, start_as,
};

#[tokio::test]
async fn a_scheduler_makes_up_for_a_missed_tick_once() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 3, moment("2026-01-01T00:00:00Z")).await;
    clock.set(moment("2026-03-10T12:34:56.789Z"));

    let running = start(&engine, &settings(HOURLY, 2));
    let ended = runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert_eq!(ended.len(), 1, "{ended:#?}");
    assert_eq!(ended[0].sweep, Sweep::AccessExpiry);
    assert_eq!(ended[0].scheduled_at, moment("2026-03-10T12:00:00Z"));
    assert_eq!((ended[0].counts.examined, ended[0].counts.changed), (3, 3));
    assert_eq!(expired(&engine).await, 3);

    // The run of this tick is done.
    let running = start(&engine, &settings(HOURLY, 2));
    running
        .considered("2026-03-10T12:00:00Z", 1, TickOutcome::AlreadyDone)
        .await;
    running.stop().await;
    assert_eq!(runs(&engine).await, ended);

    clock.set(moment("2026-03-10T13:00:00Z"));
    let running = start(&engine, &settings(HOURLY, 2));
    let ended = runs_until(&engine, |runs| runs.iter().filter(|run| done(run)).count() == 2).await;
    running.stop().await;
    assert_eq!(ended[0].scheduled_at, moment("2026-03-10T13:00:00Z"));
}

#[tokio::test]
async fn each_tick_starts_one_run_that_stands_for_a_whole_second() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), Arc::new(SystemClock), WIDE).await;
    let before = SystemClock.now();
    let running = start(&engine, &settings(EVERY_SECOND, 10));
    let ended = runs_until(&engine, |runs| runs.iter().filter(|run| done(run)).count() >= 3).await;
    running.stop().await;
    let mut ticks: Vec<_> = ended.iter().map(|run| run.scheduled_at).collect();
    assert!(ticks.iter().all(|tick| tick.trunc_subsecs(0) == *tick));
    assert!(ended.iter().all(|run| run.started_at >= run.scheduled_at));
    assert!(ticks.iter().all(|tick| *tick > before - TimeDelta::seconds(1)));
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(ticks.len(), ended.len(), "a tick was run twice");
}

#[tokio::test]
async fn several_workers_share_the_run_of_a_tick() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (one, two) = (
        engine(folder.path(), clock.clone(), WIDE).await,
        engine(folder.path(), clock, WIDE).await,
    );
    clients(&one, 50, SystemClock.now() - TimeDelta::days(59)).await;
    let first = start_as(&one, &settings(EVERY_SECOND, 5), "one");
    let second = start_as(&two, &settings(EVERY_SECOND, 5), "two");
    let ended = runs_until(&one, |runs| runs.iter().filter(|run| done(run)).count() >= 3).await;
    first.stop().await;
    second.stop().await;
    let mut ticks: Vec<_> = ended.iter().map(|run| run.scheduled_at).collect();
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(ticks.len(), ended.len(), "a tick was recorded twice");
}

#[tokio::test]
async fn a_stopped_sweep_ends_after_its_chunk_and_is_continued() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 400, moment("2026-01-01T00:00:00Z")).await;
    clock.set(moment("2026-03-10T12:30:00Z"));

    let running = start(&engine, &settings(HOURLY, 1));
    runs_until(&engine, |runs| runs.iter().any(|run| run.counts.changed > 0)).await;
    running.stop().await;
    let stopped = &runs(&engine).await[0];
    let swept = expired(&engine).await;
    assert!(stopped.finished_at.is_some());
    assert_eq!(stopped.counts.changed, swept, "what was swept is recorded");
    assert!(swept < 400, "it finished before it could be stopped");
    assert_eq!(stopped.status, RunStatus::Stopped);

    // The run of the same tick is not done.
    let running = start(&engine, &settings(HOURLY, 50));
    runs_until(&engine, |runs| {
        runs.iter()
            .all(|run| run.finished_at.is_some() && run.counts.changed == 400)
    })
    .await;
    running.stop().await;
    assert_eq!(expired(&engine).await, 400);
    assert_eq!(runs(&engine).await.len(), 1);
}

#[tokio::test]
async fn a_paused_sweep_does_not_run_until_it_is_resumed() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 3, moment("2026-01-01T00:00:00Z")).await;
    clock.set(moment("2026-03-10T12:30:00Z"));
    let halt = Halt {
        sweep: Sweep::AccessExpiry,
        kind: HaltKind::Paused,
        at: clock.now(),
        why: "the books are closed".into(),
    };
    engine.store().halt(&halt).await.unwrap();
    let settings = settings(HOURLY, 10);
    let scheduler = Scheduler::new(engine.clone(), &settings, "test".to_owned());
    let freshness = scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();
    assert!(freshness.is_well(), "a person paused it");
    assert_eq!(
        freshness.to_string(),
        "paused since 2026-03-10T12:30:00Z: the books are closed"
    );
    let running = start(&engine, &settings);
    running
        .considered("2026-03-10T12:00:00Z", 1, TickOutcome::Halted)
        .await;
    running.stop().await;
    assert_eq!(runs(&engine).await, []);

    engine
        .store()
        .resume(Sweep::AccessExpiry, HaltKind::Paused)
        .await
        .unwrap();
    let running = start(&engine, &settings);
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert_eq!(expired(&engine).await, 3);
}

#[tokio::test]
async fn a_sweep_that_trips_the_breaker_is_unready_and_does_not_run_again() {
    let breaker = Breaker {
        percent: 20,
        clients: 20,
    };
    let (_folder, clock, engine) = engine_with("2026-01-01T00:00:00Z", breaker).await;
    clients(&engine, 60, moment("2026-01-01T00:00:00Z")).await;
    clock.set(moment("2026-03-10T12:30:00Z"));
    let settings = settings(EVERY_SECOND, 10);
    let running = start(&engine, &settings);
    running
        .considered("2026-03-10T12:30:00Z", 1, TickOutcome::Ran)
        .await;
    for tick in [
        "2026-03-10T12:30:01Z",
        "2026-03-10T12:30:02Z",
        "2026-03-10T12:30:03Z",
    ] {
        clock.set(moment(tick));
        running.considered(tick, 1, TickOutcome::Halted).await;
    }
    running.stop().await;
    let runs = runs(&engine).await;
    assert_eq!((runs.len(), runs[0].status), (1, RunStatus::Tripped));
    assert_eq!(expired(&engine).await, 0);
    let scheduler = Scheduler::new(engine.clone(), &settings, "test".to_owned());
    let freshness = scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();
    assert!(!freshness.is_well());
    let why = freshness.to_string();
    assert!(why.contains("stopped by the breaker since"), "{why}");
    assert!(why.contains("tenure sweep confirm"), "{why}");
}

#[tokio::test]
async fn a_sweep_is_tried_again_while_the_store_is_away() {
    let (_folder, _clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    engine.store().close().await;
    let running = start(&engine, &settings(EVERY_SECOND, 1));
    running
        .considered("2026-03-10T12:30:00Z", 2, TickOutcome::Failed)
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_scheduler_without_enabled_sweeps_ends_and_runs_none() {
    let (_folder, _clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let mut settings = settings(HOURLY, 1);
    for schedule in settings.schedules.values_mut() {
        schedule.enabled = false;
    }
    start(&engine, &settings).end().await;
    assert_eq!(runs(&engine).await, []);
}

/// The clock stands still, so there is one tick. A tick whose run is done is not considered again.
#[tokio::test]
async fn a_run_that_was_held_back_says_so_and_its_tick_is_tried_again() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 3, moment("2026-01-01T00:00:00Z")).await;
    let lane = "tenure.events.0".to_owned();
    engine.set_lanes(std::slice::from_ref(&lane)).await.unwrap();
    clock.set(moment("2026-03-10T12:30:00Z"));
    // With a tick each second it looks again within a second.
    let running = start(&engine, &settings(EVERY_SECOND, 10));
    let held = runs_until(&engine, |runs| runs.iter().any(|run| run.finished_at.is_some())).await;
    assert_eq!(
        (held.len(), held[0].status),
        (1, RunStatus::HeldBack),
        "{held:#?}"
    );
    assert_eq!(held[0].upto, None);
    assert_eq!(
        held[0].error.as_deref(),
        Some("held back: no heartbeat has arrived through tenure.events.0 yet")
    );
    assert_eq!(expired(&engine).await, 0);

    let watermark = Watermark {
        lane,
        at: clock.now(),
        partition_key: None,
    };
    engine
        .ingest_from_lane(Vec::new(), Some(watermark))
        .await
        .unwrap();
    let ended = runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert_eq!((ended.len(), ended[0].id), (1, held[0].id), "{ended:#?}");
    assert_eq!(ended[0].scheduled_at, moment("2026-03-10T12:30:00Z"));
    assert_eq!((ended[0].counts.changed, &ended[0].error), (3, &None));
    assert_eq!(ended[0].upto, Some(moment("2026-03-10T12:30:00Z")));
    assert_eq!(expired(&engine).await, 3);
}

/// Else no sweep would run for as long as the clock had been ahead.
#[tokio::test]
async fn sweeps_run_on_the_next_tick_after_a_clock_that_was_ahead_is_set_right() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let running = start(&engine, &settings(EVERY_SECOND, 10));
    let ran = async |tick: &str| {
        let tick = moment(tick);
        clock.set(tick);
        runs_until(&engine, |runs| {
            runs.iter().any(|run| done(run) && run.scheduled_at == tick)
        })
        .await
    };
    ran("2026-03-10T12:30:01Z").await;
    ran("2027-04-14T12:30:00Z").await;
    ran("2026-03-10T12:30:10Z").await;
    ran("2026-03-10T12:30:11Z").await;
    running.stop().await;
}

#[tokio::test]
async fn a_trip_by_a_clock_that_was_ahead_is_lifted() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let halt = Halt {
        sweep: Sweep::AccessExpiry,
        kind: HaltKind::Tripped,
        at: moment("2027-04-14T12:30:00Z"),
        why: "it would change 1000 of 1000 clients at once".into(),
    };
    engine.store().halt(&halt).await.unwrap();
    clock.set(moment("2026-03-10T12:30:01Z"));
    let running = start(&engine, &settings(EVERY_SECOND, 10));
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert_eq!(engine.store().halts().await.unwrap(), []);
}
