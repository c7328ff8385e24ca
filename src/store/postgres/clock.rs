//! The server's clock, and the latest moment that a worker's clock has shown.

use super::PostgresStore;
use super::session::in_time;
use crate::store::StoreClock;
use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::sessions::Sessions;
use crate::store::Result;

#[async_trait]
impl StoreClock for PostgresStore {
    async fn server_time(&self) -> Result<Option<DateTime<Utc>>> {
        in_time(self.limit, now(&self.pool)).await.map(Some)
    }

    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        in_time(self.limit, latest(&self.pool)).await
    }

    async fn record_moment(&self, at: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, note(&self.pool, at)).await
    }

    async fn rewind_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, set_back(&self.pool, from, to)).await
    }
}

pub(super) async fn now(pool: &Sessions) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(pool)
        .await?)
}

pub(super) async fn latest(pool: &Sessions) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar("select latest from clock")
        .fetch_optional(pool)
        .await?)
}

pub(super) async fn note(pool: &Sessions, at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "insert into clock (latest)
         values ($1)
         on conflict (only_row) do update
         set latest = greatest(clock.latest, excluded.latest)",
    )
    .bind(at)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn set_back(pool: &Sessions, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
    sqlx::query("update clock set latest = $2 where latest <= $1")
        .bind(from)
        .bind(to)
        .execute(pool)
        .await?;
    Ok(())
}
