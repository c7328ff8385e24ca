//! Lanes of the broker and their watermarks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::PostgresStore;
use crate::store::lanes::LaneRow;
use crate::store::{LaneProgress, Lanes, Result, Watermark};

#[async_trait]
impl Lanes for PostgresStore {
    async fn lanes(&self) -> Result<Vec<LaneProgress>> {
        self.in_time(all(&self.pool)).await
    }

    async fn heartbeat_key(&self) -> Result<String> {
        self.in_time(async {
            Ok(sqlx::query_scalar("select key from heartbeat_key")
                .fetch_one(&self.pool)
                .await?)
        })
        .await
    }

    async fn set_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
        self.in_time(set(&self.pool, lanes, at)).await
    }
}

pub(super) async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<LaneProgress>> {
    let lanes: Vec<LaneRow<DateTime<Utc>>> = sqlx::query_as(
        "select lane, watermark, recorded_at, partition_key
         from lanes
         order by lane",
    )
    .fetch_all(executor)
    .await?;
    lanes.into_iter().map(LaneRow::read).collect()
}

/// Advances the watermark of a known lane. Replaces a watermark ahead of the clock: a wrong clock wrote it.
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

/// Replaces the set of lanes.
pub(super) async fn set(executor: impl PgExecutor<'_>, lanes: &[String], at: DateTime<Utc>) -> Result<()> {
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
    .execute(executor)
    .await?;
    Ok(())
}
