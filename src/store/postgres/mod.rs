//! PostgreSQL: for several workers at once. A batch is one transaction at READ COMMITTED that locks its
//! clients in key order and writes one statement a table.
//!
//! Statements of a batch look up their keys with `cross join lateral (… offset 0)` or `… for update`: a plain
//! join against `unnest` was planned, and then cached, as a sequential scan while the table was young.

mod address;
mod batch;
mod client_snapshot;
mod clock;
mod dead_letters;
mod history;
mod lanes;
mod numbering;
mod pages;
mod policies;
mod probe;
mod reading;
mod relay;
mod renew;
mod retention;
mod servers;
mod session;
mod sessions;
mod suitable;
mod sweeps;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::schema::{self, Embedded};
use super::{
    Batch, Census, ClientFilter, ClientSnapshot, Cursor, DeadFilter, DeadLine, DeadRecord, DeadStatus,
    DeadlineBackfill, Due, Halt, HaltKind, LaneProgress, Logged, Outbox, Published, Recorded, Replaced,
    Result, RetentionTarget, RunCounts, RunEnd, SchemaState, Store, StoreError, Stored, SweepRun,
};
use crate::domain::{ClientKey, Policy, Sweep};
use servers::Servers;
use session::in_time;
use sessions::{Need, Sessions};

const MIGRATIONS: Embedded = Embedded(&[
    (
        1,
        "tables",
        include_str!("../migrations/postgres/0001_tables.sql"),
    ),
    (
        2,
        "lanes and sweeps",
        include_str!("../migrations/postgres/0002_lanes_and_sweeps.sql"),
    ),
    (
        3,
        "retention",
        include_str!("../migrations/postgres/0003_retention.sql"),
    ),
    (
        4,
        "quiet stretches",
        include_str!("../migrations/postgres/0004_quiet_stretches.sql"),
    ),
    (
        5,
        "epochs and writers",
        include_str!("../migrations/postgres/0005_epochs_and_writers.sql"),
    ),
    (
        6,
        "clocks",
        include_str!("../migrations/postgres/0006_clocks.sql"),
    ),
    (
        8,
        "write probe",
        include_str!("../migrations/postgres/0008_write_probe.sql"),
    ),
]);

/// How this worker uses the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Most connections of the pool; the relay's leader holds one more, and so does a migration.
    pub max_connections: u32,
    /// How long to wait for a free connection, and for the server while it refuses new ones.
    pub acquire_timeout: Duration,
    /// How long one statement may take before the server breaks it off.
    pub statement_timeout: Duration,
    /// How long to wait for a client that another transaction holds.
    pub lock_timeout: Duration,
}

/// As in `config/default.toml`, which a test compares.
impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// How long [`Store::ping`] waits for a session that can be written.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// After how long the server ends a transaction that does nothing: it would hold back the relay.
const IDLE_IN_TRANSACTION: Duration = Duration::from_mins(1);

/// Whether a URL names servers in a way that can be read.
///
/// # Errors
/// [`StoreError::Url`].
pub fn check_url(url: &str) -> Result<()> {
    address::hosts(url).map(|_| ())
}

/// A database on a PostgreSQL server, 13 or later.
pub struct PostgresStore {
    pool: Sessions,
    /// How long any call may wait for an answer.
    limit: Duration,
    /// How long a connection of its own may take to come about.
    connect_within: Duration,
    /// The connection whose session holds the relay's lead.
    lead: Mutex<Option<PgConnection>>,
    /// How a batch begins.
    begin: String,
    /// A batch has met numbers that may be too high for this server: they are checked before the next one begins.
    numbering_doubted: Arc<AtomicBool>,
}

impl PostgresStore {
    /// Reads the URL. The server is asked for only when it is needed, so one that is away makes
    /// itself felt in [`Store::ping`] and [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Url`].
    pub fn connect(url: &str, options: &PostgresOptions) -> Result<Self> {
        let servers = Servers::new(address::hosts(url)?, options.acquire_timeout);
        // As statements, because poolers know nothing of parameters like these. Compiling a plan takes longer than any
        // statement here.
        let settings = format!(
            "set statement_timeout = {}; set lock_timeout = {}; set idle_in_transaction_session_timeout = {}; set jit = off",
            options.statement_timeout.as_millis(),
            options.lock_timeout.as_millis(),
            IDLE_IN_TRANSACTION.as_millis()
        );
        let pool = Sessions::new(
            servers,
            settings,
            options.max_connections,
            options.acquire_timeout,
        );
        Ok(Self {
            pool,
            limit: session::limit(options.statement_timeout),
            connect_within: options.acquire_timeout,
            lead: Mutex::new(None),
            begin: batch::begin_statement(MIGRATIONS.newest()),
            numbering_doubted: Arc::default(),
        })
    }
}

/// Waits for other workers' migrations of this schema. (The lock of the migrator is one for the whole database, and would
/// make an installation wait for the migrations of another.) The session keeps the lock until it ends.
async fn migration_lock(connection: &mut PgConnection) -> Result<()> {
    /// "tenm" in ASCII, in the upper half; the lower half is the schema.
    const MIGRATION: i64 = 0x74_65_6e_6d << 32;
    sqlx::query("select pg_advisory_lock($1 | coalesce(current_schema()::regnamespace::oid::bigint, 0))")
        .bind(MIGRATION)
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    /// While one is written, the next is read and planned.
    fn concurrent_chunks(&self) -> usize {
        2
    }

    async fn migrate(&self) -> Result<()> {
        // A connection of its own: it waits for other workers' migrations as long as they take, and a lock
        // that is left behind by a failure goes away with it.
        let mut connection = servers::to_write(self.pool.servers(), "tenure", self.connect_within).await?;
        in_time(
            self.limit,
            suitable::check(self.pool.servers(), &mut connection, &MIGRATIONS),
        )
        .await?;
        migration_lock(&mut connection).await?;
        let mut migrator = MIGRATIONS.migrator().await?;
        migrator.set_locking(false);
        let done = migrator.run_direct(&mut connection).await.map_err(schema::failed);
        if done.is_ok() {
            numbering::check(&mut connection).await?;
        }
        // Whether the goodbye arrives makes no difference.
        let _ = connection.close().await;
        done
    }

    async fn schema(&self) -> Result<SchemaState> {
        in_time(self.limit, async {
            let (is_there,): (bool,) = sqlx::query_as(
                "select to_regclass('_sqlx_migrations') is not null and to_regclass('clients') is not null",
            )
            .fetch_one(&self.pool)
            .await?;
            if !is_there {
                return Ok(SchemaState::Missing);
            }
            let applied = sqlx::query_scalar("select version from _sqlx_migrations where success")
                .fetch_all(&self.pool)
                .await?;
            Ok(MIGRATIONS.state(&applied))
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.pool.lease(Need::Write, PING_WITHIN).await?;
        Ok(())
    }

    async fn probe(&self, _: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, probe::write(&self.pool)).await
    }

    async fn clock(&self) -> Result<Option<DateTime<Utc>>> {
        in_time(self.limit, clock::now(&self.pool)).await.map(Some)
    }

    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        in_time(self.limit, clock::latest(&self.pool)).await
    }

    async fn note_moment(&self, at: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, clock::note(&self.pool, at)).await
    }

    async fn set_back_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, clock::set_back(&self.pool, from, to)).await
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        if self.numbering_doubted.swap(false, Ordering::Relaxed) {
            let checked = in_time(self.limit, async {
                numbering::check(&mut *self.pool.acquire().await?).await
            });
            if let Err(error) = checked.await {
                self.numbering_doubted.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        let doubted = self.numbering_doubted.clone();
        Ok(Box::new(
            batch::PostgresBatch::begin(&self.pool, self.limit, &self.begin, doubted).await?,
        ))
    }

    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        in_time(self.limit, reading::client(&self.pool, key)).await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        in_time(self.limit, reading::clients(&self.pool, filter, after, limit)).await
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        history::of_one(&self.pool, self.limit, key).await
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        in_time(self.limit, reading::journal(&self.pool, key, after, limit)).await
    }

    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        in_time(
            self.limit,
            client_snapshot::keys(&self.pool, partner, after, limit),
        )
        .await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        client_snapshot::one(&self.pool, self.limit, key).await
    }

    async fn census(&self) -> Result<Census> {
        in_time(self.limit, reading::census(&self.pool)).await
    }

    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        in_time(self.limit, policies::all(&self.pool)).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()> {
        in_time(self.limit, policies::record(&self.pool, from, policy, backfill)).await
    }

    async fn replace_policies(&self, replaced: &[Replaced]) -> Result<()> {
        in_time(self.limit, policies::replace(&self.pool, replaced)).await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        in_time(self.limit, policies::deadline_backfill(&self.pool)).await
    }

    async fn deadlines_backfilled(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        in_time(
            self.limit,
            policies::deadlines_backfilled(&self.pool, policy_from, upto),
        )
        .await
    }

    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        in_time(self.limit, lanes::all(&self.pool)).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        in_time(self.limit, lanes::heartbeat_key(&self.pool)).await
    }

    async fn keep_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, lanes::keep(&self.pool, lanes, at)).await
    }

    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        in_time(self.limit, sweeps::due(&self.pool, sweep, until, after, limit)).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        in_time(
            self.limit,
            sweeps::start(&self.pool, sweep, scheduled_at, started_at, worker),
        )
        .await
    }

    async fn count_run(&self, id: i64, add: &RunCounts) -> Result<()> {
        in_time(self.limit, sweeps::count(&self.pool, id, add)).await
    }

    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        in_time(self.limit, sweeps::end(&self.pool, id, end)).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        in_time(self.limit, sweeps::runs(&self.pool, sweep, limit)).await
    }

    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        in_time(
            self.limit,
            sweeps::count_deadlines(&self.pool, sweep, until, most),
        )
        .await
    }

    async fn halts(&self) -> Result<Vec<Halt>> {
        in_time(self.limit, sweeps::halts(&self.pool)).await
    }

    async fn halt(&self, halt: &Halt) -> Result<()> {
        in_time(self.limit, sweeps::halt(&self.pool, halt)).await
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        in_time(self.limit, sweeps::resume(&self.pool, sweep, kind)).await
    }

    async fn lead_relay(&self) -> Result<bool> {
        let mut lead = self.lead.lock().await;
        let leads = in_time(self.limit, relay::lead(&self.pool, &mut lead)).await;
        if leads.is_err() {
            // It may owe an answer.
            *lead = None;
        }
        leads
    }

    async fn relay_next(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Outbox> {
        let mut lead = self.lead.lock().await;
        // Taken out while it owes an answer: whoever does not wait for that loses it, and the lead with it.
        let Some(mut connection) = lead.take() else {
            return in_time(self.limit, async {
                let mut connection = self.pool.acquire().await?;
                relay::next(&mut connection, after, last, limit).await
            })
            .await;
        };
        let outbox = in_time(self.limit, relay::next(&mut connection, after, last, limit)).await?;
        if outbox.lines.is_empty() && !in_time(self.limit, relay::may_write(&mut connection)).await? {
            return Err(StoreError::Unavailable(format!(
                "the session that leads the relay: {}",
                super::error::READ_ONLY
            )));
        }
        *lead = Some(connection);
        Ok(outbox)
    }

    async fn relay_done(&self, upto: &Published) -> Result<()> {
        in_time(self.limit, relay::done(&self.pool, upto)).await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        in_time(self.limit, async {
            let mut connection = self.pool.acquire().await?;
            numbering::check(&mut connection).await?;
            numbering::begin_epoch(&mut connection, above).await
        })
        .await
    }

    async fn check_writer(&self) -> Result<()> {
        let required = in_time(self.limit, async {
            Ok(sqlx::query_scalar("select min_writer from schema_compat")
                .fetch_one(&self.pool)
                .await?)
        });
        MIGRATIONS.may_write(required.await?)
    }

    async fn relay_waiting(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        in_time(self.limit, relay::waiting(&self.pool)).await
    }

    async fn relay_backlog(&self) -> Result<i64> {
        in_time(self.limit, relay::backlog(&self.pool)).await
    }

    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadLine>> {
        in_time(self.limit, dead_letters::list(&self.pool, filter, after, limit)).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>> {
        in_time(self.limit, dead_letters::one(&self.pool, id)).await
    }

    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
        in_time(self.limit, dead_letters::mark(&self.pool, id, status, at)).await
    }

    async fn claim_dead(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadRecord>> {
        in_time(self.limit, dead_letters::claim(&self.pool, id, now, until)).await
    }

    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadRecord>> {
        in_time(
            self.limit,
            dead_letters::claim_deferred(&self.pool, now, until, limit),
        )
        .await
    }

    async fn resolve_redriven(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, dead_letters::resolve_redriven(&self.pool, done, at)).await
    }

    async fn resolve_dead_letter(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()> {
        in_time(
            self.limit,
            dead_letters::resolve(&self.pool, id, failed, redrive_outcome, at),
        )
        .await
    }

    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64> {
        in_time(self.limit, retention::count(&self.pool, target, before)).await
    }

    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        in_time(self.limit, retention::prune(&self.pool, target, before, limit)).await
    }

    async fn close(&self) {
        if let Some(lead) = self.lead.lock().await.take() {
            // The server lets go of the lead when the connection ends, however it does.
            let _ = lead.close().await;
        }
        self.pool.close().await;
    }
}
