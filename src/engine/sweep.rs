//! Sweeps: find the clients for which a timer has fallen due, and fire it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Engine, carry_out, plan};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::{RunCounts, StoreError};

/// How often a chunk is tried when another transaction was faster.
const ATTEMPTS: u32 = 8;
/// Clients in a chunk when nothing else is said.
pub const DEFAULT_CHUNK: u32 = 500;

/// How to sweep.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Look and tell, but write nothing, the run neither.
    pub dry_run: bool,
    /// Sweep as of this moment instead of now.
    pub now: Option<DateTime<Utc>>,
    /// The tick that this run stands for; the moment of the sweep without.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Who sweeps, for the record.
    pub worker: String,
    /// Clients in a chunk, which is a transaction.
    pub chunk: u32,
    /// Stops the sweep at the next chunk.
    pub stop: CancellationToken,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            now: None,
            scheduled_at: None,
            worker: "tenure".into(),
            chunk: DEFAULT_CHUNK,
            stop: CancellationToken::new(),
        }
    }
}

/// What a sweep did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    pub sweep: Sweep,
    /// The moment that the sweep went up to.
    pub until: DateTime<Utc>,
    pub dry_run: bool,
    #[serde(flatten)]
    pub counts: RunCounts,
    /// It was stopped before it was through.
    pub stopped: bool,
}

/// Told of each chunk's changes, by client.
type Seen<'a> = dyn FnMut(&[(ClientKey, Vec<Entry>)]) + Send + 'a;

impl Engine {
    /// Runs a sweep to its end, chunk by chunk, each in its own transaction. `seen` is told of every
    /// chunk's changes (after they are committed, or in a dry run without), for progress and for people.
    /// A client that cannot be swept is logged and counted, and stops no other.
    ///
    /// # Errors
    /// When the store cannot be reached; what was swept by then is committed and recorded.
    pub async fn sweep(
        &self,
        sweep: Sweep,
        options: SweepOptions,
        mut seen: impl FnMut(&[(ClientKey, Vec<Entry>)]) + Send,
    ) -> Result<SweepReport, StoreError> {
        let until = options.now.unwrap_or_else(|| self.now());
        let mut report = SweepReport {
            sweep,
            until,
            dry_run: options.dry_run,
            counts: RunCounts::default(),
            stopped: false,
        };
        if options.dry_run {
            self.sweep_chunks(&options, None, &mut report, &mut seen).await?;
            return Ok(report);
        }
        let scheduled_at = options.scheduled_at.unwrap_or(until);
        let run = self
            .store
            .start_run(sweep, scheduled_at, self.now(), &options.worker)
            .await?;
        let done = self
            .sweep_chunks(&options, Some(run.id), &mut report, &mut seen)
            .await;
        let error = match &done {
            Err(error) => Some(error.to_string()),
            Ok(()) if report.stopped => Some("stopped before it was through; the next run goes on".into()),
            Ok(()) if report.counts.failed > 0 => {
                Some(format!("{} clients could not be swept", report.counts.failed))
            }
            Ok(()) => None,
        };
        let ended = self
            .store
            .update_run(run.id, &RunCounts::default(), error.as_deref(), Some(self.now()))
            .await;
        done.and(ended).map(|()| report)
    }

    async fn sweep_chunks(
        &self,
        options: &SweepOptions,
        run: Option<i64>,
        report: &mut SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<(), StoreError> {
        let mut after: Option<(DateTime<Utc>, ClientKey)> = None;
        loop {
            if options.stop.is_cancelled() {
                report.stopped = true;
                return Ok(());
            }
            let due = self
                .store
                .due(report.sweep, report.until, after.as_ref(), options.chunk.max(1))
                .await?;
            let Some(last) = due.last().cloned() else {
                return Ok(());
            };
            after = Some(last);
            let keys: Vec<ClientKey> = due.into_iter().map(|(_, key)| key).collect();
            let counts = self.sweep_isolated(keys, report, seen).await?;
            report.counts += counts;
            if let Some(run) = run {
                self.store.update_run(run, &counts, None, None).await?;
            }
        }
    }

    /// Sweeps these clients together, or, where one of them makes that fail, each alone.
    async fn sweep_isolated(
        &self,
        keys: Vec<ClientKey>,
        report: &SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<RunCounts, StoreError> {
        let error = match self.sweep_clients(&keys, report, seen).await {
            Err(error) if !error.is_transient() => error,
            done => return done,
        };
        tracing::warn!(sweep = %report.sweep, %error, "a chunk cannot be swept; sweeping its clients one by one");
        let mut counts = RunCounts::default();
        for key in keys {
            match self.sweep_clients(std::slice::from_ref(&key), report, seen).await {
                Ok(one) => counts += one,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::error!(sweep = %report.sweep, client = %key, %error, "the client cannot be swept");
                    counts.failed += 1;
                }
            }
        }
        Ok(counts)
    }

    async fn sweep_clients(
        &self,
        keys: &[ClientKey],
        report: &SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<RunCounts, StoreError> {
        let mut attempt = 0;
        loop {
            match self.try_sweep(keys, report, seen).await {
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=1 << attempt))).await;
                }
                done => return done,
            }
        }
    }

    async fn try_sweep(
        &self,
        keys: &[ClientKey],
        report: &SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<RunCounts, StoreError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let policies = self.policies().await?;
        let mut batch = self.store.begin().await?;
        // A client that another transaction holds is left to it: what is due fires there.
        let stored = batch.lock(&keys, true).await?;
        let examined = stored.len();
        let (commit, told) = plan::plan_sweep(stored, report.sweep, report.until, self.now(), &policies);
        let counts = RunCounts {
            examined: count(examined),
            changed: count(told.len()),
            changes: count(commit.journal.len()),
            failed: 0,
        };
        if report.dry_run {
            batch.rollback().await?;
        } else {
            carry_out(batch, &commit).await?;
            self.tell_relay(&commit);
        }
        seen(&told);
        Ok(counts)
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
