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
mod lanes;
mod lead;
mod outbox;
mod policies;
mod private;
mod renew;
mod retention;
mod session;
mod sweeps;
mod turn;
mod upkeep;
mod verification;
mod write;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::Result;
use super::schema::Embedded;
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
    /// Which file was under the path when it was migrated.
    opened: OnceLock<(u64, u64)>,
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
            path,
            writer: pool().max_connections(1).connect_lazy_with(writer),
            readers: pool()
                .max_connections(READERS)
                .connect_lazy_with(readers.pragma("query_only", "on")),
            lead,
            opened: OnceLock::new(),
        }
    }

    /// Writes when it is our turn.
    async fn in_turn<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turns.acquire(PATIENCE).await;
        write.await
    }
}

/// Whether another process holds the file.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: i32 = 5;
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let code = code.and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// A time as it stands in a column: whole microseconds since 1970.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
