//! Upkeep of a store: migrations, health checks, closing.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::schema::SchemaState;

/// The connections of a store, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    pub in_use: usize,
    pub idle: usize,
    /// The most that the pool opens.
    pub max: usize,
}

/// Migrates, checks and closes a store.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// The kind of store, for logs: `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;

    /// Migrates the tables to the version of this program. Several workers may call it at once.
    async fn migrate(&self) -> Result<()>;

    /// The state of the tables. Reads only: creates neither a file nor a table.
    async fn schema(&self) -> Result<SchemaState>;

    /// Succeeds if the store answers. It may still refuse writes: see [`Upkeep::probe`].
    async fn ping(&self) -> Result<()>;

    /// Makes a small write in a transaction like that of a batch. It fails where a batch would fail: the server is
    /// read-only, its disk is full, or a table is locked. Not cancel-safe.
    async fn probe(&self, at: DateTime<Utc>) -> Result<()>;

    /// Checks that this program may still write.
    ///
    /// # Errors
    /// [`super::StoreError::Outdated`] when a newer version has migrated the tables beyond what this program can write;
    /// [`super::StoreError::Replaced`] when another file has replaced the open one under its name.
    async fn check_writer(&self) -> Result<()>;

    /// The connections of the pool at this moment.
    fn connections(&self) -> Connections;

    /// Closes all connections, after the calls in progress.
    async fn close(&self);
}
