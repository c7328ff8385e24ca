//! Everything stored about clients, for verification and rebuilding, and row counts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use super::checkpoints::{Checkpoint, CheckpointRow};
use super::clients::{Logged, LoggedRow, Stored, sort_history};
use super::columns::{Both, KeyRow, Moment, RowId, row};
use super::commit::ClientColumns;
use super::document::{Deadlines, Document};
use super::event_id::EventId;
use super::outbox::JournalRow;
use super::touches::{RenewOnlyWindow, Touches, TouchesRow, logged, read_run, read_touches};
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

    /// Everything stored about clients, in the order of `keys`, from one database snapshot. A client with a value that cannot be
    /// read is an error of its own.
    ///
    /// With `most`, returns only the first clients: those that together have at most so many events, packed touches, and journal
    /// lines, each counted separately. None, if the first client alone has more.
    async fn snapshots(&self, keys: &[ClientKey], most: Option<usize>)
    -> Result<Vec<Result<ClientSnapshot>>>;

    /// As [`Verification::snapshots`], of one client of any size.
    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        one(self.snapshots(slice::from_ref(key), None).await?)
    }

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
    /// In the order of their times.
    pub checkpoints: Vec<Checkpoint>,
    /// Sorted by [`crate::domain::Event::position`].
    pub history: Vec<Logged>,
    /// Oldest line first.
    pub journal: Vec<Entry>,
    /// Retention may have pruned the oldest lines of the journal.
    pub journal_is_pruned: bool,
    /// Events of this client whose source and id another client's log has too. Only damaged tables have such events.
    pub shared_events: Vec<SharedEvent>,
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
    pub account: String,
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
            account: facets.account,
        }
    }
}

impl ClientSnapshot {
    /// The snapshot of a client about which nothing is stored.
    #[must_use]
    pub fn nothing(key: ClientKey) -> Self {
        Self {
            key,
            row: None,
            touches: Touches::default(),
            renew_only: None,
            deadlines: Deadlines::new(),
            checkpoints: Vec::new(),
            history: Vec::new(),
            journal: Vec::new(),
            journal_is_pruned: false,
            shared_events: Vec::new(),
        }
    }

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

/// The snapshot of the only client that was read, without a bound.
pub(super) fn one(mut snapshots: Vec<Result<ClientSnapshot>>) -> Result<ClientSnapshot> {
    snapshots
        .pop()
        .expect("without a bound, every client has a snapshot")
}

/// The snapshots of clients while their rows are read, one table after the other. The rows of the tables that grow with the history
/// come in the order of the clients, so that those before a client with too many rows are complete.
pub(super) struct Snapshots<T> {
    clients: Vec<Result<ClientSnapshot>>,
    most: Option<usize>,
    /// How many more rows of the present table may be held.
    room: usize,
    /// Lines recorded before this moment may be gone.
    pruned_before: Option<T>,
}

impl<T: Moment + PartialOrd> Snapshots<T> {
    pub(super) fn of(keys: &[ClientKey], most: Option<usize>, pruned_before: Option<T>) -> Self {
        Self {
            clients: keys
                .iter()
                .cloned()
                .map(ClientSnapshot::nothing)
                .map(Ok)
                .collect(),
            most,
            room: 0,
            pruned_before,
        }
    }

    /// Begins a table that is read with the given bound on its rows.
    pub(super) fn begin_table(&mut self) {
        self.room = self.most.unwrap_or(usize::MAX);
    }

    /// The number of clients that are still read.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Adds an event to the client at this place among the keys. Break: there are too many, and this client and those after it are
    /// left out.
    pub(super) fn add_event(&mut self, place: usize, received_at: &T, row: LoggedRow<T>) -> ControlFlow<()> {
        let is_pruned = self
            .pruned_before
            .as_ref()
            .is_some_and(|before| received_at < before);
        self.bounded(place, 1)?;
        self.read(place, |client| {
            // A client whose first event came after the pruned lines still has all of its own lines.
            client.journal_is_pruned |= is_pruned;
            client.history.push(row.read(&client.key)?);
            Ok(())
        });
        ControlFlow::Continue(())
    }

    /// Adds a closed run of touches, as [`Snapshots::add_event`].
    pub(super) fn add_run(&mut self, place: usize, run: &[u8]) -> ControlFlow<()> {
        self.bounded(place, Touches::most_in(run))?;
        self.read(place, |client| {
            client.history.extend(read_run(&client.key, run)?);
            Ok(())
        });
        ControlFlow::Continue(())
    }

    /// Adds a line of the journal, as [`Snapshots::add_event`]. Oldest first.
    pub(super) fn add_line(&mut self, place: usize, line: JournalRow<T>) -> ControlFlow<()> {
        self.bounded(place, 1)?;
        self.read(place, |client| {
            client.journal.push(line.read(client.key.clone())?.entry);
            Ok(())
        });
        ControlFlow::Continue(())
    }

    pub(super) fn add_row(&mut self, place: usize, row: ClientRow<T>) {
        self.read(place, |client| {
            client.row = Some(row.read(&client.key)?);
            Ok(())
        });
    }

    /// Adds the open run to the history too.
    pub(super) fn add_touches(&mut self, place: usize, row: TouchesRow<T>) {
        self.read(place, |client| {
            (client.touches, client.renew_only) = read_touches(&client.key, row)?;
            client.history.extend(logged(&client.touches, &client.key));
            Ok(())
        });
    }

    pub(super) fn add_deadline(&mut self, place: usize, row: DeadlineRow<T>) {
        self.read(place, |client| {
            let (sweep, due_at) = row.read(&client.key)?;
            client.deadlines.insert(sweep, due_at);
            Ok(())
        });
    }

    /// In the order of the client's checkpoints.
    pub(super) fn add_checkpoint(&mut self, place: usize, row: CheckpointRow<T>) {
        self.read(place, |client| {
            client.checkpoints.push(row.read(&client.key)?);
            Ok(())
        });
    }

    pub(super) fn add_shared_event(&mut self, place: usize, row: Both<KeyRow, SharedRow>) {
        self.read(place, |client| {
            client.shared_events.push(read_shared(&client.key, row)?);
            Ok(())
        });
    }

    /// Ends the reading.
    pub(super) fn end(mut self) -> Vec<Result<ClientSnapshot>> {
        for client in self.clients.iter_mut().flatten() {
            sort_history(&mut client.history);
        }
        self.clients
    }

    fn bounded(&mut self, place: usize, rows: usize) -> ControlFlow<()> {
        let Some(room) = self.room.checked_sub(rows) else {
            self.clients.truncate(place);
            return ControlFlow::Break(());
        };
        self.room = room;
        ControlFlow::Continue(())
    }

    /// Reads a part of a client, unless another part could not be read.
    fn read(&mut self, place: usize, read: impl FnOnce(&mut ClientSnapshot) -> Result<()>) {
        if let Some(client) = self.clients.get_mut(place)
            && let Ok(snapshot) = client
            && let Err(error) = read(snapshot)
        {
            *client = Err(error);
        }
    }
}

row! {
    SharedRow {
        source: Option<String>,
        id: EventId,
    }
}

/// Reads an event that a client shares with another.
fn read_shared(key: &ClientKey, Both(other, shared): Both<KeyRow, SharedRow>) -> Result<SharedEvent> {
    let id = RowId { table: "events", key };
    Ok(SharedEvent {
        source: id.known("source", shared.source)?,
        id: shared.id.0,
        other: other.read(id)?,
    })
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
        account: String,
    }
}

impl<T: Moment> ClientRow<T> {
    fn read(self, key: &ClientKey) -> Result<SnapshotRow> {
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
                account: self.account,
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

impl<T: Moment> DeadlineRow<T> {
    fn read(self, key: &ClientKey) -> Result<(Sweep, DateTime<Utc>)> {
        let id = RowId {
            table: "deadlines",
            key,
        };
        let sweep = id.word("sweep", &id.known("sweep", self.sweep)?, Sweep::from_name)?;
        Ok((sweep, id.moment("due_at", self.due_at)?))
    }
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
