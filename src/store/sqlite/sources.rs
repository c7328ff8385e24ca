//! Expected sources, and when each was last heard from.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::columns::json;
use crate::store::sources::{AHEAD, HOUR, SourceRow, hour_of};
use crate::store::{ExpectedSource, Heard, Result, Sources};

#[async_trait]
impl Sources for SqliteStore {
    async fn sources(&self) -> Result<Vec<ExpectedSource>> {
        all(&self.readers).await
    }

    async fn expect_sources(&self, sources: &BTreeMap<String, TimeDelta>, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query("delete from expected_sources where source not in (select value from json_each(?1))")
                .bind(json(&sources.keys().collect::<Vec<_>>()))
                .execute(&mut *transaction)
                .await?;
            for (source, every) in sources {
                sqlx::query(
                    "insert into expected_sources (source, every_seconds, expected_since)
                     values (?1, ?2, ?3)
                     on conflict (source) do update
                     set every_seconds = excluded.every_seconds, expected_since = min(expected_since, excluded.expected_since)",
                )
                .bind(source)
                .bind(every.num_seconds())
                .bind(micros(at))
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }
}

pub(super) async fn all(executor: impl SqliteExecutor<'_>) -> Result<Vec<ExpectedSource>> {
    let sources: Vec<SourceRow<i64>> = sqlx::query_as(
        "select source, every_seconds, expected_since, last_heard, counted_hour, events, events_before
         from expected_sources
         order by source",
    )
    .fetch_all(executor)
    .await?;
    sources.into_iter().map(SourceRow::read).collect()
}

/// Records what was heard from expected sources. Replaces a time far ahead of the clock: a wrong clock wrote it. The hour of a clock
/// that is a little ahead counts.
pub(super) async fn advance(connection: &mut SqliteConnection, heard: &[Heard], at: i64) -> Result<()> {
    let span = |span: TimeDelta| span.num_microseconds().unwrap_or(i64::MAX);
    let hour = hour_of(at);
    for one in heard {
        sqlx::query(
            "update expected_sources
             set last_heard =
                     case when last_heard is null or last_heard < ?2 or last_heard > ?3 then ?2 else last_heard end,
                 counted_hour = case when counted_hour = ?6 then counted_hour else ?4 end,
                 events = ?7 + case when counted_hour in (?4, ?6) then events else 0 end,
                 events_before =
                     case when counted_hour in (?4, ?6) then events_before when counted_hour = ?5 then events else 0 end
             where source = ?1",
        )
        .bind(&one.source)
        .bind(micros(one.at))
        .bind(at.saturating_add(span(AHEAD)))
        .bind(hour)
        .bind(hour.saturating_sub(span(HOUR)))
        .bind(hour.saturating_add(span(HOUR)))
        .bind(one.events)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
