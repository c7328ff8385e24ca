//! Dead letters.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use crate::store::letters::{Sighting, sightings};
use crate::store::rows::{self, DeadLineRow, DeadRow, json, text};
use crate::store::{DeadFilter, DeadLetter, DeadLine, DeadRecord, DeadStatus, Result};

/// Keeps letters; one that is here already is seen again, and open again if it had been redriven. A
/// discarded one stays discarded.
pub(super) async fn put(
    connection: &mut PgConnection,
    letters: &[DeadLetter],
    at: DateTime<Utc>,
) -> Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let seen = sightings(letters);
    sqlx::query(
        "insert into dead_letters
             (digest, origin, content_type, headers, body, reason, status, times_seen, first_seen_at, last_seen_at,
              bytes)
         select w.digest, w.origin, w.content_type, w.headers, w.body, w.reason, 'open', w.times, $9, $9, w.bytes
         from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[],
                     $8::bigint[])
              with ordinality
              as w (digest, origin, content_type, headers, body, reason, times, bytes, place)
         order by w.place
         on conflict (digest) do update
         set origin = excluded.origin, headers = excluded.headers, reason = excluded.reason,
             status = case dead_letters.status when 'redriven' then 'open' else dead_letters.status end,
             settled_at = case dead_letters.status when 'redriven' then null else dead_letters.settled_at end,
             times_seen = dead_letters.times_seen + excluded.times_seen,
             last_seen_at = excluded.last_seen_at",
    )
    .bind(seen.iter().map(|s| s.digest).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| text(&s.letter.origin)).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.letter.content_type.as_deref().map(text)).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| json(&s.letter.headers)).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::body).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::reason).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.times).collect::<Vec<_>>())
    .bind(seen.iter().map(Sighting::bytes).collect::<Vec<_>>())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn list(
    pool: &PgPool,
    filter: &DeadFilter,
    after: i64,
    limit: u32,
) -> Result<Vec<DeadLine>> {
    let letters: Vec<DeadLineRow<DateTime<Utc>>> = sqlx::query_as(
        "select id, origin, content_type, reason, status, coalesce(bytes, octet_length(body))::bigint, times_seen,
                first_seen_at, last_seen_at, settled_at, redriven_at, came_of
         from dead_letters
         where id > $1 and ($2::text is null or status = $2)
         order by id
         limit $3",
    )
    .bind(after)
    .bind(filter.status.map(DeadStatus::as_str))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    letters.into_iter().map(rows::dead_line).collect()
}

pub(super) async fn one(pool: &PgPool, id: i64) -> Result<Option<DeadRecord>> {
    let letter: Option<DeadRow<DateTime<Utc>>> = sqlx::query_as(
        "select id, origin, content_type, reason, status, coalesce(bytes, octet_length(body))::bigint, times_seen, first_seen_at,
                last_seen_at, settled_at, redriven_at, came_of, headers, body
         from dead_letters
         where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    letter.map(rows::dead).transpose()
}

pub(super) async fn claim(
    pool: &PgPool,
    id: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<DeadRecord>> {
    let letter: Option<DeadRow<DateTime<Utc>>> = sqlx::query_as(
        "update dead_letters
         set claimed_until = $3
         where id = $1 and status <> 'redriven' and (claimed_until is null or claimed_until <= $2)
         returning id, origin, content_type, reason, status, coalesce(bytes, octet_length(body))::bigint, times_seen,
                   first_seen_at, last_seen_at, settled_at, redriven_at, came_of, headers, body",
    )
    .bind(id)
    .bind(now)
    .bind(until)
    .fetch_optional(pool)
    .await?;
    letter.map(rows::dead).transpose()
}

pub(super) async fn settle(
    pool: &PgPool,
    id: i64,
    in_vain: bool,
    came_of: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update dead_letters
         set claimed_until = null, redriven_at = $4, came_of = $3,
             status = case when $2 then status else 'redriven' end,
             settled_at = case when $2 then settled_at else $4 end
         where id = $1",
    )
    .bind(id)
    .bind(in_vain)
    .bind(text(came_of))
    .bind(at)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn mark(pool: &PgPool, id: i64, status: DeadStatus, at: DateTime<Utc>) -> Result<bool> {
    let settled_at = (status != DeadStatus::Open).then_some(at);
    let marked = sqlx::query(
        "update dead_letters
         set status = $2, settled_at = $3
         where id = $1",
    )
    .bind(id)
    .bind(status.as_str())
    .bind(settled_at)
    .execute(pool)
    .await?;
    Ok(marked.rows_affected() > 0)
}
