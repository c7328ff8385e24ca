//! The latest moment that a worker's clock has shown.

use super::SqliteStore;
use crate::store::StoreClock;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use super::micros;
use crate::store::{Result, StoreError};

#[async_trait]
impl StoreClock for SqliteStore {
    async fn latest_moment(&self) -> Result<Option<DateTime<Utc>>> {
        latest(&self.readers).await
    }

    async fn record_moment(&self, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(note(&self.writer, at)).await
    }

    async fn rewind_moment(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
        self.in_turn(set_back(&self.writer, from, to)).await
    }
}

pub(super) async fn latest(readers: &SqlitePool) -> Result<Option<DateTime<Utc>>> {
    let latest: Option<i64> = sqlx::query_scalar("select latest from clock")
        .fetch_optional(readers)
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

pub(super) async fn note(writer: &SqlitePool, at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "insert into clock (only_row, latest)
         values (1, ?1)
         on conflict (only_row) do update
         set latest = max(latest, excluded.latest)",
    )
    .bind(micros(at))
    .execute(writer)
    .await?;
    Ok(())
}

pub(super) async fn set_back(writer: &SqlitePool, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
    sqlx::query("update clock set latest = ?2 where latest <= ?1")
        .bind(micros(from))
        .bind(micros(to))
        .execute(writer)
        .await?;
    Ok(())
}
