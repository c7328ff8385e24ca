//! Whether the store can be written: known from the last write.

use std::time::{Duration, Instant};

use super::Engine;
use crate::vitals::{EVENTS, PROBE, Vital, Vitals};

/// How often a worker writes at least.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);
/// With no write for so long, the store is not writable, whatever it answers.
const NOTHING_WRITTEN: Duration = Duration::from_secs(30);
/// A probe waits so long at most, for a batch of another process on SQLite for instance.
const PROBE_WAITS: Duration = Duration::from_secs(15);
/// Longer than any batch takes: its statements have limits of their own.
const BATCH_TAKES: Duration = Duration::from_mins(3);

impl Engine {
    /// What the parts of this worker last did.
    #[must_use]
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Makes a small write, unless the worker has written within [`PROBE_EVERY`]. The result is in the vitals. Not
    /// cancel-safe.
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
        match self.store.probe(self.now()).await {
            Ok(()) => attempt.succeeded(Instant::now()),
            Err(error) => attempt.failed(error.to_string(), Instant::now()),
        }
    }

    /// Why the store cannot be written, if so. None: it was written not long ago.
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
                Some(format!("nothing was written for {} s", ago.as_secs()))
            }
            Some(_) => None,
        }
    }

    /// Why events cannot be written, if so: the last batch failed, or one does not end.
    #[must_use]
    pub fn cannot_take(&self) -> Option<String> {
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
