//! The outbox: who publishes, what may be published, and how far it has come.
//!
//! Lines are taken in the order of transaction, then sequence, and only those of transactions older than
//! any that is still running: nothing can come before them any more. A transaction that stays open holds the
//! relay back, in whichever database of the server it is.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgExecutor, PgPool};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::store::rows::{self, JournalRow};
use crate::store::{Cursor, Recorded, Result};

/// The lead's number among the advisory locks of the database, without the schema: "tenu" in ASCII, in the upper half. The
/// lower half is the schema in which the tables are: each schema may hold an installation of its own.
const LEAD: i64 = 0x74_65_6e_75 << 32;

/// Takes the lead, or makes sure that it is still ours. It belongs to a session: when that ends, so
/// does the lead.
pub(super) async fn lead(server: &PgConnectOptions, lead: &mut Option<PgConnection>) -> Result<bool> {
    if let Some(connection) = lead {
        if connection.ping().await.is_ok() {
            return Ok(true);
        }
        *lead = None;
    }
    let mut connection = server
        .clone()
        .application_name("tenure relay")
        .options([
            ("lock_timeout", "10s"),
            ("statement_timeout", "10s"),
            // A worker that lost its network must not keep the lead for the two hours that TCP would give it.
            ("tcp_keepalives_idle", "15"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            // The journal is read after every transaction: by its key, and without a new plan each time.
            ("enable_seqscan", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ])
        .connect()
        .await?;
    let taken: bool = sqlx::query_scalar(
        "select pg_try_advisory_lock($1 | relnamespace::bigint)
         from pg_class
         where oid = 'relay'::regclass",
    )
    .bind(LEAD)
    .fetch_one(&mut connection)
    .await?;
    if taken {
        *lead = Some(connection);
    } else {
        let _ = connection.close().await;
    }
    Ok(taken)
}

pub(super) async fn next(server: impl PgExecutor<'_>, after: Cursor, limit: u32) -> Result<Vec<Recorded>> {
    let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(
        "with told as (
             select xid, seq from relay
             union all
             select $1, $2
             order by xid desc, seq desc
             limit 1
         )
         select xid, seq, partner, client, change, id, before, after, time, cause::text, correction, recorded_at
         from journal
         where (xid, seq) > ((select xid from told), (select seq from told))
           and xid < (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_shift from relay)
         order by xid, seq
         limit $3",
    )
    .bind(after.transaction)
    .bind(after.sequence)
    .bind(i64::from(limit))
    .fetch_all(server)
    .await?;
    lines.into_iter().map(rows::recorded).collect()
}

/// Never backwards: a leader that lost its lead without knowing may be late.
pub(super) async fn done(pool: &PgPool, upto: Cursor) -> Result<()> {
    sqlx::query(
        "update relay
         set xid = $1, seq = $2
         where (xid, seq) < ($1, $2)",
    )
    .bind(upto.transaction)
    .bind(upto.sequence)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn backlog(pool: &PgPool) -> Result<i64> {
    let backlog = sqlx::query_scalar(
        "select count(*)
         from journal
         where (xid, seq) > ((select xid from relay), (select seq from relay))",
    )
    .fetch_one(pool)
    .await?;
    Ok(backlog)
}

/// Sees to it that transactions from now on are numbered above all that are in the tables already: these
/// may have been brought here from a server that had counted further.
pub(super) async fn continue_numbering(connection: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "with last as (
             select greatest(xid, (select coalesce(max(xid), 0) from journal)) as xid from relay
         )
         update relay
         set xid_shift = last.xid + 1 - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
         from last
         where last.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_shift",
    )
    .execute(connection)
    .await?;
    Ok(())
}
