//! Retention: what has grown too old is removed, chunk by chunk. Never what the state follows from: events, touches,
//! clients and policies stay.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::config::RetentionSettings;
use crate::store::{RetentionTarget, StoreError};

/// How often a chunk is tried when another worker removes the same rows.
const ATTEMPTS: u32 = 8;

/// What was removed, or in a dry run would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    pub dry_run: bool,
    pub dead_letters: u64,
    pub sweep_runs: u64,
    pub journal: u64,
    /// It was stopped before it was through; the next time goes on.
    pub stopped: bool,
}

impl Engine {
    /// Removes what is older than the settings say; nothing while the clock is ahead, by which all is too old. Several workers may do so at once: they share the rows.
    ///
    /// # Errors
    /// When the store cannot be reached; what was removed by then stays so.
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
            tracing::warn!(why = %skew, "nothing is removed for its age until the clock is right");
            return Ok(report);
        }
        let kinds = [
            (
                RetentionTarget::DeadLetters,
                settings.dead_letters,
                &mut report.dead_letters,
            ),
            (
                RetentionTarget::SweepRuns { keep },
                settings.sweep_runs,
                &mut report.sweep_runs,
            ),
            (RetentionTarget::Journal, settings.journal, &mut report.journal),
        ];
        for (target, age, count) in kinds {
            let Some(before) = self.before(age) else { continue };
            *count = if dry_run {
                self.store.count_prunable(target, before).await?
            } else {
                self.remove(target, before, settings.chunk, stop).await?
            };
        }
        report.stopped = stop.is_cancelled();
        if !dry_run && report.dead_letters + report.sweep_runs + report.journal > 0 {
            tracing::info!(
                dead_letters = report.dead_letters,
                sweep_runs = report.sweep_runs,
                journal = report.journal,
                stopped = report.stopped,
                "removed what was too old"
            );
        }
        Ok(report)
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
        let mut attempt = 0;
        while !stop.is_cancelled() {
            match self.store.prune(target, before, chunk).await {
                Ok(0) => break,
                Ok(some) => {
                    removed += some;
                    attempt = 0;
                    metrics::counter!("tenure_pruned_total", "table" => target.table()).increment(some);
                }
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=1 << attempt))).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}
