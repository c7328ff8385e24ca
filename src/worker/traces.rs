//! Removes the trace contexts of events whose changes were published long ago, more often than retention removes other rows: there
//! is one for each event.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::interval::Interval;

const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Removes old contexts, at most `chunk` at a time, until it is stopped. Every worker may do so.
pub(super) async fn prune(engine: Arc<Engine>, chunk: u32, stop: CancellationToken) {
    let mut interval = Interval::new(PRUNE_EVERY, &stop);
    while interval.tick().await {
        if let Err(error) = engine.prune_traces(chunk, &stop).await {
            tracing::debug!(%error, "old trace contexts cannot be removed; trying again");
        }
    }
}
