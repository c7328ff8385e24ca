//! Introduces the policy of the settings. Until it takes effect, the worker uses the previous one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::Settings;
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Policy};
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

/// Why the policy waits, and the first clients that it would change, if it would change too many.
#[derive(Clone)]
struct Held {
    why: String,
    first: Option<String>,
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
        self.still_held().await.map(|held| held.why)
    }

    async fn still_held(&self) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A person may have confirmed it since.
        match self.engine.is_latest_policy(&self.policy).await {
            Ok(true) => None,
            _ => held,
        }
    }

    fn hold(&self, why: String, first: &[ClientKey]) {
        let first: Vec<String> = first.iter().map(ToString::to_string).collect();
        let first = (!first.is_empty()).then(|| first.join(", "));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held { why, first });
    }

    /// Runs until it is stopped, also once the policy is in force: a worker that recorded another policy may have died
    /// before it computed the deadlines.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        let (mut adopted, mut was_held) = (false, false);
        loop {
            let attempt = if adopted {
                self.backfill_deadlines(stop).await.map(|()| true)
            } else {
                self.adopt(stop).await
            };
            let wait = pause_after(&attempt, &mut backoff);
            was_held = self.report(was_held).await;
            match attempt {
                Ok(done) => adopted = done,
                Err(error) => tracing::debug!(%error, "the policy cannot be recorded yet"),
            }
            if !pause(wait, stop).await {
                return;
            }
        }
    }

    /// Reports whether the policy waits: in the metrics, and in the log when that begins and when it ends.
    async fn report(&self, was_held: bool) -> bool {
        let held = self.still_held().await;
        metrics::gauge!("tenure_policy_held_back").set(u8::from(held.is_some()));
        match &held {
            Some(Held { why, first }) if !was_held => {
                tracing::error!(why, first, "the policy in the settings does not take effect");
            }
            None if was_held => tracing::info!("the policy in the settings is no longer held back"),
            _ => {}
        }
        held.is_some()
    }

    /// False: the attempt must be repeated.
    async fn adopt(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let adoption = self
            .engine
            .adopt(&self.policy, self.notice, AdoptionMode::Automatic)
            .await?;
        match adoption {
            Adoption::Known => {}
            Adoption::Recorded { from } => {
                tracing::info!(policy.from = rfc3339(from), "recorded the policy in the settings");
            }
            Adoption::Waits { why } => {
                self.hold(why, &[]);
                return Ok(false);
            }
            Adoption::Held { why, first } => {
                self.hold(why, &first);
            }
        }
        self.backfill_deadlines(stop).await?;
        Ok(true)
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
