//! The transactional outbox: journal lines that wait to be published, and the relay's cursor.

use std::borrow::Cow;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::actor::read_actor;
use super::columns::{Both, KeyRow, Moment, RowId, json, read_optional_text, row};
use super::event_id::EventId;
use super::traces::TraceHeaders;
use super::words::{read_cause, read_corrector};
use crate::domain::change::ChangeText;
use crate::domain::{Cause, Change, ClientKey, Corrector, Entry};

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

    /// The trace contexts of the events that caused these lines, each with its line. Leaves out lines without one.
    async fn event_traces(&self, lines: &[Cursor]) -> Result<Vec<(Cursor, TraceHeaders)>>;
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

/// A change as the journal stores it. The columns have no nulls: see [`super::columns::optional_text`].
pub(super) struct ChangeColumns<'a> {
    pub change: &'static str,
    /// Empty: absent. No id is empty.
    pub id: &'a str,
    /// Empty: absent. No status, name or time is empty.
    pub before: Cow<'a, str>,
    /// Empty: absent. `=`: the status that the type ends with. Otherwise a colon and the text.
    pub after: Cow<'static, str>,
    /// JSON. Empty: absent.
    pub data: String,
}

impl<'a> ChangeColumns<'a> {
    pub(super) fn of(change: &'a Change) -> Self {
        let kind = change.kind().as_str();
        let text = change.text();
        Self {
            change: kind,
            id: text.id.unwrap_or_default(),
            before: text.from.unwrap_or_default(),
            after: match text.to {
                None => "".into(),
                Some(to) if *to == *last_part(kind) => "=".into(),
                Some(to) => format!(":{to}").into(),
            },
            data: text.data.as_ref().map(json).unwrap_or_default(),
        }
    }
}

/// The status in the type of a change: `active` in `link.active`.
fn last_part(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or_default()
}

row! {
    /// A line of the journal, without the key of its client.
    JournalRow<T> {
        xid: i64,
        seq: i64,
        /// None: no word has the number. So for the cause and its source.
        change: Option<String>,
        id: String,
        before: String,
        after: String,
        time: T,
        cause: Option<String>,
        cause_source: Option<String>,
        /// Empty: the cause is no event.
        cause_id: EventId,
        /// See [`super::actor`].
        cause_actor: String,
        /// See [`read_optional_text`].
        cause_reason: String,
        /// Empty: it is no correction. None: no word has the number. So for its source.
        corrector: Option<String>,
        corrector_source: Option<String>,
        /// Empty: the corrector is no event.
        corrector_id: EventId,
        /// JSON, or empty.
        data: String,
        recorded_at: T,
    }
}

impl<T: Moment> JournalRow<T> {
    pub(super) fn read(self, key: ClientKey) -> Result<Recorded> {
        let id = row_id(&self.seq);
        let kind = id.known("change", self.change)?;
        let corrected_by = read_corrected_by(id, self.corrector, self.corrector_source, self.corrector_id)?;
        let given = |text: String| Some(text).filter(|text| !text.is_empty()).map(Cow::from);
        let change = Change::try_from(ChangeText {
            kind: &kind,
            id: Some(&*self.id).filter(|id| !id.is_empty()),
            from: given(self.before),
            to: match &*self.after {
                "=" => Some(last_part(&kind).into()),
                after => read_optional_text(after).map(Cow::from),
            },
            data: match &*self.data {
                "" => None,
                data => Some(id.json("data", data)?),
            },
        })
        .map_err(|error| id.unreadable("change", error))?;
        let cause = id.known("cause", self.cause)?;
        Ok(Recorded {
            cursor: Cursor {
                transaction: self.xid,
                sequence: self.seq,
            },
            entry: Entry {
                key,
                change,
                time: id.moment("time", self.time)?,
                cause: match self.cause_id {
                    EventId(none) if none.is_empty() => read_cause(id, &cause)?,
                    EventId(event) => Cause::Event {
                        source: id.known("cause_source", self.cause_source)?.into(),
                        id: event.into(),
                        kind: cause.into(),
                        actor: read_actor(id, "cause_actor", &self.cause_actor)?,
                        reason: read_optional_text(&self.cause_reason).map(Into::into),
                    },
                },
                corrected_by,
            },
            recorded_at: id.moment("recorded_at", self.recorded_at)?,
        })
    }
}

fn read_corrected_by(
    row: RowId<'_>,
    word: Option<String>,
    source: Option<String>,
    EventId(event): EventId,
) -> Result<Option<Corrector>> {
    let word = row.known("corrector", word)?;
    Ok(match (&*word, &*event) {
        ("", _) => None,
        (word, "") => Some(read_corrector(row, word)?),
        (_, event) => Some(Corrector::LateEvent {
            source: row.known("corrector_source", source)?.into(),
            id: event.into(),
            kind: word.into(),
        }),
    })
}

/// Reads a line of any client, as the relay does.
pub(super) fn read_line<T: Moment>(line: Both<KeyRow, JournalRow<T>>) -> Result<Recorded> {
    let Both(key, line) = line;
    let key = key.read(row_id(&line.seq))?;
    line.read(key)
}

fn row_id(seq: &i64) -> RowId<'_> {
    RowId {
        table: "journal",
        key: seq,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::SubscriptionTerms;
    use crate::domain::event::ManagedBy;
    use crate::domain::holdings::SubscriptionStatus;
    use crate::domain::link::LinkStatus;
    use crate::domain::{Id, Name};

    fn restored(change: &Change) -> Change {
        let columns = ChangeColumns::of(change);
        let row = JournalRow {
            xid: 0,
            seq: 1,
            change: Some(columns.change.to_owned()),
            id: columns.id.to_owned(),
            before: columns.before.into_owned(),
            after: columns.after.into_owned(),
            time: 0i64,
            cause: Some("rebuild:state".to_owned()),
            cause_source: None,
            cause_id: EventId(String::new()),
            cause_actor: String::new(),
            cause_reason: String::new(),
            corrector: Some("rebuild:state".to_owned()),
            corrector_source: None,
            corrector_id: EventId(String::new()),
            data: columns.data,
            recorded_at: 0,
        };
        let key = ClientKey::new("acme", "bakery").unwrap();
        row.read(key).unwrap().entry.change
    }

    #[test]
    fn a_change_reads_back_from_its_columns() {
        let name = |name: &str| Name::try_from(name.to_owned()).unwrap();
        let id = Id::try_from("s1".to_owned()).unwrap();
        let changes = [
            Change::Link {
                from: None,
                to: LinkStatus::Draft,
            },
            Change::ClientRenamed {
                from: name(":"),
                to: name("="),
            },
            Change::ClientRenamed {
                from: name("="),
                to: name("renamed"),
            },
            Change::Subscription {
                id: id.clone(),
                from: Some(SubscriptionStatus::Active),
                to: SubscriptionStatus::Ended,
                terms: None,
            },
            Change::Subscription {
                id: id.clone(),
                from: None,
                to: SubscriptionStatus::Prepared,
                terms: Some(SubscriptionTerms {
                    managed_by: ManagedBy::Partner,
                    plan: Some("\u{0}\"".to_owned()),
                    paid_until: None,
                }),
            },
            Change::SubscriptionRemoved {
                id: id.clone(),
                from: SubscriptionStatus::Active,
            },
            Change::SubscriptionRenewed {
                id,
                from: None,
                to: None,
            },
            Change::InvitationSent(None),
        ];
        for change in changes {
            assert_eq!(restored(&change), change);
        }
        let draft = &Change::Link {
            from: None,
            to: LinkStatus::Draft,
        };
        assert_eq!(ChangeColumns::of(draft).after, "=");
    }
}
