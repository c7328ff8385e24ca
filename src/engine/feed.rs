//! The feed: changes after a place for readers outside of Tenure, and the states that a reader starts from.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::read::present;
use super::{Engine, JournalLine};
use crate::domain::ClientKey;
use crate::domain::view::ClientView;
use crate::store::{ClientState, FeedCursor, FeedFilter, FeedGap, FeedPage, Recorded, StoreError};
use crate::wire;

/// The number of lines of the journal that one call examines at most.
const WALK: u32 = 5_000;

/// How long a change of another process, or one that a running transaction holds back, may wait.
const POLL: Duration = Duration::from_millis(100);

/// The shortest time between two reads: a busy worker commits more often.
const PACE: Duration = Duration::from_millis(10);

/// Waits until it is worth reading the end of the feed again: soon after this process has written changes, which `written` reports,
/// and otherwise after a time in which others may have written some. Ends early when `stop` is cancelled.
pub async fn pause_at_end(written: &Notify, stop: &CancellationToken) {
    tokio::time::sleep(PACE).await;
    tokio::select! {
        () = written.notified() => {}
        () = tokio::time::sleep(POLL) => {}
        () = stop.cancelled() => {}
    }
}

/// Where a reader of the feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// Before the first change that was ever recorded.
    Beginning,
    /// After the last change that can be read now.
    Latest,
    After(FeedCursor),
}

/// A client as the journal describes it, and the last change that this includes.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotLine {
    /// Without timers that no sweep has fired yet: a later change would report them, and a late event may prevent them.
    pub client: ClientView,
    /// The `id` of that change. Changes of the client whose id is not greater are included.
    pub last_change: String,
}

/// A page of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPage {
    pub lines: Vec<SnapshotLine>,
    /// After which client the next page begins. None: this is the last one.
    pub next: Option<ClientKey>,
    /// Why the feed does not continue this snapshot: the store was restored meanwhile, or retention has removed changes after
    /// its cursor. None: it does.
    pub gap: Option<FeedGap>,
}

/// One of the last changes of the feed.
#[derive(Clone, Debug)]
pub struct LatestChange {
    pub line: JournalLine,
    /// Whether the relay has published it.
    pub is_published: bool,
}

impl Engine {
    /// The place in the feed where a reader begins.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn feed_place(&self, start: FeedStart) -> Result<FeedCursor, StoreError> {
        match start {
            FeedStart::Beginning => Ok(FeedCursor::beginning(0)),
            FeedStart::Latest => self.store.feed_end().await,
            FeedStart::After(cursor) => Ok(cursor),
        }
    }

    /// The changes after a place that match, at most `limit`, in the order in which the relay publishes them. Examines a bounded
    /// number of changes, so a page may be empty although others follow.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn feed(
        &self,
        after: &FeedCursor,
        filter: &FeedFilter,
        limit: u32,
    ) -> Result<FeedPage, StoreError> {
        self.store.feed(after, filter, WALK, limit).await
    }

    /// The last changes of the feed, at most `limit`, newest first.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn latest_changes(&self, limit: u32) -> Result<Vec<LatestChange>, StoreError> {
        let lines = self.store.latest_lines(limit).await?;
        let waiting = self.store.oldest_unpublished().await?;
        let change = |line: Recorded| LatestChange {
            is_published: waiting.is_none_or(|(first, _)| line.cursor < first),
            line: JournalLine::from(line),
        };
        Ok(lines.into_iter().map(change).collect())
    }

    /// Clients in key order, after `after`, at most `limit`, as the journal describes them, for a reader that continues with the feed
    /// after `cursor`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn snapshot(
        &self,
        cursor: &FeedCursor,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<SnapshotPage, StoreError> {
        let policies = self.policies().await?;
        let now = self.now();
        let states = self.store.states(after, limit).await?;
        let is_full = states.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = states
            .last()
            .filter(|_| is_full)
            .map(|last| last.stored.key.clone());
        // After the clients: a store that was restored before they were read shows it.
        let feed = self.store.feed(cursor, &FeedFilter::default(), 1, 1).await?;
        let is_other = feed.epoch != cursor.0.epoch;
        let gap = feed.gap.or_else(|| is_other.then_some(FeedGap::Restored));
        let line = |state: ClientState| {
            let client = state.stored.client(&policies);
            let moment = present(&client, now);
            let (key, version) = (&state.stored.key, state.stored.version);
            SnapshotLine {
                client: ClientView::of(key, &client, version, moment, &policies),
                last_change: wire::id_of_change(state.epoch, state.sequence),
            }
        };
        Ok(SnapshotPage {
            lines: states.into_iter().map(line).collect(),
            next,
            gap,
        })
    }
}
