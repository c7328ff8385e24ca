//! PostgreSQL: for several workers at once. A batch is one transaction at READ COMMITTED that locks its
//! clients in key order and writes one statement a table.
//!
//! Statements of a batch look up their keys with `cross join lateral (… offset 0)` or `… for update`: a plain
//! join against `unnest` was planned, and then cached, as a sequential scan while the table was young.

mod batch;
mod dead_letters;
mod history;
mod reading;
mod relay;
mod sweeps;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

use super::schema::{self, Embedded};
use super::{
    Batch, Census, ClientFilter, Cursor, DeadFilter, DeadRecord, DeadStatus, Logged, Recorded, Result,
    RunCounts, Store, StoreError, Stored, SweepRun, pool,
};
use crate::domain::{ClientKey, Policy, Sweep};

const MIGRATIONS: Embedded = Embedded(&[(
    1,
    "tables",
    include_str!("../migrations/postgres/0001_tables.sql"),
)]);

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

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
        }
    }
}

/// After how long the server ends a transaction that does nothing: it would hold back the relay.
const IDLE_IN_TRANSACTION: Duration = Duration::from_mins(1);

/// A database on a PostgreSQL server, 13 or later.
pub struct PostgresStore {
    pool: PgPool,
    /// For connections outside the pool, without its limits on time.
    server: PgConnectOptions,
    /// The connection whose session holds the relay's lead.
    lead: Mutex<Option<PgConnection>>,
}

impl PostgresStore {
    /// Reads the URL. The server is asked for only when it is needed, so one that is away makes
    /// itself felt in [`Store::ping`] and [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Url`].
    pub fn connect(url: &str, options: &PostgresOptions) -> Result<Self> {
        let server: PgConnectOptions = url
            .parse()
            .map_err(|error: sqlx::Error| StoreError::Url(error.to_string()))?;
        let server = server.application_name("tenure");
        let millis = |duration: Duration| duration.as_millis().to_string();
        let limited = server.clone().options([
            ("statement_timeout", millis(options.statement_timeout)),
            ("lock_timeout", millis(options.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION)),
            // Compiling a plan takes longer than any statement here.
            ("jit", "off".to_owned()),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .connect_lazy_with(limited);
        Ok(Self {
            pool,
            server,
            lead: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn migrate(&self) -> Result<()> {
        // A connection of its own: it waits for other workers' migrations as long as they take, and a lock
        // that is left behind by a failure goes away with it.
        let mut connection = self.server.connect().await?;
        let migrator = MIGRATIONS.migrator().await?;
        let done = migrator.run_direct(&mut connection).await.map_err(schema::failed);
        if done.is_ok() {
            relay::continue_numbering(&mut connection).await?;
        }
        // Whether the goodbye arrives makes no difference.
        let _ = connection.close().await;
        done
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        Ok(Box::new(batch::PostgresBatch::begin(&self.pool).await?))
    }

    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        reading::client(&self.pool, key).await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        reading::clients(&self.pool, filter, after, limit).await
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        history::of_one(&self.pool, key).await
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        reading::journal(&self.pool, key, after, limit).await
    }

    async fn census(&self) -> Result<Census> {
        reading::census(&self.pool).await
    }

    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        reading::policies(&self.pool).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy) -> Result<()> {
        write::policy(&self.pool, from, policy).await
    }

    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, ClientKey)>,
        limit: u32,
    ) -> Result<Vec<(DateTime<Utc>, ClientKey)>> {
        sweeps::due(&self.pool, sweep, until, after, limit).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        sweeps::start(&self.pool, sweep, scheduled_at, started_at, worker).await
    }

    async fn update_run(
        &self,
        id: i64,
        add: &RunCounts,
        error: Option<&str>,
        finished_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        sweeps::update(&self.pool, id, add, error, finished_at).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        sweeps::runs(&self.pool, sweep, limit).await
    }

    async fn lead_relay(&self) -> Result<bool> {
        relay::lead(&self.server, &mut *self.lead.lock().await).await
    }

    async fn relay_next(&self, limit: u32) -> Result<Vec<Recorded>> {
        relay::next(&self.pool, limit).await
    }

    async fn relay_done(&self, upto: Cursor) -> Result<()> {
        relay::done(&self.pool, upto).await
    }

    async fn relay_backlog(&self) -> Result<i64> {
        relay::backlog(&self.pool).await
    }

    async fn dead_letters(&self, filter: &DeadFilter, after: i64, limit: u32) -> Result<Vec<DeadRecord>> {
        dead_letters::list(&self.pool, filter, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadRecord>> {
        dead_letters::one(&self.pool, id).await
    }

    async fn mark_dead(&self, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
        dead_letters::mark(&self.pool, id, status, at).await
    }

    async fn close(&self) {
        if let Some(lead) = self.lead.lock().await.take() {
            // The server lets go of the lead when the connection ends, however it does.
            let _ = lead.close().await;
        }
        pool::close(&self.pool).await;
    }
}
