//! PostgreSQL: for several workers at once. A batch is one transaction at READ COMMITTED that locks its
//! clients in key order and writes one statement a table.
//!
//! Statements of a batch look up their keys with `cross join lateral (… offset 0)` or `… for update`: a plain
//! join against `unnest` was planned, and then cached, as a sequential scan while the table was young.

mod address;
mod batch;
mod clients;
mod clock;
mod dead_letters;
mod durable;
mod history;
mod lanes;
mod numbering;
mod outbox;
mod pages;
mod policies;
mod renew;
mod retention;
mod servers;
mod session;
mod sessions;
mod suitable;
mod sweeps;
mod tables;
mod upkeep;
mod verification;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::Result;
use super::schema::Embedded;
use servers::Servers;
use sessions::Sessions;

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
    /// itself felt in [`super::Upkeep::ping`] and [`super::Upkeep::migrate`].
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
