//! Sweeps: find the clients for which a timer has fallen due, and fire it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::{RunCounts, StoreError};

/// How to sweep.
#[derive(Clone, Debug, Default)]
pub struct SweepOptions {
    /// Look and tell, but write nothing, the run neither.
    pub dry_run: bool,
    /// Sweep as of this moment instead of now.
    pub now: Option<DateTime<Utc>>,
    /// The tick that this run stands for; the moment of the sweep without.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Who sweeps, for the record.
    pub worker: String,
    /// Stops the sweep at the next chunk.
    pub stop: CancellationToken,
}

/// What a sweep did, or in a dry run would do.
#[derive(Clone, Debug, Serialize)]
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

impl Engine {
    /// Runs a sweep to its end, chunk by chunk, each in its own transaction. `seen` is told of every
    /// chunk's changes (after they are committed, or in a dry run without), for progress and for people.
    pub async fn sweep(
        &self,
        sweep: Sweep,
        options: SweepOptions,
        seen: impl FnMut(&[(ClientKey, Vec<Entry>)]) + Send,
    ) -> Result<SweepReport, StoreError> {
        let _ = seen;
        unimplemented!("{sweep} {options:?}")
    }
}
