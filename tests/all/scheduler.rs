//! The scheduler on a real store: which runs there are, what they stand for, and how they end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tempfile::TempDir;
use tenure::clock::{Clock, SimulatedClock, SystemClock};
use tenure::config::{Settings, SweepSettings};
use tenure::domain::event::NameVerdict;
use tenure::domain::{ClientKey, Event, EventKind, Policy, Sweep};
use tenure::engine::{Engine, Incoming, Outcome};
use tenure::scheduler::{Scheduler, TickerError, prune_on_ticks};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Halt, HaltKind, RunEnd, RunStatus, Store, SweepRun, Watermark};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const HOURLY: &str = "0 * * * *";
const EVERY_SECOND: &str = "* * * * * *";

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Only access-expiry, on this line.
fn settings(cron: &str, chunk: u32) -> SweepSettings {
    let mut env = vec![
        ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON".to_owned(), cron.to_owned()),
        ("TENURE_SWEEPS__CHUNK".to_owned(), chunk.to_string()),
        ("TENURE_SWEEPS__BREAKER__CLIENTS".to_owned(), "300".to_owned()),
        ("TENURE_SWEEPS__BREAKER__PERCENT".to_owned(), "100".to_owned()),
    ];
    for other in ["SUBSCRIPTION_END", "TERMINATED_CLEANUP", "STALLED_INVITATIONS"] {
        env.push((format!("TENURE_SWEEPS__{other}__ENABLED"), "false".to_owned()));
    }
    Settings::load(None, env.into_iter()).unwrap().sweeps
}

async fn engine(folder: &Path, clock: Arc<dyn Clock>) -> Arc<Engine> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.join("tenure.db")));
    store.migrate().await.unwrap();
    Arc::new(Engine::start(store, clock, &Policy::default()).await.unwrap())
}

/// An engine whose clock stands at a moment.
async fn engine_at(now: &str) -> (TempDir, Arc<SimulatedClock>, Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::at(moment(now)));
    let engine = engine(folder.path(), clock.clone()).await;
    (folder, clock, engine)
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), TickerError>>,
}

fn start(engine: &Arc<Engine>, settings: &SweepSettings) -> Running {
    start_as(engine, settings, "test")
}

fn start_as(engine: &Arc<Engine>, settings: &SweepSettings, worker: &str) -> Running {
    let stop = CancellationToken::new();
    let scheduler = Scheduler::new(engine.clone(), settings, worker.to_owned());
    Running {
        task: tokio::spawn(scheduler.run(stop.clone())),
        stop,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        ended.expect("it drains in time").unwrap().unwrap();
    }
}

async fn runs(engine: &Engine) -> Vec<SweepRun> {
    engine.store().runs(None, 1_000).await.unwrap()
}

/// Waits for the runs to be as they should.
async fn runs_until(engine: &Engine, enough: impl Fn(&[SweepRun]) -> bool) -> Vec<SweepRun> {
    for _ in 0..1_500 {
        let runs = runs(engine).await;
        if enough(&runs) {
            return runs;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 15 s: {:#?}", runs(engine).await);
}

fn done(run: &SweepRun) -> bool {
    run.status == RunStatus::Done
}

/// Clients whose access is used the last time at a moment.
async fn clients(engine: &Engine, count: usize, at: DateTime<Utc>) {
    let mut incoming = Vec::new();
    for i in 0..count {
        let key = ClientKey::new("acme", &format!("c{i}")).unwrap();
        for (id, kind) in [
            (
                "added",
                EventKind::ClientAdded {
                    name: format!("name {i}").try_into().unwrap(),
                    imported: false,
                },
            ),
            (
                "invited",
                serde_json::from_value(
                    serde_json::json!({"type": "client.invited", "data": {"steps": ["accepted"]}}),
                )
                .unwrap(),
            ),
            ("accepted", EventKind::InvitationAccepted {}),
        ] {
            incoming.push(Incoming::Event(Event {
                source: "/test".into(),
                id: format!("{i}-{id}").into(),
                key: key.clone(),
                time: at,
                sequence: None,
                kind,
                name_verdict: NameVerdict::default(),
            }));
        }
    }
    let outcomes = engine.ingest(incoming).await.unwrap();
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
        "{outcomes:?}"
    );
}

async fn expired(engine: &Engine) -> i64 {
    let census = engine.store().census().await.unwrap();
    census.access.get("expired").copied().unwrap_or(0)
}

#[tokio::test]
async fn a_missed_tick_is_made_up_for_at_start_and_only_once() {
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

    // The same tick again, and it was seen through.
    let running = start(&engine, &settings(HOURLY, 2));
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.stop().await;
    assert_eq!(runs(&engine).await, ended);

    clock.set(moment("2026-03-10T13:00:00Z"));
    let running = start(&engine, &settings(HOURLY, 2));
    let ended = runs_until(&engine, |runs| runs.iter().filter(|run| done(run)).count() == 2).await;
    running.stop().await;
    assert_eq!(ended[0].scheduled_at, moment("2026-03-10T13:00:00Z"));
}

#[tokio::test]
async fn ticks_bring_runs_that_stand_for_whole_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), Arc::new(SystemClock)).await;
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
async fn several_workers_mean_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (one, two) = (
        engine(folder.path(), clock.clone()).await,
        engine(folder.path(), clock).await,
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
async fn a_sweep_that_is_stopped_ends_at_its_chunk_and_is_taken_up_again() {
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
    assert!(swept < 400, "it was through before it could be stopped");
    assert_eq!(stopped.status, RunStatus::Failed);

    // The same tick: it was not seen through.
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
    assert!(freshness.is_well(), "as a person wants it");
    assert_eq!(
        freshness.to_string(),
        "paused since 2026-03-10T12:30:00Z: the books are closed"
    );
    let running = start(&engine, &settings);
    tokio::time::sleep(Duration::from_millis(700)).await;
    running.stop().await;
    assert!(runs(&engine).await.is_empty());

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
async fn a_sweep_that_trips_the_breaker_is_not_ready_and_not_run_again() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 60, moment("2026-01-01T00:00:00Z")).await;
    clock.set(moment("2026-03-10T12:30:00Z"));
    let mut settings = settings(EVERY_SECOND, 10);
    settings.breaker.percent = 20;
    settings.breaker.clients = 20;
    let running = start(&engine, &settings);
    runs_until(&engine, |runs| runs.iter().any(|run| run.finished_at.is_some())).await;
    for _ in 0..3 {
        clock.set(clock.now() + TimeDelta::seconds(1));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    running.stop().await;
    let runs = runs(&engine).await;
    assert_eq!((runs.len(), runs[0].status), (1, RunStatus::Failed));
    assert_eq!(expired(&engine).await, 0);
    let scheduler = Scheduler::new(engine.clone(), &settings, "test".to_owned());
    let freshness = scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();
    assert!(!freshness.is_well());
    let why = freshness.to_string();
    assert!(why.contains("stopped by the breaker since"), "{why}");
    assert!(why.contains("--confirm"), "{why}");
}

#[tokio::test]
async fn a_store_that_is_away_stops_no_turns() {
    let (_folder, _clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    engine.store().close().await;
    let running = start(&engine, &settings(EVERY_SECOND, 1));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!running.task.is_finished());
    running.stop().await;
}

#[tokio::test]
async fn no_sweep_runs_that_is_not_enabled() {
    let (_folder, _clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let mut settings = settings(HOURLY, 1);
    for schedule in settings.schedules.values_mut() {
        schedule.enabled = false;
    }
    let running = start(&engine, &settings);
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.stop().await;
    assert_eq!(runs(&engine).await, []);
}

/// The clock stands, so that there is one tick; what is seen through is not looked at again.
#[tokio::test]
async fn a_run_that_was_held_back_has_failed_and_its_tick_is_tried_again() {
    let (_folder, clock, engine) = engine_at("2026-01-01T00:00:00Z").await;
    clients(&engine, 3, moment("2026-01-01T00:00:00Z")).await;
    let lane = "tenure.events.0".to_owned();
    engine.keep_lanes(std::slice::from_ref(&lane)).await.unwrap();
    clock.set(moment("2026-03-10T12:30:00Z"));
    // A tick each second wakes it sooner than its own look, half a minute later, would.
    let running = start(&engine, &settings(EVERY_SECOND, 10));
    let held = runs_until(&engine, |runs| runs.iter().any(|run| run.finished_at.is_some())).await;
    assert_eq!((held.len(), held[0].status), (1, RunStatus::Failed), "{held:#?}");
    assert_eq!(held[0].upto, None);
    assert_eq!(
        held[0].error.as_deref(),
        Some("held back: nothing has come through tenure.events.0 yet")
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

#[tokio::test]
async fn a_sweep_is_fresh_until_it_misses_two_ticks() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let scheduler = Scheduler::new(engine.clone(), &settings(HOURLY, 10), "test".into());
    let fresh = async || scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();

    // Nothing has run, but it has just started.
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T13:10:00Z"));
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T14:00:30Z"));
    assert!(!fresh().await.fresh, "{}", fresh().await);
    assert!(fresh().await.to_string().contains("no run has finished"));

    let running = start(&engine, &settings(HOURLY, 10));
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    assert!(fresh().await.fresh, "{}", fresh().await);
    clock.set(moment("2026-03-10T15:59:59Z"));
    assert!(fresh().await.fresh, "{}", fresh().await);
    clock.set(moment("2026-03-10T16:00:01Z"));
    let stale = fresh().await;
    assert!(!stale.fresh, "{stale}");
    assert!(stale.to_string().starts_with("overdue"), "{stale}");
    assert_eq!(stale.next_tick, Some(moment("2026-03-10T17:00:00Z")));
}

/// On its own cron line, by several workers at once; a tick that finds nothing removes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_on_the_tick_of_retention() {
    let (_folder, clock, engine) = engine_at("2025-06-01T12:00:00Z").await;
    let env = [
        ("TENURE_RETENTION__CRON", "0 3 * * *"),
        ("TENURE_RETENTION__SWEEP_RUNS", "30d"),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "1"),
        ("TENURE_RETENTION__CHUNK", "2"),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = Settings::load(None, env.into_iter()).unwrap().retention;
    for day in 1..=9 {
        let at = moment("2025-04-01T00:00:00Z") + TimeDelta::days(day);
        let store = engine.store();
        let run = store.start_run(Sweep::AccessExpiry, at, at, "w").await.unwrap();
        let end = RunEnd {
            at,
            upto: None,
            error: None,
        };
        store.end_run(run.id, &end).await.unwrap();
    }
    clock.set(moment("2025-06-02T02:59:59.9Z"));
    let stop = CancellationToken::new();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let pruning = prune_on_ticks(engine.clone(), settings.clone(), stop.clone());
            tokio::spawn(pruning)
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(runs(&engine).await.len(), 9, "before the tick nothing goes");
    clock.set(moment("2025-06-02T03:00:00Z"));
    let left = runs_until(&engine, |runs| runs.len() == 1).await;
    assert_eq!(
        left[0].scheduled_at,
        moment("2025-04-10T00:00:00Z"),
        "the last one stays"
    );
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
}

/// For as long as the clock was ahead, nothing would run.
#[tokio::test]
async fn a_clock_that_was_ahead_keeps_no_sweep_waiting() {
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
async fn a_run_ahead_of_now_is_no_proof_of_freshness() {
    let (_folder, clock, engine) = engine_at("2027-04-14T12:30:00Z").await;
    let scheduler = Scheduler::new(engine.clone(), &settings(HOURLY, 10), "test".into());
    let running = start(&engine, &settings(HOURLY, 10));
    runs_until(&engine, |runs| runs.iter().any(done)).await;
    running.stop().await;
    let fresh = async || scheduler.freshness().await.unwrap()[&Sweep::AccessExpiry].clone();
    assert!(fresh().await.fresh);

    // Put right: it has just started, and then it has not any more.
    clock.set(moment("2026-03-10T12:30:00Z"));
    assert!(fresh().await.fresh);
    clock.set(moment("2026-03-10T15:30:00Z"));
    let stale = fresh().await;
    assert!(!stale.fresh, "{stale}");
    let words = stale.to_string();
    assert!(
        words.contains("recorded as finished at 2027-04-14T12:30:00Z, which is ahead"),
        "{words}"
    );
    assert_eq!(stale.last_finished_at, None);
}

#[tokio::test]
async fn a_trip_of_a_clock_that_was_ahead_is_tried_again() {
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

#[tokio::test]
async fn a_clock_that_was_ahead_keeps_no_retention_waiting() {
    let (_folder, clock, engine) = engine_at("2027-04-14T12:30:00Z").await;
    let env = [
        ("TENURE_RETENTION__CRON", EVERY_SECOND),
        ("TENURE_RETENTION__SWEEP_RUNS", "1d"),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "1"),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = Settings::load(None, env.into_iter()).unwrap().retention;
    let stop = CancellationToken::new();
    let pruning = tokio::spawn(prune_on_ticks(engine.clone(), settings, stop.clone()));
    clock.set(moment("2027-04-14T12:30:01Z"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    clock.set(moment("2026-03-10T12:30:00Z"));
    for day in 1..=3 {
        let at = moment("2026-03-01T00:00:00Z") + TimeDelta::days(day);
        let run = engine
            .store()
            .start_run(Sweep::AccessExpiry, at, at, "w")
            .await
            .unwrap();
        let end = RunEnd {
            at,
            upto: None,
            error: None,
        };
        engine.store().end_run(run.id, &end).await.unwrap();
    }
    let mut now = moment("2026-03-10T12:30:00Z");
    for _ in 0..60 {
        now += TimeDelta::seconds(1);
        clock.set(now);
        tokio::time::sleep(Duration::from_millis(250)).await;
        if runs(&engine).await.len() == 1 {
            break;
        }
    }
    assert_eq!(
        runs(&engine).await.len(),
        1,
        "the next tick removes what is too old"
    );
    stop.cancel();
    pruning.await.unwrap();
}

/// By a clock that is ahead all is too old.
#[tokio::test]
async fn a_clock_that_jumped_ahead_removes_nothing() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    let at = moment("2026-03-10T12:00:00Z");
    for minute in 0..3 {
        let at = at + TimeDelta::minutes(minute);
        let run = engine
            .store()
            .start_run(Sweep::AccessExpiry, at, at, "w")
            .await
            .unwrap();
        let end = RunEnd {
            at,
            upto: None,
            error: None,
        };
        engine.store().end_run(run.id, &end).await.unwrap();
    }
    clock.jump(moment("2027-04-14T12:30:00Z"));
    let env = [
        ("TENURE_RETENTION__SWEEP_RUNS", "1d"),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "1"),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = Settings::load(None, env.into_iter()).unwrap().retention;
    let report = engine
        .prune(&settings, false, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.sweep_runs, runs(&engine).await.len()), (0, 3));
}
