//! Retention: removes expired rows, chunk by chunk. The state depends on events, touches, clients and policies, so these never
//! expire.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::conflict_retry::ConflictRetry;
use crate::config::RetentionSettings;
use crate::store::{RetentionTarget, StoreError};

/// For how long trace contexts of events are stored. Changes are published within a moment, or when RabbitMQ is back.
const TRACES_KEPT: TimeDelta = TimeDelta::hours(1);

/// The number of rows that were removed, or in a dry run would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    pub dry_run: bool,
    pub dead_letters: u64,
    pub sweep_runs: u64,
    pub journal: u64,
    /// Entries of the access log.
    pub accesses: u64,
    /// Entries of the audit log.
    pub audit: u64,
    /// Trace contexts of events.
    pub traces: u64,
    /// It was stopped before the last chunk; the next run continues.
    pub stopped: bool,
}

impl PruneReport {
    /// Logs what was removed.
    fn log(&self) {
        let removed =
            self.dead_letters + self.sweep_runs + self.journal + self.accesses + self.audit + self.traces;
        if !self.dry_run && removed > 0 {
            tracing::info!(
                dead_letters = self.dead_letters,
                sweep_runs = self.sweep_runs,
                journal = self.journal,
                accesses = self.accesses,
                audit = self.audit,
                traces = self.traces,
                stopped = self.stopped,
                "removed expired rows"
            );
        }
    }
}

impl Engine {
    /// Removes rows that are older than the settings allow. Removes none while the clock is ahead, because every row would seem
    /// expired. Several workers may run at once and share the rows.
    ///
    /// # Errors
    /// When the store cannot be reached; the chunks that were removed by then stay removed.
    pub async fn prune(
        &self,
        settings: &RetentionSettings,
        dry_run: bool,
        stop: &CancellationToken,
    ) -> Result<PruneReport, StoreError> {
        let keep = settings.sweep_runs_kept;
        let mut report = PruneReport {
            dry_run,
            ..PruneReport::default()
        };
        if !dry_run && let Some(skew) = self.watch.ahead() {
            tracing::warn!(why = %skew, "nothing is pruned until the clock is right");
            return Ok(report);
        }
        let kinds = [
            (
                RetentionTarget::DeadLetters,
                self.before(settings.dead_letters),
                &mut report.dead_letters,
            ),
            (
                RetentionTarget::SweepRuns { keep },
                self.before(settings.sweep_runs),
                &mut report.sweep_runs,
            ),
            (
                RetentionTarget::Journal,
                self.before(settings.journal),
                &mut report.journal,
            ),
            (
                RetentionTarget::Accesses,
                self.accesses_expire_before(),
                &mut report.accesses,
            ),
            (
                RetentionTarget::Audit,
                self.before(settings.audit),
                &mut report.audit,
            ),
            (
                RetentionTarget::Traces,
                self.before(Some(TRACES_KEPT)),
                &mut report.traces,
            ),
        ];
        for (target, before, count) in kinds {
            let Some(before) = before else { continue };
            *count = if dry_run {
                self.store.count_prunable(target, before).await?
            } else {
                self.remove(target, before, settings.chunk, stop).await?
            };
        }
        report.stopped = stop.is_cancelled();
        report.log();
        Ok(report)
    }

    /// Removes trace contexts of events whose changes were published long ago, as [`Engine::prune`] does too: none while the
    /// clock is ahead.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn prune_traces(&self, chunk: u32, stop: &CancellationToken) -> Result<u64, StoreError> {
        if self.watch.ahead().is_some() {
            return Ok(0);
        }
        let Some(before) = self.before(Some(TRACES_KEPT)) else {
            return Ok(0);
        };
        self.remove(RetentionTarget::Traces, before, chunk, stop).await
    }

    fn before(&self, age: Option<TimeDelta>) -> Option<DateTime<Utc>> {
        self.now().checked_sub_signed(age?)
    }

    async fn remove(
        &self,
        target: RetentionTarget,
        before: DateTime<Utc>,
        chunk: u32,
        stop: &CancellationToken,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        while !stop.is_cancelled() {
            let rows = self.prune_chunk(target, before, chunk).await?;
            if rows == 0 {
                break;
            }
            removed += rows;
            metrics::counter!("tenure_pruned_total", "table" => target.table()).increment(rows);
        }
        Ok(removed)
    }

    /// Removes one chunk. Another worker may remove the same rows, which is a conflict.
    async fn prune_chunk(
        &self,
        target: RetentionTarget,
        before: DateTime<Utc>,
        chunk: u32,
    ) -> Result<u64, StoreError> {
        let mut retry = ConflictRetry::default();
        loop {
            match self.store.prune(target, before, chunk).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
        }
    }
}
