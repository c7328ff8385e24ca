//! Sweeps: find the clients that have a timer due, and fire it.

mod chunk;
mod failing;
mod pass;
mod report;
mod run;
mod trip;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub(super) use failing::FailingClients;
pub use report::SweepReport;

use super::Engine;
use super::low_watermark::{HeldBack, LowWatermark};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::{HaltKind, StoreError};

/// Clients in a chunk, unless the options say otherwise.
pub const DEFAULT_CHUNK: u32 = 250;

/// Why a sweep runs. The mode decides which halts stop it and whether the breaker can trip it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepMode {
    /// The scheduler runs it for this tick. A pause stops it, and so does the breaker.
    Scheduled { tick: DateTime<Utc> },
    /// A person runs it. The breaker stops it, a pause does not.
    ByHand,
    /// A person runs it and has confirmed what it changes. Neither a pause nor the breaker stops it, and it lifts a trip.
    Confirmed,
    /// Reports what the sweep would change, and writes nothing. Neither a pause nor the breaker stops it.
    DryRun,
}

impl SweepMode {
    /// Whether a halt of this kind stops the sweep.
    fn obeys(self, kind: HaltKind) -> bool {
        match (self, kind) {
            (Self::Scheduled { .. }, _) | (Self::ByHand, HaltKind::Tripped) => true,
            (Self::ByHand, HaltKind::Paused) | (Self::Confirmed | Self::DryRun, _) => false,
        }
    }
}

/// How to run a sweep.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    pub mode: SweepMode,
    /// Sweep as of this moment instead of now.
    pub as_of: Option<DateTime<Utc>>,
    /// The name of the worker in the record of the run.
    pub worker: String,
    /// Clients in a chunk, which is one transaction.
    pub chunk: u32,
    /// Stops the sweep before the next chunk. Chunks that have begun are finished.
    pub stop: CancellationToken,
}

impl SweepOptions {
    #[must_use]
    pub fn new(mode: SweepMode) -> Self {
        Self {
            mode,
            as_of: None,
            worker: "tenure".into(),
            chunk: DEFAULT_CHUNK,
            stop: CancellationToken::new(),
        }
    }
}

/// Receives the changes of each chunk, by client.
type Seen<'a> = dyn FnMut(&[(ClientKey, Vec<Entry>)]) + Send + 'a;

/// How far a sweep may go.
struct Bound {
    /// The moment that the sweep was asked to go up to.
    wanted: DateTime<Utc>,
    low_watermark: LowWatermark,
}

impl Engine {
    /// Runs a sweep, chunk by chunk, each in its own transaction. `seen` receives the changes of every chunk after its
    /// commit, or in a dry run without one; a chunk that fails is not reported. A client that cannot be swept is logged and
    /// counted, and stops no other.
    ///
    /// The sweep does not start while the clock is ahead, unless `as_of` names a moment. It goes up to that moment, but no
    /// further than the low watermark: later events may still wait in a queue, or with a silent source, and cancel a timer.
    /// Only a dry run as of a given moment ignores the low watermark.
    ///
    /// # Errors
    /// When the store cannot be reached. The chunks that were swept by then are committed and recorded.
    pub async fn sweep(
        &self,
        sweep: Sweep,
        options: SweepOptions,
        mut seen: impl FnMut(&[(ClientKey, Vec<Entry>)]) + Send,
    ) -> Result<SweepReport, StoreError> {
        let bound = self.sweep_bound(&options).await?;
        if options.mode == SweepMode::DryRun {
            return self.preview_sweep(sweep, &options, &bound, &mut seen).await;
        }
        if options.as_of.is_none()
            && let Some(skew) = self.watch.ahead()
        {
            let mut report = SweepReport::new(sweep, None, false);
            report.held_back = Some(HeldBack::Clock {
                clock: skew.to_string(),
            });
            return Ok(report);
        }
        self.run_sweep(sweep, &options, &bound, &mut seen).await
    }

    async fn sweep_bound(&self, options: &SweepOptions) -> Result<Bound, StoreError> {
        let wanted = options.as_of.unwrap_or_else(|| self.now());
        let (lanes, sources) = if options.mode == SweepMode::DryRun && options.as_of.is_some() {
            (Vec::new(), Vec::new())
        } else {
            (self.store.lanes().await?, self.store.sources().await?)
        };
        Ok(Bound {
            wanted,
            low_watermark: LowWatermark::of(&lanes, &sources, wanted, &self.watch),
        })
    }
}
