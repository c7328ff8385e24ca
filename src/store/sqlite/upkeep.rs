//! Upkeep: migrations, health checks, closing.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteExecutor;
use sqlx::{Connection, SqliteConnection};

use super::{BEGIN, PATIENCE, READERS, SqliteStore, is_busy, numbers, private, probe, tables};
use crate::store::schema::Purpose;
use crate::store::{Connections, Result, SchemaState, StoreError, Upkeep, pool, schema};

#[async_trait]
impl Upkeep for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    /// Of the readers and the writer.
    fn connections(&self) -> Connections {
        let pools = [&self.readers, &self.writer];
        let open: usize = pools.iter().map(|pool| pool.size() as usize).sum();
        let idle: usize = pools.iter().map(|pool| pool.num_idle()).sum();
        Connections {
            in_use: open.saturating_sub(idle),
            idle,
            max: READERS as usize + 1,
        }
    }

    async fn migrate(&self) -> Result<()> {
        self.migrate_for(Purpose::Use).await
    }

    async fn schema(&self) -> Result<SchemaState> {
        if !self.path.exists() {
            return Ok(SchemaState::Missing);
        }
        self.identity.admit().await?;
        let (tables,): (i64,) = sqlx::query_as(
            "select count(*) from sqlite_master where type = 'table' and name in ('_sqlx_migrations', 'clients')",
        )
        .fetch_one(&self.readers)
        .await?;
        if tables < 2 {
            return Ok(SchemaState::Missing);
        }
        let mut connection = self.readers.acquire().await?;
        let applied = tables::applied(&mut connection, &self.migrations).await?;
        let applied: Vec<i64> = applied.into_iter().map(|(version, _)| version).collect();
        let min_writer = min_writer(&mut *connection).await?;
        Ok(self.migrations.state(&applied, min_writer))
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn probe(&self, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(probe::write(&self.writer, at)).await?;
        probe::read(&self.readers).await
    }

    async fn check_writer(&self) -> Result<()> {
        self.identity.check().await?;
        self.migrations.may_write(min_writer(&self.readers).await?)
    }

    async fn close(&self) {
        self.lead.release();
        self.delivery_lead.release();
        if !self.identity.close().await {
            self.leave_open();
            return;
        }
        pool::close(&self.readers).await;
        // Last, so that it removes the write-ahead log.
        pool::close(&self.writer).await;
        if self.path.exists() {
            self.turns.remove();
        }
    }
}

impl SqliteStore {
    pub(super) async fn migrate_for(&self, purpose: Purpose) -> Result<()> {
        self.identity.admit().await?;
        private::make(&self.path);
        let had_no_log = self.identity.has_no_log();
        let began = Instant::now();
        // The first process that opens a new file creates its write-ahead log. SQLite refuses others at that moment,
        // instead of letting them wait.
        while !self.migrate_once(purpose).await? {
            if began.elapsed() > PATIENCE {
                return Err(StoreError::Unavailable(format!(
                    "another process has locked the file for {}; stop the process that writes for so long",
                    humantime::format_duration(PATIENCE)
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if had_no_log {
            self.identity.renew(&self.writer).await?;
        }
        self.identity.watch().await
    }

    /// Migrates in one transaction, so that one of several processes migrates and the others find the tables ready.
    /// False: another process has locked the file.
    ///
    /// sqlx counts transactions itself here, and may miscount after a failure. Then the connection is closed.
    async fn migrate_once(&self, purpose: Purpose) -> Result<bool> {
        let mut connection = match self.writer.acquire().await {
            Err(error) if is_busy(&error) => return Ok(false),
            connection => connection?,
        };
        let migrated = self.migrate_on(&mut connection, purpose).await;
        if !matches!(migrated, Ok(true)) {
            // An error while closing makes no difference.
            let _ = connection.close().await;
        }
        migrated
    }

    async fn migrate_on(&self, connection: &mut SqliteConnection, purpose: Purpose) -> Result<bool> {
        let migrator = self.migrations.migrator().await?;
        let mut transaction = match connection.begin_with(BEGIN).await {
            Err(error) if is_busy(&error) => return Ok(false),
            transaction => transaction?,
        };
        let applied = tables::applied(&mut transaction, &self.migrations).await?;
        tables::check(&mut transaction, &applied).await?;
        if !applied.is_empty() {
            let min_writer = min_writer(&mut *transaction).await?;
            self.migrations
                .expect_complete(applied.len(), min_writer, purpose)?;
        }
        migrator
            .run_direct(&mut *transaction)
            .await
            .map_err(schema::failed)?;
        numbers::assign_vocabulary(&mut transaction).await?;
        self.identity.mark(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The newest migration that a program must know to write here.
pub(super) async fn min_writer(connection: impl SqliteExecutor<'_>) -> Result<i64> {
    let required = sqlx::query_scalar("select min_writer from schema_compat")
        .fetch_one(connection)
        .await?;
    Ok(required)
}
