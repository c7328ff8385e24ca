//! Reads, redrives and writes dead letters.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::PostgresStore;
use crate::store::columns::{json, text};
use crate::store::dead_letter::{Sighting, believable, sightings};
use crate::store::dead_letters::{DeadLetterRow, SummaryRow};
use crate::store::{
    DeadLetter, DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary, DeadLetters, Result,
};

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>> {
        self.in_time(async {
            let dead_letters: Vec<SummaryRow<DateTime<Utc>>> = sqlx::query_as(
                "select id, origin, source, content_type, reason, status,
                        bytes, times_seen, first_seen_at,
                        last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at
                 from dead_letters
                 where id > $1 and ($2::text is null or status = $2)
                 order by id
                 limit $3",
            )
            .bind(after)
            .bind(filter.status.map(DeadLetterStatus::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            dead_letters.into_iter().map(SummaryRow::read).collect()
        })
        .await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterRecord>> {
        self.in_time(async {
            let dead_letter: Option<DeadLetterRow<DateTime<Utc>>> = sqlx::query_as(
                "select id, origin, source, content_type, reason, status,
                        bytes, times_seen, first_seen_at,
                        last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body
                 from dead_letters
                 where id = $1",
            )
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
            dead_letter.map(DeadLetterRow::read).transpose()
        })
        .await
    }

    async fn discard_dead_letter(&self, id: i64, at: DateTime<Utc>) -> Result<bool> {
        self.in_time(discard(&self.pool, id, at)).await
    }

    async fn claim_dead_letter(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadLetterRecord>> {
        self.in_time(async {
            let dead_letter: Option<DeadLetterRow<DateTime<Utc>>> = sqlx::query_as(
                "update dead_letters
                 set claimed_until = $3
                 where id = $1 and status <> 'redriven' and (claimed_until is null or claimed_until <= $2 or claimed_until > $4)
                 returning id, origin, source, content_type, reason, status,
                           bytes, times_seen, first_seen_at,
                           last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body",
            )
            .bind(id)
            .bind(now)
            .bind(until)
            .bind(believable(now, until))
            .fetch_optional(&self.pool)
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
        self.in_time(async {
            let dead_letters: Vec<DeadLetterRow<DateTime<Utc>>> = sqlx::query_as(
                "update dead_letters
                 set claimed_until = $2
                 where id in (
                     select id from dead_letters
                     where status = 'open' and retry_at <= $1
                       and (claimed_until is null or claimed_until <= $1 or claimed_until > $3)
                     order by retry_at
                     limit $4
                     for update skip locked
                 )
                 returning id, origin, source, content_type, reason, status,
                           bytes, times_seen, first_seen_at,
                           last_seen_at, resolved_at, redriven_at, redrive_outcome, retry_at, headers, body",
            )
            .bind(now)
            .bind(until)
            .bind(believable(now, until))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
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
        self.in_time(async {
            sqlx::query(
                "update dead_letters
                 set claimed_until = null, redriven_at = $4, redrive_outcome = $3,
                     status = case when $2 then status else 'redriven' end,
                     resolved_at = case when $2 then resolved_at else $4 end
                 where id = $1",
            )
            .bind(id)
            .bind(failed)
            .bind(text(redrive_outcome))
            .bind(at)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn end_redrives(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()> {
        self.in_time(async {
            let (ids, redrive_outcome): (Vec<i64>, Vec<String>) =
                done.iter().map(|(id, what)| (*id, text(what))).unzip();
            sqlx::query(
                "update dead_letters l
                 set claimed_until = null, redriven_at = $3, redrive_outcome = d.redrive_outcome, status = 'redriven', resolved_at = $3
                 from unnest($1::bigint[], $2::text[]) as d (id, redrive_outcome)
                 where l.id = d.id",
            )
            .bind(ids)
            .bind(redrive_outcome)
            .bind(at)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}

/// Writes dead letters. A known one is counted again, and reopened if it was redriven. A discarded one stays discarded.
pub(super) async fn put(
    connection: &mut PgConnection,
    dead_letters: &[DeadLetter],
    at: DateTime<Utc>,
) -> Result<()> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    let seen = sightings(dead_letters);
    sqlx::query(
        "insert into dead_letters
             (digest, origin, content_type, headers, body, reason, status, times_seen, first_seen_at, last_seen_at,
              bytes, retry_at, source)
         select w.digest, w.origin, w.content_type, w.headers, w.body, w.reason, 'open', w.times, $10, $10, w.bytes, w.retry_at,
                w.source
         from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[],
                     $8::bigint[], $9::timestamptz[], $11::text[])
              with ordinality
              as w (digest, origin, content_type, headers, body, reason, times, bytes, retry_at, source, place)
         order by w.place
         on conflict (digest) do update
         set origin = excluded.origin, source = excluded.source, headers = excluded.headers, reason = excluded.reason,
             status = case dead_letters.status when 'redriven' then 'open' else dead_letters.status end,
             resolved_at = case dead_letters.status when 'redriven' then null else dead_letters.resolved_at end,
             times_seen = dead_letters.times_seen + excluded.times_seen,
             last_seen_at = excluded.last_seen_at, retry_at = excluded.retry_at",
    )
    .bind(seen.iter().map(|s| s.digest).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| text(&s.dead_letter.origin)).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.dead_letter.content_type.as_deref().map(text)).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| json(&s.dead_letter.headers)).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::body).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::reason).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.times).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::bytes).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.dead_letter.retry_at).collect::<Vec<_>>())
    .bind(at)
    .bind(seen.iter().map(|s| s.dead_letter.source.as_deref().map(text)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Discards a dead letter. False: no open dead letter has this id.
pub(super) async fn discard(executor: impl PgExecutor<'_>, id: i64, at: DateTime<Utc>) -> Result<bool> {
    let discarded = sqlx::query(
        "update dead_letters
         set status = 'discarded', resolved_at = $2
         where id = $1 and status = 'open'",
    )
    .bind(id)
    .bind(at)
    .execute(executor)
    .await?;
    Ok(discarded.rows_affected() > 0)
}
