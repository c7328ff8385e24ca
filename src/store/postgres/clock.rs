//! The server's clock, and the latest moment that a worker's clock has shown.

use chrono::{DateTime, Utc};

use super::sessions::Sessions;
use crate::store::Result;

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
