//! Reads, redrives and writes dead letters.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::{SqliteStore, micros};
use crate::store::columns::{json, text};
use crate::store::dead_letter::{believable, sightings};
use crate::store::dead_letters::{DeadLetterRow, SummaryRow};
use crate::store::{
    DeadLetter, DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary, DeadLetters, Result,
    hex,
};

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>> {
        let dead_letters: Vec<SummaryRow<i64>> = sqlx::query_as(
            "select id, origin, source, content_type, reason, status,
                    bytes, times_seen, first_seen_at,
                    last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at
             from dead_letters
             where id > ?1 and (?2 is null or status = ?2)
             order by id
             limit ?3",
        )
        .bind(after)
        .bind(filter.status.map(DeadLetterStatus::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        dead_letters.into_iter().map(SummaryRow::read).collect()
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterRecord>> {
        let dead_letter: Option<DeadLetterRow<i64>> = sqlx::query_as(
            "select id, origin, source, content_type, reason, status,
                    bytes, times_seen, first_seen_at,
                    last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body
             from dead_letters
             where id = ?1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        dead_letter.map(DeadLetterRow::read).transpose()
    }

    async fn discard_dead_letter(&self, id: i64, at: DateTime<Utc>) -> Result<bool> {
        self.in_turn(discard(&self.writer, id, at)).await
    }

    async fn claim_dead_letter(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadLetterRecord>> {
        self.in_turn(async {
            let dead_letter: Option<DeadLetterRow<i64>> = sqlx::query_as(
                "update dead_letters
                 set claimed_until = ?3
                 where id = ?1 and status <> 'redriven' and (claimed_until is null or claimed_until <= ?2 or claimed_until > ?4)
                 returning id, origin, source, content_type, reason, status,
                           bytes, times_seen, first_seen_at,
                           last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body",
            )
            .bind(id)
            .bind(micros(now))
            .bind(micros(until))
            .bind(micros(believable(now, until)))
            .fetch_optional(&self.writer)
            .await?;
            dead_letter.map(DeadLetterRow::read).transpose()
        })
        .await
    }

    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadLetterRecord>> {
        self.in_turn(async {
            let dead_letters: Vec<DeadLetterRow<i64>> = sqlx::query_as(
                "update dead_letters
                 set claimed_until = ?2
                 where id in (
                     select id from dead_letters
                     where status = 'open' and retry_at <= ?1
                       and (claimed_until is null or claimed_until <= ?1 or claimed_until > ?3)
                     order by retry_at
                     limit ?4
                 )
                 returning id, origin, source, content_type, reason, status,
                           bytes, times_seen, first_seen_at,
                           last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body",
            )
            .bind(micros(now))
            .bind(micros(until))
            .bind(micros(believable(now, until)))
            .bind(i64::from(limit))
            .fetch_all(&self.writer)
            .await?;
            dead_letters.into_iter().map(DeadLetterRow::read).collect()
        })
        .await
    }

    async fn end_redrive(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()> {
        self.in_turn(async {
            sqlx::query(
                "update dead_letters
                 set claimed_until = null, redriven_at = ?4, redrive_outcome = ?3,
                     status = case when ?2 then status else 'redriven' end,
                     resolved_at = case when ?2 then resolved_at else ?4 end
                 where id = ?1",
            )
            .bind(id)
            .bind(failed)
            .bind(text(redrive_outcome))
            .bind(micros(at))
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }

    async fn end_redrives(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            let done: Vec<(i64, String)> = done.iter().map(|(id, what)| (*id, text(what))).collect();
            sqlx::query(
                "update dead_letters
                 set claimed_until = null, redriven_at = ?2, redrive_outcome = d.value ->> 1, status = 'redriven', resolved_at = ?2
                 from json_each(?1) d
                 where dead_letters.id = d.value ->> 0",
            )
            .bind(json(&done))
            .bind(micros(at))
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }
}

/// Writes dead letters. A known one is counted again, and reopened if it was redriven. A discarded one stays discarded.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    dead_letters: &[DeadLetter],
    at: i64,
) -> Result<()> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = sightings(dead_letters)
        .iter()
        .map(|sighting| {
            let dead_letter = sighting.dead_letter;
            serde_json::json!([
                hex(&sighting.digest),
                text(&dead_letter.origin),
                dead_letter.content_type.as_deref().map(text),
                json(&dead_letter.headers),
                hex(sighting.body()),
                sighting.reason(),
                sighting.times,
                sighting.bytes(),
                dead_letter.retry_at.map(micros),
                dead_letter.source.as_deref().map(text),
            ])
        })
        .collect();
    sqlx::query(
        "insert into dead_letters
             (digest, origin, content_type, headers, body, reason, status, times_seen, first_seen_at, last_seen_at,
              bytes, retry_at, source)
         select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, 'open',
                value ->> 6, ?2, ?2, value ->> 7, value ->> 8, value ->> 9
         from json_each(?1)
         where true
         order by key
         on conflict (digest) do update
         set origin = excluded.origin, source = excluded.source, headers = excluded.headers, reason = excluded.reason,
             status = case status when 'redriven' then 'open' else status end,
             resolved_at = case status when 'redriven' then null else resolved_at end,
             times_seen = times_seen + excluded.times_seen,
             last_seen_at = excluded.last_seen_at, retry_at = excluded.retry_at",
    )
    .bind(json(&lines))
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Discards a dead letter. False: no open dead letter has this id.
pub(super) async fn discard(executor: impl SqliteExecutor<'_>, id: i64, at: DateTime<Utc>) -> Result<bool> {
    let discarded = sqlx::query(
        "update dead_letters
         set status = 'discarded', resolved_at = ?2
         where id = ?1 and status = 'open'",
    )
    .bind(id)
    .bind(micros(at))
    .execute(executor)
    .await?;
    Ok(discarded.rows_affected() > 0)
}
