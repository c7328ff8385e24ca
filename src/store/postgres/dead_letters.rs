//! Dead letters.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use crate::store::letters::sightings;
use crate::store::rows::{self, DeadRow, json, text};
use crate::store::{DeadFilter, DeadLetter, DeadRecord, DeadStatus, Result};

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
             (digest, origin, content_type, headers, body, reason, status, times_seen, first_seen_at, last_seen_at)
         select w.digest, w.origin, w.content_type, w.headers, w.body, w.reason, 'open', w.times, $8, $8
         from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[])
              with ordinality
              as w (digest, origin, content_type, headers, body, reason, times, place)
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
    .bind(seen.iter().map(|s| s.letter.body.as_slice()).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| text(&s.letter.reason)).collect::<Vec<_>>())
    .bind(seen.iter().map(|s| s.times).collect::<Vec<_>>())
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
) -> Result<Vec<DeadRecord>> {
    let letters: Vec<DeadRow<DateTime<Utc>>> = sqlx::query_as(
        "select id, origin, content_type, headers, body, reason, status, times_seen, first_seen_at,
                last_seen_at, settled_at
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
    letters.into_iter().map(rows::dead).collect()
}

pub(super) async fn one(pool: &PgPool, id: i64) -> Result<Option<DeadRecord>> {
    let letter: Option<DeadRow<DateTime<Utc>>> = sqlx::query_as(
        "select id, origin, content_type, headers, body, reason, status, times_seen, first_seen_at,
                last_seen_at, settled_at
         from dead_letters
         where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    letter.map(rows::dead).transpose()
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
