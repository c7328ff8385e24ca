//! The clock of the store's server, and the latest moment at which a worker fired timers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;

/// What the store knows of the time: a worker compares its own clock with it.
#[async_trait]
pub trait StoreClock: Send + Sync + 'static {
    /// The time by the server's clock. None: the store has no clock but this machine's.
    async fn server_time(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// The latest moment at which a worker fired timers.
    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>>;

    /// Records a moment at which timers may fire. An earlier moment than the recorded one changes nothing.
    async fn record_moment(&self, at: DateTime<Utc>) -> Result<()>;

    /// Sets the latest moment back to `to`, unless a worker has recorded one after `from` meanwhile.
    async fn rewind_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()>;
}
