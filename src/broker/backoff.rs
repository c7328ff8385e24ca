//! How long to wait before the next attempt.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The first pause at most. A restarted connection is mostly there again at once.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// The pause where nothing changes before somebody acts: short enough for whoever has acted and watches.
pub(super) const PATIENT: Duration = Duration::from_secs(30);

/// Pauses that double up to ten seconds, each with a share of chance, so that workers that lost the same
/// server do not all come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub fn pause(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts += 1;
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Waits for the next attempt. False: told to stop meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.pause()) => true,
            () = stop.cancelled() => false,
        }
    }

    /// Waits where trying soon again is of no use. False: told to stop meanwhile.
    pub async fn wait_patiently(stop: &CancellationToken) -> bool {
        let pause = PATIENT.mul_f64(rand::random_range(0.8..=1.0));
        stop.run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
    }

    /// Nothing was waited for yet.
    pub fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

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
    }
}
