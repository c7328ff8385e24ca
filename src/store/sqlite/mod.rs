//! SQLite: for one machine, without a server. One connection writes, one batch at a time; a few read beside it.
//!
//! Where many rows are written, a statement has a `values` list: see `many`. Elsewhere several rows go into a statement
//! as one JSON argument, an array of arrays; bytes among them as hex.

#[macro_use]
mod many;

mod batch;
mod client_writes;
mod clients;
mod clock;
mod dead_letters;
mod history;
mod identity;
mod lanes;
mod lead;
mod outbox;
mod policies;
mod private;
mod probe;
mod renew;
mod retention;
mod session;
mod sweeps;
mod tables;
mod turn;
mod upkeep;
mod verification;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::Result;
use super::schema::Embedded;
use identity::Identity;
use lead::Lead;
use turn::Turns;

const MIGRATIONS: Embedded = Embedded(&[
    (1, "tables", include_str!("../migrations/sqlite/0001_tables.sql")),
    (
        2,
        "lanes and sweeps",
        include_str!("../migrations/sqlite/0002_lanes_and_sweeps.sql"),
    ),
    (
        3,
        "retention",
        include_str!("../migrations/sqlite/0003_retention.sql"),
    ),
    (
        4,
        "quiet stretches",
        include_str!("../migrations/sqlite/0004_quiet_stretches.sql"),
    ),
    (
        5,
        "epochs and writers",
        include_str!("../migrations/sqlite/0005_epochs_and_writers.sql"),
    ),
    (6, "clocks", include_str!("../migrations/sqlite/0006_clocks.sql")),
    (
        8,
        "write probe",
        include_str!("../migrations/sqlite/0008_write_probe.sql"),
    ),
]);

/// How long to wait for another process that writes, or for the batch before.
const PATIENCE: Duration = Duration::from_secs(30);

const READERS: u32 = 4;

/// Takes the right to write at once: a transaction that first reads and then wants to write fails when another
/// has written meanwhile.
const BEGIN: &str = "begin immediate";

/// A database in a file.
pub struct SqliteStore {
    path: PathBuf,
    turns: Turns,
    writer: SqlitePool,
    readers: SqlitePool,
    lead: Lead,
    identity: Arc<Identity>,
}

impl SqliteStore {
    /// Names the file; it is opened when it is needed, and made by [`super::Upkeep::migrate`].
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let lead = Lead::of(&path);
        let readers = SqliteConnectOptions::new().filename(&path).busy_timeout(PATIENCE);
        let writer = readers
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An event that was acknowledged must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            // Of a new file. Most of a long batch's pages are changed anyway: with larger ones there are fewer to copy.
            .page_size(16 << 10)
            // In pages. By default each batch would also carry the whole log over into the file: now that waits until
            // the log is 128 MB, and the pages of several batches are written once.
            .pragma("wal_autocheckpoint", "8000")
            // Of a log that became longer, in bytes: the rest of the file is given back.
            .pragma("journal_size_limit", "419430400")
            // In KiB, where there is so much to hold: pages that a transaction writes stay until its end.
            .pragma("cache_size", "-393216")
            // What a statement writes aside while it runs: in a file it would only cost calls.
            .pragma("temp_store", "memory")
            // Rows of a statement are read as a whole: whoever returns them need not wait for whoever takes them.
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
        }
    }

    /// Writes when it is our turn, and reports success only if the files are still the ones that were opened.
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

/// Whether another process holds the file.
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

/// A time as it stands in a column: whole microseconds since 1970.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
