//! The feed. As for the relay, only lines of transactions older than every running one are listed: see `outbox.rs`.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::PostgresStore;
use super::lines::line;
use super::numbering::{NumberedRow, is_numbered};
use super::sessions::{Lease, Need};
use crate::domain::ClientKey;
use crate::store::clients::{ClientRange, StoredRow};
use crate::store::columns::{Both, KeyRow};
use crate::store::feed::{
    FeedEndRow, FeedState, FeedStateRow, PrunedRow, StateRow, WalkEnd, read_feed_end, read_feed_state,
    read_state,
};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::{
    ClientState, Cursor, Feed, FeedCursor, FeedFilter, FeedPage, Recorded, Result, StoreError,
};

type Time = DateTime<Utc>;

#[async_trait]
impl Feed for PostgresStore {
    async fn feed_end(&self) -> Result<FeedCursor> {
        self.in_time(async {
            let end: Both<FeedEndRow<Time>, PrunedRow<Time>> = sqlx::query_as(
                "select r.epoch, j.xid, j.seq, j.recorded_at, r.xid as published_xid, r.seq as published_seq,
                        r.pruned_before, r.pruned_xid, r.pruned_seq, r.pruned_recorded_at
                 from relay r
                 left join lateral (
                     select xid, seq, recorded_at
                     from journal
                     where xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + r.xid_shift
                     order by xid desc, seq desc
                     limit 1
                 ) j on true",
            )
            .fetch_one(&mut *self.current_session().await?)
            .await?;
            read_feed_end(end)
        })
        .await
    }

    async fn feed(&self, after: &FeedCursor, filter: &FeedFilter, walk: u32, limit: u32) -> Result<FeedPage> {
        let walk = filter.walk(walk, limit);
        self.in_time(async {
            let mut connection = self.current_session().await?;
            let end = walk_end(&mut connection, after.0.cursor, walk).await?;
            let lines = match &end {
                Some(end) => {
                    let range = (after.0.cursor, end.cursor);
                    lines(&mut connection, range, filter, limit).await?
                }
                None => Vec::new(),
            };
            let (state, is_numbered) = state(&mut connection, after).await?;
            if !is_numbered {
                // A read writes nothing. The next batch or probe of the worker advances it.
                self.numbering_doubted.store(true, Ordering::Relaxed);
                return Err(StoreError::Unavailable(
                    "the tables came from another server, and the numbering of changes must be advanced; the worker does so within \
                     seconds"
                        .into(),
                ));
            }
            Ok(state.page(after, (end, walk), (lines, limit)))
        })
        .await
    }

    async fn latest_lines(&self, limit: u32) -> Result<Vec<Recorded>> {
        self.in_time(async {
            let lines: Vec<Both<KeyRow, JournalRow<Time>>> = sqlx::query_as(concat!(
                "select (select partner from client_keys where number = j.client) as partner,
                        (select client from client_keys where number = j.client) as client, ",
                line!(),
                "from journal j
                 where j.xid < (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_shift from relay)
                 order by j.xid desc, j.seq desc
                 limit $1"
            ))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.current_session().await?)
            .await?;
            lines.into_iter().map(read_line).collect()
        })
        .await
    }

    async fn states(&self, after: Option<&ClientKey>, limit: u32) -> Result<Vec<ClientState>> {
        self.in_time(async {
            let range = ClientRange::of(None, after);
            let rows: Vec<Both<StoredRow, StateRow>> = sqlx::query_as(
                "select k.partner, k.client, c.version, c.doc, t.open_run,
                        (select epoch from relay) as epoch,
                        coalesce((select seq from journal where client = k.number order by seq desc limit 1), 0) as last_line
                 from client_keys k
                 cross join lateral (
                     select version, doc::text as doc
                     from clients
                     where client = k.number and link is not null
                     offset 0
                 ) c
                 left join lateral (select open_run from touches where client = k.number offset 0) t on true
                 where (k.partner, k.client) > ($1, $2)
                 order by k.partner, k.client
                 limit $3",
            )
            .bind(range.after_partner)
            .bind(range.after_client)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.current_session().await?)
            .await?;
            rows.into_iter().map(read_state).collect()
        })
        .await
    }
}

impl PostgresStore {
    /// A session on a server that may write. A standby may lag: it lacks changes that its reader has, which looks as if they had
    /// never happened.
    async fn current_session(&self) -> Result<Lease> {
        self.pool.acquire_for(Need::Write).await
    }
}

async fn walk_end(connection: &mut PgConnection, after: Cursor, walk: u32) -> Result<Option<WalkEnd>> {
    let end: Option<(i64, i64, DateTime<Utc>, i64)> = sqlx::query_as(
        "select xid, seq, recorded_at, count(*) over ()
         from (select xid, seq, recorded_at
               from journal
               where (xid, seq) > ($1, $2)
                 and xid < (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_shift from relay)
               order by xid, seq
               limit $3) walk
         order by xid desc, seq desc
         limit 1",
    )
    .bind(after.transaction)
    .bind(after.sequence)
    .bind(i64::from(walk))
    .fetch_optional(connection)
    .await?;
    Ok(end.map(|(transaction, sequence, recorded_at, examined)| WalkEnd {
        cursor: Cursor {
            transaction,
            sequence,
        },
        recorded_at,
        examined,
    }))
}

/// Keys and words are looked up line by line: a join could be planned as a scan of all clients.
async fn lines(
    connection: &mut PgConnection,
    (after, upto): (Cursor, Cursor),
    filter: &FeedFilter,
    limit: u32,
) -> Result<Vec<Recorded>> {
    let lines: Vec<Both<KeyRow, JournalRow<DateTime<Utc>>>> = sqlx::query_as(concat!(
        "select (select partner from client_keys where number = j.client) as partner,
                (select client from client_keys where number = j.client) as client, ",
        line!(),
        "from journal j
         where (j.xid, j.seq) > ($1, $2) and (j.xid, j.seq) <= ($3, $4)
           and ($5::text is null or (select partner from client_keys where number = j.client) = $5)
           and ($6::text is null or (select client from client_keys where number = j.client) = $6)
           and (cardinality($7::text[]) = 0 or (select word from words where number = j.change) = any ($7))
         order by j.xid, j.seq
         limit $8"
    ))
    .bind(after.transaction)
    .bind(after.sequence)
    .bind(upto.transaction)
    .bind(upto.sequence)
    .bind(&filter.partner)
    .bind(&filter.client)
    .bind(filter.kinds())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    lines.into_iter().map(read_line).collect()
}

/// Also returns whether new numbers of transactions exceed all existing ones. If not, what was read may be incomplete.
async fn state(connection: &mut PgConnection, after: &FeedCursor) -> Result<(FeedState, bool)> {
    let Both(state, numbered): Both<Both<FeedStateRow, PrunedRow<Time>>, NumberedRow> =
        sqlx::query_as(concat!(
            "select epoch, xid, seq, pruned_before, pruned_xid, pruned_seq, pruned_recorded_at,
                exists (select from journal where xid = $1 and seq = $2 and recorded_at = $3) as has_line, ",
            is_numbered!(),
            " as is_numbered
         from relay"
        ))
        .bind(after.0.cursor.transaction)
        .bind(after.0.cursor.sequence)
        .bind(after.0.recorded_at)
        .fetch_one(connection)
        .await?;
    Ok((read_feed_state(state)?, numbered.is_numbered))
}
