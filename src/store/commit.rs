//! A commit: everything that one transaction writes. The engine plans it, an adapter writes it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::StoreError;
use super::accesses::{Access, TouchOutcome};
use super::checkpoints::CheckpointWrite;
use super::columns::{RowId, json, text};
use super::dead_letters::DeadLetter;
use super::document::Document;
use super::lanes::Watermark;
use super::sources::Heard;
use super::sweeps::RunCounts;
use super::touches::{RenewOnlyWindow, Touches};
use super::traces::EventTrace;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{ClientKey, Entry, Event, EventKind, Refusal, Sweep};

/// The writes of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// In key order.
    pub clients: Vec<ClientWrite>,
    /// In key order.
    pub touches: Vec<TouchWrite>,
    pub events: Vec<EventWrite>,
    pub outcomes: Vec<OutcomeUpdate>,
    /// New entries of the access log. One that it has stays as it is.
    pub accesses: Vec<Access>,
    /// New outcomes of packed touches, for the access log. Nothing else stores one.
    pub touch_outcomes: Vec<TouchOutcome>,
    /// The trace contexts of new events. One that is stored stays as it is.
    pub traces: Vec<EventTrace>,
    /// In the order of the changes. The adapters number the lines in this order.
    pub journal: Vec<Entry>,
    /// In key order.
    pub checkpoints: Vec<CheckpointWrite>,
    /// New or moved deadlines.
    pub deadlines_set: Vec<(ClientKey, Sweep, DateTime<Utc>)>,
    /// Removed deadlines. None of them is set as well.
    pub deadlines_cleared: Vec<(ClientKey, Sweep)>,
    pub dead_letters: Vec<DeadLetter>,
    /// The watermark of a lane after this transaction.
    pub watermark: Option<Watermark>,
    /// What was heard from expected sources, in the order of their names.
    pub heard: Vec<Heard>,
    /// The run of a sweep and what to add to its counts: the work of this transaction.
    pub swept: Option<(i64, RunCounts)>,
    /// The time of writing, by the writer's clock.
    pub recorded_at: DateTime<Utc>,
}

impl Commit {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.touches.is_empty()
            && self.events.is_empty()
            && self.outcomes.is_empty()
            && self.accesses.is_empty()
            && self.touch_outcomes.is_empty()
            && self.traces.is_empty()
            && self.journal.is_empty()
            && self.checkpoints.is_empty()
            && self.deadlines_set.is_empty()
            && self.deadlines_cleared.is_empty()
            && self.dead_letters.is_empty()
            && self.watermark.is_none()
            && self.heard.is_empty()
            && self.swept.is_none()
    }

    /// Whether no deadline is both set and cleared: adapters may do either first.
    pub(super) fn has_distinct_deadlines(&self) -> bool {
        let set = self.deadlines_set.iter().map(|(key, sweep, _)| (key, *sweep));
        let set: HashSet<(&ClientKey, Sweep)> = set.collect();
        self.deadlines_cleared
            .iter()
            .all(|(key, sweep)| !set.contains(&(key, *sweep)))
    }

    /// The clients that this commit writes, in key order.
    pub(super) fn keys(&self) -> BTreeSet<&ClientKey> {
        let clients = self.clients.iter().map(|write| &write.key);
        let touches = self.touches.iter().map(|write| &write.key);
        let events = self.events.iter().map(|write| &write.event.key);
        let outcomes = self.outcomes.iter().map(|update| &update.key);
        let accesses = self.accesses.iter().map(|access| &access.client);
        let touch_outcomes = self.touch_outcomes.iter().map(|update| &update.key);
        let traces = self.traces.iter().map(|trace| &trace.client);
        let journal = self.journal.iter().map(|entry| &entry.key);
        let checkpoints = self.checkpoints.iter().map(|write| &write.key);
        let set = self.deadlines_set.iter().map(|(key, ..)| key);
        let cleared = self.deadlines_cleared.iter().map(|(key, _)| key);
        clients
            .chain(touches)
            .chain(events)
            .chain(outcomes)
            .chain(accesses)
            .chain(touch_outcomes)
            .chain(traces)
            .chain(journal)
            .chain(checkpoints)
            .chain(set)
            .chain(cleared)
            .collect()
    }
}

/// A client's document, and the columns by which queries select it.
#[derive(Clone, Debug)]
pub struct ClientWrite {
    pub key: ClientKey,
    pub document: Document,
    /// The version that was read, or 0 for a new client. The written version is one more.
    pub read_version: i64,
    /// The name that this client holds. None: it is deleted or a ghost, or a late event revived it after another client
    /// took the name.
    pub name_key: Option<String>,
}

/// All touches of a client since its run was opened.
#[derive(Clone, Debug)]
pub struct TouchWrite {
    pub key: ClientKey,
    pub open: Touches,
    /// A full run, which is closed and never written again.
    pub closed: Option<Touches>,
    /// When the next touches only renew access.
    pub renew_only: Option<RenewOnlyWindow>,
}

/// A row of the log.
#[derive(Clone, Debug)]
pub struct EventWrite {
    pub event: Event,
    pub outcome: RecordedOutcome,
}

/// A new outcome of a logged event, after a late event changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeUpdate {
    pub key: ClientKey,
    /// The time of the event.
    pub time: DateTime<Utc>,
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub outcome: RecordedOutcome,
}

/// The outcome of an event at its position in the history.
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

/// The columns of a client by which queries select it, derived from its document.
pub(super) struct ClientColumns<'a> {
    pub name: Option<&'a str>,
    pub link: Option<&'static str>,
    pub service: Option<&'static str>,
    pub access: &'static str,
    pub as_of: Option<DateTime<Utc>>,
    /// The id of the account, without the characters that a column cannot hold. Empty: none is known.
    pub account: String,
}

impl<'a> ClientColumns<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        let client = &document.client;
        Self {
            name: client.name.as_ref().map(crate::domain::Name::as_str),
            link: client.link_status().map(LinkStatus::as_str),
            service: client.service_status().map(ServiceStatus::as_str),
            access: client.access_status().as_str(),
            as_of: client.as_of(),
            account: client
                .account
                .id
                .as_ref()
                .map(|id| text(id.as_str()))
                .unwrap_or_default(),
        }
    }
}

/// The data of an event for the log: what the decoder understood, not what was sent. Empty if the type has no data.
pub(super) fn data_of(kind: &EventKind) -> String {
    // Cut out of `{"type":"…","data":…}`: the JSON of a type is its name, without escapes.
    let whole = json(kind);
    let before = r#"{"type":"","data":"#.len() + kind.type_name().len();
    match &whole[before..whole.len() - 1] {
        "{}" => String::new(),
        data => data.to_owned(),
    }
}

/// Checks that every written client still had the version that was read.
pub(super) fn expect_written(written: u64, writes: &[ClientWrite]) -> Result<(), StoreError> {
    if usize::try_from(written).is_ok_and(|written| written == writes.len()) {
        return Ok(());
    }
    let expected = writes.len();
    Err(StoreError::Conflict(format!(
        "only {written} of {expected} clients still had the version that was read"
    )))
}

/// Checks that every new event is in the log.
pub(super) fn expect_added(added: u64, events: &[EventWrite]) -> Result<(), StoreError> {
    expect_all("ref", added, events.len(), "new events were written")
}

/// Checks that every event whose outcome changes is in the log.
pub(super) fn expect_logged(changed: u64, updates: &[OutcomeUpdate]) -> Result<(), StoreError> {
    expect_all(
        "reason",
        changed,
        updates.len(),
        "events whose outcome changes are in the log",
    )
}

fn expect_all(column: &'static str, found: u64, expected: usize, what: &str) -> Result<(), StoreError> {
    if usize::try_from(found).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    let id = RowId {
        table: "events",
        key: &"a batch",
    };
    Err(id.unreadable(column, format!("only {found} of {expected} {what}")))
}
