//! The workers that share the store, as each records itself.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::PostgresStore;
use crate::store::columns::{json, text};
use crate::store::workers::WorkerRow;
use crate::store::{Result, WorkerRecord, Workers};

#[async_trait]
impl Workers for PostgresStore {
    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.in_time(async {
            let workers: Vec<WorkerRow<DateTime<Utc>>> = sqlx::query_as(
                "select name, host, version, started_at, seen_at, lanes, leads_relay, leads_webhooks
                 from workers
                 order by started_at, name",
            )
            .fetch_all(&self.pool)
            .await?;
            workers.into_iter().map(WorkerRow::read).collect()
        })
        .await
    }

    async fn record_worker(
        &self,
        worker: &WorkerRecord,
        listed_since: DateTime<Utc>,
        replaced: DateTime<Utc>,
    ) -> Result<()> {
        self.in_time(async {
            sqlx::query(
                "with gone as (
                     delete from workers
                     where name <> $1 and (seen_at < $9 or (host = $2 and seen_at < $10))
                 )
                 insert into workers (name, host, version, started_at, seen_at, lanes, leads_relay, leads_webhooks)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (name) do update
                 set seen_at = excluded.seen_at, lanes = excluded.lanes, leads_relay = excluded.leads_relay,
                     leads_webhooks = excluded.leads_webhooks",
            )
            .bind(text(&worker.name))
            .bind(text(&worker.host))
            .bind(&worker.version)
            .bind(worker.started_at)
            .bind(worker.seen_at)
            .bind(json(&worker.lanes))
            .bind(worker.leads_relay)
            .bind(worker.leads_webhooks)
            .bind(listed_since)
            .bind(replaced)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn remove_worker(&self, name: &str) -> Result<()> {
        self.in_time(async {
            remove(&self.pool, name, None).await?;
            Ok(())
        })
        .await
    }

    async fn remove_workers(&self) -> Result<u64> {
        self.in_time(async {
            let removed = sqlx::query("delete from workers").execute(&self.pool).await?;
            Ok(removed.rows_affected())
        })
        .await
    }
}

/// Removes a worker, with `unseen_since` only if it was not seen since. False: there is no such worker.
pub(super) async fn remove(
    executor: impl PgExecutor<'_>,
    name: &str,
    unseen_since: Option<DateTime<Utc>>,
) -> Result<bool> {
    let removed = sqlx::query(
        "delete from workers
         where name = $1 and ($2::timestamptz is null or seen_at < $2)",
    )
    .bind(text(name))
    .bind(unseen_since)
    .execute(executor)
    .await?;
    Ok(removed.rows_affected() > 0)
}
