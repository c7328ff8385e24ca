//! The outbox. There is one writer, so a line's sequence number is its order.

use super::SqliteStore;
use crate::store::{Outbox, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use super::micros;
use crate::store::rows::{self, JournalRow};
use crate::store::{Cursor, Published, Result, Unpublished};

#[async_trait]
impl Outbox for SqliteStore {
    async fn acquire_lead(&self) -> Result<bool> {
        self.lead.acquire()
    }

    async fn release_lead(&self) -> Result<()> {
        self.lead.release();
        Ok(())
    }

    async fn unpublished(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Unpublished> {
        if self.lead.is_lost() {
            return Err(StoreError::Unavailable(
                "the relay's lock file was removed; the worker takes the lead again".into(),
            ));
        }
        next(&self.readers, after, last, limit).await
    }

    async fn advance_cursor(&self, upto: &Published) -> Result<()> {
        self.in_turn(done(&self.writer, upto)).await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        self.in_turn(begin_epoch(&self.writer, above)).await
    }

    async fn oldest_unpublished(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        waiting(&self.readers).await
    }

    async fn count_unpublished(&self) -> Result<i64> {
        backlog(&self.readers).await
    }
}

/// Lines that wait. They are read first, and then it is looked whether the journal is still the one that `last` is in.
pub(super) async fn next(
    readers: &SqlitePool,
    after: Cursor,
    last: Option<&Published>,
    limit: u32,
) -> Result<Unpublished> {
    let lines: Vec<JournalRow<i64>> = sqlx::query_as(
        "select 0, seq, partner, client, change, id, before, after, time, cause, correction, recorded_at
         from journal
         where seq > (select max(seq, ?1) from relay)
         order by seq
         limit ?2",
    )
    .bind(after.sequence)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    let (epoch, has_last): (i64, bool) = sqlx::query_as(
        "select epoch,
                ?1 is null or coalesce(pruned_before > ?2, false)
                    or exists (select 1 from journal where seq = ?1 and recorded_at = ?2)
         from relay",
    )
    .bind(last.map(|last| last.cursor.sequence))
    .bind(last.map(|last| micros(last.recorded_at)))
    .fetch_one(readers)
    .await?;
    Ok(Unpublished {
        epoch,
        has_last,
        lines: lines.into_iter().map(rows::recorded).collect::<Result<_>>()?,
    })
}

/// Never backwards, nor to a line that is not there: since it was published, a backup may have been restored.
pub(super) async fn done(writer: &SqlitePool, upto: &Published) -> Result<()> {
    sqlx::query(
        "update relay
         set seq = ?1
         where seq < ?1 and epoch = ?3 and exists (select 1 from journal where seq = ?1 and recorded_at = ?2)",
    )
    .bind(upto.cursor.sequence)
    .bind(micros(upto.recorded_at))
    .bind(upto.epoch)
    .execute(writer)
    .await?;
    Ok(())
}

/// Begins a new epoch, above this one and that of the tables, whatever the clock says.
pub(super) async fn begin_epoch(writer: &SqlitePool, above: i64) -> Result<i64> {
    let epoch = sqlx::query_scalar(
        "update relay
         set epoch = max(max(epoch, ?1) / 1000000 + 1, cast(unixepoch('now', 'subsec') * 1000 as integer)) * 1000000
                     + abs(random() % 1000000)
         returning epoch",
    )
    .bind(above)
    .fetch_one(writer)
    .await?;
    Ok(epoch)
}

pub(super) async fn waiting(readers: &SqlitePool) -> Result<Option<(Cursor, DateTime<Utc>)>> {
    let line: Option<(i64, i64)> = sqlx::query_as(
        "select seq, recorded_at
         from journal
         where seq > (select seq from relay)
         order by seq
         limit 1",
    )
    .fetch_optional(readers)
    .await?;
    Ok(line.map(|(sequence, recorded_at)| {
        let cursor = Cursor {
            transaction: 0,
            sequence,
        };
        (
            cursor,
            DateTime::from_timestamp_micros(recorded_at).unwrap_or_default(),
        )
    }))
}

pub(super) async fn backlog(readers: &SqlitePool) -> Result<i64> {
    let backlog = sqlx::query_scalar(
        "select count(*)
         from journal
         where seq > (select seq from relay)",
    )
    .fetch_one(readers)
    .await?;
    Ok(backlog)
}
