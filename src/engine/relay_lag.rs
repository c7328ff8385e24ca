//! Whether the relay lags behind the journal. Sweeps then wait a little, so that the changes of live events do not queue
//! behind those of sweeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct RelayLag {
    lags: watch::Sender<bool>,
    /// How often a sweep found the relay lagging.
    waits: AtomicU64,
}

impl Default for RelayLag {
    fn default() -> Self {
        Self {
            lags: watch::Sender::new(false),
            waits: AtomicU64::new(0),
        }
    }
}

impl RelayLag {
    pub fn set(&self, lags: bool) {
        self.lags
            .send_if_modified(|before| std::mem::replace(before, lags) != lags);
    }

    /// Waits until the relay has caught up, but no longer than `most`: an outage of RabbitMQ must not delay timers for long.
    pub async fn wait(&self, most: Duration) {
        let mut lags = self.lags.subscribe();
        if *lags.borrow_and_update() {
            self.waits.fetch_add(1, Ordering::Relaxed);
            let _ = tokio::time::timeout(most, lags.wait_for(|lags| !lags)).await;
        }
    }

    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVER: Duration = Duration::from_hours(24);

    #[tokio::test]
    async fn a_wait_ends_when_the_relay_has_caught_up() {
        let lag = RelayLag::default();
        lag.wait(EVER).await;
        assert_eq!(lag.waits(), 0);
        lag.set(true);
        tokio::join!(lag.wait(EVER), async { lag.set(false) });
        assert_eq!(lag.waits(), 1);
    }

    #[tokio::test]
    async fn a_wait_times_out_while_the_relay_still_lags() {
        let lag = RelayLag::default();
        lag.set(true);
        lag.wait(Duration::ZERO).await;
        assert_eq!(lag.waits(), 1);
    }
}
