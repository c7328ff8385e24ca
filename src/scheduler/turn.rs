//! The turns of one sweep: wait for a tick, find out whether its run is due, and run it. One turn follows the other, so a
//! sweep never overlaps with itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ticks::until_next_tick;
use super::{ConsideredTick, Scheduler, report};
use crate::backoff::Backoff;
use crate::config::CronLine;
use crate::domain::Sweep;
use crate::engine::SweepOptions;
use crate::interval::pause;
use crate::store::{Halt, HaltKind, RunStatus, StoreError};

/// How many of the newest runs the scheduler reads. Some may be a person's, which stand for no tick.
pub(super) const RECENT: u32 = 50;

/// The pauses before a failed run is retried.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the sweep panicked: {0}; this is a bug")]
    Panic(#[from] tokio::task::JoinError),
}

impl Scheduler {
    pub(super) async fn run_turns(
        self: Arc<Self>,
        sweep: Sweep,
        cron: CronLine,
        ticked: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut done: Option<DateTime<Utc>> = None;
        let mut backoff = Backoff::between(FIRST_RETRY, LONGEST_RETRY);
        while !stop.is_cancelled() {
            let mut retry = None;
            // Not the last tick and no older one either: after a clock was set back, an earlier tick is due again.
            if let Some(tick) = self.tick_to_run(&cron).filter(|tick| Some(*tick) != done) {
                match self.run_if_due(sweep, tick, &stop).await {
                    Ok(is_done) => {
                        if !backoff.is_fresh() {
                            tracing::info!(%sweep, "the sweep runs again");
                        }
                        backoff.reset();
                        // A run that was held back is repeated soon, before the next tick.
                        if is_done {
                            done = Some(tick);
                        }
                    }
                    Err(error) => {
                        // Logged once: readiness reports it until the sweep runs again.
                        if backoff.is_fresh() {
                            tracing::error!(%sweep, scheduled_at = %tick, %error, "the sweep failed; it will be tried again");
                        }
                        retry = Some(backoff.pause());
                    }
                }
                self.note_considered(sweep, tick);
            }
            if let Some(retry) = retry {
                pause(retry, &stop).await;
            } else {
                tokio::select! {
                    () = ticked.notified() => {}
                    _ = pause(until_next_tick(&cron, self.engine.now()), &stop) => {}
                }
            }
        }
    }

    /// The last tick, unless the clock is ahead: readiness and the log report that already.
    fn tick_to_run(&self, cron: &CronLine) -> Option<DateTime<Utc>> {
        let is_ahead = self.engine.clock().ahead().is_some();
        cron.at_or_before(self.engine.now()).filter(|_| !is_ahead)
    }

    fn note_considered(&self, sweep: Sweep, tick: DateTime<Utc>) {
        self.considered.send_modify(|considered| {
            let last = considered
                .entry(sweep)
                .or_insert(ConsideredTick { tick, attempts: 0 });
            if last.tick != tick {
                *last = ConsideredTick { tick, attempts: 0 };
            }
            last.attempts += 1;
        });
    }

    /// Runs a sweep for a tick, unless a worker has finished that run or the sweep is halted. A run that another worker has
    /// started is joined: that worker may have died, and if not, the two share the work. False: the run was held back.
    async fn run_if_due(
        &self,
        sweep: Sweep,
        tick: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let runs = self.engine.store().runs(Some(sweep), RECENT).await?;
        if runs
            .iter()
            .any(|run| run.scheduled_at == tick && run.status == RunStatus::Done)
        {
            return Ok(true);
        }
        if self.is_halted(sweep).await? {
            return Ok(true);
        }
        let options = SweepOptions {
            scheduled_at: Some(tick),
            breaker: Some(self.breaker),
            worker: self.worker.clone(),
            chunk: self.chunk,
            stop: stop.clone(),
            ..SweepOptions::default()
        };
        let engine = self.engine.clone();
        let began = Instant::now();
        // In a task of its own, so that a panic ends this run and not the turns of the sweep.
        let ended = tokio::spawn(async move { engine.sweep(sweep, options, |_| {}).await }).await;
        let swept = ended.map_err(Failure::from).and_then(|done| Ok(done?));
        let took = began.elapsed();
        report::record(
            sweep,
            took,
            swept.as_ref().ok(),
            self.engine.now(),
            self.started_at(),
        );
        if let Ok(swept) = &swept {
            report::log(swept, took);
        }
        swept.map(|swept| swept.held_back.is_none())
    }

    /// Whether a pause or the breaker stops this sweep.
    async fn is_halted(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let mut halts = self.engine.store().halts().await?;
        for halt in self.tripped_ahead(sweep, &halts) {
            // A sweep that would still change too much trips again.
            self.engine.store().resume(sweep, halt.kind).await?;
            tracing::info!(%sweep, "a clock that was ahead had tripped the breaker; the sweep is tried again");
            halts.retain(|other| *other != halt);
        }
        let halted = |kind| halts.iter().any(|halt| halt.sweep == sweep && halt.kind == kind);
        for kind in [HaltKind::Paused, HaltKind::Tripped] {
            report::record_halt(sweep, kind, halted(kind));
        }
        Ok(halted(HaltKind::Paused) || halted(HaltKind::Tripped))
    }

    /// Trips of a sweep that are dated ahead of now: a wrong clock tripped the breaker, and the clock is right again.
    fn tripped_ahead(&self, sweep: Sweep, halts: &[Halt]) -> Vec<Halt> {
        let clock = self.engine.clock();
        if clock.wrong().is_some() {
            return Vec::new();
        }
        halts
            .iter()
            .filter(|halt| halt.sweep == sweep && halt.kind == HaltKind::Tripped)
            .filter(|halt| clock.is_to_come(halt.at))
            .cloned()
            .collect()
    }
}
