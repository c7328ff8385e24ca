//! The outbox: who publishes, what may be published, and how far it has come.
//!
//! Lines are taken in the order of transaction, then sequence, and only those of transactions older than
//! any that is still running: nothing can come before them any more. A transaction that stays open holds the
//! relay back, in whichever database of the server it is.

use super::PostgresStore;
use super::session::in_time;
use crate::store::Outbox;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::sessions::Sessions;
use super::{numbering, servers};
use crate::store::rows::{self, JournalRow};
use crate::store::{Cursor, Published, Result, StoreError, Unpublished};

#[async_trait]
impl Outbox for PostgresStore {
    async fn acquire_lead(&self) -> Result<bool> {
        let mut lead = self.lead.lock().await;
        let leads = in_time(self.limit, self::lead(&self.pool, &mut lead)).await;
        if leads.is_err() {
            // It may owe an answer.
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
        // Taken out while it owes an answer: whoever does not wait for that loses it, and the lead with it.
        let Some(mut connection) = lead.take() else {
            return in_time(self.limit, async {
                let mut connection = self.pool.acquire().await?;
                next(&mut connection, after, last, limit).await
            })
            .await;
        };
        let outbox = in_time(self.limit, next(&mut connection, after, last, limit)).await?;
        if outbox.lines.is_empty() && !in_time(self.limit, may_write(&mut connection)).await? {
            return Err(StoreError::Unavailable(format!(
                "the session that leads the relay is read-only: {}",
                crate::store::error::READ_ONLY
            )));
        }
        *lead = Some(connection);
        Ok(outbox)
    }

    async fn advance_cursor(&self, upto: &Published) -> Result<()> {
        in_time(self.limit, done(&self.pool, upto)).await
    }

    async fn begin_epoch(&self, above: i64) -> Result<i64> {
        in_time(self.limit, async {
            let mut connection = self.pool.acquire().await?;
            numbering::check(&mut connection).await?;
            numbering::begin_epoch(&mut connection, above).await
        })
        .await
    }

    async fn oldest_unpublished(&self) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        in_time(self.limit, waiting(&self.pool)).await
    }

    async fn count_unpublished(&self) -> Result<i64> {
        in_time(self.limit, backlog(&self.pool)).await
    }
}

/// The lead's number among the advisory locks of the database, without the schema: "tenu" in ASCII, in the upper half. The
/// lower half is the schema in which the tables are: each schema may hold an installation of its own.
const LEAD: i64 = 0x74_65_6e_75 << 32;

/// What the session that leads needs.
const SETTINGS: &str = "
    set lock_timeout = '10s';
    set statement_timeout = '10s';
    -- A worker that lost its network must not keep the lead for the two hours that TCP would give it.
    set tcp_keepalives_idle = 15;
    set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3;
    -- The journal is read after every transaction: by its key, and without a new plan each time.
    set enable_seqscan = off;
    set plan_cache_mode = force_generic_plan;
    set jit = off";

/// Takes the lead, or makes sure that it is still ours. It belongs to a session: when that ends, so
/// does the lead.
pub(super) async fn lead(sessions: &Sessions, lead: &mut Option<PgConnection>) -> Result<bool> {
    if let Some(connection) = lead {
        // A server that was demoted would keep the session, and no change would ever come.
        if matches!(servers::is_writable(connection).await, Ok(true)) {
            return Ok(true);
        }
        *lead = None;
    }
    let mut connection = sessions.outside("tenure relay", SETTINGS).await?;
    let taken: bool = sqlx::query_scalar(
        "select pg_try_advisory_lock($1 | relnamespace::bigint)
         from pg_class
         where oid = 'relay'::regclass",
    )
    .bind(LEAD)
    .fetch_one(&mut connection)
    .await?;
    if taken {
        numbering::check(&mut connection).await?;
        *lead = Some(connection);
    } else {
        let _ = connection.close().await;
    }
    Ok(taken)
}

/// Whether the session that leads can still write. One on a server that was demoted finds an empty journal for ever.
pub(super) async fn may_write(connection: &mut PgConnection) -> Result<bool> {
    Ok(servers::is_writable(connection).await?)
}

/// Lines that wait. They are read first, and then it is looked whether the journal is still the one that `last` is in: a
/// backup that is restored between the two is seen.
pub(super) async fn next(
    connection: &mut PgConnection,
    after: Cursor,
    last: Option<&Published>,
    limit: u32,
) -> Result<Unpublished> {
    let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(
        "with done as (
             select xid, seq from relay
             union all
             select $1, $2
             order by xid desc, seq desc
             limit 1
         )
         select xid, seq, partner, client, change, id, before, after, time, cause::text, correction, recorded_at
         from journal
         where (xid, seq) > ((select xid from done), (select seq from done))
           and xid < (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_shift from relay)
         order by xid, seq
         limit $3",
    )
    .bind(after.transaction)
    .bind(after.sequence)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let (epoch, has_last, is_numbered): (i64, bool, bool) = sqlx::query_as(
        "select epoch,
                $1 is null or coalesce(pruned_before > $3, false)
                    or exists (select from journal where xid = $1 and seq = $2 and recorded_at = $3),
                greatest(xid, (select coalesce(max(xid), 0) from journal))
                    < pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_shift
         from relay",
    )
    .bind(last.map(|last| last.cursor.transaction))
    .bind(last.map(|last| last.cursor.sequence))
    .bind(last.map(|last| last.recorded_at))
    .fetch_one(&mut *connection)
    .await?;
    if !is_numbered {
        numbering::check(connection).await?;
        return Err(StoreError::Conflict(
            "the numbering of changes was continued".into(),
        ));
    }
    Ok(Unpublished {
        epoch,
        has_last,
        lines: lines.into_iter().map(rows::recorded).collect::<Result<_>>()?,
    })
}

/// Never backwards: a leader that lost its lead without knowing may be late. Nor to a line that is not there: since it was
/// published, a backup may have been restored.
pub(super) async fn done(pool: &Sessions, upto: &Published) -> Result<()> {
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
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn waiting(pool: &Sessions) -> Result<Option<(Cursor, DateTime<Utc>)>> {
    let line: Option<(i64, i64, DateTime<Utc>)> = sqlx::query_as(
        "select xid, seq, recorded_at
         from journal
         where (xid, seq) > ((select xid from relay), (select seq from relay))
         order by xid, seq
         limit 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(line.map(|(transaction, sequence, recorded_at)| {
        let cursor = Cursor {
            transaction,
            sequence,
        };
        (cursor, recorded_at)
    }))
}

pub(super) async fn backlog(pool: &Sessions) -> Result<i64> {
    let backlog = sqlx::query_scalar(
        "select count(*)
         from journal
         where (xid, seq) > ((select xid from relay), (select seq from relay))",
    )
    .fetch_one(pool)
    .await?;
    Ok(backlog)
}
