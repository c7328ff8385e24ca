//! The pauses between attempts at something that fails.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::interval::pause;

/// The longest first pause. A restarted server is usually back at once.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
pub const LONGEST: Duration = Duration::from_secs(10);

/// The pause where only a person can help: short enough for a person who watches the log after the fix.
pub const PATIENT: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter, so that workers that lost the same server do not all return at the same moment.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FIRST, LONGEST)
    }
}

impl Backoff {
    /// Pauses double from `first` to `longest`, each shortened by up to half.
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            attempts: 0,
        }
    }

    /// Continues after this many pauses: for a number of failures that is stored.
    #[must_use]
    pub fn after(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let pause = self
            .first
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Waits for the next attempt. False: `stop` was cancelled meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        pause(self.pause(), stop).await
    }

    /// Waits where an early retry cannot help. False: `stop` was cancelled meanwhile.
    pub async fn wait_patiently(stop: &CancellationToken) -> bool {
        pause(PATIENT.mul_f64(rand::random_range(0.8..=1.0)), stop).await
    }

    /// Whether no attempt has failed since the start or the last reset.
    pub fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

    /// Starts again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[4] >= FIRST * 8);
        assert!(
            pauses[10..]
                .iter()
                .all(|&pause| pause >= LONGEST / 2 && pause <= LONGEST)
        );
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
        assert!(Backoff::default().after(4).pause() >= FIRST * 8);
        assert!(Backoff::default().after(u32::MAX).pause() <= LONGEST);
    }
}
