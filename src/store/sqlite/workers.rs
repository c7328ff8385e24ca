//! The workers that share the store, as each records itself.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteExecutor;

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::columns::{json, text};
use crate::store::workers::WorkerRow;
use crate::store::{Result, WorkerRecord, Workers};

#[async_trait]
impl Workers for SqliteStore {
    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let workers: Vec<WorkerRow<i64>> = sqlx::query_as(
            "select name, host, version, started_at, seen_at, lanes, leads_relay, leads_webhooks
             from workers
             order by started_at, name",
        )
        .fetch_all(&self.readers)
        .await?;
        workers.into_iter().map(WorkerRow::read).collect()
    }

    async fn record_worker(
        &self,
        worker: &WorkerRecord,
        listed_since: DateTime<Utc>,
        replaced: DateTime<Utc>,
    ) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query(
                "delete from workers
                 where name <> ?1 and (seen_at < ?2 or (host = ?3 and seen_at < ?4))",
            )
            .bind(text(&worker.name))
            .bind(micros(listed_since))
            .bind(text(&worker.host))
            .bind(micros(replaced))
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "insert into workers (name, host, version, started_at, seen_at, lanes, leads_relay, leads_webhooks)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 on conflict (name) do update
                 set seen_at = excluded.seen_at, lanes = excluded.lanes, leads_relay = excluded.leads_relay,
                     leads_webhooks = excluded.leads_webhooks",
            )
            .bind(text(&worker.name))
            .bind(text(&worker.host))
            .bind(&worker.version)
            .bind(micros(worker.started_at))
            .bind(micros(worker.seen_at))
            .bind(json(&worker.lanes))
            .bind(worker.leads_relay)
            .bind(worker.leads_webhooks)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
        .await
    }

    async fn remove_worker(&self, name: &str) -> Result<()> {
        self.in_turn(async {
            remove(&self.writer, name, None).await?;
            Ok(())
        })
        .await
    }

    async fn remove_workers(&self) -> Result<u64> {
        self.in_turn(async {
            let removed = sqlx::query("delete from workers").execute(&self.writer).await?;
            Ok(removed.rows_affected())
        })
        .await
    }
}

/// Removes a worker, with `unseen_since` only if it was not seen since. False: there is no such worker.
pub(super) async fn remove(
    executor: impl SqliteExecutor<'_>,
    name: &str,
    unseen_since: Option<DateTime<Utc>>,
) -> Result<bool> {
    let removed = sqlx::query(
        "delete from workers
         where name = ?1 and (?2 is null or seen_at < ?2)",
    )
    .bind(text(name))
    .bind(unseen_since.map(micros))
    .execute(executor)
    .await?;
    Ok(removed.rows_affected() > 0)
}
