//! The outbox: the relay's lead, unpublished lines, and the cursor.
//!
//! Lines are ordered by transaction, then sequence. Only lines of transactions older than every running one are listed:
//! no line can still come before them. An open transaction holds the relay back, in any database of the server.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::lead::RELAY;
use super::lines::line;
use super::numbering::is_numbered;
use super::{PostgresStore, numbering, servers, traces};
use crate::store::columns::{Both, KeyRow};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::{Cursor, Outbox, Published, Result, StoreError, TraceHeaders, Unpublished};

#[async_trait]
impl Outbox for PostgresStore {
    async fn acquire_lead(&self) -> Result<bool> {
        let mut lead = self.lead.lock().await;
        let leads = self.in_time(RELAY.acquire(&self.pool, &mut lead)).await;
        if leads.is_err() {
            // The session may still owe an answer.
            *lead = None;
        }
        leads
    }

    async fn release_lead(&self) -> Result<()> {
        // The lock is released with its session.
        if let Some(connection) = self.lead.lock().await.take() {
            servers::close(connection);
        }
        Ok(())
    }

    async fn unpublished(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Unpublished> {
        let mut lead = self.lead.lock().await;
        // Out of the lock while it owes an answer: a caller that stops waiting drops the session, and the lead with it.
        let Some(mut connection) = lead.take() else {
            return self
                .in_time(async {
                    let mut connection = self.pool.acquire().await?;
                    next(&mut connection, after, last, limit).await
                })
                .await;
        };
        let outbox = self.in_time(next(&mut connection, after, last, limit)).await?;
        if outbox.lines.is_empty() && !self.in_time(may_write(&mut connection)).await? {
            return Err(StoreError::Unavailable(format!(
                "the session that holds the relay's lead is read-only: {}",
                crate::store::error::READ_ONLY
            )));
        }
        *lead = Some(connection);
        Ok(outbox)
    }

    /// Never backwards: a leader that has lost its lead may call late. Never to a missing line: a backup may have been
    /// restored since its publication.
    async fn advance_cursor(&self, upto: &Published) -> Result<()> {
        self.in_time(async {
            sqlx::query(
                "update relay
                 set xid = $1, seq = $2
                 where (xid, seq) < ($1, $2) and epoch = $4
                       and exists (select from journal where xid = $1 and seq = $2 and recorded_at = $3)",
            )
            .bind(upto.cursor.transaction)
            .bind(upto.cursor.sequence)
            .bind(upto.recorded_at)
            .bind(upto.epoch)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            numbering::check(&mut connection).await?;
            numbering::begin_epoch(&mut connection, above).await
        })
        .await
    }

    async fn oldest_unpublished(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        self.in_time(async {
            let line: Option<(i64, i64, DateTime<Utc>)> = sqlx::query_as(
                "select xid, seq, recorded_at
                 from journal
                 where (xid, seq) > ((select xid from relay), (select seq from relay))
                 order by xid, seq
                 limit 1",
            )
            .fetch_optional(&self.pool)
            .await?;
            Ok(line.map(|(transaction, sequence, recorded_at)| {
                let cursor = Cursor {
                    transaction,
                    sequence,
                };
                (cursor, recorded_at)
            }))
        })
        .await
    }

    async fn count_unpublished(&self) -> Result<i64> {
        self.in_time(async {
            let backlog = sqlx::query_scalar(
                "select count(*)
                 from journal
                 where (xid, seq) > ((select xid from relay), (select seq from relay))",
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(backlog)
        })
        .await
    }

    async fn event_traces(&self, lines: &[Cursor]) -> Result<Vec<(Cursor, TraceHeaders)>> {
        self.in_time(traces::of_lines(&self.pool, lines)).await
    }
}

/// Whether the leader's session can still write. On a demoted server, the journal would stay empty forever.
pub(super) async fn may_write(connection: &mut PgConnection) -> Result<bool> {
    Ok(servers::is_writable(connection).await?)
}

/// Reads unpublished lines first, and then checks that the journal still has `last`: that detects a backup restored
/// between the two.
pub(super) async fn next(
    connection: &mut PgConnection,
    after: Cursor,
    last: Option<&Published>,
    limit: u32,
) -> Result<Unpublished> {
    let lines: Vec<Both<KeyRow, JournalRow<DateTime<Utc>>>> = sqlx::query_as(concat!(
        "with done as (
             select xid, seq from relay
             union all
             select $1, $2
             order by xid desc, seq desc
             limit 1
         )
         select (select partner from client_keys where number = j.client) as partner,
                (select client from client_keys where number = j.client) as client, ",
        line!(),
        "from journal j
         where (j.xid, j.seq) > ((select xid from done), (select seq from done))
           and j.xid < (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_shift from relay)
         order by j.xid, j.seq
         limit $3"
    ))
    .bind(after.transaction)
    .bind(after.sequence)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let (epoch, has_last, is_numbered): (i64, bool, bool) = sqlx::query_as(concat!(
        "select epoch,
                $1 is null or coalesce(pruned_before > $3, false)
                    or exists (select from journal where xid = $1 and seq = $2 and recorded_at = $3), ",
        is_numbered!(),
        " from relay"
    ))
    .bind(last.map(|last| last.cursor.transaction))
    .bind(last.map(|last| last.cursor.sequence))
    .bind(last.map(|last| last.recorded_at))
    .fetch_one(&mut *connection)
    .await?;
    numbering::require(connection, is_numbered).await?;
    Ok(Unpublished {
        epoch,
        has_last,
        lines: lines.into_iter().map(read_line).collect::<Result<_>>()?,
    })
}
