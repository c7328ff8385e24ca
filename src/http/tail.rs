//! The live end of the feed, for the requests that wait for changes. One task reads each new change once, and every waiting request
//! selects its own: waiting costs no statement, and a change costs the same for one reader as for hundreds. The task runs only
//! while a request waits.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::Api;
use crate::engine::{Engine, FeedStart, pause_at_end};
use crate::store::{FeedCursor, FeedFilter, FeedPage, Recorded, StoreError};

/// Changes that are read at a time.
const PAGE: u32 = 200;
/// Pages that wait for slow readers. A reader that misses one reads the store.
const PAGES: usize = 32;

/// What the task reports.
#[derive(Debug)]
pub(super) enum Live {
    /// All changes after a place, in order. None at the start of the task, and when only the epoch is new.
    Page { after: FeedCursor, page: FeedPage },
    /// The journal does not continue the last page: every reader must read the store.
    Interrupted,
}

impl Live {
    /// The changes after a place that match, at most `limit`. None: this page does not continue the place.
    pub(super) fn continue_from(
        &self,
        place: &FeedCursor,
        filter: &FeedFilter,
        limit: u32,
    ) -> Option<FeedPage> {
        let Self::Page { after, page } = self else {
            return None;
        };
        let is_after = |line: &&Recorded| line.cursor > place.0.cursor;
        if page.epoch != place.0.epoch || after.0.cursor > place.0.cursor {
            return None;
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let new = page.lines.iter().filter(is_after);
        let mut lines: Vec<Recorded> = new.filter(|line| filter.matches(line)).cloned().collect();
        let more = lines.len() > limit;
        lines.truncate(limit);
        let next = match lines.last() {
            Some(last) if more => FeedCursor(last.published(page.epoch)),
            _ if page.next.0.cursor > place.0.cursor => page.next,
            _ => *place,
        };
        Some(FeedPage {
            lines,
            more,
            ..FeedPage::empty(next)
        })
    }
}

pub(super) struct Tail {
    pages: broadcast::Sender<Arc<Live>>,
    /// Whether the task runs.
    runs: Mutex<bool>,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            pages: broadcast::Sender::new(PAGES),
            runs: Mutex::default(),
        }
    }
}

impl Api {
    /// Reports changes from now on. A reader that reads the store to its end after this call, and then joins each page to its place,
    /// misses nothing.
    pub(super) fn follow_feed(self: &Arc<Self>, engine: &Arc<Engine>) -> broadcast::Receiver<Arc<Live>> {
        let mut runs = self.tail.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.tail.pages.subscribe();
        if !std::mem::replace(&mut *runs, true) {
            self.tasks.spawn(follow(self.clone(), engine.clone()));
        }
        receiver
    }

    /// Ends the task if nobody waits.
    fn ends_tail(&self) -> bool {
        let mut runs = self.tail.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = self.tail.pages.receiver_count() > 0 && !self.stopping.is_cancelled();
        !*runs
    }
}

async fn follow(api: Arc<Api>, engine: Arc<Engine>) {
    let written = engine.feed_written();
    let mut place = None;
    while !api.ends_tail() {
        let more = match api.stopping.run_until_cancelled(read(&engine, &mut place)).await {
            Some(Ok(Some(live))) => {
                let more = matches!(&live, Live::Page { page, .. } if page.more);
                // An error means that the last reader has gone.
                let _ = api.tail.pages.send(Arc::new(live));
                more
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the end of the journal cannot be read; trying again");
                false
            }
            Some(Ok(None)) | None => false,
        };
        if !more {
            pause_at_end(&written, &api.stopping).await;
        }
    }
}

/// Reads what follows a place, and moves it. None: nothing does.
async fn read(engine: &Engine, place: &mut Option<FeedCursor>) -> Result<Option<Live>, StoreError> {
    let Some(after) = *place else {
        let end = engine.feed_place(FeedStart::Latest).await?;
        *place = Some(end);
        // A reader whose place is before this one reads the store again.
        let page = FeedPage::empty(end);
        return Ok(Some(Live::Page { after: end, page }));
    };
    let page = engine.feed(&after, &FeedFilter::default(), PAGE).await?;
    if page.gap.is_some() {
        *place = Some(engine.feed_place(FeedStart::Latest).await?);
        return Ok(Some(Live::Interrupted));
    }
    *place = Some(page.next);
    let is_news = !page.lines.is_empty() || page.next != after;
    Ok(is_news.then_some(Live::Page { after, page }))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{Cause, Change, ChangeKind, ClientKey, Entry, Repair};
    use crate::store::{Cursor, Published};

    fn line(sequence: i64, client: &str) -> Recorded {
        Recorded {
            cursor: Cursor {
                transaction: 1,
                sequence,
            },
            entry: Entry {
                key: ClientKey::new("acme", client).unwrap(),
                change: Change::InvitationSent(None),
                time: DateTime::UNIX_EPOCH,
                cause: Cause::Rebuild {
                    rebuild: Repair::State,
                },
                corrected_by: None,
            },
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    fn place(epoch: i64, sequence: i64) -> FeedCursor {
        FeedCursor(Published {
            epoch,
            cursor: Cursor {
                transaction: 1,
                sequence,
            },
            recorded_at: DateTime::UNIX_EPOCH,
        })
    }

    /// Lines 4 to 7, of `a` and `b` in turn.
    fn live() -> Live {
        let lines = (4..8).map(|n| line(n, if n % 2 == 0 { "a" } else { "b" }));
        Live::Page {
            after: place(9, 3),
            page: FeedPage {
                lines: lines.collect(),
                ..FeedPage::empty(place(9, 7))
            },
        }
    }

    #[test]
    fn a_page_continues_each_place_that_it_does_not_begin_after() {
        let of_b = FeedFilter {
            partner: Some("acme".to_owned()),
            client: Some("b".to_owned()),
            kinds: vec![ChangeKind::InvitationSent],
        };
        let all = FeedFilter::default();
        for (from, filter, limit, expected, next, more) in [
            (3, &all, 9, vec![4, 5, 6, 7], 7, false),
            (5, &all, 9, vec![6, 7], 7, false),
            (7, &all, 9, vec![], 7, false),
            (8, &all, 9, vec![], 8, false),
            (3, &of_b, 9, vec![5, 7], 7, false),
            (3, &all, 4, vec![4, 5, 6, 7], 7, false),
            (3, &all, 3, vec![4, 5, 6], 6, true),
            (3, &of_b, 1, vec![5], 5, true),
        ] {
            let page = live().continue_from(&place(9, from), filter, limit).unwrap();
            let read: Vec<i64> = page.lines.iter().map(|line| line.cursor.sequence).collect();
            assert_eq!(
                (read, page.next, page.more),
                (expected, place(9, next), more),
                "{from} {limit}"
            );
        }
        // Lines between are missing, or the place is one of another epoch.
        assert!(live().continue_from(&place(9, 2), &all, 9).is_none());
        assert!(live().continue_from(&place(8, 3), &all, 9).is_none());
        assert!(Live::Interrupted.continue_from(&place(9, 3), &all, 9).is_none());
    }
}
