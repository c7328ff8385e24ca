//! A write and a read that fail where a batch or a query would fail.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use super::micros;
use super::session::Transaction;
use crate::store::Result;

pub(super) async fn write(writer: &SqlitePool, at: DateTime<Utc>) -> Result<()> {
    let mut transaction = Transaction::begin(writer).await?;
    sqlx::query("update write_probe set written_at = ?1")
        .bind(micros(at))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Reads a page of each table, from its root to its end: a damaged file accepts writes for a long time.
pub(super) async fn read(readers: &SqlitePool) -> Result<()> {
    sqlx::query(
        "select (select max(number) from client_keys), (select max(client) from clients), (select max(client) from events),
                (select max(seq) from journal), (select max(client) from touches), (select max(client) from touch_runs),
                (select max(client) from checkpoints),
                (select max(id) from dead_letters), (select max(id) from sweep_runs),
                (select max(due_at) from deadlines where sweep = 0)",
    )
    .fetch_one(readers)
    .await?;
    Ok(())
}
