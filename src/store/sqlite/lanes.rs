//! Lanes of the broker and their watermarks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::columns::json;
use crate::store::lanes::LaneRow;
use crate::store::{LaneProgress, Lanes, Result, Watermark};

#[async_trait]
impl Lanes for SqliteStore {
    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        all(&self.readers).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        Ok(sqlx::query_scalar("select key from heartbeat_key")
            .fetch_one(&self.readers)
            .await?)
    }

    async fn set_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            set(&mut transaction, lanes, at).await?;
            transaction.commit().await
        })
        .await
    }
}

pub(super) async fn all(executor: impl SqliteExecutor<'_>) -> Result<Vec<LaneProgress>> {
    let lanes: Vec<LaneRow<i64>> = sqlx::query_as(
        "select lane, watermark, recorded_at, partition_key
         from lanes
         order by lane",
    )
    .fetch_all(executor)
    .await?;
    lanes.into_iter().map(LaneRow::read).collect()
}

/// Advances the watermark of a known lane. Replaces a watermark ahead of the clock: a wrong clock wrote it.
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

/// Replaces the set of lanes.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    lanes: &[String],
    at: DateTime<Utc>,
) -> Result<()> {
    let lanes = json(&lanes);
    sqlx::query("delete from lanes where lane not in (select value from json_each(?1))")
        .bind(&lanes)
        .execute(&mut *connection)
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
    .execute(&mut *connection)
    .await?;
    Ok(())
}
