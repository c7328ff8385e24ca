//! A write that fails where a batch would fail.

use super::session::in_time;
use super::sessions::Need;
use super::{MIGRATIONS, PostgresStore, numbering, servers, suitable, tables};
use crate::store::Upkeep;
use crate::store::{SchemaState, schema};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::Executor;
use sqlx::postgres::PgConnection;
use std::time::Duration;

use super::sessions::Sessions;
use crate::store::{Result, StoreError};

/// How long [`Upkeep::ping`] waits for a session that can be written.
const PING_WITHIN: Duration = Duration::from_secs(2);

#[async_trait]
impl Upkeep for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
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
            let mut session = self.pool.acquire().await?;
            let applied = tables::applied(&mut session, &MIGRATIONS).await?;
            let applied: Vec<i64> = applied.into_iter().map(|(version, _)| version).collect();
            Ok(MIGRATIONS.state(&applied))
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.pool.lease(Need::Write, PING_WITHIN).await?;
        Ok(())
    }

    async fn probe(&self, _: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, write(&self.pool)).await
    }

    async fn check_writer(&self) -> Result<()> {
        let required = in_time(self.limit, async {
            Ok(sqlx::query_scalar("select min_writer from schema_compat")
                .fetch_one(&self.pool)
                .await?)
        });
        MIGRATIONS.may_write(required.await?)
    }

    async fn close(&self) {
        if let Some(lead) = self.lead.lock().await.take() {
            // The server lets go of the lead when the connection ends, however it does.
            let _ = lead.close().await;
        }
        self.pool.close().await;
    }
}

/// Waits for locks less long than whoever asks for readiness waits for an answer. All of it is one message to the server,
/// and so one transaction.
const WRITE: &str = "
    set local lock_timeout = '2s';
    lock table clients, events, journal, touches, touch_runs, deadlines, dead_letters, lanes, relay in row exclusive mode;
    update write_probe set written_at = clock_timestamp();
";

/// Takes the locks of a batch, and writes a row.
pub(super) async fn write(pool: &Sessions) -> Result<()> {
    match pool.execute(WRITE).await.map_err(StoreError::from) {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict(why)) => Err(StoreError::Unavailable(format!(
            "{why}: look in pg_locks and pg_stat_activity for what locks tables of Tenure, maintenance for instance"
        ))),
        Err(error) => Err(error),
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
