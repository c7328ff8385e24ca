//! The metrics and log lines of a sweep's runs.

use std::time::Duration;

use chrono::TimeDelta;

use super::TickOutcome;
use crate::domain::Sweep;
use crate::engine::SweepReport;
use crate::store::{HaltKind, RunStatus};

/// Declares the metrics of these sweeps: a counter that appears with its first run hides that run from `increase`.
pub(super) fn declare(sweeps: impl Iterator<Item = Sweep>) {
    for sweep in sweeps {
        let name = sweep.as_str();
        for status in RunStatus::ALL {
            if status != RunStatus::Running {
                let status = status.as_str();
                metrics::counter!("tenure_sweep_runs_total", "sweep" => name, "status" => status)
                    .increment(0);
            }
        }
        for outcome in TickOutcome::ALL {
            let labels = [("sweep", name), ("outcome", outcome.as_str())];
            metrics::counter!("tenure_sweep_ticks_total", &labels).increment(0);
        }
        for counter in [
            "tenure_sweep_examined_total",
            "tenure_sweep_changed_total",
            "tenure_sweep_failed_total",
            "tenure_sweep_changes_total",
        ] {
            metrics::counter!(counter, "sweep" => name).increment(0);
        }
        let _ = metrics::histogram!("tenure_sweep_duration_seconds", "sweep" => name);
        metrics::gauge!("tenure_sweep_held_back_seconds", "sweep" => name).increment(0);
        for kind in HaltKind::ALL {
            metrics::gauge!("tenure_sweep_halted", "sweep" => name, "why" => kind.as_str()).increment(0);
        }
    }
}

/// Records a run in the metrics. `report` is none for a run that failed.
pub(super) fn record(sweep: Sweep, took: Duration, report: Option<&SweepReport>) {
    let name = sweep.as_str();
    let status = report.map_or(RunStatus::Failed, SweepReport::status);
    metrics::counter!("tenure_sweep_runs_total", "sweep" => name, "status" => status.as_str()).increment(1);
    metrics::histogram!("tenure_sweep_duration_seconds", "sweep" => name).record(took);
    let Some(report) = report else { return };
    let whole = |count: i64| u64::try_from(count).unwrap_or(0);
    let counts = report.counts;
    metrics::counter!("tenure_sweep_examined_total", "sweep" => name).increment(whole(counts.examined));
    metrics::counter!("tenure_sweep_changed_total", "sweep" => name).increment(whole(counts.changed));
    metrics::counter!("tenure_sweep_failed_total", "sweep" => name).increment(whole(counts.failed));
    metrics::counter!("tenure_sweep_changes_total", "sweep" => name).increment(whole(counts.changes));
    if report.tripped.is_some() {
        record_halt(sweep, HaltKind::Tripped, true);
    }
}

/// Records the lag of what holds a sweep back. None: nothing does.
pub(super) fn record_lag(sweep: Sweep, lag: Option<TimeDelta>) {
    let lag = lag.and_then(|lag| lag.to_std().ok()).unwrap_or_default();
    metrics::gauge!("tenure_sweep_held_back_seconds", "sweep" => sweep.as_str()).set(lag.as_secs_f64());
}

/// Counts a tick that was considered.
pub(super) fn record_tick(sweep: Sweep, outcome: TickOutcome) {
    let labels = [("sweep", sweep.as_str()), ("outcome", outcome.as_str())];
    metrics::counter!("tenure_sweep_ticks_total", &labels).increment(1);
}

/// Records whether a halt of this kind stops a sweep.
pub(super) fn record_halt(sweep: Sweep, kind: HaltKind, is_halted: bool) {
    metrics::gauge!("tenure_sweep_halted", "sweep" => sweep.as_str(), "why" => kind.as_str())
        .set(u8::from(is_halted));
}

/// Logs a run: at `info` if it did something, else at `debug`. What keeps it from its work is an incident.
pub(super) fn log(report: &SweepReport, took: Duration) {
    let counts = report.counts;
    if report.tripped.is_some() && counts.changed == 0 && counts.failed == 0 {
        return;
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
        tracing::debug!(sweep = %report.sweep, duration_ms = millis, "swept: no timer was due");
    }
}
