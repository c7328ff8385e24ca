//! The feed: the journal as readers over HTTP follow it, in the order of the relay, and the clients that a reader starts from.
//!
//! A place in the feed is a [`Published`] line: the last one that a reader has. It contains what identifies the line, so that
//! the store can detect that the line was pruned, or that a restore has undone it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::clients::{Stored, StoredRow};
use super::columns::{Both, Moment, RowId, row};
use super::outbox::{Cursor, Published, Recorded};
use super::{NoPosition, Result};
use crate::domain::{ChangeKind, ClientKey};

/// Reads the journal and the clients for readers outside of Tenure. Needs no lead, and several readers do not affect each other.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// The place after the last line that can be read now. No line can come before it any more. On an empty journal,
    /// [`FeedCursor::beginning`].
    async fn feed_end(&self) -> Result<FeedCursor>;

    /// The lines after a place that match, in the order in which the relay publishes them. Examines at most `walk` lines, and
    /// returns at most `limit` of them.
    async fn feed(&self, after: &FeedCursor, filter: &FeedFilter, walk: u32, limit: u32) -> Result<FeedPage>;

    /// Clients in key order, after `after`, at most `limit`, without ghosts. Each is as it was at its last line in the journal,
    /// but for touches since.
    async fn states(&self, after: Option<&ClientKey>, limit: u32) -> Result<Vec<ClientState>>;
}

/// Which lines of the journal a reader wants. A line must match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedFilter {
    pub partner: Option<String>,
    /// The id of a client; needs `partner`.
    pub client: Option<String>,
    /// Any of these types. Empty: all.
    pub kinds: Vec<ChangeKind>,
}

impl FeedFilter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many lines to examine for at most `limit` lines.
    pub(super) fn walk(&self, walk: u32, limit: u32) -> u32 {
        if self.is_empty() { limit } else { walk.max(limit) }
    }

    /// The types as the column has them.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|kind| kind.as_str()).collect()
    }
}

/// A place in the feed: after this line. As text, it is opaque to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCursor(pub Published);

impl FeedCursor {
    /// The place before the first line that was ever written.
    #[must_use]
    pub fn beginning(epoch: i64) -> Self {
        Self(Published {
            epoch,
            cursor: Cursor::default(),
            recorded_at: DateTime::UNIX_EPOCH,
        })
    }

    fn is_beginning(self) -> bool {
        self.0.cursor == Cursor::default()
    }
}

impl Display for FeedCursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Published {
            epoch,
            cursor,
            recorded_at,
        } = &self.0;
        let micros = recorded_at.timestamp_micros();
        write!(
            f,
            "{epoch:x}-{:x}-{:x}-{micros:x}",
            cursor.transaction, cursor.sequence
        )
    }
}

impl FromStr for FeedCursor {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.split('-').map(|part| {
            let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let digits = Some(part).filter(|part| is_hex && part.len() <= 16);
            digits.and_then(|digits| i64::from_str_radix(digits, 16).ok())
        });
        let mut number = || parts.next().flatten().ok_or(NoPosition);
        let (epoch, transaction, sequence, micros) = (number()?, number()?, number()?, number()?);
        let recorded_at = DateTime::from_timestamp_micros(micros).ok_or(NoPosition)?;
        if parts.next().is_some() {
            return Err(NoPosition);
        }
        Ok(Self(Published {
            epoch,
            cursor: Cursor {
                transaction,
                sequence,
            },
            recorded_at,
        }))
    }
}

/// A page of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The epoch in which these lines are numbered.
    pub epoch: i64,
    /// Why lines before these may be missing. None: no line is.
    pub gap: Option<FeedGap>,
    pub lines: Vec<Recorded>,
    /// The place after the last line that was examined.
    pub next: FeedCursor,
    /// Whether lines follow that were not examined.
    pub more: bool,
}

/// Why the journal does not continue a reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedGap {
    /// Retention has removed lines after it.
    Pruned,
    /// The store has no such line: it was restored from a backup, or it is another store.
    Restored,
}

/// The last line of a walk, and how many lines it examined.
pub(super) struct WalkEnd {
    pub cursor: Cursor,
    pub recorded_at: DateTime<Utc>,
    pub examined: i64,
}

/// What decides whether the journal has every line after a place. Read after the lines themselves.
pub(super) struct FeedState {
    pub epoch: i64,
    /// The relay's cursor.
    pub published: Cursor,
    pub pruned_before: Option<DateTime<Utc>>,
    /// Whether the journal has the line of the place.
    pub has_line: bool,
}

impl FeedState {
    /// Lines are pruned from the oldest on, up to the relay's cursor, so the journal has every line after one that it has.
    fn gap(&self, after: &FeedCursor) -> Option<FeedGap> {
        let place = &after.0;
        if after.is_beginning() {
            return self.pruned_before.map(|_| FeedGap::Pruned);
        }
        if place.epoch > self.epoch {
            return Some(FeedGap::Restored);
        }
        if self.has_line {
            return None;
        }
        match self.pruned_before {
            Some(before) if place.recorded_at < before => {
                let is_last_published = place.cursor == self.published && place.epoch == self.epoch;
                (!is_last_published).then_some(FeedGap::Pruned)
            }
            _ => Some(FeedGap::Restored),
        }
    }

    /// The page after a place, from a walk of at most `walk` lines and those of its lines that match.
    pub(super) fn page(
        &self,
        after: &FeedCursor,
        (end, walk): (Option<WalkEnd>, u32),
        (lines, limit): (Vec<Recorded>, u32),
    ) -> FeedPage {
        let reached = end.as_ref().map(|end| (end.cursor, end.recorded_at));
        let is_full = lines.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let last = lines.last().filter(|_| is_full);
        let last = last.map(|line| (line.cursor, line.recorded_at)).or(reached);
        let (cursor, recorded_at) = last.unwrap_or((after.0.cursor, after.0.recorded_at));
        FeedPage {
            epoch: self.epoch,
            gap: self.gap(after),
            lines,
            next: FeedCursor(Published {
                epoch: self.epoch,
                cursor,
                recorded_at,
            }),
            more: end.is_some_and(|end| end.examined == i64::from(walk) || end.cursor != cursor),
        }
    }
}

row! {
    /// What decides whether the journal has every line after a place.
    FeedStateRow<T> {
        epoch: i64,
        xid: i64,
        seq: i64,
        pruned_before: Option<T>,
        has_line: bool,
    }
}

impl<T: Moment> FeedStateRow<T> {
    pub(super) fn read(self) -> Result<FeedState> {
        Ok(FeedState {
            epoch: self.epoch,
            published: Cursor {
                transaction: self.xid,
                sequence: self.seq,
            },
            pruned_before: RELAY.optional_moment("pruned_before", self.pruned_before)?,
            has_line: self.has_line,
        })
    }
}

/// The row of the relay, in errors.
const RELAY: RowId = RowId {
    table: "relay",
    key: &"the only row",
};

row! {
    /// The end of the feed: its last line, and what is known where it has none.
    FeedEndRow<T> {
        epoch: i64,
        xid: Option<i64>,
        seq: Option<i64>,
        recorded_at: Option<T>,
        published_xid: i64,
        published_seq: i64,
        pruned_before: Option<T>,
    }
}

impl<T: Moment> FeedEndRow<T> {
    pub(super) fn read(self) -> Result<FeedCursor> {
        if let (Some(transaction), Some(sequence), Some(recorded_at)) = (self.xid, self.seq, self.recorded_at)
        {
            return Ok(FeedCursor(Published {
                epoch: self.epoch,
                cursor: Cursor {
                    transaction,
                    sequence,
                },
                recorded_at: RELAY.moment("recorded_at", recorded_at)?,
            }));
        }
        let Some(pruned_before) = RELAY.optional_moment("pruned_before", self.pruned_before)? else {
            return Ok(FeedCursor::beginning(self.epoch));
        };
        // Every line was published and pruned.
        Ok(FeedCursor(Published {
            epoch: self.epoch,
            cursor: Cursor {
                transaction: self.published_xid,
                sequence: self.published_seq,
            },
            recorded_at: pruned_before - chrono::TimeDelta::microseconds(1),
        }))
    }
}

/// A client, and the last line of its journal that its state includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    pub stored: Stored,
    pub epoch: i64,
    /// The number of that line. 0: the journal has none.
    pub sequence: i64,
}

row! {
    StateRow {
        epoch: i64,
        last_line: i64,
    }
}

/// Reads a client with its last line.
pub(super) fn read_state(Both(stored, state): Both<StoredRow, StateRow>) -> Result<ClientState> {
    Ok(ClientState {
        stored: stored.read()?,
        epoch: state.epoch,
        sequence: state.last_line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: i64, sequence: i64, seconds: i64) -> FeedCursor {
        FeedCursor(Published {
            epoch,
            cursor: Cursor {
                transaction: 3,
                sequence,
            },
            recorded_at: DateTime::from_timestamp(seconds, 0).unwrap(),
        })
    }

    #[test]
    fn a_cursor_reads_back_from_its_text_and_nothing_else_does() {
        for cursor in [
            place(1_779_000_000_000_123_456, i64::MAX, 1_779_000_000),
            place(i64::MAX, 1, 0),
            FeedCursor::beginning(7),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "latest",
            "1",
            "1-2-3",
            "1-2-3-4-5",
            "1-2--4",
            "+1-2-3-4",
            "-1-2-3-4",
            "1-2-3-4 ",
            "1-2-3-G",
            "1-2-3-A",
            "8000000000000000-2-3-4",
            "00000000000000001-2-3-4",
            "1-2-3-7fffffffffffffff",
        ] {
            assert_eq!(text.parse::<FeedCursor>(), Err(NoPosition), "{text}");
        }
    }

    #[test]
    fn a_place_has_a_gap_if_lines_after_it_are_gone_or_it_never_existed() {
        let state = |has_line, pruned_seconds: Option<i64>| FeedState {
            epoch: 5,
            published: place(5, 9, 0).0.cursor,
            pruned_before: pruned_seconds.map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap()),
            has_line,
        };
        let beginning = FeedCursor::beginning(5);
        for (state, after, gap) in [
            (state(false, None), beginning, None),
            (state(false, Some(100)), beginning, Some(FeedGap::Pruned)),
            (state(true, Some(100)), place(5, 8, 200), None),
            // From before a restore, and the restored store has it.
            (state(true, None), place(4, 8, 200), None),
            // The epoch of the place was lost.
            (state(true, None), place(6, 8, 200), Some(FeedGap::Restored)),
            (state(false, None), place(5, 8, 200), Some(FeedGap::Restored)),
            (state(false, Some(100)), place(5, 8, 200), Some(FeedGap::Restored)),
            (state(false, Some(100)), place(5, 8, 50), Some(FeedGap::Pruned)),
            // Everything up to it was pruned, and nothing after it.
            (state(false, Some(100)), place(5, 9, 50), None),
            (state(false, Some(100)), place(4, 9, 50), Some(FeedGap::Pruned)),
        ] {
            assert_eq!(state.gap(&after), gap, "{after:?}");
        }
    }
}
