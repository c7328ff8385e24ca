//! Waiting that a cancellation token ends: one pause, or a pause between repetitions.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Sleeps. False: `stop` was cancelled meanwhile.
pub async fn pause(duration: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(duration))
        .await
        .is_some()
}

/// Repeats work with a pause after each repetition, until it is stopped. Slow work is never repeated without a pause.
#[derive(Debug)]
pub struct Interval<'a> {
    pause: Duration,
    stop: &'a CancellationToken,
    is_first: bool,
}

impl<'a> Interval<'a> {
    pub fn new(pause: Duration, stop: &'a CancellationToken) -> Self {
        Self {
            pause,
            stop,
            is_first: true,
        }
    }

    /// Returns at once the first time, and after the pause from then on. False: `stop` was cancelled.
    pub async fn tick(&mut self) -> bool {
        if std::mem::replace(&mut self.is_first, false) {
            return !self.stop.is_cancelled();
        }
        pause(self.pause, self.stop).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_tick_is_immediate_and_a_stop_ends_the_pause() {
        let stop = CancellationToken::new();
        let mut interval = Interval::new(Duration::from_hours(24), &stop);
        assert!(interval.tick().await);
        let stopping = async { stop.cancel() };
        let (ticked, ()) = tokio::join!(interval.tick(), stopping);
        assert!(!ticked);
    }

    #[tokio::test]
    async fn a_stopped_interval_does_not_tick() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!Interval::new(Duration::ZERO, &stop).tick().await);
    }
}
