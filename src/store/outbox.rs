//! The transactional outbox: journal lines that wait to be published, and the relay's cursor.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, key, row};
use crate::domain::change::ChangeText;
use crate::domain::{Change, Entry};

/// The journal as the relay reads it. All that a relay needs of a store.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Acquires the relay's lead, or checks that this worker still has it. One worker at a time publishes. False:
    /// another worker has the lead.
    async fn acquire_lead(&self) -> Result<bool>;

    /// Releases the relay's lead, if this worker has it, so that a worker that can publish acquires it.
    async fn release_lead(&self) -> Result<()>;

    /// Journal lines after the relay's cursor, or after `after` where that is further, at most `limit`. The order
    /// preserves the order of each client's changes. A line is listed once no running transaction can still add a line
    /// before it. The leader calls this in the session that holds the lead: a result proves that it still had the lead,
    /// an error means that it may have lost it.
    ///
    /// `last` is the line that was published last, as far as the caller knows. If the journal does not have it
    /// ([`Unpublished::is_behind`]), begin a new epoch before you publish any of the lines.
    async fn unpublished(&self, after: Cursor, last: Option<&Published>, limit: u32) -> Result<Unpublished>;

    /// Advances the relay's cursor: the broker has confirmed every line up to this one. The cursor never moves
    /// backwards, nor to a line that is not in the journal, nor for a line of another epoch.
    async fn advance_cursor(&self, upto: &Published) -> Result<()>;

    /// Begins a new epoch, greater than `above` and than the present one, and returns it. All unpublished changes are
    /// published in it.
    async fn begin_epoch(&self, above: i64) -> Result<i64>;

    /// The first journal line after the relay's cursor, and when it was recorded. A running transaction may still hold
    /// it back.
    async fn oldest_unpublished(&self) -> Result<Option<(Cursor, DateTime<Utc>)>>;

    /// The number of journal lines after the relay's cursor.
    async fn count_unpublished(&self) -> Result<i64>;
}

/// A position in the journal: `(transaction, sequence number)`. SQLite has one writer, and leaves the transaction at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub transaction: i64,
    pub sequence: i64,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub cursor: Cursor,
    pub entry: Entry,
    pub recorded_at: DateTime<Utc>,
}

impl Recorded {
    /// This line as the relay remembers it after publishing it in an epoch.
    #[must_use]
    pub fn published(&self, epoch: i64) -> Published {
        Published {
            epoch,
            cursor: self.cursor,
            recorded_at: self.recorded_at,
        }
    }
}

/// A published line, as the relay remembers it outside of the store. Lines published later compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The epoch in which the line was numbered.
    pub epoch: i64,
    pub cursor: Cursor,
    /// Identifies the line together with its cursor: a restored backup can assign the same number again.
    pub recorded_at: DateTime<Utc>,
}

/// A page of unpublished changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublished {
    /// The epoch in which these lines are numbered. A later epoch is a greater number.
    pub epoch: i64,
    /// Whether the journal has the line that was published last, or has pruned it since.
    pub has_last: bool,
    pub lines: Vec<Recorded>,
}

impl Unpublished {
    /// Whether the store is behind a line that was published: it was restored from a backup, or lost a committed
    /// transaction.
    #[must_use]
    pub fn is_behind(&self, last: &Published) -> bool {
        last.epoch > self.epoch || (last.epoch == self.epoch && !self.has_last)
    }
}

row! {
    JournalRow<T> {
        xid: i64,
        seq: i64,
        partner: String,
        client: String,
        change: String,
        id: Option<String>,
        before: Option<String>,
        after: Option<String>,
        time: T,
        cause: String,
        correction: bool,
        recorded_at: T,
    }
}

impl<T: Moment> JournalRow<T> {
    pub(super) fn read(self) -> Result<Recorded> {
        let id = RowId {
            table: "journal",
            key: &self.seq,
        };
        let change = Change::try_from(ChangeText {
            kind: &self.change,
            id: self.id.as_deref(),
            from: self.before.map(Into::into),
            to: self.after.map(Into::into),
        })
        .map_err(|error| id.unreadable("change", error))?;
        Ok(Recorded {
            cursor: Cursor {
                transaction: self.xid,
                sequence: self.seq,
            },
            entry: Entry {
                key: key(&self.partner, &self.client),
                change,
                time: id.moment("time", self.time)?,
                cause: id.json("cause", &self.cause)?,
                correction: self.correction,
            },
            recorded_at: id.moment("recorded_at", self.recorded_at)?,
        })
    }
}
