//! The access log: who entered which account when. It is off by default; the engine decides which events get an entry.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::actor::read_actor;
use super::columns::{Both, KeyRow, Moment, RowId, earliest, latest, optional_text, read_optional_text, row};
use super::event_id::EventId;
use super::event_position::EventPosition;
use crate::domain::event::AccessedBy;
use crate::domain::{Actor, ClientKey, Event, EventKind, Refusal, Sequence};

/// Reads the access log, as last committed, and records since when it is on. A [`super::Commit`] adds entries.
#[async_trait]
pub trait Accesses: Send + Sync + 'static {
    /// The entries of a client that a filter selects, the latest first, after a position, at most `limit`.
    async fn accesses(
        &self,
        key: &ClientKey,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        limit: u32,
    ) -> Result<AccessesPage>;

    /// The entries of all clients, or of the clients of a partner, that a filter selects, the latest first, after a position. Reads
    /// at most `rows` entries to find those of a partner, and returns at most `limit` of them.
    async fn all_accesses(
        &self,
        partner: Option<&str>,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<AccessesPage>;

    /// Since when the access log is on, as last recorded. None: it is off, or this is not known.
    async fn access_log_since(&self) -> Result<Option<DateTime<Utc>>>;

    /// Records that the access log is on, since a moment unless it was on before. None: it is off.
    async fn record_access_log(&self, since: Option<DateTime<Utc>>) -> Result<()>;

    /// If the access log is on: it is complete only since this moment, or a later one that is recorded.
    async fn postpone_access_log(&self, since: DateTime<Utc>) -> Result<()>;
}

/// The longest stored `user`, in characters. An event may have a longer one, and a page has many entries.
const LONGEST_USER: usize = 200;

/// An entry of the access log: an event `account.accessed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub client: ClientKey,
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub time: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    pub by: AccessedBy,
    /// At most 200 characters of the `user` in the data of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Actor::is_unknown")]
    pub actor: Actor,
    /// Why the event is refused at its position. None: it is applied, or its outcome is in the event log of the same commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl Access {
    /// The entry of an event, if somebody entered an account.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let EventKind::AccountAccessed { by, user } = &event.kind else {
            return None;
        };
        Some(Self {
            client: event.key.clone(),
            source: event.source.clone(),
            id: event.id.clone(),
            time: event.time,
            sequence: event.sequence.clone(),
            by: *by,
            user: user
                .as_deref()
                .map(|user| user.chars().take(LONGEST_USER).collect()),
            actor: event.actor.clone(),
            refused: None,
        })
    }

    pub(super) fn is_by_staff(&self) -> bool {
        self.by == AccessedBy::Staff
    }

    pub(super) fn sequence_text(&self) -> String {
        optional_text(self.sequence.as_deref())
    }

    /// The column `user_id`.
    pub(super) fn user_text(&self) -> String {
        optional_text(self.user.as_deref())
    }
}

/// A new outcome of a packed touch, after a late event changed it. The entries of all touches at its position get it: packed
/// touches have neither source nor id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchOutcome {
    pub key: ClientKey,
    pub time: DateTime<Utc>,
    pub sequence: Option<Sequence>,
    pub refusal: Option<Refusal>,
}

/// Selects entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessFilter {
    /// At or after this moment.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

impl AccessFilter {
    /// Where the entries after a position begin, the latest first: every one of them is before this position in time.
    pub(super) fn start(&self, after: Option<&EventPosition>) -> EventPosition {
        let until = self.until.unwrap_or_else(latest);
        match after {
            Some(after) if after.time < until => after.clone(),
            _ => EventPosition::at(until),
        }
    }

    /// Where they end.
    pub(super) fn end(&self) -> EventPosition {
        EventPosition::at(self.since.unwrap_or_else(earliest))
    }
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessesPage {
    pub accesses: Vec<Access>,
    /// Where the next page begins. None: this is the last one.
    pub next: Option<EventPosition>,
}

impl AccessesPage {
    /// A page of rows that were read one more than `limit`, of a walk that ended at `end`, if it did not read all.
    pub(super) fn of(
        mut found: Vec<(EventPosition, Access)>,
        limit: u32,
        end: Option<EventPosition>,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_full = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|(position, _)| position.clone());
        Self {
            next: if is_full { last } else { end },
            accesses: found.into_iter().map(|(_, access)| access).collect(),
        }
    }
}

row! {
    /// An entry of the access log.
    AccessRow<T> {
        /// None: no source has the number. So for `reason`.
        source: Option<String>,
        id: EventId,
        time: T,
        /// See [`read_optional_text`]. So is `user_id`.
        sequence: String,
        by_staff: bool,
        user_id: String,
        /// See [`super::actor`].
        actor: String,
        /// The code of the refusal. Empty: the event is applied.
        reason: Option<String>,
    }
}

impl<T: Moment> AccessRow<T> {
    pub(super) fn read(self, client: &ClientKey) -> Result<Access> {
        let name = format!("{} {}", self.source.as_deref().unwrap_or("?"), self.id.0);
        let row = RowId {
            table: "accesses",
            key: &name,
        };
        let refused = match row.known("reason", self.reason)?.as_str() {
            "" => None,
            code => Some(row.word("reason", code, Refusal::from_code)?),
        };
        let by = if self.by_staff {
            AccessedBy::Staff
        } else {
            AccessedBy::Partner
        };
        Ok(Access {
            client: client.clone(),
            time: row.moment("time", self.time)?,
            sequence: read_optional_text(&self.sequence).map(Into::into),
            by,
            user: read_optional_text(&self.user_id).map(str::to_owned),
            actor: read_actor(row, "actor", &self.actor)?,
            refused,
            source: row.known("source", self.source)?.into(),
            id: self.id.0.into(),
        })
    }
}

row! {
    /// The numbers in the position of an entry.
    NumbersRow {
        client_number: i64,
        source_number: i64,
    }
}

/// An entry with its position.
pub(super) type FoundRow<T> = Both<KeyRow, Both<NumbersRow, AccessRow<T>>>;

/// Reads an entry with its position.
pub(super) fn read_found<T: Moment>(
    Both(key, Both(numbers, row)): FoundRow<T>,
) -> Result<(EventPosition, Access)> {
    let client = key.read(RowId {
        table: "accesses",
        key: &row.id.0,
    })?;
    let access = row.read(&client)?;
    let position = EventPosition {
        time: access.time,
        client: numbers.client_number,
        source: numbers.source_number,
        id: access.id.to_string(),
    };
    Ok((position, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_before_a_moment_begin_there_or_after_the_previous_page() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let after = EventPosition {
            time: at(10),
            client: 2,
            source: 3,
            id: "e".into(),
        };
        for (until, expected) in [(None, 10), (Some(20), 10), (Some(10), 10), (Some(5), 5)] {
            let filter = AccessFilter {
                since: None,
                until: until.map(at),
            };
            let start = filter.start(Some(&after));
            assert_eq!(start.time, at(expected), "{until:?}");
            assert_eq!(start == after, until.is_none_or(|until| until > 10), "{until:?}");
        }
    }
}
