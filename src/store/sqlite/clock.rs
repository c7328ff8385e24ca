//! The latest moment at which a worker fired timers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{SqliteStore, micros};
use crate::store::{Result, StoreClock, StoreError};

#[async_trait]
impl StoreClock for SqliteStore {
    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        let latest: Option<i64> = sqlx::query_scalar("select latest from clock")
            .fetch_optional(&self.readers)
            .await?;
        let read = |micros| {
            DateTime::from_timestamp_micros(micros).ok_or_else(|| StoreError::Inconsistent {
                table: "clock",
                column: "latest",
                key: "its only row".into(),
                reason: format!("{micros} is out of the range of times"),
            })
        };
        latest.map(read).transpose()
    }

    async fn record_moment(&self, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            sqlx::query(
                "insert into clock (only_row, latest)
                 values (1, ?1)
                 on conflict (only_row) do update
                 set latest = max(latest, excluded.latest)",
            )
            .bind(micros(at))
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }

    async fn rewind_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            sqlx::query("update clock set latest = ?2 where latest <= ?1")
                .bind(micros(from))
                .bind(micros(to))
                .execute(&self.writer)
                .await?;
            Ok(())
        })
        .await
    }
}
