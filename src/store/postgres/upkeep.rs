//! Upkeep: migrations, health checks, closing.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, PgExecutor};

use super::sessions::Need;
use super::{PostgresStore, numbering, numbers, servers, suitable, tables};
use crate::backoff::Backoff;
use crate::store::schema::{Migrations, Purpose};
use crate::store::{Connections, Result, SchemaState, StoreError, Upkeep, schema};

/// How long [`Upkeep::ping`] waits for a writable session.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// How often a migration that conflicts with running workers is attempted.
const MIGRATION_ATTEMPTS: u32 = 7;

#[async_trait]
impl Upkeep for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn connections(&self) -> Connections {
        self.pool.connections()
    }

    async fn migrate(&self) -> Result<()> {
        self.migrate_for(Purpose::Use).await
    }

    async fn schema(&self) -> Result<SchemaState> {
        self.in_time(async {
            let (is_there,): (bool,) = sqlx::query_as(
                "select to_regclass('_sqlx_migrations') is not null and to_regclass('clients') is not null",
            )
            .fetch_one(&self.pool)
            .await?;
            if !is_there {
                return Ok(SchemaState::Missing);
            }
            let mut session = self.pool.acquire().await?;
            let applied = tables::applied(&mut session, &self.migrations).await?;
            let applied: Vec<i64> = applied.into_iter().map(|(version, _)| version).collect();
            let min_writer = min_writer(&mut *session).await?;
            Ok(self.migrations.state(&applied, min_writer))
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.pool.lease(Need::Write, PING_WITHIN).await?;
        Ok(())
    }

    /// Acquires the locks of a batch, and writes a row.
    async fn probe(&self, _: DateTime<Utc>) -> Result<()> {
        self.check_doubted_numbering().await?;
        self.in_time(async {
            match self.pool.execute(WRITE).await.map_err(StoreError::from) {
                Ok(_) => Ok(()),
                Err(StoreError::Conflict(why)) => Err(StoreError::Unavailable(format!(
                    "{why}: look in pg_locks and pg_stat_activity for the session that locks tables of Tenure, for example \
                     maintenance"
                ))),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn check_writer(&self) -> Result<()> {
        let required = self.in_time(min_writer(&self.pool)).await?;
        self.migrations.may_write(required)
    }

    async fn close(&self) {
        let (relay, delivery) = (
            self.lead.lock().await.take(),
            self.delivery_lead.lock().await.take(),
        );
        for lead in [relay, delivery].into_iter().flatten() {
            // The server releases the lead when the connection ends, with or without an error.
            let _ = lead.close().await;
        }
        self.pool.close().await;
    }
}

impl PostgresStore {
    pub(super) async fn migrate_for(&self, purpose: Purpose) -> Result<()> {
        // A separate connection: it waits for other workers' migrations as long as they take, and a lock left by a
        // failure ends with it.
        let mut connection = servers::to_write(self.pool.servers(), "tenure", self.connect_within).await?;
        self.in_time(suitable::check(
            self.pool.servers(),
            &mut connection,
            &self.migrations,
        ))
        .await?;
        migration_lock(&mut connection).await?;
        let done = migrate_despite_conflicts(&mut connection, &self.migrations, purpose).await;
        // An error while closing makes no difference.
        let _ = connection.close().await;
        done
    }
}

/// Repeats what lost a deadlock against running workers. Each migration is one transaction, so nothing is half done.
async fn migrate_despite_conflicts(
    connection: &mut PgConnection,
    migrations: &Migrations,
    purpose: Purpose,
) -> Result<()> {
    let mut backoff = Backoff::default();
    for _ in 1..MIGRATION_ATTEMPTS {
        match migrate_on(connection, migrations, purpose).await {
            Err(StoreError::Conflict(why)) => {
                tracing::info!(%why, "the migration conflicted with a running worker; trying again");
                tokio::time::sleep(backoff.pause()).await;
            }
            done => return done,
        }
    }
    migrate_on(connection, migrations, purpose).await
}

async fn migrate_on(connection: &mut PgConnection, migrations: &Migrations, purpose: Purpose) -> Result<()> {
    let applied = tables::applied(connection, migrations).await?;
    if !applied.is_empty() {
        let min_writer = min_writer(&mut *connection).await?;
        migrations.expect_complete(applied.len(), min_writer, purpose)?;
    }
    let mut migrator = migrations.migrator().await?;
    migrator.set_locking(false);
    migrator.run_direct(connection).await.map_err(schema::failed)?;
    numbering::check(connection).await?;
    numbers::add_vocabulary(connection).await
}

/// The newest migration that a program must know to write here.
pub(super) async fn min_writer(executor: impl PgExecutor<'_>) -> Result<i64> {
    let required = sqlx::query_scalar("select min_writer from schema_compat")
        .fetch_one(executor)
        .await?;
    Ok(required)
}

/// Its lock timeout is shorter than the time limit of a readiness check. It is one message to the server, and so one
/// transaction.
const WRITE: &str = "
    set local lock_timeout = '2s';
    lock table client_keys, sources, clients, events, journal, touches, touch_runs, checkpoints, deadlines, dead_letters, lanes, expected_sources, relay in row exclusive mode;
    update write_probe set written_at = clock_timestamp();
";

/// Waits for other workers' migrations of this schema. (sqlx's own lock covers the whole database: an installation
/// would wait for the migrations of another.) The session holds the lock until it ends.
async fn migration_lock(connection: &mut PgConnection) -> Result<()> {
    /// "tenm" in ASCII, in the upper half; the lower half is the schema.
    const MIGRATION: i64 = 0x74_65_6e_6d << 32;
    sqlx::query("select pg_advisory_lock($1 | coalesce(current_schema()::regnamespace::oid::bigint, 0))")
        .bind(MIGRATION)
        .execute(connection)
        .await?;
    Ok(())
}
