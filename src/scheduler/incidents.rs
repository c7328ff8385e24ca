//! What keeps sweeps from their work, whichever worker notices it first: one line in the log when it begins, and one when it
//! ends.

use std::collections::BTreeSet;
use std::sync::Arc;
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
}

impl Incidents {
    /// Notes which of these halts are those of a sweep, in the metrics too.
    pub fn note_halts(&mut self, sweep: Sweep, halts: &[Halt]) {
        for kind in HaltKind::ALL {
            let halt = halts.iter().find(|halt| halt.sweep == sweep && halt.kind == kind);
            report::record_halt(sweep, kind, halt.is_some());
            match (kind, halt) {
                (HaltKind::Paused, Some(Halt { why, .. })) if self.paused.insert(sweep) => {
                    tracing::info!(%sweep, why, "the sweep is paused; its timers do not fire");
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
    pub fn note_held_back(&mut self, sweep: Sweep, held_back: Option<&HeldBack>) {
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
        // Before they are read: a turn must not note newer ones meanwhile.
        let mut incidents = self.incidents.lock().await;
        let halts = self.engine.store().halts().await?;
        for sweep in self.schedules.keys() {
            incidents.note_halts(*sweep, &halts);
        }
        Ok(())
    }

    /// Whether a pause or the breaker stops this sweep.
    pub(super) async fn is_halted(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let mut incidents = self.incidents.lock().await;
        let halts = self.engine.review_halts(sweep).await?;
        incidents.note_halts(sweep, &halts);
        Ok(!halts.is_empty())
    }
}
