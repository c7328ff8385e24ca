//! The worker's view of its clock: compares it with other clocks, corrects what a wrong clock published ahead of time, and
//! redrives deferred events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::engine::{AheadCorrection, Engine};
use crate::http::Health;
use crate::interval::Interval;
use crate::store::StoreError;
use crate::wire::{Decoder, Limits};

/// The difference from which a clock makes the worker unready. Durations are days, so minutes change few decisions.
const FAR_OFF: TimeDelta = TimeDelta::hours(1);

/// The interval at which the clock is compared.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// The interval at which the worker looks for deferred events that are due.
const REDRIVE_EVERY: Duration = Duration::from_secs(1);

/// Keeps watch over one worker's clock; clones share their state.
#[derive(Clone)]
pub(super) struct ClockKeeper {
    engine: Arc<Engine>,
    /// Why a correction of what was published ahead of time waits for a person.
    held: Arc<Mutex<Option<String>>>,
}

impl ClockKeeper {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            held: Arc::default(),
        }
    }

    /// Reports a wrong clock. One that is far off makes the worker unready, because access decisions depend on it.
    pub fn health(&self) -> Health {
        let clock = self.engine.clock();
        if let Some(skew) = clock.wrong() {
            let then = if skew.is_ahead() {
                "no timer fires until it is right"
            } else {
                "timers fire late, and events are ahead of it, until it is right"
            };
            return Health {
                ok: skew.by.abs() <= FAR_OFF,
                ..Health::good(format!("{skew}; {then}"))
            };
        }
        if let Some(why) = self.held() {
            return Health::bad(why);
        }
        let compared: Vec<String> = clock
            .skews()
            .iter()
            .map(|skew| format!("{} {:+.1} s", skew.reference.as_str(), skew.by.as_seconds_f64()))
            .collect();
        let compared = compared.join(", ");
        match self.engine.recently_deferred() {
            None => Health::good(format!("compared: {compared}")),
            Some(events) => Health::good(format!(
                "compared: {compared}; {events} events were ahead of it and are deferred: is it behind?"
            )),
        }
    }

    /// Compares the clock until it is stopped.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut interval = Interval::new(COMPARE_EVERY, stop);
        while interval.tick().await {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the clock cannot be compared with the store's");
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        self.engine.compare_clock().await?;
        // Logs the end of a spell of deferred events.
        self.engine.recently_deferred();
        let held = match self.engine.correct_ahead().await? {
            AheadCorrection::NotNeeded => None,
            AheadCorrection::Corrected { clients } => {
                tracing::warn!(
                    clients,
                    "a clock was ahead; corrected the timers that it fired too early"
                );
                None
            }
            AheadCorrection::Held { why } => {
                if self.held().is_none() {
                    tracing::error!(why, "timers may have fired too early");
                }
                Some(why)
            }
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    fn held(&self) -> Option<String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Redrives deferred events until it is stopped.
    pub async fn redrive(&self, limits: Limits, stop: &CancellationToken) {
        let mut interval = Interval::new(REDRIVE_EVERY, stop);
        while interval.tick().await {
            while !stop.is_cancelled() && self.redrive_chunk(limits).await {}
        }
    }

    /// Redrives a chunk of deferred events. True: there may be more.
    async fn redrive_chunk(&self, limits: Limits) -> bool {
        let decoder = Decoder::new(limits, self.engine.clock().present());
        // In a task of its own, so that a panic ends this attempt and not the next.
        let engine = self.engine.clone();
        match tokio::spawn(async move { engine.redrive_deferred(&decoder).await }).await {
            Ok(Ok(0)) => return false,
            Ok(Ok(dead_letters)) => {
                tracing::info!(dead_letters, "redrove deferred events");
                return true;
            }
            Ok(Err(error)) => tracing::debug!(%error, "deferred events cannot be redriven yet"),
            Err(error) => {
                tracing::error!(%error, "redriving deferred events panicked; it will be tried again");
            }
        }
        false
    }
}
