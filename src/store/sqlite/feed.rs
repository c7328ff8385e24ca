//! The feed. SQLite has one writer, so sequence numbers are the order of the lines.

use async_trait::async_trait;
use chrono::DateTime;

use super::lines::{line, words_of_line};
use super::{SqliteStore, micros};
use crate::domain::ClientKey;
use crate::store::clients::{ClientRange, StoredRow};
use crate::store::columns::{Both, KeyRow, json};
use crate::store::feed::{
    FeedEndRow, FeedState, FeedStateRow, PrunedRow, StateRow, WalkEnd, read_feed_end, read_feed_state,
    read_state,
};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::{ClientState, Cursor, Feed, FeedCursor, FeedFilter, FeedPage, Recorded, Result};

#[async_trait]
impl Feed for SqliteStore {
    async fn feed_end(&self) -> Result<FeedCursor> {
        let end: Both<FeedEndRow<i64>, PrunedRow<i64>> = sqlx::query_as(
            "select r.epoch, case when j.seq is null then null else 0 end as xid, j.seq, j.recorded_at,
                    0 as published_xid, r.seq as published_seq,
                    r.pruned_before, 0 as pruned_xid, r.pruned_seq, r.pruned_recorded_at
             from relay r
             left join journal j on j.seq = (select max(seq) from journal)",
        )
        .fetch_one(&self.readers)
        .await?;
        read_feed_end(end)
    }

    async fn feed(&self, after: &FeedCursor, filter: &FeedFilter, walk: u32, limit: u32) -> Result<FeedPage> {
        let walk = filter.walk(walk, limit);
        let end = self.walk_end(after, walk).await?;
        let lines = match &end {
            Some(end) => self.lines_between(after, end, filter, limit).await?,
            None => Vec::new(),
        };
        let state = self.feed_state(after).await?;
        Ok(state.page(after, (end, walk), (lines, limit)))
    }

    async fn latest_lines(&self, limit: u32) -> Result<Vec<Recorded>> {
        let lines: Vec<Both<KeyRow, JournalRow<i64>>> = sqlx::query_as(concat!(
            "select k.partner, k.client, ",
            line!(),
            "from (select * from journal order by seq desc limit ?1) j
                 left join client_keys k on k.number = j.client",
            words_of_line!(),
            "order by j.seq desc"
        ))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        lines.into_iter().map(read_line).collect()
    }

    async fn states(&self, after: Option<&ClientKey>, limit: u32) -> Result<Vec<ClientState>> {
        let range = ClientRange::of(None, after);
        let rows: Vec<Both<StoredRow, StateRow>> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run,
                    (select epoch from relay) as epoch,
                    coalesce((select max(seq) from journal where client = k.number), 0) as last_line
             from client_keys k
             cross join clients c on c.client = k.number
             left join touches t on t.client = k.number
             where (k.partner, k.client) > (?1, ?2) and c.link is not null
             order by k.partner, k.client
             limit ?3",
        )
        .bind(range.after_partner)
        .bind(range.after_client)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(read_state).collect()
    }
}

impl SqliteStore {
    async fn walk_end(&self, after: &FeedCursor, walk: u32) -> Result<Option<WalkEnd>> {
        let end: Option<(i64, i64, i64)> = sqlx::query_as(
            "select seq, recorded_at, count(*) over ()
             from (select seq, recorded_at from journal where seq > ?1 order by seq limit ?2)
             order by seq desc
             limit 1",
        )
        .bind(after.0.cursor.sequence)
        .bind(i64::from(walk))
        .fetch_optional(&self.readers)
        .await?;
        Ok(end.map(|(sequence, recorded_at, examined)| WalkEnd {
            cursor: Cursor {
                transaction: 0,
                sequence,
            },
            recorded_at: DateTime::from_timestamp_micros(recorded_at).unwrap_or_default(),
            examined,
        }))
    }

    async fn lines_between(
        &self,
        after: &FeedCursor,
        upto: &WalkEnd,
        filter: &FeedFilter,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        let lines: Vec<Both<KeyRow, JournalRow<i64>>> = sqlx::query_as(concat!(
            "select k.partner, k.client, ",
            line!(),
            "from journal j
                 left join client_keys k on k.number = j.client",
            words_of_line!(),
            "where j.seq > ?1 and j.seq <= ?2
                   and (?3 is null or k.partner = ?3)
                   and (?4 is null or k.client = ?4)
                   and (?5 = '[]' or w.word in (select value from json_each(?5)))
                 order by j.seq
                 limit ?6"
        ))
        .bind(after.0.cursor.sequence)
        .bind(upto.cursor.sequence)
        .bind(&filter.partner)
        .bind(&filter.client)
        .bind(json(&filter.kinds()))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        lines.into_iter().map(read_line).collect()
    }

    async fn feed_state(&self, after: &FeedCursor) -> Result<FeedState> {
        let place = &after.0;
        let state: Both<FeedStateRow, PrunedRow<i64>> = sqlx::query_as(
            "select epoch, 0 as xid, seq, pruned_before, 0 as pruned_xid, pruned_seq, pruned_recorded_at,
                    ?3 = 0 and exists (select 1 from journal where seq = ?1 and recorded_at = ?2) as has_line
             from relay",
        )
        .bind(place.cursor.sequence)
        .bind(micros(place.recorded_at))
        .bind(place.cursor.transaction)
        .fetch_one(&self.readers)
        .await?;
        read_feed_state(state)
    }
}
