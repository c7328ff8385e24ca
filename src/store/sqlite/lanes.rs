//! Lanes of the broker, and how far each has come.

use super::SqliteStore;
use crate::store::Lanes;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqliteExecutor, SqlitePool};

use super::micros;
use super::session::Transaction;
use crate::store::rows::{self, json};
use crate::store::{LaneProgress, Result, Watermark};

#[async_trait]
impl Lanes for SqliteStore {
    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        all(&self.readers).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        heartbeat_key(&self.readers).await
    }

    async fn set_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        self.in_turn(keep(&self.writer, lanes, at)).await
    }
}

pub(super) async fn all(executor: impl SqliteExecutor<'_>) -> Result<Vec<LaneProgress>> {
    let lanes: Vec<rows::LaneRow<i64>> = sqlx::query_as(
        "select lane, watermark, recorded_at, partition_key
         from lanes
         order by lane",
    )
    .fetch_all(executor)
    .await?;
    lanes.into_iter().map(rows::lane).collect()
}

pub(super) async fn heartbeat_key(readers: &SqlitePool) -> Result<String> {
    Ok(sqlx::query_scalar("select key from heartbeat_key")
        .fetch_one(readers)
        .await?)
}

pub(super) async fn keep(writer: &SqlitePool, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
    let lanes = json(&lanes);
    let mut transaction = Transaction::begin(writer).await?;
    sqlx::query("delete from lanes where lane not in (select value from json_each(?1))")
        .bind(&lanes)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into lanes (lane, recorded_at)
         select value, ?2
         from json_each(?1)
         where true
         on conflict (lane) do nothing",
    )
    .bind(&lanes)
    .bind(micros(at))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// A lane that is not kept is not entered. A watermark that is ahead of the clock was written by a clock that was wrong.
pub(super) async fn advance(connection: &mut SqliteConnection, watermark: &Watermark, at: i64) -> Result<()> {
    sqlx::query(
        "update lanes
         set watermark = case when watermark > ?3 then ?2 else max(coalesce(watermark, ?2), ?2) end, recorded_at = ?3,
             partition_key = coalesce(?4, partition_key)
         where lane = ?1",
    )
    .bind(&watermark.lane)
    .bind(micros(watermark.at))
    .bind(at)
    .bind(&watermark.partition_key)
    .execute(connection)
    .await?;
    Ok(())
}
