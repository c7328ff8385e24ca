//! What keeps sweeps from their work: each worker logs a line when it notices that it has begun, and one when it has ended,
//! whichever worker or person caused it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Scheduler, report};
use crate::domain::Sweep;
use crate::engine::HeldBack;
use crate::interval::Interval;
use crate::store::{Halt, HaltKind, StoreError};

/// How often a worker looks for halts. A person or another worker may set and lift them between two ticks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The incidents that the log says have begun.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    paused: BTreeSet<Sweep>,
    tripped: BTreeSet<Sweep>,
    held_back: BTreeSet<Sweep>,
    notes: Notes,
}

/// How often the halts of each sweep were noted.
type Notes = BTreeMap<Sweep, u64>;

impl Incidents {
    /// Notes which of these halts are those of a sweep, in the metrics too. `before` are the notes from before the halts were read.
    fn note_halts(&mut self, sweep: Sweep, halts: &[Halt], before: &Notes) {
        // Halts that were noted meanwhile may be newer than these. If not, the watch notes these soon.
        if self.notes.get(&sweep) != before.get(&sweep) {
            return;
        }
        *self.notes.entry(sweep).or_default() += 1;
        for kind in HaltKind::ALL {
            let halt = halts.iter().find(|halt| halt.sweep == sweep && halt.kind == kind);
            report::record_halt(sweep, kind, halt.is_some());
            match (kind, halt) {
                (HaltKind::Paused, Some(Halt { why, .. })) if self.paused.insert(sweep) => {
                    tracing::info!(%sweep, why, "the sweep is paused; its timers fire only with an event of their client");
                }
                (HaltKind::Paused, None) if self.paused.remove(&sweep) => {
                    tracing::info!(%sweep, "the sweep is no longer paused");
                }
                (HaltKind::Tripped, Some(Halt { why, .. })) if self.tripped.insert(sweep) => {
                    tracing::error!(%sweep, why, "the breaker stopped the sweep; it waits for a person");
                }
                (HaltKind::Tripped, None) if self.tripped.remove(&sweep) => {
                    tracing::info!(%sweep, "the breaker no longer stops the sweep");
                }
                _ => {}
            }
        }
    }

    /// Notes whether the last run of a sweep was held back.
    fn note_held_back(&mut self, sweep: Sweep, held_back: Option<&HeldBack>) {
        match held_back {
            Some(why) if self.held_back.insert(sweep) => {
                tracing::info!(%sweep, %why, "the sweep skips timers that later events may still cancel");
            }
            None if self.held_back.remove(&sweep) => {
                tracing::info!(%sweep, "the sweep is no longer held back");
            }
            _ => {}
        }
    }
}

impl Scheduler {
    /// Notes halts until it is stopped.
    pub(super) async fn watch_halts(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = Interval::new(LOOK_EVERY, &stop);
        while interval.tick().await {
            if let Err(error) = self.look_for_halts().await {
                tracing::debug!(%error, "the halts of the sweeps cannot be read");
            }
        }
    }

    async fn look_for_halts(&self) -> Result<(), StoreError> {
        let before = self.incidents().notes.clone();
        let halts = self.engine.store().halts().await?;
        let mut incidents = self.incidents();
        for sweep in self.schedules.keys() {
            incidents.note_halts(*sweep, &halts, &before);
        }
        Ok(())
    }

    /// Whether a pause or the breaker stops this sweep.
    pub(super) async fn is_halted(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let before = self.incidents().notes.clone();
        let halts = self.engine.review_halts(sweep).await?;
        self.incidents().note_halts(sweep, &halts, &before);
        Ok(!halts.is_empty())
    }

    /// Notes what holds a sweep back, in the metrics too.
    pub(super) fn note_held_back(&self, sweep: Sweep, held_back: Option<&HeldBack>) {
        let since = held_back.map(|held_back| held_back.watermark().unwrap_or_else(|| self.started_at()));
        report::record_lag(sweep, since.map(|since| self.engine.now() - since));
        self.incidents().note_held_back(sweep, held_back);
    }

    fn incidents(&self) -> MutexGuard<'_, Incidents> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
