//! Clients with their histories and journals, as last committed.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::actor::read_actor;
use super::columns::{Moment, RowId, json, key, read_optional_text, row};
use super::commit::RecordedOutcome;
use super::document::Document;
use super::event_id::EventId;
use super::outbox::Recorded;
use super::touches::Touches;
use super::{NameClaim, Result, touches};
use crate::domain::access::{AccessStatus, Renewal};
use crate::domain::event::NameVerdict;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{Client, ClientKey, Event, EventKind, Id, Policies, Position, Refusal};

/// Reads clients.
#[async_trait]
pub trait Clients: Send + Sync + 'static {
    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>>;

    /// Clients in key order, after `after`, at most `limit`, without ghosts. Statuses are those of the last write: the
    /// caller fires timers that have become due since.
    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>>;

    /// The clients with these keys that have a row, in any order.
    async fn clients_by_key(&self, keys: &[ClientKey]) -> Result<Vec<Stored>>;

    /// The clients of one partner or of all that have this account, after `after`, at most `limit`: in the order of their partners,
    /// and those of a partner in the order of their numbers, as in the index.
    async fn clients_of_account(
        &self,
        account: &Id,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>>;

    /// All events of a client, touches included, sorted by [`crate::domain::Event::position`].
    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>>;

    /// The histories of clients, from one database snapshot. Leaves out clients with more than `longest` events, or with enough
    /// runs of touches for that many. Every other client has an entry, an empty one too.
    async fn histories(&self, keys: &[ClientKey], longest: usize) -> Result<HashMap<ClientKey, Vec<Logged>>>;

    /// The client that holds a name. None: the name is free.
    async fn holder(&self, name: &NameClaim) -> Result<Option<ClientKey>>;

    /// Journal lines of one client, oldest first, with a sequence number above `after`.
    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>>;
}

/// A client as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: ClientKey,
    pub document: Document,
    pub version: i64,
    /// The open run of touches. The document does not include those after the last event that it has seen.
    pub touches: Touches,
}

impl Stored {
    /// A client that is not in the store.
    #[must_use]
    pub fn absent(key: ClientKey) -> Self {
        Self {
            key,
            document: Document::default(),
            version: 0,
            touches: Touches::default(),
        }
    }

    /// The client's latest state: its document, and the last touch since. That touch supersedes the renewals of those
    /// between.
    #[must_use]
    pub fn client(&self, policies: &Policies) -> Client {
        self.touched(self.document.client.clone(), policies)
    }

    /// As [`Stored::client`], but moves the client out of the document.
    #[must_use]
    pub fn take_client(&mut self, policies: &Policies) -> Client {
        let client = std::mem::take(&mut self.document.client);
        self.touched(client, policies)
    }

    /// Whether an event at this position is late, so that it cannot simply be applied: [`Client::is_past`] of
    /// [`Stored::client`].
    #[must_use]
    pub fn is_past(&self, position: &Position) -> bool {
        let touched = self.touches.last();
        self.document.client.is_past(position)
            || touched.is_some_and(|touch| *position <= touch.position(&self.key))
    }

    /// The last renewal of [`Stored::client`], without a copy of the client. None: access is not enabled.
    #[must_use]
    pub fn renewal(&self) -> Option<Renewal> {
        let client = &self.document.client;
        let mut renewal = client.access()?.renewal()?.clone();
        if let Some(last) = self.touches.last()
            && !client.is_past(&last.position(&self.key))
        {
            renewal.renewed_at = last.time;
            renewal.warned = None;
        }
        Some(renewal)
    }

    fn touched(&self, mut client: Client, policies: &Policies) -> Client {
        if let Some(last) = self.touches.last().map(|touch| touch.to_event(&self.key))
            && !client.is_past(&last.position())
        {
            // A run holds applied touches only. If the document refuses one now, somebody changed it by hand, and
            // `verify` reports it.
            let _ = client.apply(&last, policies);
        }
        client
    }
}

/// An event of a client's history with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub event: Event,
    pub outcome: RecordedOutcome,
}

/// Selects clients. A client must match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// The client's document has seen an event, or fired a timer, after this moment.
    pub beyond: Option<DateTime<Utc>>,
    pub partner: Option<String>,
    /// Any of these. Empty: all.
    pub links: Vec<LinkStatus>,
    pub services: Vec<ServiceStatus>,
    pub access: Vec<AccessStatus>,
}

/// The range of keys of a listing: after one key, up to the last key of one partner. Both ends are always bound, so
/// that the primary key answers the query whichever of the two is given.
pub(super) struct ClientRange<'a> {
    pub after_partner: &'a str,
    pub after_client: &'a str,
    pub last_partner: &'a str,
}

impl<'a> ClientRange<'a> {
    pub(super) fn of(partner: Option<&'a str>, after: Option<&'a ClientKey>) -> Self {
        // No id is empty, and ids consist of characters before DEL.
        let start = (partner.unwrap_or_default(), "");
        let after = after.map_or(start, |key| start.max((&key.partner, &key.client)));
        Self {
            after_partner: after.0,
            after_client: after.1,
            last_partner: partner.unwrap_or("\u{7f}"),
        }
    }
}

row! {
    StoredRow {
        partner: String,
        client: String,
        version: i64,
        doc: String,
        open_run: Option<Vec<u8>>,
    }
}

impl StoredRow {
    pub(super) fn read(self) -> Result<Stored> {
        let key = key(&self.partner, &self.client);
        stored(key, self.version, &self.doc, self.open_run.as_deref())
    }
}

/// Reads the document and the open run of a client.
pub(super) fn stored(key: ClientKey, version: i64, doc: &str, open_run: Option<&[u8]>) -> Result<Stored> {
    let id = RowId {
        table: "clients",
        key: &key,
    };
    let document = id.json("doc", doc)?;
    let touches = touches::open_run(&key, open_run.unwrap_or_default())?;
    Ok(Stored {
        key,
        document,
        version,
        touches,
    })
}

row! {
    /// An event of the log. `event_type` is the column `type`, which is a keyword here.
    LoggedRow<T> {
        /// None: no source has the number. So for the other two.
        source: Option<String>,
        id: EventId,
        event_type: Option<String>,
        time: T,
        /// See [`read_optional_text`].
        sequence: String,
        /// See [`super::actor`].
        actor: String,
        /// Empty: see [`super::commit::data_of`].
        data: String,
        /// The code of the refusal. Empty: the event was applied.
        reason: Option<String>,
    }
}

impl<T: Moment> LoggedRow<T> {
    pub(super) fn read(self, key: &ClientKey) -> Result<Logged> {
        let name = format!("{} {}", self.source.as_deref().unwrap_or("?"), self.id.0);
        let id = RowId {
            table: "events",
            key: &name,
        };
        let kind = event_kind(id, self.event_type, &self.data)?;
        let outcome = match id.known("reason", self.reason)?.as_str() {
            "" => RecordedOutcome::Applied,
            code => RecordedOutcome::Refused(id.word("reason", code, Refusal::from_code)?),
        };
        // The engine decides on a name only when the event can be applied otherwise. So exactly these two outcomes tell
        // its decision.
        let name_verdict = match (kind.claimed_name(), outcome) {
            (Some(_), RecordedOutcome::Applied) => NameVerdict::Granted,
            (Some(_), RecordedOutcome::Refused(Refusal::NameTaken)) => NameVerdict::Taken,
            _ => NameVerdict::Open,
        };
        let event = Event {
            source: id.known("source", self.source)?.into(),
            id: self.id.0.into(),
            key: key.clone(),
            time: id.moment("time", self.time)?,
            sequence: read_optional_text(&self.sequence).map(Into::into),
            actor: read_actor(id, "actor", &self.actor)?,
            kind,
            name_verdict,
        };
        Ok(Logged { event, outcome })
    }
}

/// The type of an event in the log, with its data. Empty data: see [`super::commit::data_of`].
pub(super) fn event_kind(row: RowId<'_>, event_type: Option<String>, data: &str) -> Result<EventKind> {
    let event_type = row.known("type", event_type)?;
    let data = if data.is_empty() { "{}" } else { data };
    row.json(
        "data",
        &format!(r#"{{"type":{},"data":{data}}}"#, json(&event_type)),
    )
}

/// Sorts a history. A touch that is in two runs appears once.
pub(super) fn sort_history(history: &mut Vec<Logged>) {
    history.sort_by_cached_key(|logged| logged.event.position());
    history.dedup_by(|a, b| a.event == b.event);
}
