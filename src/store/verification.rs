//! Everything stored about one client, for verification and rebuilding, and row counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use super::clients::{Logged, Stored};
use super::columns::{Both, KeyRow, Moment, RowId, row};
use super::commit::ClientColumns;
use super::document::{Deadlines, Document};
use super::event_id::EventId;
use super::touches::{RenewOnlyWindow, Touches};
use crate::domain::{ClientKey, Entry, Name, Sweep};

/// Reads what `verify` and `rebuild` compare.
#[async_trait]
pub trait Verification: Send + Sync + 'static {
    /// Keys of all clients that an event or a deadline was ever stored for, in order, after `after`, at most `limit`.
    /// Includes ghosts, and clients whose row is missing. Of one partner or all.
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>>;

    /// Everything stored about a client, from one database snapshot.
    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot>;

    /// Events of this client whose source and id another client's log has too. A source that gives one id to two events is
    /// found when the second arrives, unless both arrive at the same moment.
    async fn shared_events(&self, key: &ClientKey) -> Result<Vec<SharedEvent>>;

    /// The number of clients by facet and status, and of rows by table.
    async fn census(&self) -> Result<Census>;
}

/// Everything stored about one client: its row, history, journal and deadlines. As large as its history.
#[derive(Clone, Debug)]
pub struct ClientSnapshot {
    pub key: ClientKey,
    /// None: the client has no row.
    pub row: Option<SnapshotRow>,
    /// The open run.
    pub touches: Touches,
    pub renew_only: Option<RenewOnlyWindow>,
    /// Rows of the `deadlines` table.
    pub deadlines: Deadlines,
    /// Sorted by [`crate::domain::Event::position`].
    pub history: Vec<Logged>,
    /// Oldest line first.
    pub journal: Vec<Entry>,
    /// Retention may have pruned the oldest lines of the journal.
    pub journal_is_pruned: bool,
}

#[derive(Clone, Debug)]
pub struct SnapshotRow {
    pub version: i64,
    /// Or why it cannot be read.
    pub document: Result<Document, Arc<serde_json::Error>>,
    pub columns: Columns,
}

/// The columns that repeat parts of the document, for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub name: Option<String>,
    pub name_key: Option<String>,
    pub link: Option<String>,
    pub service: Option<String>,
    pub access: String,
    pub as_of: Option<DateTime<Utc>>,
}

impl Columns {
    /// The columns that belong to a document.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        let facets = ClientColumns::of(document);
        let text = |text: &str| text.to_owned();
        Self {
            name: facets.name.map(text),
            name_key: document.held_name().map(Name::key),
            link: facets.link.map(text),
            service: facets.service.map(text),
            access: text(facets.access),
            as_of: facets.as_of,
        }
    }
}

impl ClientSnapshot {
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.row.as_ref().and_then(|row| row.document.as_ref().ok())
    }

    /// The client as [`super::Clients::client`] reads it. None: its row is missing or cannot be read.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        let row = self.row.as_ref()?;
        Some(Stored {
            key: self.key.clone(),
            document: row.document.clone().ok()?,
            version: row.version,
            touches: self.touches.clone(),
        })
    }
}

/// An event that the log has under two clients: one of them is a mistake of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEvent {
    pub source: String,
    pub id: String,
    /// The other client.
    pub other: ClientKey,
}

/// Row counts. Keys are status names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    pub link: BTreeMap<String, i64>,
    pub service: BTreeMap<String, i64>,
    pub access: BTreeMap<String, i64>,
    pub events: i64,
    pub journal: i64,
    pub dead_letters_open: i64,
}

row! {
    SharedRow {
        source: Option<String>,
        id: EventId,
    }
}

/// Reads the events that a client shares with others.
pub(super) fn read_shared(key: &ClientKey, rows: Vec<Both<KeyRow, SharedRow>>) -> Result<Vec<SharedEvent>> {
    let id = RowId { table: "events", key };
    rows.into_iter()
        .map(|Both(other, shared)| {
            Ok(SharedEvent {
                source: id.known("source", shared.source)?,
                id: shared.id.0,
                other: other.read(id)?,
            })
        })
        .collect()
}

row! {
    /// The row of a client, of which the document may be unreadable.
    ClientRow<T> {
        version: i64,
        doc: String,
        name: Option<String>,
        name_key: Option<String>,
        link: Option<String>,
        service: Option<String>,
        access: String,
        as_of: Option<T>,
    }
}

impl<T: Moment> ClientRow<T> {
    pub(super) fn read(self, key: &ClientKey) -> Result<SnapshotRow> {
        let id = RowId {
            table: "clients",
            key,
        };
        Ok(SnapshotRow {
            version: self.version,
            document: serde_json::from_str(&self.doc).map_err(Arc::new),
            columns: Columns {
                name: self.name,
                name_key: self.name_key,
                link: self.link,
                service: self.service,
                access: self.access,
                as_of: id.optional_moment("as_of", self.as_of)?,
            },
        })
    }
}

row! {
    DeadlineRow<T> {
        /// None: no word has the number.
        sweep: Option<String>,
        due_at: T,
    }
}

/// The deadlines of one client.
pub(super) fn read_deadlines<T: Moment>(key: &ClientKey, rows: Vec<DeadlineRow<T>>) -> Result<Deadlines> {
    let id = RowId {
        table: "deadlines",
        key,
    };
    rows.into_iter()
        .map(|row| {
            let sweep = id.word("sweep", &id.known("sweep", row.sweep)?, Sweep::from_name)?;
            Ok((sweep, id.moment("due_at", row.due_at)?))
        })
        .collect()
}

row! {
    /// The number of clients with these statuses.
    FacetsRow {
        link: String,
        service: String,
        access: String,
        clients: i64,
    }
}

row! {
    /// Rows by table.
    CountsRow {
        events: i64,
        journal: i64,
        dead_letters_open: i64,
    }
}

impl Census {
    pub(super) fn of(facets: Vec<FacetsRow>, counts: &CountsRow) -> Self {
        let mut census = Self {
            events: counts.events,
            journal: counts.journal,
            dead_letters_open: counts.dead_letters_open,
            ..Self::default()
        };
        for row in facets {
            *census.link.entry(row.link).or_default() += row.clients;
            *census.service.entry(row.service).or_default() += row.clients;
            *census.access.entry(row.access).or_default() += row.clients;
        }
        census
    }
}
