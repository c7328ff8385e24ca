//! Retention on its cron line. A missed tick is not made up for: the next one removes the same rows.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::ticks::until_next_tick;
use crate::config::RetentionSettings;
use crate::engine::Engine;
use crate::interval::pause;

/// Removes expired rows on the ticks of retention. Every worker may do so.
pub struct Retention {
    engine: Arc<Engine>,
    settings: RetentionSettings,
    last_check: watch::Sender<Option<DateTime<Utc>>>,
}

impl Retention {
    #[must_use]
    pub fn new(engine: Arc<Engine>, settings: RetentionSettings) -> Arc<Self> {
        record_failing(false);
        Arc::new(Self {
            engine,
            settings,
            last_check: watch::Sender::default(),
        })
    }

    /// The moment of the last check of the clock: every tick up to then has been handled.
    #[must_use]
    pub fn last_check(&self) -> watch::Receiver<Option<DateTime<Utc>>> {
        self.last_check.subscribe()
    }

    /// Removes expired rows on each tick until it is stopped, and then ends after the current chunk.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let cron = &self.settings.cron;
        let mut last = self.engine.now();
        let mut failing: Option<String> = None;
        loop {
            let now = self.engine.now();
            // A clock that was set back is behind the last tick.
            last = last.min(now);
            let Some(tick) = cron.next_after(last) else {
                return;
            };
            // By a clock that is ahead, every row is expired.
            if tick <= now && self.engine.clock().ahead().is_none() {
                // One run for all ticks that were missed.
                last = now;
                let failure = self.prune(&stop).await.err().map(|failure| failure.to_string());
                record_failing(failure.is_some());
                match &failure {
                    Some(why) if failing.as_ref() != Some(why) => {
                        tracing::error!(
                            why,
                            "retention fails, so expired rows stay; each tick tries again, and `tenure prune` does at once"
                        );
                    }
                    None if failing.is_some() => tracing::info!("retention works again"),
                    _ => {}
                }
                failing = failure;
            }
            self.last_check.send_replace(Some(now));
            if !pause(until_next_tick(cron, self.engine.now()), &stop).await {
                return;
            }
        }
    }

    /// Removes what has expired, or says why that failed.
    async fn prune(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let (engine, settings, stop) = (self.engine.clone(), self.settings.clone(), stop.clone());
        // In a task of its own, so that a panic ends this run and not the next.
        tokio::spawn(async move { engine.prune(&settings, false, &stop).await }).await??;
        Ok(())
    }
}

fn record_failing(is_failing: bool) {
    metrics::gauge!("tenure_retention_failing").set(u8::from(is_failing));
}
