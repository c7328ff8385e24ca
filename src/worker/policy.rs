//! How the policy of the settings comes into force: beside the work, which goes on under the one before it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{FIRST_RETRY, LONGEST_RETRY};
use crate::config::Settings;
use crate::domain::Policy;
use crate::domain::view::rfc3339;
use crate::engine::{Adoption, Breaker, Engine, NOTICE, known_everywhere};
use crate::scheduler;
use crate::store::StoreError;

/// How often to look whether deadlines are still to be computed.
const LOOK: Duration = Duration::from_secs(30);

/// How far ahead a policy is recorded: longer than events may be ahead of the clock, for those are judged when they come.
#[must_use]
pub fn notice(settings: &Settings) -> TimeDelta {
    TimeDelta::from_std(settings.events.max_clock_skew)
        .ok()
        .and_then(|skew| skew.checked_add(&NOTICE))
        .unwrap_or(TimeDelta::MAX)
}

/// Computes the deadlines of a policy just recorded, when every worker has read it: what one of them writes later has
/// the right deadlines already.
///
/// # Errors
/// When the store cannot be reached.
pub async fn backfill_everywhere(engine: &Engine, stop: &CancellationToken) -> Result<u64, StoreError> {
    let known = tokio::time::sleep(known_everywhere());
    if stop.run_until_cancelled(known).await.is_none() {
        return Ok(0);
    }
    engine.backfill_deadlines(stop).await
}

/// One worker's attempt to put its policy into force; clones are the same.
#[derive(Clone)]
pub(super) struct Introduction {
    engine: Arc<Engine>,
    policy: Policy,
    notice: TimeDelta,
    breaker: Breaker,
    /// Why it waits for a person.
    held: Arc<Mutex<Option<String>>>,
}

impl Introduction {
    pub fn new(engine: Arc<Engine>, settings: &Settings) -> Self {
        Self {
            engine,
            policy: settings.policy(),
            notice: notice(settings),
            breaker: scheduler::breaker(&settings.sweeps),
            held: Arc::default(),
        }
    }

    /// Why the policy waits for a person, as long as it does.
    pub async fn held(&self) -> Option<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A person may have confirmed it since.
        match self.engine.goes_by(&self.policy).await {
            Ok(true) => None,
            _ => held,
        }
    }

    /// Until told to stop: others record policies too, and may not live to see their deadlines computed.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut retry = FIRST_RETRY;
        let mut adopted = false;
        while !stop.is_cancelled() {
            let done = if adopted {
                self.backfill_deadlines(stop).await.map(|()| true)
            } else {
                self.once(stop).await
            };
            let pause = match done {
                Ok(done) => {
                    adopted = done;
                    LOOK
                }
                Err(error) => {
                    tracing::debug!(%error, "the policy cannot be recorded yet");
                    retry = (retry * 2).min(LONGEST_RETRY);
                    retry
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// False: it is to be tried again.
    async fn once(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let adoption = self
            .engine
            .adopt(&self.policy, self.notice, Some(&self.breaker))
            .await?;
        match adoption {
            Adoption::Known => {}
            Adoption::Recorded { from } => {
                tracing::info!(policy.from = rfc3339(from), "other durations are recorded");
            }
            Adoption::Waits { why } => {
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                return Ok(false);
            }
            Adoption::Held { why } => {
                tracing::error!(why, "the breaker keeps other durations from coming into force");
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
        }
        self.backfill_deadlines(stop).await?;
        Ok(true)
    }

    /// Also what a worker before this one did not finish.
    async fn backfill_deadlines(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.engine.store().deadline_backfill().await?.is_none() {
            return Ok(());
        }
        let clients = backfill_everywhere(&self.engine, stop).await?;
        if clients > 0 {
            tracing::info!(clients, "deadlines are computed by the present durations");
        }
        Ok(())
    }
}
