//! Expected sources, and when each was last heard from.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::PostgresStore;
use crate::domain::policy::later;
use crate::store::sources::{AHEAD, HOUR, SourceRow, hour_of};
use crate::store::{ExpectedSource, Heard, Result, Sources};

#[async_trait]
impl Sources for PostgresStore {
    async fn sources(&self) -> Result<Vec<ExpectedSource>> {
        self.in_time(all(&self.pool)).await
    }

    async fn expect_sources(&self, sources: &BTreeMap<String, TimeDelta>, at: DateTime<Utc>) -> Result<()> {
        let (names, intervals): (Vec<&str>, Vec<i64>) = sources
            .iter()
            .map(|(source, every)| (source.as_str(), every.num_seconds()))
            .unzip();
        self.in_time(async {
            sqlx::query(
                "with gone as (
                     delete from expected_sources
                     where source <> all ($1)
                 )
                 insert into expected_sources as e (source, every_seconds, expected_since)
                 select source, every_seconds, $3
                 from unnest($1::text[], $2::bigint[]) as s (source, every_seconds)
                 on conflict (source) do update
                 set every_seconds = excluded.every_seconds,
                     expected_since = least(e.expected_since, excluded.expected_since)",
            )
            .bind(names)
            .bind(intervals)
            .bind(at)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}

pub(super) async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<ExpectedSource>> {
    let sources: Vec<SourceRow<DateTime<Utc>>> = sqlx::query_as(
        "select source, every_seconds, expected_since, last_heard, counted_hour, events, events_before
         from expected_sources
         order by source",
    )
    .fetch_all(executor)
    .await?;
    sources.into_iter().map(SourceRow::read).collect()
}

/// Records what was heard from expected sources, in the order of their names, so that concurrent transactions lock rows in the
/// same order. Replaces a time far ahead of the clock: a wrong clock wrote it. The hour of a clock that is a little ahead counts.
pub(super) async fn advance(connection: &mut PgConnection, heard: &[Heard], at: DateTime<Utc>) -> Result<()> {
    let hour = DateTime::from_timestamp_micros(hour_of(at.timestamp_micros())).unwrap_or(at);
    for one in heard {
        sqlx::query(
            "update expected_sources
             set last_heard =
                     case when last_heard is null or last_heard < $2 or last_heard > $3 then $2 else last_heard end,
                 counted_hour = case when counted_hour = $6 then counted_hour else $4 end,
                 events = $7 + case when counted_hour in ($4, $6) then events else 0 end,
                 events_before =
                     case when counted_hour in ($4, $6) then events_before when counted_hour = $5 then events else 0 end
             where source = $1",
        )
        .bind(&one.source)
        .bind(one.at)
        .bind(later(at, AHEAD))
        .bind(hour)
        .bind(hour - HOUR)
        .bind(hour + HOUR)
        .bind(one.events)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
