//! The worker's look at its clock: compares it with those of others, corrects what a wrong one published ahead of now, and reads
//! deferred events again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::engine::{Ahead, Engine};
use crate::http::Health;
use crate::store::StoreError;
use crate::wire::{Decoder, Limits};

/// How far off a clock may be before its answers are worse than none. Durations are days; minutes change few answers.
const FAR_OFF: TimeDelta = TimeDelta::hours(1);

/// How often the clock is compared.
const LOOK: Duration = Duration::from_secs(5);
/// How often to look for deferred events whose time has come.
const REDRIVE: Duration = Duration::from_secs(1);

/// The look at one worker's clock; clones are the same.
#[derive(Clone)]
pub(super) struct ClockKeeper {
    engine: Arc<Engine>,
    /// Why what seems to have been published ahead of now waits for a person.
    held: Arc<Mutex<Option<String>>>,
}

impl ClockKeeper {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            held: Arc::default(),
        }
    }

    /// A clock that is wrong is reported; one that is far off makes the worker unready, because it decides what is answered.
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
        match self.engine.deferring() {
            None => Health::good(format!("compared: {compared}")),
            Some(events) => Health::good(format!(
                "compared: {compared}; {events} events came that are ahead of it and are deferred: is it behind?"
            )),
        }
    }

    /// Until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the clock cannot be compared with the store's");
            }
            stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        self.engine.compare_clock().await?;
        self.engine.deferring();
        let held = match self.engine.correct_ahead().await? {
            Ahead::No => None,
            Ahead::Corrected(clients) => {
                tracing::warn!(
                    clients,
                    "a clock was ahead; timers that it fired ahead of now are corrected"
                );
                None
            }
            Ahead::Held { why } => {
                if self.held().is_none() {
                    tracing::error!(why, "timers seem to have fired ahead of now");
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

    /// Reads deferred events again, until told to stop.
    pub async fn redrive(&self, limits: Limits, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let decoder = Decoder::new(limits, self.engine.now());
            // In a task of its own, so that a panic ends this time and not the next.
            let engine = self.engine.clone();
            let read = tokio::spawn(async move { engine.redrive_deferred(&decoder).await }).await;
            match read {
                Ok(Ok(0)) => {}
                Ok(Ok(dead_letters)) => {
                    tracing::info!(dead_letters, "deferred events were read again");
                    continue;
                }
                Ok(Err(error)) => tracing::debug!(%error, "deferred events cannot be read yet"),
                Err(error) => tracing::error!(%error, "reading deferred events broke off; it is tried again"),
            }
            stop.run_until_cancelled(tokio::time::sleep(REDRIVE)).await;
        }
    }
}
