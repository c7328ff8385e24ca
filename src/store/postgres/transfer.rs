//! Moves a whole store. An import is several transactions: its mark, the records, and its end.

mod export;
mod import;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use super::session::{self, Session};
use super::sessions::{Need, Sessions};
use super::upkeep::min_writer;
use super::{PostgresStore, numbering};
use crate::store::schema::{ImportMark, Migrations, Purpose};
use crate::store::transfer::{Numbering, Parts, expect_empty};
use crate::store::{Import, Record, Result, Transfer};

#[async_trait]
impl Transfer for PostgresStore {
    async fn export(&self, into: mpsc::Sender<Vec<Record>>) -> Result<()> {
        let mut session = Session::begin_reading(&self.pool, self.limit, export::BEGIN).await?;
        match export::all(&mut session, &into).await {
            Ok(()) => session.end("commit").await,
            Err(error) => {
                session.give_up().await;
                Err(error)
            }
        }
    }

    async fn begin_import(&self) -> Result<Box<dyn Import>> {
        self.migrate_for(Purpose::Import).await?;
        let import = PostgresImport {
            pool: self.pool.clone(),
            limit: self.limit,
            mark: ImportMark::new(),
            numbering: Numbering::default(),
        };
        let mut session = Session::begin(&self.pool, self.limit, "begin").await?;
        let begun = {
            let (connection, debt) = session.lend()?;
            debt.paid_by(mark(connection, &self.migrations, import.mark))
                .await
        };
        end(session, begun).await?;
        Ok(Box::new(import))
    }
}

/// Marks the store. Waits for running writers, and from then on nobody else writes.
async fn mark(connection: &mut PgConnection, migrations: &Migrations, mark: ImportMark) -> Result<()> {
    sqlx::query("lock table schema_compat in access exclusive mode")
        .execute(&mut *connection)
        .await?;
    let required = min_writer(&mut *connection).await?;
    if !ImportMark::is_any_in(required) {
        migrations.may_write(required)?;
        let (clients, dead_letters): (i64, i64) =
            sqlx::query_as("select (select count(*) from client_keys), (select count(*) from dead_letters)")
                .fetch_one(&mut *connection)
                .await?;
        expect_empty(clients, dead_letters)?;
    }
    // Words stay: they are those of the program. So do the key of the heartbeats and the epoch.
    sqlx::query(
        "truncate events, accesses, access_log_since, journal, touch_runs, touches, deadlines, checkpoints, clients, client_keys, sources, policies,
                  deadline_backfill, closings, statement_days, sweep_runs, sweep_chunks, sweep_halts, lanes, expected_sources, clock, dead_letters, webhook_endpoints,
                  audit_log, browser_sessions, event_traces
         restart identity",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update relay
         set xid = 0, seq = 0,
             pruned_before = null, pruned_xid = null, pruned_seq = null, pruned_recorded_at = null",
    )
    .execute(&mut *connection)
    .await?;
    set_min_writer(connection, mark.set(required)).await
}

struct PostgresImport {
    pool: Sessions,
    limit: Duration,
    mark: ImportMark,
    numbering: Numbering,
}

#[async_trait]
impl Import for PostgresImport {
    async fn write(&mut self, records: Vec<Record>) -> Result<()> {
        let parts = Parts::of(records)?;
        let mut session = self.begin().await?;
        let written = import::all(&mut session, &parts, &mut self.numbering).await;
        end(session, written).await
    }

    async fn end(self: Box<Self>) -> Result<()> {
        let mut session = self.begin().await?;
        let numbered = {
            let (connection, debt) = session.lend()?;
            debt.paid_by(import::numbering(connection, &self.numbering)).await
        };
        end(session, numbered).await?;
        // The transactions of the lines may be ahead of this server's.
        let mut connection = self.pool.acquire_for(Need::Write).await?;
        session::in_time(self.limit, numbering::check(&mut connection)).await?;
        drop(connection);
        let mut session = self.begin().await?;
        let completed = {
            let (connection, debt) = session.lend()?;
            debt.paid_by(async {
                let required = min_writer(&mut *connection).await?;
                set_min_writer(connection, ImportMark::cleared(required)).await
            })
            .await
        };
        end(session, completed).await
    }
}

impl PostgresImport {
    /// Begins a transaction of this import, unless another one has begun. Until its end, no other one begins.
    async fn begin(&self) -> Result<Session> {
        let mut session = Session::begin(&self.pool, self.limit, import::BEGIN).await?;
        let begun = {
            let (connection, debt) = session.lend()?;
            debt.paid_by(async {
                let required = min_writer(&mut *connection).await?;
                self.mark.expect_in(required)?;
                // For the trigger `check_writer`.
                sqlx::query("select set_config('tenure.writer', $1, true)")
                    .bind(required.to_string())
                    .execute(connection)
                    .await?;
                Ok(())
            })
            .await
        };
        match begun {
            Ok(()) => Ok(session),
            Err(error) => {
                session.give_up().await;
                Err(error)
            }
        }
    }
}

/// Commits after success, and rolls back otherwise.
async fn end(session: Session, done: Result<()>) -> Result<()> {
    match done {
        Ok(()) => session.end("commit").await,
        Err(error) => {
            session.give_up().await;
            Err(error)
        }
    }
}

async fn set_min_writer(connection: &mut PgConnection, min_writer: i64) -> Result<()> {
    sqlx::query("update schema_compat set min_writer = $1")
        .bind(min_writer)
        .execute(connection)
        .await?;
    Ok(())
}
