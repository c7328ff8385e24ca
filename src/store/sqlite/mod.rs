//! SQLite: for one machine, without a server. One connection writes, one batch at a time; a few read beside it.
//!
//! Where many rows are written, a statement has a `values` list: see `many`. Elsewhere several rows go into a statement
//! as one JSON argument, an array of arrays; bytes among them as hex.

#[macro_use]
mod many;

mod batch;
mod client_snapshot;
mod clients;
mod clock;
mod dead_letters;
mod history;
mod lanes;
mod lead;
mod policies;
mod private;
mod reading;
mod relay;
mod renew;
mod retention;
mod session;
mod sweeps;
mod turn;
mod write;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteExecutor, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqliteConnection};

use super::schema::{self, Embedded};
use super::{
    Batch, BatchLimits, Census, ClientFilter, ClientSnapshot, Cursor, DeadFilter, DeadLine, DeadRecord,
    DeadStatus, DeadlineBackfill, Due, Halt, HaltKind, LaneProgress, Logged, Outbox, Published, Recorded,
    Replaced, Result, RetentionTarget, RunCounts, RunEnd, SchemaState, Store, StoreError, Stored, SweepRun,
    pool,
};
use crate::domain::{ClientKey, Policy, Sweep};
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
    /// Names the file; it is opened when it is needed, and made by [`Store::migrate`].
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

    /// Migrates in one transaction, so that of several processes one migrates and the others find it done. False: another
    /// process is in the way.
    ///
    /// sqlx counts transactions by itself here, and may count wrongly after a failure; so the connection is closed then.
    async fn migrate_once(&self) -> Result<bool> {
        let mut connection = match self.writer.acquire().await {
            Err(error) if is_busy(&error) => return Ok(false),
            connection => connection?,
        };
        let migrated = migrate_on(&mut connection).await;
        if !matches!(migrated, Ok(true)) {
            // Whether it is closed in good order makes no difference.
            let _ = connection.close().await;
        }
        migrated
    }
}

async fn migrate_on(connection: &mut SqliteConnection) -> Result<bool> {
    let migrator = MIGRATIONS.migrator().await?;
    let mut transaction = match connection.begin_with(BEGIN).await {
        Err(error) if is_busy(&error) => return Ok(false),
        transaction => transaction?,
    };
    let has_table: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_master where name = '_sqlx_migrations')")
            .fetch_one(&mut *transaction)
            .await?;
    if has_table {
        let applied: Vec<(i64, String)> =
            sqlx::query_as("select version, description from _sqlx_migrations order by version")
                .fetch_all(&mut *transaction)
                .await?;
        schema::expect_own(&MIGRATIONS, &applied)?;
    }
    migrator
        .run_direct(&mut *transaction)
        .await
        .map_err(schema::failed)?;
    transaction.commit().await?;
    Ok(true)
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

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<()> {
        private::make(&self.path);
        let began = Instant::now();
        // Whoever opens a new file first gives it a write-ahead log. Others that come at that moment are refused at once,
        // instead of being kept waiting.
        while !self.migrate_once().await? {
            if began.elapsed() > PATIENCE {
                return Err(StoreError::Unavailable(format!(
                    "another process has held the file for {}; end the one that writes for so long",
                    humantime::format_duration(PATIENCE)
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(file) = identity(&self.path) {
            let _ = self.opened.set(file);
        }
        Ok(())
    }

    async fn schema(&self) -> Result<SchemaState> {
        if !self.path.exists() {
            return Ok(SchemaState::Missing);
        }
        let (tables,): (i64,) = sqlx::query_as(
            "select count(*) from sqlite_master where type = 'table' and name in ('_sqlx_migrations', 'clients')",
        )
        .fetch_one(&self.readers)
        .await?;
        if tables < 2 {
            return Ok(SchemaState::Missing);
        }
        let applied = sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(&self.readers)
            .await?;
        Ok(MIGRATIONS.state(&applied))
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn probe(&self, at: DateTime<Utc>) -> Result<()> {
        let _turn = self.turns.acquire(PATIENCE).await;
        let mut transaction = session::Transaction::begin(&self.writer).await?;
        sqlx::query("update write_probe set written_at = ?1")
            .bind(micros(at))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// What takes time is the pages: a transaction writes each of them once, for however many events.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            events_per_part: 1_000,
            parts: 150,
        }
    }

    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        clock::latest(&self.readers).await
    }

    async fn note_moment(&self, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(clock::note(&self.writer, at)).await
    }

    async fn set_back_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        self.in_turn(clock::set_back(&self.writer, from, to)).await
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        let begun = batch::SqliteBatch::begin(&self.writer, &self.turns);
        Ok(Box::new(self.in_turn(begun).await?))
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

    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        client_snapshot::keys(&self.readers, partner, after, limit).await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        client_snapshot::one(&self.readers, key).await
    }

    async fn census(&self) -> Result<Census> {
        reading::census(&self.readers).await
    }

    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        policies::all(&self.readers).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()> {
        self.in_turn(policies::record(&self.writer, from, policy, backfill))
            .await
    }

    async fn replace_policies(&self, replaced: &[Replaced]) -> Result<()> {
        self.in_turn(policies::replace(&self.writer, replaced)).await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        policies::deadline_backfill(&self.readers).await
    }

    async fn deadlines_backfilled(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        self.in_turn(policies::deadlines_backfilled(&self.writer, policy_from, upto))
            .await
    }

    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        lanes::all(&self.readers).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        lanes::heartbeat_key(&self.readers).await
    }

    async fn keep_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        self.in_turn(lanes::keep(&self.writer, lanes, at)).await
    }

    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        sweeps::due(&self.readers, sweep, until, after, limit).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        self.in_turn(sweeps::start(
            &self.writer,
            sweep,
            scheduled_at,
            started_at,
            worker,
        ))
        .await
    }

    async fn count_run(&self, id: i64, add: &RunCounts) -> Result<()> {
        self.in_turn(sweeps::count(&self.writer, id, add)).await
    }

    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        self.in_turn(sweeps::end(&self.writer, id, end)).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        sweeps::runs(&self.readers, sweep, limit).await
    }

    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        sweeps::count_deadlines(&self.readers, sweep, until, most).await
    }

    async fn halts(&self) -> Result<Vec<Halt>> {
        sweeps::halts(&self.readers).await
    }

    async fn halt(&self, halt: &Halt) -> Result<()> {
        self.in_turn(sweeps::halt(&self.writer, halt)).await
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        self.in_turn(sweeps::resume(&self.writer, sweep, kind)).await
    }

    async fn lead_relay(&self) -> Result<bool> {
        self.lead.acquire()
    }

    async fn relay_next(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Outbox> {
        if self.lead.is_lost() {
            return Err(StoreError::Unavailable(
                "the relay's lock file was removed; the worker takes the lead again".into(),
            ));
        }
        relay::next(&self.readers, after, last, limit).await
    }

    async fn relay_done(&self, upto: &Published) -> Result<()> {
        self.in_turn(relay::done(&self.writer, upto)).await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        self.in_turn(relay::begin_epoch(&self.writer, above)).await
    }

    async fn check_writer(&self) -> Result<()> {
        let opened = self.opened.get().copied();
        if opened.is_some() && opened != identity(&self.path) {
            return Err(StoreError::Replaced(self.path.display().to_string()));
        }
        MIGRATIONS.may_write(min_writer(&self.readers).await?)
    }

    async fn relay_waiting(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        relay::waiting(&self.readers).await
    }

    async fn relay_backlog(&self) -> Result<i64> {
        relay::backlog(&self.readers).await
    }

    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadLine>> {
        dead_letters::list(&self.readers, filter, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>> {
        dead_letters::one(&self.readers, id).await
    }

    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
        self.in_turn(dead_letters::mark(&self.writer, id, status, at))
            .await
    }

    async fn claim_dead(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadRecord>> {
        self.in_turn(dead_letters::claim(&self.writer, id, now, until))
            .await
    }

    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadRecord>> {
        self.in_turn(dead_letters::claim_deferred(&self.writer, now, until, limit))
            .await
    }

    async fn resolve_redriven(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()> {
        self.in_turn(dead_letters::resolve_redriven(&self.writer, done, at))
            .await
    }

    async fn resolve_dead_letter(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()> {
        self.in_turn(dead_letters::resolve(
            &self.writer,
            id,
            failed,
            redrive_outcome,
            at,
        ))
        .await
    }

    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64> {
        retention::count(&self.readers, target, before).await
    }

    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.in_turn(retention::prune(&self.writer, target, before, limit))
            .await
    }

    async fn close(&self) {
        self.lead.release();
        pool::close(&self.readers).await;
        // Last, so that it clears away the write-ahead log.
        pool::close(&self.writer).await;
        if self.path.exists() {
            self.turns.remove();
        }
    }
}

/// The device of a file and its number there.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The newest migration that a program must know to write here.
async fn min_writer(connection: impl SqliteExecutor<'_>) -> Result<i64> {
    let required = sqlx::query_scalar("select min_writer from schema_compat")
        .fetch_one(connection)
        .await?;
    Ok(required)
}

/// A time as it stands in a column: whole microseconds since 1970.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
