//! Moves a whole store. An import is several transactions: its mark, the records, and its end.

mod export;
pub(super) mod import;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Executor;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use tokio::sync::mpsc;

use super::identity::Identity;
use super::session::Transaction;
use super::turn::Turns;
use super::upkeep::min_writer;
use super::{PATIENCE, SqliteStore};
use crate::store::schema::{ImportMark, Purpose};
use crate::store::transfer::{Numbering, Parts, expect_empty};
use crate::store::{Import, Record, Result, Transfer};

#[async_trait]
impl Transfer for SqliteStore {
    async fn export(&self, into: mpsc::Sender<Vec<Record>>) -> Result<()> {
        let mut transaction = self.readers.begin().await?;
        export::all(&mut transaction, &into).await?;
        transaction.commit().await?;
        self.identity.check().await
    }

    async fn begin_import(&self) -> Result<Box<dyn Import>> {
        self.migrate_for(Purpose::Import).await?;
        let mark = ImportMark::new();
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            let required = min_writer(&mut *transaction).await?;
            if !ImportMark::is_any_in(required) {
                self.migrations.may_write(required)?;
                let (clients, dead_letters): (i64, i64) = sqlx::query_as(
                    "select (select count(*) from client_keys), (select count(*) from dead_letters)",
                )
                .fetch_one(&mut *transaction)
                .await?;
                expect_empty(clients, dead_letters)?;
            }
            transaction.execute(CLEAR).await?;
            set_min_writer(&mut transaction, mark.set(required)).await?;
            transaction.commit().await
        })
        .await?;
        Ok(Box::new(SqliteImport {
            turns: self.turns.clone(),
            writer: self.writer.clone(),
            identity: self.identity.clone(),
            mark,
            numbering: Numbering::default(),
        }))
    }
}

/// Removes what an empty store or an interrupted import has. Words stay: they are those of the program. So do the key of the
/// heartbeats and the epoch.
const CLEAR: &str = "
    delete from events; delete from accesses; delete from access_log_since; delete from journal; delete from touch_runs; delete from touches; delete from deadlines; delete from checkpoints;
    delete from clients; delete from client_keys; delete from sources;
    delete from policies; delete from deadline_backfill; delete from closings; delete from statement_days; delete from sweep_runs; delete from sweep_halts;
    delete from lanes; delete from expected_sources; delete from clock; delete from dead_letters; delete from webhook_endpoints;
    delete from audit_log; delete from browser_sessions; delete from event_traces; delete from sqlite_sequence;
    update relay set seq = 0, pruned_before = null, pruned_seq = null, pruned_recorded_at = null;
";

struct SqliteImport {
    turns: Turns,
    writer: SqlitePool,
    identity: Arc<Identity>,
    mark: ImportMark,
    numbering: Numbering,
}

#[async_trait]
impl Import for SqliteImport {
    async fn write(&mut self, records: Vec<Record>) -> Result<()> {
        let parts = Parts::of(records)?;
        let _turn = self.turns.acquire(PATIENCE).await;
        let mut transaction = self.begin().await?;
        import::all(&mut transaction, &parts, &mut self.numbering).await?;
        self.commit(transaction).await
    }

    async fn end(self: Box<Self>) -> Result<()> {
        let _turn = self.turns.acquire(PATIENCE).await;
        let mut transaction = self.begin().await?;
        import::numbering(&mut transaction, &self.numbering).await?;
        let required = min_writer(&mut *transaction).await?;
        set_min_writer(&mut transaction, ImportMark::cleared(required)).await?;
        self.commit(transaction).await
    }
}

impl SqliteImport {
    /// Begins a transaction of this import, unless another one has begun.
    async fn begin(&self) -> Result<Transaction> {
        self.identity.check_to_write(&self.writer).await?;
        let mut transaction = Transaction::begin(&self.writer).await?;
        self.mark.expect_in(min_writer(&mut *transaction).await?)?;
        Ok(transaction)
    }

    /// Checks the files before and after, as a batch does.
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        self.identity.check().await?;
        transaction.commit().await?;
        self.identity.check().await
    }
}

async fn set_min_writer(connection: &mut SqliteConnection, min_writer: i64) -> Result<()> {
    sqlx::query("update schema_compat set min_writer = ?1")
        .bind(min_writer)
        .execute(connection)
        .await?;
    Ok(())
}
