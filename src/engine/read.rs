//! Answers: a client, a list of clients, a journal, the access decision, for this very moment or
//! any other.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use crate::domain::access::{AccessStatus, Decision};
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::ClientView;
use crate::domain::{Cause, ClientKey};
use crate::store::StoreError;

/// The tabs of a partner's client list (000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Active,
    Inactive,
}

/// Which clients to list; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    pub partner: Option<String>,
    pub link: Option<LinkStatus>,
    pub service: Option<ServiceStatus>,
    pub access: Option<AccessStatus>,
    pub tab: Option<Tab>,
    /// Clients after this key only: the last of the page before.
    pub after: Option<ClientKey>,
    /// At most so many; all without.
    pub limit: Option<usize>,
}

/// A line of the journal as the world sees it.
#[derive(Clone, Debug, Serialize)]
pub struct JournalLine {
    /// Rises within a client.
    pub sequence: i64,
    pub subject: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When it took effect.
    pub time: String,
    /// When Tenure wrote it.
    pub recorded: String,
    pub cause: Cause,
    pub correction: bool,
}

impl Engine {
    /// A client at a moment: now, or any other, past or to come. None: never added, or not yet then.
    pub async fn client(
        &self,
        key: &ClientKey,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<ClientView>, StoreError> {
        unimplemented!("{key} {at:?}")
    }

    /// Clients in key order, as they are now.
    pub async fn clients(&self, request: &ListRequest) -> Result<Vec<ClientView>, StoreError> {
        unimplemented!("{request:?}")
    }

    /// The journal of a client, after a sequence number, at most `limit` lines.
    pub async fn journal(
        &self,
        key: &ClientKey,
        after: i64,
        limit: u32,
    ) -> Result<Vec<JournalLine>, StoreError> {
        unimplemented!("{key} {after} {limit}")
    }

    /// Whether the partner may enter, or do `action`, at this very moment, whether or not a sweep has
    /// been by.
    pub async fn decide(&self, key: &ClientKey, action: Option<&str>) -> Result<Decision, StoreError> {
        unimplemented!("{key} {action:?}")
    }
}
