//! The adapter for SQLite, for one machine without a server. One connection writes, one batch at a time; a few others
//! read.
//!
//! Statements over many rows have a `values` list: see `many`. Other statements take several rows as one JSON argument,
//! an array of arrays, with bytes as hex.

#[macro_use]
mod many;

mod accesses;
mod activity;
mod audit;
mod batch;
mod browser_sessions;
mod checkpoints;
mod client_writes;
mod clients;
mod clock;
mod dead_letters;
mod duplicates;
mod event_id;
mod feed;
mod halts;
mod history;
mod identity;
mod lanes;
mod lead;
mod lines;
mod lists;
mod numbers;
mod outbox;
mod policies;
mod private;
mod probe;
mod related;
mod retention;
mod scratch;
mod session;
mod sources;
mod statements;
mod sweeps;
mod tables;
mod touches;
mod traces;
mod transfer;
mod turn;
mod upkeep;
mod verification;
mod webhooks;
mod workers;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::Result;
use super::schema::{MigrationStep, Migrations};
use identity::Identity;
use lead::Lead;
pub use scratch::ScratchStore;
use turn::Turns;

/// How long to wait for another writing process, or for the previous batch.
const PATIENCE: Duration = Duration::from_secs(30);

const READERS: u32 = 4;

/// Acquires the write lock at once: a transaction that reads first and writes later fails if another has written
/// meanwhile.
const BEGIN: &str = "begin immediate";

/// What a database must survive.
#[derive(Clone, Copy)]
enum Durability {
    /// A power failure.
    Full,
    /// Nothing: it is temporary.
    Scratch,
}

/// A database in a file.
pub struct SqliteStore {
    path: PathBuf,
    turns: Turns,
    writer: SqlitePool,
    readers: SqlitePool,
    lead: Lead,
    delivery_lead: Lead,
    identity: Arc<Identity>,
    migrations: Migrations,
}

impl SqliteStore {
    /// Names the file. It is opened on first use, and created by [`super::Upkeep::migrate`].
    pub fn open(path: impl AsRef<Path>) -> Self {
        Self::open_as(path, Durability::Full)
    }

    fn open_as(path: impl AsRef<Path>, durability: Durability) -> Self {
        let path = path.as_ref().to_owned();
        let (lead, delivery_lead) = (Lead::relay(&path), Lead::delivery(&path));
        let readers = SqliteConnectOptions::new().filename(&path).busy_timeout(PATIENCE);
        let writer = readers
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                // An acknowledged event must survive a power failure.
                Durability::Full => SqliteSynchronous::Full,
                Durability::Scratch => SqliteSynchronous::Off,
            })
            // For a new file. A long batch changes most pages: larger ones mean fewer to copy.
            .page_size(16 << 10)
            // In pages. By default each batch would also checkpoint the whole log. Now a checkpoint waits for 128 MB of
            // log, and writes the pages of several batches once.
            .pragma("wal_autocheckpoint", "8000")
            // In bytes. A log file that grew longer is truncated to this size.
            .pragma("journal_size_limit", "419430400")
            // In KiB. Pages that a transaction writes stay in the cache until its end.
            .pragma("cache_size", "-393216")
            // Temporary tables of a statement: in a file they would only cost system calls.
            .pragma("temp_store", "memory")
            // All rows of a statement fit, so SQLite's thread never waits for the reader of the rows.
            .row_buffer_size(2 * many::ROWS);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        Self {
            turns: Turns::beside(&path),
            identity: Arc::new(Identity::of(&path)),
            path,
            writer: pool().max_connections(1).connect_lazy_with(writer),
            readers: pool()
                .max_connections(READERS)
                .connect_lazy_with(readers.pragma("query_only", "on")),
            lead,
            delivery_lead,
            migrations: Migrations::of_sqlite(),
        }
    }

    /// The same with further migrations, which [`super::Upkeep::migrate`] applies too: a store as a later version has it.
    #[must_use]
    pub fn with_migrations(mut self, further: &[MigrationStep]) -> Self {
        self.migrations = self.migrations.followed_by(further);
        self
    }

    /// Writes in turn, and succeeds only if the open files are still in place.
    async fn in_turn<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turns.acquire(PATIENCE).await;
        self.identity.check_to_write(&self.writer).await?;
        let written = write.await?;
        self.identity.check().await?;
        Ok(written)
    }

    /// Leaves the connections open until the process ends: closing the last one would copy the log into a database that is
    /// not its own.
    fn leave_open(&self) {
        let open = (self.writer.clone(), self.readers.clone(), self.identity.clone());
        Box::leak(Box::new(open));
    }
}

/// Whether another process has locked the file.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: i32 = 5;
    primary_code(error) == Some(SQLITE_BUSY)
}

/// The primary result code of SQLite.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if !self.identity.is_safe_to_close() {
            self.leave_open();
        }
    }
}

/// A time as a column stores it: whole microseconds since 1970.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
