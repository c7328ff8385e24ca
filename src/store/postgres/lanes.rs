//! Lanes of the broker, and how far each has come.

use super::PostgresStore;
use super::session::in_time;
use crate::store::Lanes;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::sessions::Sessions;
use crate::store::{LaneProgress, Result, Watermark, rows};

#[async_trait]
impl Lanes for PostgresStore {
    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        in_time(self.limit, all(&self.pool)).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        in_time(self.limit, heartbeat_key(&self.pool)).await
    }

    async fn set_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        in_time(self.limit, keep(&self.pool, lanes, at)).await
    }
}

pub(super) async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<LaneProgress>> {
    let lanes: Vec<rows::LaneRow<DateTime<Utc>>> = sqlx::query_as(
        "select lane, watermark, recorded_at, partition_key
         from lanes
         order by lane",
    )
    .fetch_all(executor)
    .await?;
    lanes.into_iter().map(rows::lane).collect()
}

pub(super) async fn heartbeat_key(pool: &Sessions) -> Result<String> {
    Ok(sqlx::query_scalar("select key from heartbeat_key")
        .fetch_one(pool)
        .await?)
}

pub(super) async fn keep(pool: &Sessions, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "with gone as (
             delete from lanes
             where lane <> all ($1)
         )
         insert into lanes (lane, recorded_at)
         select lane, $2
         from unnest($1::text[]) lane
         on conflict (lane) do nothing",
    )
    .bind(lanes)
    .bind(at)
    .execute(pool)
    .await?;
    Ok(())
}

/// A lane that is not kept is not entered. A watermark that is ahead of the clock was written by a clock that was wrong.
pub(super) async fn advance(
    connection: &mut PgConnection,
    watermark: &Watermark,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update lanes
         set watermark = case when watermark > $3 then $2 else greatest(watermark, $2) end, recorded_at = $3,
             partition_key = coalesce($4, partition_key)
         where lane = $1",
    )
    .bind(&watermark.lane)
    .bind(watermark.at)
    .bind(at)
    .bind(&watermark.partition_key)
    .execute(connection)
    .await?;
    Ok(())
}
