//! Whether the sweeps run on time, for readiness.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::CronLine;
use crate::domain::time::rfc3339;
use crate::store::{Halt, HaltKind, SweepRun};

/// A run takes a while, and a tick may be noticed late.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// When a sweep last finished, and whether that is recent enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub fresh: bool,
    pub last_finished_at: Option<DateTime<Utc>>,
    pub next_tick: Option<DateTime<Utc>>,
    /// A run is recorded as finished at this moment, which is ahead of the clock: it proves nothing.
    pub finished_ahead: Option<DateTime<Utc>>,
    /// The error of the last run, if it failed.
    pub last_error: Option<String>,
    /// The halt that stops it, if there is one.
    pub halt: Option<Halt>,
}

impl Freshness {
    /// A sweep is fresh if a worker has finished it since the tick before the last one, with a minute's grace: one to two
    /// intervals of its cron line ago. A worker that has just started gets the same time.
    pub(super) fn of(
        cron: &CronLine,
        runs: &[SweepRun],
        started_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        // Workers' clocks may differ a little.
        let is_ahead = |run: &&SweepRun| run.finished_at.is_some_and(|at| at > now + TOLERANCE);
        let finished_ahead = runs
            .iter()
            .filter(is_ahead)
            .filter_map(|run| run.finished_at)
            .max();
        let last = runs
            .iter()
            .filter(|run| run.finished_at.is_some() && !is_ahead(run))
            .max_by_key(|run| run.finished_at);
        let last_finished_at = last.and_then(|run| run.finished_at);
        let last_tick = cron.at_or_before(now);
        let tick_before = last_tick.and_then(|tick| cron.before(tick));
        let since = tick_before.map_or(started_at, |tick| tick - TOLERANCE);
        Self {
            fresh: last_finished_at.is_some_and(|at| at >= since) || started_at >= since,
            last_finished_at,
            finished_ahead,
            next_tick: cron.next_after(now),
            last_error: last.and_then(|run| run.error.clone()),
            halt: None,
        }
    }

    /// Whether the sweep needs no attention. A pause by a person needs none.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match &self.halt {
            Some(halt) => halt.kind == HaltKind::Paused,
            None => self.fresh,
        }
    }
}

impl std::fmt::Display for Freshness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(halt) = &self.halt {
            let what = match halt.kind {
                HaltKind::Paused => "paused",
                HaltKind::Tripped => "stopped by the breaker",
            };
            return write!(f, "{what} since {}: {}", rfc3339(halt.at), halt.why);
        }
        match (self.fresh, self.last_finished_at) {
            (true, None) => f.write_str("just started")?,
            (true, Some(at)) => write!(f, "last run finished at {}", rfc3339(at))?,
            (false, None) if self.finished_ahead.is_some() => {
                f.write_str("no run has finished by this clock")?;
            }
            (false, None) => f.write_str("no run has finished; see `tenure_sweep_runs_total` and the log")?,
            (false, Some(at)) => write!(
                f,
                "overdue: the last run finished at {}; the log says why",
                rfc3339(at)
            )?,
        }
        if let Some(at) = self.finished_ahead.filter(|_| !self.fresh) {
            write!(
                f,
                "; a run is recorded as finished at {}, which is ahead of this clock: it was wrong then, or is now",
                rfc3339(at)
            )?;
        }
        if let Some(error) = &self.last_error {
            write!(f, "; its error: {error}")?;
        }
        if let Some(next) = self.next_tick {
            write!(f, "; next at {}", rfc3339(next))?;
        }
        Ok(())
    }
}
