//! One sweep's turns: wait for a tick, see whether its run is due, run it. One after the other, so that a
//! sweep never runs into itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Scheduler;
use crate::domain::Sweep;
use crate::engine::{HeldBack, SweepOptions, SweepReport};
use crate::store::{Halt, HaltKind, RunStatus, StoreError};

/// How many of the newest runs are looked at: some may be a person's, and stand for no tick.
pub(super) const RECENT: u32 = 50;

/// A look at the clock without a tick, should ticks stay away: the ticker computes its next one from a
/// clock that may have been wrong.
const LOOK: Duration = Duration::from_secs(30);

/// However close ticks are.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// How long to wait before a run that failed is tried again: doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// Why a run ended before it was through.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it broke off: {0}")]
    Panic(#[from] tokio::task::JoinError),
}

impl Scheduler {
    pub(super) async fn take_turns(
        self: Arc<Self>,
        sweep: Sweep,
        ticked: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut seen: Option<DateTime<Utc>> = None;
        let mut retry = FIRST_RETRY;
        let mut failing = false;
        while !stop.is_cancelled() {
            let mut wait = LOOK;
            // A clock that was put right is behind what was seen.
            let tick = self.last_tick(sweep).filter(|tick| Some(*tick) != seen);
            // Logged and told by readiness already.
            let tick = tick.filter(|_| self.engine.clock().ahead().is_none());
            if let Some(tick) = tick {
                match self.run_if_due(sweep, tick, &stop).await {
                    Ok(through) => {
                        if failing {
                            tracing::info!(%sweep, "the sweep runs again");
                        }
                        // What was held back is looked for again soon, not only at the next tick.
                        (retry, failing) = (FIRST_RETRY, false);
                        seen = if through { Some(tick) } else { seen };
                    }
                    Err(error) => {
                        // Said once: until it runs again, readiness says so.
                        if !failing {
                            tracing::error!(%sweep, scheduled_at = %tick, %error, "the sweep failed; it is tried again");
                        }
                        failing = true;
                        wait = retry;
                        retry = (retry * 2).min(LONGEST_RETRY);
                    }
                }
            }
            if !failing {
                wait = wait.min(self.until_next_tick(sweep));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = ticked.notified(), if !failing => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The ticker may have computed its next tick from a clock that was wrong.
    fn until_next_tick(&self, sweep: Sweep) -> Duration {
        let now = self.engine.now();
        let next = self
            .schedules
            .get(&sweep)
            .and_then(|schedule| schedule.cron.next_after(now));
        next.and_then(|next| (next - now).to_std().ok())
            .map_or(LOOK, |wait| wait.max(SHORTEST_WAIT))
    }

    fn last_tick(&self, sweep: Sweep) -> Option<DateTime<Utc>> {
        self.schedules.get(&sweep)?.cron.at_or_before(self.engine.now())
    }

    /// Runs a sweep for a tick, unless that was seen through already, here or elsewhere. A run that another
    /// worker has begun is joined: it may have died, and if not, the two share the work.
    async fn run_if_due(
        &self,
        sweep: Sweep,
        tick: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let runs = self.engine.store().runs(Some(sweep), RECENT).await?;
        let done = |status| status == RunStatus::Done;
        if runs
            .iter()
            .any(|run| run.scheduled_at == tick && done(run.status))
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
        // In a task of its own, so that a panic ends the run and not the sweep's turns.
        let ended = tokio::spawn(async move { engine.sweep(sweep, options, |_| {}).await }).await;
        let report = ended.map_err(Failure::from).and_then(|done| Ok(done?));
        self.count(sweep, began.elapsed(), report.as_ref().ok());
        if let Ok(report) = &report {
            tell(report, began.elapsed());
        }
        report.map(|report| report.held_back.is_none())
    }

    /// Whether a person or the breaker keeps this sweep from running.
    async fn is_halted(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let mut halts = self.engine.store().halts().await?;
        for halt in self.written_ahead(sweep, &halts) {
            // Where it would still be too much, this run trips again.
            self.engine.store().resume(sweep, halt.kind).await?;
            tracing::info!(%sweep, "the breaker was tripped by a clock that was ahead; the sweep is tried again");
            halts.retain(|other| *other != halt);
        }
        let halted = |kind| halts.iter().any(|halt| halt.sweep == sweep && halt.kind == kind);
        for kind in [HaltKind::Paused, HaltKind::Tripped] {
            metrics::gauge!("tenure_sweep_halted", "sweep" => sweep.as_str(), "why" => kind.as_str())
                .set(u8::from(halted(kind)));
        }
        Ok(halted(HaltKind::Paused) || halted(HaltKind::Tripped))
    }

    /// Trips of a sweep that lie ahead: the clock that the breaker stopped was wrong, and is right now.
    fn written_ahead(&self, sweep: Sweep, halts: &[Halt]) -> Vec<Halt> {
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

    fn count(&self, sweep: Sweep, took: Duration, report: Option<&SweepReport>) {
        let name = sweep.as_str();
        let status = match report {
            None => "failed",
            Some(report) if report.tripped.is_some() => "tripped",
            Some(report) if report.stopped => "stopped",
            Some(_) => "done",
        };
        metrics::counter!("tenure_sweep_runs_total", "sweep" => name, "status" => status).increment(1);
        metrics::histogram!("tenure_sweep_duration_seconds", "sweep" => name).record(took);
        let Some(report) = report else { return };
        let whole = |count: i64| u64::try_from(count).unwrap_or(0);
        let counts = report.counts;
        metrics::counter!("tenure_sweep_examined_total", "sweep" => name).increment(whole(counts.examined));
        metrics::counter!("tenure_sweep_changed_total", "sweep" => name).increment(whole(counts.changed));
        metrics::counter!("tenure_sweep_failed_total", "sweep" => name).increment(whole(counts.failed));
        metrics::counter!("tenure_sweep_changes_total", "sweep" => name).increment(whole(counts.changes));
        if report.tripped.is_some() {
            metrics::gauge!("tenure_sweep_halted", "sweep" => name, "why" => HaltKind::Tripped.as_str())
                .set(1);
        }
        let held_back = report.held_back.as_ref().map_or(0.0, |held_back| {
            let now = self.engine.now();
            let since = match held_back {
                HeldBack::Lane { watermark, .. } => *watermark,
                HeldBack::Clock { .. } => None,
            };
            let behind = now - since.unwrap_or_else(|| self.started_at());
            behind.to_std().unwrap_or_default().as_secs_f64()
        });
        metrics::gauge!("tenure_sweep_held_back_seconds", "sweep" => name).set(held_back);
        if !report.stopped && report.tripped.is_none() {
            #[expect(clippy::cast_precision_loss, reason = "a Unix time, exact for ages")]
            let finished = self.engine.now().timestamp() as f64;
            metrics::gauge!("tenure_sweep_finished_timestamp_seconds", "sweep" => name).set(finished);
        }
    }
}

/// One line for a run that did something; the others are for those who look closely.
fn tell(report: &SweepReport, took: Duration) {
    let counts = report.counts;
    if let Some(why) = &report.tripped {
        tracing::error!(sweep = %report.sweep, why, "the breaker stopped the sweep before it changed anything");
        return;
    }
    if let Some(held_back) = &report.held_back {
        tracing::info!(sweep = %report.sweep, why = %held_back, "the sweep leaves alone what may not be due");
    }
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if counts.changed > 0 || counts.failed > 0 || report.stopped {
        tracing::info!(
            sweep = %report.sweep,
            clients.examined = counts.examined,
            clients.changed = counts.changed,
            clients.failed = counts.failed,
            changes = counts.changes,
            stopped = report.stopped,
            duration_ms = millis,
            "swept"
        );
    } else {
        tracing::debug!(sweep = %report.sweep, duration_ms = millis, "swept, nothing was due");
    }
}
