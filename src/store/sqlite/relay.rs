//! The outbox. There is one writer, so a line's sequence number is its order.

use sqlx::sqlite::SqlitePool;

use crate::store::rows::{self, JournalRow};
use crate::store::{Cursor, Recorded, Result};

pub(super) async fn next(readers: &SqlitePool, after: Cursor, limit: u32) -> Result<Vec<Recorded>> {
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
    lines.into_iter().map(rows::recorded).collect()
}

/// Never backwards.
pub(super) async fn done(writer: &SqlitePool, upto: Cursor) -> Result<()> {
    sqlx::query(
        "update relay
         set seq = ?1
         where seq < ?1",
    )
    .bind(upto.sequence)
    .execute(writer)
    .await?;
    Ok(())
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
