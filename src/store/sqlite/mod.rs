//! SQLite: for one machine, without a server. One connection writes, one batch at a time; a few read beside it.
//!
//! Several rows go into a statement as one JSON argument, an array of arrays; bytes among them as hex.

mod batch;
mod dead_letters;
mod history;
mod reading;
mod relay;
mod sweeps;
mod write;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::schema::{self, Embedded};
use super::{
    Batch, Census, ClientFilter, Cursor, DeadFilter, DeadRecord, DeadStatus, Logged, Recorded, Result,
    RunCounts, Store, Stored, SweepRun, pool,
};
use crate::domain::{ClientKey, Policy, Sweep};

const MIGRATIONS: Embedded = Embedded(&[(1, "tables", include_str!("../migrations/sqlite/0001_tables.sql"))]);

/// How long to wait for another process that writes, or for the batch before.
const PATIENCE: Duration = Duration::from_secs(30);

const READERS: u32 = 4;

/// Takes the right to write at once: a transaction that first reads and then wants to write fails when another
/// has written meanwhile.
const BEGIN: &str = "begin immediate";

/// A database in a file.
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Names the file; it is opened when it is needed, and made by [`Store::migrate`].
    pub fn open(path: impl AsRef<Path>) -> Self {
        let readers = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
        let writer = readers
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An event that was acknowledged must outlive a power cut.
            .synchronous(SqliteSynchronous::Full);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        Self {
            writer: pool().max_connections(1).connect_lazy_with(writer),
            readers: pool()
                .max_connections(READERS)
                .connect_lazy_with(readers.pragma("query_only", "on")),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<()> {
        let migrator = MIGRATIONS.migrator().await?;
        // All in one transaction, so that of several processes one migrates and the others find it done.
        let mut transaction = self.writer.begin_with(BEGIN).await?;
        migrator
            .run_direct(&mut *transaction)
            .await
            .map_err(schema::failed)?;
        transaction.commit().await?;
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        Ok(Box::new(batch::SqliteBatch::begin(&self.writer).await?))
    }

    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        reading::client(&self.readers, key).await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        reading::clients(&self.readers, filter, after, limit).await
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        history::of_one(&self.readers, key).await
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        reading::journal(&self.readers, key, after, limit).await
    }

    async fn census(&self) -> Result<Census> {
        reading::census(&self.readers).await
    }

    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        reading::policies(&self.readers).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy) -> Result<()> {
        write::policy(&self.writer, from, policy).await
    }

    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, ClientKey)>,
        limit: u32,
    ) -> Result<Vec<(DateTime<Utc>, ClientKey)>> {
        sweeps::due(&self.readers, sweep, until, after, limit).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        sweeps::start(&self.writer, sweep, scheduled_at, started_at, worker).await
    }

    async fn update_run(
        &self,
        id: i64,
        add: &RunCounts,
        error: Option<&str>,
        finished_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        sweeps::update(&self.writer, id, add, error, finished_at).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        sweeps::runs(&self.readers, sweep, limit).await
    }

    /// There is nobody else to lead: SQLite is for one worker.
    async fn lead_relay(&self) -> Result<bool> {
        Ok(true)
    }

    async fn relay_next(&self, limit: u32) -> Result<Vec<Recorded>> {
        relay::next(&self.readers, limit).await
    }

    async fn relay_done(&self, upto: Cursor) -> Result<()> {
        relay::done(&self.writer, upto).await
    }

    async fn relay_backlog(&self) -> Result<i64> {
        relay::backlog(&self.readers).await
    }

    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadRecord>> {
        dead_letters::list(&self.readers, filter, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>> {
        dead_letters::one(&self.readers, id).await
    }

    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
        dead_letters::mark(&self.writer, id, status, at).await
    }

    async fn close(&self) {
        pool::close(&self.readers).await;
        // Last, so that it clears away the write-ahead log.
        pool::close(&self.writer).await;
    }
}

/// A time as it stands in a column: whole microseconds since 1970.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// Bytes as they stand in a JSON argument.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
