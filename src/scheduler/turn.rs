//! The turns of one sweep: wait for a tick, find out whether its run is due, and run it. One turn follows the other, so a
//! sweep never overlaps with itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ticks::until_next_tick;
use super::{ConsideredTick, Failure, Scheduler, TickOutcome, report};
use crate::backoff::Backoff;
use crate::config::CronLine;
use crate::domain::Sweep;
use crate::engine::{SweepMode, SweepOptions};
use crate::interval::pause;
use crate::store::RunStatus;

/// How many of the newest runs the scheduler reads. Some may be a person's, which stand for no tick.
pub(super) const RECENT: u32 = 50;

/// The pauses before a failed run is retried.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

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
            // Any other tick than the last one is due: after a clock was set back, that is an earlier one.
            if let Some(tick) = cron
                .at_or_before(self.engine.now())
                .filter(|tick| Some(*tick) != done)
            {
                let outcome = match self.run_if_due(sweep, tick, &stop).await {
                    Ok(outcome) => {
                        if !backoff.is_fresh() && outcome != TickOutcome::ClockAhead {
                            tracing::info!(%sweep, "the sweep runs again");
                            backoff.reset();
                        }
                        if outcome.is_final() {
                            done = Some(tick);
                        }
                        outcome
                    }
                    Err(error) => {
                        // Logged once: readiness reports it until the sweep runs again.
                        if backoff.is_fresh() {
                            tracing::error!(%sweep, scheduled_at = %tick, %error, "the sweep failed; it will be tried again");
                        }
                        retry = Some(backoff.pause());
                        TickOutcome::Failed
                    }
                };
                self.record_considered(sweep, tick, outcome);
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

    fn record_considered(&self, sweep: Sweep, tick: DateTime<Utc>, outcome: TickOutcome) {
        report::record_tick(sweep, outcome);
        self.considered.send_modify(|considered| {
            let attempts = considered
                .get(&sweep)
                .filter(|last| last.tick == tick)
                .map_or(0, |last| last.attempts);
            let last = ConsideredTick {
                tick,
                attempts: attempts + 1,
                outcome,
            };
            considered.insert(sweep, last);
        });
    }

    /// Runs a sweep for a tick, unless a worker has finished that run, the sweep is halted, or the clock is ahead. A run that
    /// another worker has started is joined: that worker may have died, and if not, the two share the work.
    async fn run_if_due(
        &self,
        sweep: Sweep,
        tick: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<TickOutcome, Failure> {
        // Readiness and the log report that already.
        if self.engine.clock().ahead().is_some() {
            return Ok(TickOutcome::ClockAhead);
        }
        let runs = self.engine.store().runs(Some(sweep), RECENT).await?;
        if runs
            .iter()
            .any(|run| run.scheduled_at == tick && run.status == RunStatus::Done)
        {
            self.note_held_back(sweep, None);
            return Ok(TickOutcome::AlreadyDone);
        }
        if self.is_halted(sweep).await? {
            // While it is halted, the halt keeps it from its work.
            self.note_held_back(sweep, None);
            return Ok(TickOutcome::Halted);
        }
        let options = SweepOptions {
            worker: self.worker.clone(),
            chunk: self.chunk,
            stop: stop.clone(),
            ..SweepOptions::new(SweepMode::Scheduled { tick })
        };
        let engine = self.engine.clone();
        let began = Instant::now();
        // In a task of its own, so that a panic ends this run and not the turns of the sweep.
        let ended = tokio::spawn(async move { engine.sweep(sweep, options, |_| {}).await }).await;
        let swept = ended.map_err(Failure::from).and_then(|done| Ok(done?));
        let took = began.elapsed();
        report::record(sweep, took, swept.as_ref().ok());
        if let Ok(swept) = &swept {
            // A run that was halted does not show whether it would have been held back.
            if swept.tripped.is_none() && !swept.stopped {
                self.note_held_back(sweep, swept.held_back.as_ref());
            }
            report::log(swept, took);
        }
        swept.map(|swept| match swept.held_back {
            Some(_) => TickOutcome::HeldBack,
            None => TickOutcome::Ran,
        })
    }
}
