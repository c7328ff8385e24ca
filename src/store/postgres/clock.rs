//! The server's clock, and the latest moment at which a worker fired timers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use crate::store::{Result, StoreClock};

#[async_trait]
impl StoreClock for PostgresStore {
    async fn server_time(&self) -> Result<Option<DateTime<Utc>>> {
        self.in_time(async {
            Ok(sqlx::query_scalar("select clock_timestamp()")
                .fetch_one(&self.pool)
                .await?)
        })
        .await
    }

    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        self.in_time(async {
            Ok(sqlx::query_scalar("select latest from clock")
                .fetch_optional(&self.pool)
                .await?)
        })
        .await
    }

    async fn record_moment(&self, at: DateTime<Utc>) -> Result<()> {
        self.in_time(async {
            sqlx::query(
                "insert into clock (latest)
                 values ($1)
                 on conflict (only_row) do update
                 set latest = greatest(clock.latest, excluded.latest)",
            )
            .bind(at)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn rewind_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        self.in_time(async {
            sqlx::query("update clock set latest = $2 where latest <= $1")
                .bind(from)
                .bind(to)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }
}
