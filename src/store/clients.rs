//! Clients with their histories and journals, as last committed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::commit::RecordedOutcome;
use super::document::Document;
use super::outbox::Recorded;
use super::touches::Touches;
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{Client, ClientKey, Event, Policies, Position};

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

    /// All events of a client, touches included, sorted by [`crate::domain::Event::position`].
    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>>;

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

    fn touched(&self, mut client: Client, policies: &Policies) -> Client {
        if let Some(last) = self.touches.last().map(|touch| touch.to_event(&self.key))
            && !client.is_past(&last.position())
        {
            // A run holds applied touches only. If the document refuses one now, somebody changed it by hand, and `verify`
            // reports it.
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

/// The range of keys of a listing: after one key, up to the last key of one partner. Both ends are always bound, so that
/// the primary key answers the query whichever of the two is given.
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
