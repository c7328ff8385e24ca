//! Everything that is kept about one client, as of one moment: what is verified, and what is rebuilt.

use chrono::{DateTime, Utc};

use super::document::{Deadlines, Document};
use super::records::{Logged, Stored};
use super::rows::ClientColumns;
use super::touches::{RenewOnlyWindow, Touches};
use crate::domain::{ClientKey, Entry, Name};

/// One client, whole: its row, what was taken in, what was told, what is due. As large as its history.
#[derive(Clone, Debug)]
pub struct ClientSnapshot {
    pub key: ClientKey,
    /// None: the client has no row.
    pub row: Option<SnapshotRow>,
    /// The open run.
    pub touches: Touches,
    pub renew_only: Option<RenewOnlyWindow>,
    /// As they stand in their table.
    pub deadlines: Deadlines,
    /// Sorted by [`crate::domain::Event::position`].
    pub history: Vec<Logged>,
    /// Oldest line first.
    pub journal: Vec<Entry>,
    /// The journal may have lost its oldest lines of this client to old age.
    pub journal_is_pruned: bool,
}

#[derive(Clone, Debug)]
pub struct SnapshotRow {
    pub version: i64,
    /// Or why it cannot be read.
    pub document: Result<Document, String>,
    pub columns: Columns,
}

/// What stands beside the document, for whoever asks for clients by it.
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
    /// What belongs beside a document.
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

    /// The client as everybody else reads it; none when its row is missing or cannot be read.
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
