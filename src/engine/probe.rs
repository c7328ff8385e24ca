//! Whether the store can be written, judged by the last write.

use std::time::{Duration, Instant};

use super::Engine;
use crate::store::StoreError;
use crate::vitals::{EVENTS, PROBE, Vital, Vitals};

/// The longest time between two writes of a worker.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);
/// After this time without a write, the store counts as not writable, whatever it answers.
const NOTHING_WRITTEN: Duration = Duration::from_secs(30);
/// A probe may wait this long, for example for a batch of another process on SQLite.
const PROBE_WAITS: Duration = Duration::from_secs(15);
/// Longer than any batch takes: its statements have their own timeouts.
const BATCH_TAKES: Duration = Duration::from_mins(3);

impl Engine {
    /// The last successes and failures of this worker.
    #[must_use]
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Writes a small row, unless the worker has written within [`PROBE_EVERY`]. The vitals record the result. Not cancel-safe.
    pub async fn probe(&self) {
        let _one = self.probing.lock().await;
        let now = Instant::now();
        let recent = |part| {
            let vital = self.vitals.of(part, now);
            vital.failing.is_none() && vital.succeeded.is_some_and(|ago| ago < PROBE_EVERY)
        };
        if recent(PROBE) || recent(EVENTS) && self.vitals.of(PROBE, now).failing.is_none() {
            return;
        }
        let attempt = self.vitals.begin(PROBE, now);
        match self.try_write().await {
            Ok(()) => attempt.succeeded(Instant::now()),
            Err(error) => attempt.failed(error.to_string(), Instant::now()),
        }
    }

    /// Writes a small row.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn try_write(&self) -> Result<(), StoreError> {
        self.store.probe(self.now()).await
    }

    /// Why the store cannot be written. None: it was written a short time ago.
    #[must_use]
    pub fn cannot_write(&self) -> Option<String> {
        let now = Instant::now();
        let probe = self.vitals.of(PROBE, now);
        let waits = probe.under_way.filter(|&waits| waits > PROBE_WAITS);
        if let Some(why) = probe.failing {
            return Some(why);
        }
        if let Some(waits) = waits {
            return Some(format!(
                "a write has been waiting for {} s: look for a process or a transaction that locks the store",
                waits.as_secs()
            ));
        }
        let written = probe
            .succeeded
            .into_iter()
            .chain(self.vitals.of(EVENTS, now).succeeded);
        match written.min() {
            None => Some("nothing has been written yet".into()),
            Some(ago) if ago > NOTHING_WRITTEN => {
                Some(format!("nothing has been written for {} s", ago.as_secs()))
            }
            Some(_) => None,
        }
    }

    /// Why events cannot be ingested: the last batch failed, or one does not end. None: they can.
    #[must_use]
    pub fn cannot_ingest(&self) -> Option<String> {
        let Vital {
            failing, under_way, ..
        } = self.vitals.of(EVENTS, Instant::now());
        let stuck = || {
            let takes = under_way.filter(|&takes| takes > BATCH_TAKES)?;
            Some(format!("a batch has been under way for {} s", takes.as_secs()))
        };
        failing
            .map(|why| format!("the last batch failed: {why}"))
            .or_else(stuck)
    }
}
