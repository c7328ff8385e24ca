//! The outbox. SQLite has one writer, so sequence numbers are the order of the lines.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteExecutor, SqlitePool};

use super::lines::{line, words_of_line};
use super::{SqliteStore, micros, traces};
use crate::store::columns::{Both, KeyRow};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::{Cursor, Outbox, Published, Result, StoreError, TraceHeaders, Unpublished};

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
                "the relay's lock file was removed; the worker acquires the lead again".into(),
            ));
        }
        next(&self.readers, after, last, limit).await
    }

    /// Never backwards, and never to a missing line: a backup may have been restored since its publication.
    async fn advance_cursor(&self, upto: &Published) -> Result<()> {
        self.in_turn(async {
            sqlx::query(
                "update relay
                 set seq = ?1
                 where seq < ?1 and epoch = ?3 and exists (select 1 from journal where seq = ?1 and recorded_at = ?2)",
            )
            .bind(upto.cursor.sequence)
            .bind(micros(upto.recorded_at))
            .bind(upto.epoch)
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        self.in_turn(begin_epoch(&self.writer, above)).await
    }

    async fn oldest_unpublished(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        let line: Option<(i64, i64)> = sqlx::query_as(
            "select seq, recorded_at
             from journal
             where seq > (select seq from relay)
             order by seq
             limit 1",
        )
        .fetch_optional(&self.readers)
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

    async fn count_unpublished(&self) -> Result<i64> {
        let backlog = sqlx::query_scalar(
            "select count(*)
             from journal
             where seq > (select seq from relay)",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(backlog)
    }

    async fn event_traces(&self, lines: &[Cursor]) -> Result<Vec<(Cursor, TraceHeaders)>> {
        let mut reader = self.readers.acquire().await?;
        traces::of_lines(&mut reader, lines).await
    }
}

/// Begins a new epoch, greater than `above` and than the stored one, whatever the clock says.
pub(super) async fn begin_epoch(executor: impl SqliteExecutor<'_>, above: i64) -> Result<i64> {
    let epoch = sqlx::query_scalar(
        "update relay
         set epoch = max(max(epoch, ?1) / 1000000 + 1, cast(unixepoch('now', 'subsec') * 1000 as integer)) * 1000000
                     + abs(random() % 1000000)
         returning epoch",
    )
    .bind(above)
    .fetch_one(executor)
    .await?;
    Ok(epoch)
}

/// Reads unpublished lines first, and then checks that the journal still has `last`.
pub(super) async fn next(
    readers: &SqlitePool,
    after: Cursor,
    last: Option<&Published>,
    limit: u32,
) -> Result<Unpublished> {
    let lines: Vec<Both<KeyRow, JournalRow<i64>>> = sqlx::query_as(concat!(
        "select k.partner, k.client, ",
        line!(),
        "from journal j
             left join client_keys k on k.number = j.client",
        words_of_line!(),
        "where j.seq > (select max(seq, ?1) from relay)
             order by j.seq
             limit ?2"
    ))
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
        lines: lines.into_iter().map(read_line).collect::<Result<_>>()?,
    })
}
