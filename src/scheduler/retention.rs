//! Retention on its cron line. What was missed needs no making up: the next time removes it too.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::RetentionSettings;
use crate::engine::Engine;

/// A look at the clock at least so often: it may be put right.
const LOOK: Duration = Duration::from_secs(30);

/// Removes what is too old on each tick, until it is told to stop, and then ends with the chunk in hand. Every worker may
/// do so.
pub async fn prune_on_ticks(engine: Arc<Engine>, settings: RetentionSettings, stop: CancellationToken) {
    let mut last = engine.now();
    loop {
        let now = engine.now();
        // A clock that was put right is behind what was seen.
        last = last.min(now);
        let Some(tick) = settings.cron.next_after(last) else {
            return;
        };
        let wait = (tick - now).to_std().unwrap_or_default();
        // By a clock that is ahead all is too old.
        let is_ahead = engine.clock().ahead().is_some();
        if !wait.is_zero() || is_ahead {
            let wait = if is_ahead { LOOK } else { wait.min(LOOK) };
            let pause = tokio::time::sleep(wait);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            continue;
        }
        // One tick for all that were missed.
        last = now;
        let (pruner, settings, stop) = (engine.clone(), settings.clone(), stop.clone());
        // In a task of its own, so that a panic ends this time and not the next.
        let ended = tokio::spawn(async move { pruner.prune(&settings, false, &stop).await }).await;
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "what is too old cannot be removed; the next tick tries again");
            }
            Err(error) => {
                tracing::error!(%error, "removing what is too old broke off; the next tick tries again");
            }
        }
    }
}
