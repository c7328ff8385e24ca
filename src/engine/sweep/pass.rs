//! One pass of a sweep over the clients that are due: which chunk comes next, and what ends the pass.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::chunk::Swept;
use super::{Engine, Seen, SweepOptions, SweepReport};
use crate::domain::{ClientKey, Sweep};
use crate::store::{Due, Halt, StoreError};

/// How long a chunk waits at most for the relay to catch up.
const RELAY_WAIT: Duration = Duration::from_millis(200);

/// What a pass writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing: it only counts.
    Preview,
    /// The changes, counted in this run.
    Run(i64),
}

/// One pass over the clients that are due.
pub(super) struct Pass<'a> {
    pub sweep: Sweep,
    pub until: DateTime<Utc>,
    pub output: Output,
    options: &'a SweepOptions,
    stop: &'a CancellationToken,
}

impl<'a> Pass<'a> {
    pub fn preview(sweep: Sweep, until: DateTime<Utc>, options: &'a SweepOptions) -> Self {
        Self {
            sweep,
            until,
            output: Output::Preview,
            options,
            stop: &options.stop,
        }
    }

    pub fn of_run(run: i64, sweep: Sweep, until: DateTime<Utc>, options: &'a SweepOptions) -> Self {
        Self {
            output: Output::Run(run),
            ..Self::preview(sweep, until, options)
        }
    }

    /// Stops by another token than that of the options.
    pub fn stopped_by(self, stop: &'a CancellationToken) -> Self {
        Self { stop, ..self }
    }
}

/// Why a pass ended although clients are due.
enum Ended {
    Stopped,
    Halted(Halt),
    Failed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    /// Sweeps the due clients. Several chunks may run concurrently: they wait for each other only where they add to the
    /// counts of the run, which comes last. A client whose deadline moves meanwhile may be in two chunks; the second one
    /// skips it, or finds nothing due.
    pub(super) async fn sweep_chunks(
        &self,
        pass: &Pass<'_>,
        report: &mut SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<(), StoreError> {
        let failed = CancellationToken::new();
        let mut chunks = self.sweep_in_order(pass, &failed);
        let mut failure = None;
        while let Some(swept) = chunks.next().await {
            match swept {
                Ok(swept) => {
                    report.counts += swept.counts;
                    seen(&swept.changes);
                }
                Err(Ended::Stopped) => report.stopped = true,
                Err(Ended::Halted(halt)) => report.halted(halt),
                // Concurrent chunks are finished.
                Err(Ended::Failed(error)) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The results of the chunks, in their order; no chunk begins after one has failed. (Boxed, because the compiler cannot
    /// infer that the stream is `Send`.)
    fn sweep_in_order<'a>(
        &'a self,
        pass: &'a Pass<'a>,
        failed: &'a CancellationToken,
    ) -> BoxStream<'a, Result<Swept, Ended>> {
        // The deadline to continue after; the outer option is none once the pass has ended.
        stream::unfold(Some(None), move |after: Option<Option<Due>>| async move {
            match self.due_next(pass, after?.as_ref()).await {
                Ok(_) if failed.is_cancelled() => None,
                Ok(due) => due.last().cloned().map(|last| (Ok(due), Some(Some(last)))),
                Err(ended) => Some((Err(ended), None)),
            }
        })
        .map(move |due| async move {
            let keys: Vec<ClientKey> = due?.into_iter().map(|(_, key)| key).collect();
            let swept = self.sweep_isolated(keys, pass).await;
            swept.map_err(|error| {
                failed.cancel();
                Ended::Failed(error)
            })
        })
        .buffered(self.store.concurrent_chunks())
        .boxed()
    }

    /// The clients that are due next; empty at the end. This may change until they are swept, so the chunk checks each one
    /// again under its lock.
    async fn due_next(&self, pass: &Pass<'_>, after: Option<&Due>) -> Result<Vec<Due>, Ended> {
        let due = self
            .store
            .due(pass.sweep, pass.until, after, pass.options.chunk.max(1))
            .await?;
        if due.is_empty() {
            return Ok(due);
        }
        let is_run = pass.output != Output::Preview;
        if is_run {
            self.relay_lag.wait(RELAY_WAIT).await;
        }
        if pass.stop.is_cancelled() {
            return Err(Ended::Stopped);
        }
        // Another worker may have tripped the sweep meanwhile, or a person may have paused it.
        if is_run && let Some(halt) = self.halt_of(pass.sweep, pass.options.mode).await? {
            return Err(Ended::Halted(halt));
        }
        Ok(due)
    }
}
