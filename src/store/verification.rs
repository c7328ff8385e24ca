//! Everything stored about one client, for verification and rebuilding, and row counts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use super::clients::{Logged, Stored};
use super::document::{Deadlines, Document};
use super::rows::ClientColumns;
use super::touches::{RenewOnlyWindow, Touches};
use crate::domain::{ClientKey, Entry, Name};

/// Reads what `verify` and `rebuild` compare.
#[async_trait]
pub trait Verification: Send + Sync + 'static {
    /// Keys of all clients that any table mentions, in order, after `after`, at most `limit`. Includes ghosts, and clients
    /// whose row is missing. Of one partner or all.
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>>;

    /// Everything stored about a client, from one database snapshot.
    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot>;

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
    pub document: Result<Document, String>,
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
