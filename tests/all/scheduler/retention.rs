//! Retention: it removes expired rows on its ticks, and none by a clock that is ahead.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::config::{RetentionSettings, Settings};
use tenure::domain::Sweep;
use tenure::engine::Engine;
use tenure::scheduler::Retention;
use tenure::store::{RunEnd, RunStatus};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{EVERY_SECOND, engine_at, moment, runs, runs_until, wait_for};

/// Settings that remove sweep runs after an age, but never the last one.
fn settings(cron: &str, age: &str) -> RetentionSettings {
    let env = [
        ("TENURE_RETENTION__CRON", cron),
        ("TENURE_RETENTION__SWEEP_RUNS", age),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "1"),
        ("TENURE_RETENTION__CHUNK", "2"),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Settings::load(None, env.into_iter()).unwrap().retention
}

/// Records a run that took no time.
async fn finished_run(engine: &Engine, at: DateTime<Utc>) {
    let store = engine.store();
    let run = store.start_run(Sweep::AccessExpiry, at, at, "w").await.unwrap();
    let end = RunEnd {
        at,
        upto: None,
        status: RunStatus::Done,
        error: None,
    };
    store.end_run(run.id, &end).await.unwrap();
}

/// A worker's retention that runs.
struct Running {
    retention: Arc<Retention>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn start(engine: &Arc<Engine>, settings: &RetentionSettings) -> Running {
    let stop = CancellationToken::new();
    let retention = Retention::new(engine.clone(), settings.clone());
    Running {
        task: tokio::spawn(retention.clone().run(stop.clone())),
        retention,
        stop,
    }
}

impl Running {
    /// Waits until retention has checked the clock at this moment, and has removed what was due.
    async fn wait_for_check(&self, at: &str) {
        let at = moment(at);
        wait_for(self.retention.last_check(), |last| *last == Some(at)).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_remove_expired_rows_on_the_tick_and_not_before() {
    let (_folder, clock, engine) = engine_at("2025-06-02T02:59:59.9Z").await;
    for day in 1..=9 {
        finished_run(&engine, moment("2025-04-01T00:00:00Z") + TimeDelta::days(day)).await;
    }
    let settings = settings("0 3 * * *", "30d");
    let workers = [start(&engine, &settings), start(&engine, &settings)];
    for worker in &workers {
        worker.wait_for_check("2025-06-02T02:59:59.9Z").await;
    }
    assert_eq!(runs(&engine).await.len(), 9, "the tick has not come");

    clock.set(moment("2025-06-02T03:00:00Z"));
    let left = runs_until(&engine, |runs| runs.len() == 1).await;
    assert_eq!(
        left[0].scheduled_at,
        moment("2025-04-10T00:00:00Z"),
        "the last one stays"
    );
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn retention_runs_on_the_next_tick_after_a_clock_that_was_ahead_is_set_right() {
    let (_folder, clock, engine) = engine_at("2027-04-14T12:30:00Z").await;
    let retention = start(&engine, &settings(EVERY_SECOND, "1d"));
    clock.set(moment("2027-04-14T12:30:01Z"));
    retention.wait_for_check("2027-04-14T12:30:01Z").await;
    clock.set(moment("2026-03-10T12:30:00Z"));
    retention.wait_for_check("2026-03-10T12:30:00Z").await;
    for day in 1..=3 {
        finished_run(&engine, moment("2026-03-01T00:00:00Z") + TimeDelta::days(day)).await;
    }
    clock.set(moment("2026-03-10T12:30:01Z"));
    retention.wait_for_check("2026-03-10T12:30:01Z").await;
    assert_eq!(runs(&engine).await.len(), 1);
    retention.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_expires_no_row() {
    let (_folder, clock, engine) = engine_at("2026-03-10T12:30:00Z").await;
    for minute in 0..3 {
        finished_run(
            &engine,
            moment("2026-03-10T12:00:00Z") + TimeDelta::minutes(minute),
        )
        .await;
    }
    clock.jump(moment("2027-04-14T12:30:00Z"));
    let report = engine
        .prune(&settings(EVERY_SECOND, "1d"), false, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.sweep_runs, runs(&engine).await.len()), (0, 3));
}
