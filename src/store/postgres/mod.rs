//! The adapter for PostgreSQL, for several workers. A batch is one transaction at READ COMMITTED that locks its clients
//! in key order.
//!
//! Statements of a batch look up their keys with `cross join lateral (… offset 0)` or `… for update`: while a table is
//! small, PostgreSQL plans, and then caches, a sequential scan for a plain join with `unnest`.

mod accesses;
mod activity;
mod address;
mod audit;
mod batch;
mod browser_sessions;
mod checkpoints;
mod client_writes;
mod clients;
mod clock;
mod combined;
mod dead_letters;
mod duplicates;
mod durable;
mod event_position;
mod event_ref;
mod executor;
mod feed;
mod halts;
mod history;
mod lanes;
mod lead;
mod lines;
mod lists;
mod numbering;
mod numbers;
mod outbox;
mod pages;
mod policies;
mod reading;
mod related;
mod retention;
mod servers;
mod session;
mod sessions;
mod sources;
mod statements;
mod suitable;
mod sweeps;
mod tables;
mod touches;
mod traces;
mod transfer;
mod upkeep;
mod verification;
mod webhooks;
mod workers;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::Result;
use super::schema::{MigrationStep, Migrations};
use servers::Servers;
use sessions::Sessions;

/// How this worker uses the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The most connections of the pool. The leaders of the relay and of webhooks, and a migration, each use one more.
    pub max_connections: u32,
    /// How long to wait for a free connection, and for a server that refuses new ones.
    pub acquire_timeout: Duration,
    /// How long one statement may take before the server cancels it.
    pub statement_timeout: Duration,
    /// How long to wait for a client that another transaction has locked.
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

/// After how long the server ends an idle transaction: it would hold back the relay.
const IDLE_IN_TRANSACTION: Duration = Duration::from_mins(1);

/// Checks the syntax of a URL.
///
/// # Errors
/// [`StoreError::Url`](crate::store::StoreError::Url).
pub fn check_url(url: &str) -> Result<()> {
    address::hosts(url).map(|_| ())
}

/// A database on a PostgreSQL server, 13 or later.
pub struct PostgresStore {
    pool: Sessions,
    /// How long a call may wait for an answer.
    limit: Duration,
    /// How long a connection outside of the pool may take to open.
    connect_within: Duration,
    /// The connection whose session holds the relay's lead.
    lead: Mutex<Option<PgConnection>>,
    /// The connection whose session holds the lead of webhooks.
    delivery_lead: Mutex<Option<PgConnection>>,
    /// The statements that begin a batch.
    begin: String,
    /// A batch found numbers that may be too high for this server. They are checked before the next batch begins.
    numbering_doubted: Arc<AtomicBool>,
    migrations: Migrations,
}

impl PostgresStore {
    /// Parses the URL. Does not connect: an unreachable server fails [`super::Upkeep::ping`] and
    /// [`super::Upkeep::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Url`](crate::store::StoreError::Url).
    pub fn connect(url: &str, options: &PostgresOptions) -> Result<Self> {
        let servers = Servers::new(address::hosts(url)?, options.acquire_timeout);
        // As statements, because poolers reject them as connection parameters. JIT compilation takes longer than any
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
        let migrations = Migrations::of_postgres();
        Ok(Self {
            pool,
            limit: session::limit(options.statement_timeout),
            connect_within: options.acquire_timeout,
            lead: Mutex::new(None),
            delivery_lead: Mutex::new(None),
            begin: batch::begin_statement(migrations.newest()),
            numbering_doubted: Arc::default(),
            migrations,
        })
    }

    /// The same with further migrations, which [`super::Upkeep::migrate`] applies too: a store as a later version has it.
    #[must_use]
    pub fn with_migrations(mut self, further: &[MigrationStep]) -> Self {
        self.migrations = self.migrations.followed_by(further);
        self.begin = batch::begin_statement(self.migrations.newest());
        self
    }

    /// Waits for an answer within the limit.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        session::in_time(self.limit, asked).await
    }
}
