//! Introduces the policy of the settings. Until it takes effect, the worker uses the previous one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::Settings;
use crate::domain::Policy;
use crate::domain::time::rfc3339;
use crate::engine::{Adoption, AdoptionMode, Engine, NOTICE, known_everywhere};
use crate::interval::pause;
use crate::store::StoreError;

/// The interval at which a worker looks for deadlines to compute.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long before it takes effect a policy is recorded: longer than the time of an event may be ahead of the clock, because
/// such an event is decided when it arrives.
#[must_use]
pub fn notice(settings: &Settings) -> TimeDelta {
    TimeDelta::from_std(settings.events.max_clock_skew)
        .ok()
        .and_then(|skew| skew.checked_add(&NOTICE))
        .unwrap_or(TimeDelta::MAX)
}

/// Computes the deadlines of a policy that was just recorded, once every worker has read it: from then on they write
/// deadlines that need no correction.
///
/// # Errors
/// When the store cannot be reached.
pub async fn backfill_everywhere(engine: &Engine, stop: &CancellationToken) -> Result<u64, StoreError> {
    if !pause(known_everywhere(), stop).await {
        return Ok(0);
    }
    engine.backfill_deadlines(stop).await
}

/// The attempts of one worker to put its policy into force; clones share their state.
#[derive(Clone)]
pub(super) struct Introduction {
    engine: Arc<Engine>,
    policy: Policy,
    notice: TimeDelta,
    held: Arc<Mutex<Option<Held>>>,
}

/// Why the policy waits.
#[derive(Clone)]
struct Held {
    why: String,
    /// The first clients that it would change, if it would change too many.
    first: Option<String>,
    /// Whether it waits for a right clock, and not for a person.
    is_for_clock: bool,
}

impl Introduction {
    pub fn new(engine: Arc<Engine>, settings: &Settings) -> Self {
        Self {
            engine,
            policy: settings.policy(),
            notice: notice(settings),
            held: Arc::default(),
        }
    }

    /// Why the policy waits for a person or for a right clock. None: it does not, or no longer.
    pub async fn held(&self) -> Option<String> {
        // Without an answer of the store, nothing is known to have changed.
        let held = self
            .still_held()
            .await
            .unwrap_or_else(|_| self.last_held().clone());
        held.map(|held| held.why)
    }

    async fn still_held(&self) -> Result<Option<Held>, StoreError> {
        // A person may have confirmed it since.
        if self.engine.is_latest_policy(&self.policy).await? {
            *self.last_held() = None;
        }
        Ok(self.last_held().clone())
    }

    fn last_held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until it is stopped, also once the policy is in force: a worker that recorded another policy may have died
    /// before it computed the deadlines.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        let mut adopted = false;
        let mut reported = None;
        loop {
            let mut attempt = if adopted { Ok(true) } else { self.adopt().await };
            // Before the deadlines, which may take minutes.
            reported = self.report(reported).await;
            if matches!(attempt, Ok(true)) {
                attempt = self.backfill_deadlines(stop).await.map(|()| true);
            }
            let wait = pause_after(&attempt, &mut backoff);
            match attempt {
                Ok(done) => adopted = done,
                Err(error) => tracing::debug!(%error, "the policy cannot be recorded yet"),
            }
            if !pause(wait, stop).await {
                return;
            }
        }
    }

    /// Reports whether the policy waits: in the metrics, and in the log when that begins, when it waits for something else, and
    /// when it ends. Returns what was reported: whether it waits for the clock, or none if it does not wait.
    async fn report(&self, reported: Option<bool>) -> Option<bool> {
        let Ok(held) = self.still_held().await else {
            return reported;
        };
        metrics::gauge!("tenure_policy_held_back").set(u8::from(held.is_some()));
        let is_for_clock = held.as_ref().map(|held| held.is_for_clock);
        match held {
            Some(Held { why, first, .. }) if reported != is_for_clock => {
                tracing::error!(why, first, "the policy in the settings does not take effect");
            }
            None if reported.is_some() => {
                tracing::info!("the policy in the settings is no longer held back");
            }
            _ => {}
        }
        is_for_clock
    }

    /// False: the attempt must be repeated.
    async fn adopt(&self) -> Result<bool, StoreError> {
        let adoption = self
            .engine
            .adopt(&self.policy, self.notice, AdoptionMode::Automatic)
            .await?;
        let held = match adoption {
            Adoption::Known => None,
            Adoption::Recorded { from } => {
                tracing::info!(policy.from = rfc3339(from), "recorded the policy in the settings");
                None
            }
            Adoption::Waits { why } => Some(Held {
                why,
                first: None,
                is_for_clock: true,
            }),
            Adoption::Held { why, first } => {
                let first: Vec<String> = first.iter().map(ToString::to_string).collect();
                Some(Held {
                    why,
                    first: (!first.is_empty()).then(|| first.join(", ")),
                    is_for_clock: false,
                })
            }
        };
        let is_done = held.as_ref().is_none_or(|held| !held.is_for_clock);
        *self.last_held() = held;
        Ok(is_done)
    }

    /// Computes the deadlines of the latest policy, including those that another worker left unfinished.
    async fn backfill_deadlines(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        if !self.engine.has_deadline_backfill().await? {
            return Ok(());
        }
        let clients = backfill_everywhere(&self.engine, stop).await?;
        if clients > 0 {
            tracing::info!(clients, "computed the deadlines under the latest policy");
        }
        Ok(())
    }
}

/// How long to wait after an attempt: soon again after a failure, and at the usual interval after a success.
fn pause_after<T>(attempt: &Result<T, StoreError>, backoff: &mut Backoff) -> Duration {
    if attempt.is_err() {
        return backoff.pause();
    }
    backoff.reset();
    LOOK_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);

    #[test]
    fn a_success_resets_the_backoff() {
        let failure = || Err::<(), _>(StoreError::Unavailable("no answer".into()));
        let mut backoff = Backoff::default();
        let first = pause_after(&failure(), &mut backoff);
        assert!(first <= FIRST, "{first:?}");
        for _ in 0..5 {
            pause_after(&failure(), &mut backoff);
        }
        assert!(pause_after(&failure(), &mut backoff) > FIRST);
        assert_eq!(pause_after(&Ok(()), &mut backoff), LOOK_EVERY);
        let next = pause_after(&failure(), &mut backoff);
        assert!(next <= FIRST, "{next:?}");
    }
}
