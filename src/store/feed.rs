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

    /// The last lines of the feed, at most `limit`, newest first.
    async fn latest_lines(&self, limit: u32) -> Result<Vec<Recorded>>;

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

    /// Whether a line matches.
    #[must_use]
    pub fn matches(&self, line: &Recorded) -> bool {
        let Recorded { entry, .. } = line;
        let is_same = |wanted: &Option<String>, id: &str| wanted.as_deref().is_none_or(|wanted| wanted == id);
        is_same(&self.partner, &entry.key.partner)
            && is_same(&self.client, &entry.key.client)
            && (self.kinds.is_empty() || self.kinds.contains(&entry.change.kind()))
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

impl Display for FeedGap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pruned { .. } => "changes after this place are no longer stored (`retention.journal`)",
            Self::Restored => {
                "the store has no such place: it was restored from a backup, or the cursor belongs to another store"
            }
        })
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

impl FeedPage {
    /// A page at the end of the feed.
    #[must_use]
    pub fn empty(place: FeedCursor) -> Self {
        Self {
            epoch: place.0.epoch,
            gap: None,
            lines: Vec::new(),
            next: place,
            more: false,
        }
    }
}

/// Why the journal does not continue a reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedGap {
    /// Retention has removed lines after it.
    Pruned {
        /// All of them were recorded before this moment.
        before: DateTime<Utc>,
        /// The place after the last of them. None: it is not known, because a store of PostgreSQL was imported into SQLite.
        end: Option<FeedCursor>,
    },
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
    /// None: no line was pruned.
    pub pruned: Option<Pruned>,
    /// Whether the journal has the line of the place.
    pub has_line: bool,
}

/// What retention has removed from the journal: its oldest lines.
#[derive(Clone, Copy)]
pub(super) struct Pruned {
    /// All of them were recorded before this moment.
    before: DateTime<Utc>,
    /// The last one, and when it was recorded. None: it is not known, because a store of PostgreSQL was imported into SQLite.
    last: Option<(Cursor, DateTime<Utc>)>,
}

impl FeedState {
    /// Lines are pruned from the oldest on, up to the relay's cursor, so the journal has every line after one that it has.
    fn gap(&self, after: &FeedCursor) -> Option<FeedGap> {
        let place = &after.0;
        if after.is_beginning() {
            return self.pruned.map(|pruned| pruned.gap(self.epoch));
        }
        if place.epoch > self.epoch {
            return Some(FeedGap::Restored);
        }
        if self.has_line {
            return None;
        }
        let Some(pruned) = self.pruned.filter(|pruned| place.recorded_at < pruned.before) else {
            return Some(FeedGap::Restored);
        };
        match pruned.last {
            Some(last) if (place.cursor, place.recorded_at) == last => None,
            Some((last, _)) if place.cursor < last => Some(pruned.gap(self.epoch)),
            Some(_) => Some(FeedGap::Restored),
            None => {
                let is_last_published = place.cursor == self.published && place.epoch == self.epoch;
                (!is_last_published).then_some(pruned.gap(self.epoch))
            }
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

impl Pruned {
    fn gap(self, epoch: i64) -> FeedGap {
        let end = self.last.map(|(cursor, recorded_at)| {
            FeedCursor(Published {
                epoch,
                cursor,
                recorded_at,
            })
        });
        FeedGap::Pruned {
            before: self.before,
            end,
        }
    }
}

row! {
    /// What decides whether the journal has every line after a place.
    FeedStateRow {
        epoch: i64,
        xid: i64,
        seq: i64,
        has_line: bool,
    }
}

/// Reads what decides whether the journal has every line after a place.
pub(super) fn read_feed_state<T: Moment>(
    Both(state, pruned): Both<FeedStateRow, PrunedRow<T>>,
) -> Result<FeedState> {
    Ok(FeedState {
        epoch: state.epoch,
        published: Cursor {
            transaction: state.xid,
            sequence: state.seq,
        },
        pruned: pruned.read()?,
        has_line: state.has_line,
    })
}

row! {
    /// What retention has removed from the journal, as the row of the relay has it.
    #[expect(clippy::struct_field_names, reason = "the names of the columns")]
    PrunedRow<T> {
        pruned_before: Option<T>,
        pruned_xid: Option<i64>,
        pruned_seq: Option<i64>,
        pruned_recorded_at: Option<T>,
    }
}

impl<T: Moment> PrunedRow<T> {
    /// None: nothing was removed.
    pub(super) fn read(self) -> Result<Option<Pruned>> {
        let moment = |column, value| RELAY.optional_moment(column, value);
        let Some(before) = moment("pruned_before", self.pruned_before)? else {
            return Ok(None);
        };
        let recorded_at = moment("pruned_recorded_at", self.pruned_recorded_at)?;
        let last = match (self.pruned_xid, self.pruned_seq, recorded_at) {
            (Some(transaction), Some(sequence), Some(recorded_at)) => {
                let line = Cursor {
                    transaction,
                    sequence,
                };
                Some((line, recorded_at))
            }
            _ => None,
        };
        Ok(Some(Pruned { before, last }))
    }
}

impl Pruned {
    /// As a store moves it.
    pub(super) fn moved(self) -> (DateTime<Utc>, Option<(Cursor, DateTime<Utc>)>) {
        (self.before, self.last)
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
    }
}

/// Reads the end of the feed.
pub(super) fn read_feed_end<T: Moment>(
    Both(end, pruned): Both<FeedEndRow<T>, PrunedRow<T>>,
) -> Result<FeedCursor> {
    let place = |cursor, recorded_at| {
        FeedCursor(Published {
            epoch: end.epoch,
            cursor,
            recorded_at,
        })
    };
    if let (Some(transaction), Some(sequence), Some(recorded_at)) = (end.xid, end.seq, end.recorded_at) {
        let line = Cursor {
            transaction,
            sequence,
        };
        return Ok(place(line, RELAY.moment("recorded_at", recorded_at)?));
    }
    // Every line was published and pruned.
    let published = Cursor {
        transaction: end.published_xid,
        sequence: end.published_seq,
    };
    Ok(match pruned.read()? {
        None => FeedCursor::beginning(end.epoch),
        Some(Pruned {
            last: Some((line, recorded_at)),
            ..
        }) => place(line, recorded_at),
        Some(Pruned { before, last: None }) => place(published, before - chrono::TimeDelta::microseconds(1)),
    })
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
        // Lines that were recorded before second 100 were pruned, and the last of them.
        let state = |has_line, is_pruned: bool, last: Option<FeedCursor>| FeedState {
            epoch: 5,
            published: place(5, 9, 0).0.cursor,
            pruned: is_pruned.then(|| Pruned {
                before: DateTime::from_timestamp(100, 0).unwrap(),
                last: last.map(|last| (last.0.cursor, last.0.recorded_at)),
            }),
            has_line,
        };
        let beginning = FeedCursor::beginning(5);
        let pruned_to = |end| {
            Some(FeedGap::Pruned {
                before: DateTime::from_timestamp(100, 0).unwrap(),
                end,
            })
        };
        let restored = Some(FeedGap::Restored);
        let seventh = Some(place(5, 7, 50));
        let (pruned, pruned_to_unknown) = (pruned_to(seventh), pruned_to(None));
        for (state, after, gap) in [
            (state(false, false, None), beginning, None),
            (state(false, true, seventh), beginning, pruned),
            (state(true, true, seventh), place(5, 8, 200), None),
            // From before a restore, and the restored store has it.
            (state(true, false, None), place(4, 8, 200), None),
            // The epoch of the place was lost.
            (state(true, false, None), place(6, 8, 200), restored),
            (state(false, false, None), place(5, 8, 200), restored),
            (state(false, true, seventh), place(5, 8, 200), restored),
            (state(false, true, seventh), place(5, 6, 49), pruned),
            // Everything up to it was pruned, and nothing after it.
            (state(false, true, seventh), place(5, 7, 50), None),
            (state(false, true, seventh), place(4, 7, 50), None),
            // Another line had the same number.
            (state(false, true, seventh), place(5, 7, 51), restored),
            // A later line that retention has not removed.
            (state(false, true, seventh), place(5, 8, 60), restored),
            // The last line is not known.
            (state(false, true, None), place(5, 8, 50), pruned_to_unknown),
            (state(false, true, None), place(5, 9, 50), None),
            (state(false, true, None), place(4, 9, 50), pruned_to_unknown),
            (state(false, true, None), place(5, 8, 200), restored),
        ] {
            assert_eq!(state.gap(&after), gap, "{after:?}");
        }
    }
}
