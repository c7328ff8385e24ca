//! Everything that one transaction writes. Made by the engine's plan, carried out by an adapter.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::dead_letters::DeadLetter;
use super::document::Document;
use super::lanes::Watermark;
use super::sweeps::RunCounts;
use super::touches::{RenewOnlyWindow, Touches};
use crate::domain::{ClientKey, Entry, Event, Refusal, Sweep};

/// One transaction's writes. Empty parts cost nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// In key order.
    pub clients: Vec<ClientWrite>,
    /// In key order.
    pub touches: Vec<TouchWrite>,
    pub events: Vec<EventWrite>,
    pub outcomes: Vec<OutcomeUpdate>,
    /// In the order in which things came about; the adapters number them in this order.
    pub journal: Vec<Entry>,
    /// Deadlines that are new or moved.
    pub deadlines_set: Vec<(ClientKey, Sweep, DateTime<Utc>)>,
    /// Deadlines that are gone.
    pub deadlines_cleared: Vec<(ClientKey, Sweep)>,
    pub dead_letters: Vec<DeadLetter>,
    /// How far a lane has come with this transaction.
    pub watermark: Option<Watermark>,
    /// What is to be added to the counts of a sweep's run, which counts what is written with it and nothing else.
    pub swept: Option<(i64, RunCounts)>,
    /// When this is written: the clock of whoever writes.
    pub recorded_at: DateTime<Utc>,
}

impl Commit {
    /// Whether there is anything to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.touches.is_empty()
            && self.events.is_empty()
            && self.outcomes.is_empty()
            && self.journal.is_empty()
            && self.deadlines_set.is_empty()
            && self.deadlines_cleared.is_empty()
            && self.dead_letters.is_empty()
            && self.watermark.is_none()
            && self.swept.is_none()
    }
}

/// A client's document and the columns it can be asked for by.
#[derive(Clone, Debug)]
pub struct ClientWrite {
    pub key: ClientKey,
    pub document: Document,
    /// The version that was read, 0 for a client that was not there; what is written is one more.
    pub read_version: i64,
    /// The name that this client holds against others; none when it is deleted, a ghost, or
    /// lives again by a late event after its name was given to another.
    pub name_key: Option<String>,
}

/// A client's touches since the run was opened, whole.
#[derive(Clone, Debug)]
pub struct TouchWrite {
    pub key: ClientKey,
    pub open: Touches,
    /// A full run that is put away, never to be written again.
    pub closed: Option<Touches>,
    /// When touches to come will do nothing but renew.
    pub renew_only: Option<RenewOnlyWindow>,
}

/// A row of the log.
#[derive(Clone, Debug)]
pub struct EventWrite {
    pub event: Event,
    pub outcome: RecordedOutcome,
}

/// An event of the log whose outcome is different now that an earlier one has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeUpdate {
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub outcome: RecordedOutcome,
}

/// What came of an event at its place in history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    Applied,
    Refused(Refusal),
}

impl RecordedOutcome {
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Applied => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

impl From<Result<(), Refusal>> for RecordedOutcome {
    fn from(result: Result<(), Refusal>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Applied)
    }
}
