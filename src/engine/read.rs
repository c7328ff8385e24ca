//! Reads: a client, a list of clients, a journal, as of now or of another moment.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use crate::domain::access::AccessStatus;
use crate::domain::change::Details;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::time::rfc3339;
use crate::domain::view::{ClientView, Tab, tab};
use crate::domain::{Cause, Client, ClientKey, Corrector, Due, Event, Policies, fold};
use crate::store::{ClientFilter, Recorded, StoreError};

/// A service status, or both statuses that are not terminated (001, "All Active").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFilter {
    Is(ServiceStatus),
    AllActive,
}

/// Which clients to list. A client must match every given field.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    pub partner: Option<String>,
    pub link: Option<LinkStatus>,
    pub service: Option<ServiceFilter>,
    pub access: Option<AccessStatus>,
    pub tab: Option<Tab>,
    /// Only clients after this key, the last one of the previous page.
    pub after: Option<ClientKey>,
    /// Maximum number of clients. None: all of them.
    pub limit: Option<usize>,
}

/// A line of the journal in its public form.
#[derive(Clone, Debug, Serialize)]
pub struct JournalLine {
    /// Increases within a client.
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
    /// What else it changes in the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Details>,
    /// When it took effect.
    pub time: String,
    /// When Tenure recorded it.
    pub recorded: String,
    pub cause: Cause,
    pub correction: bool,
    /// For a correction: what made it necessary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_by: Option<Corrector>,
}

impl Engine {
    /// A client at a moment, by default now. The moment may be past or future. None: the client was not added by then.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn client(
        &self,
        key: &ClientKey,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<ClientView>, StoreError> {
        let Some(stored) = self.store.client(key).await? else {
            return Ok(None);
        };
        let policies = self.policies().await?;
        let client = stored.client(&policies);
        let moment = at.unwrap_or_else(|| present(&client, self.now()));
        let client = self.at_moment(&stored.key, client, moment, &policies).await?;
        Ok(client
            .is_known()
            .then(|| ClientView::of(key, &client, stored.version, moment, &policies)))
    }

    /// The timers that are running at a moment, by default now, in order of time. Empty for a client that does not exist.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn timers(&self, key: &ClientKey, at: Option<DateTime<Utc>>) -> Result<Vec<Due>, StoreError> {
        let Some(stored) = self.store.client(key).await? else {
            return Ok(Vec::new());
        };
        let policies = self.policies().await?;
        let client = stored.client(&policies);
        let moment = at.unwrap_or_else(|| present(&client, self.now()));
        let client = self.at_moment(&stored.key, client, moment, &policies).await?;
        let mut timers: Vec<Due> = client.due(policies.at(moment)).collect();
        timers.sort_unstable();
        Ok(timers)
    }

    /// Clients in key order, as they are now.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn clients(&self, request: &ListRequest) -> Result<Vec<ClientView>, StoreError> {
        const PAGE: u32 = 1_000;
        let limit = request.limit.unwrap_or(usize::MAX);
        let filter = request.filter();
        if request.contradicts_itself() {
            return Ok(Vec::new());
        }
        let (policies, now) = (self.policies().await?, self.now());
        let mut after = request.after.clone();
        let mut out = Vec::new();
        while out.len() < limit {
            let page = self.store.clients(&filter, after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            after = page.last().map(|stored| stored.key.clone());
            for stored in page {
                let client = stored.client(&policies);
                let moment = present(&client, now);
                let client = self.at_moment(&stored.key, client, moment, &policies).await?;
                if request
                    .access
                    .is_none_or(|access| client.access_status() == access)
                {
                    let version = stored.version;
                    out.push(ClientView::of(&stored.key, &client, version, moment, &policies));
                }
            }
            if is_last {
                break;
            }
        }
        out.truncate(limit);
        Ok(out)
    }

    /// The journal of a client, after a sequence number, at most `limit` lines.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn journal(
        &self,
        key: &ClientKey,
        after: i64,
        limit: u32,
    ) -> Result<Vec<JournalLine>, StoreError> {
        let lines = self.store.journal(key, after, limit).await?;
        Ok(lines.into_iter().map(JournalLine::from).collect())
    }

    /// A client at a moment: its timers fired up to then, or, if it is past that moment, its history replayed up to then.
    pub(super) async fn at_moment(
        &self,
        key: &ClientKey,
        mut client: Client,
        moment: DateTime<Utc>,
        policies: &Policies,
    ) -> Result<Client, StoreError> {
        if client.as_of().is_some_and(|as_of| moment < as_of) {
            return Ok(fold(&self.events(key).await?, moment, policies));
        }
        client.advance(moment, policies);
        Ok(client)
    }

    /// All events of a client, in order.
    pub(super) async fn events(&self, key: &ClientKey) -> Result<Vec<Event>, StoreError> {
        let history = self.store.history(key).await?;
        Ok(history.into_iter().map(|logged| logged.event).collect())
    }
}

/// A client as of now. The time of an event may be a little ahead of the clock and is accepted. A timer that fired ahead of
/// the clock (in a sweep as of a future moment) has not fired yet.
pub(super) fn present(client: &Client, now: DateTime<Utc>) -> DateTime<Utc> {
    match client.as_of() {
        Some(as_of) if client.fired.is_none() => as_of.max(now),
        _ => now,
    }
}

impl ListRequest {
    /// Whether the link status is not on the tab.
    pub(super) fn contradicts_itself(&self) -> bool {
        self.tab
            .is_some_and(|wanted| self.link.is_some_and(|status| tab(status) != Some(wanted)))
    }

    /// The filter for the store. No timer changes a link or service status, so they are compared as they are stored. An access
    /// status may have changed since it was stored, so the filter includes every status that can have become the wanted one.
    pub(super) fn filter(&self) -> ClientFilter {
        let links = match (self.link, self.tab) {
            (Some(link), _) => vec![link],
            (None, Some(wanted)) => LinkStatus::ALL
                .into_iter()
                .filter(|status| tab(*status) == Some(wanted))
                .collect(),
            (None, None) => Vec::new(),
        };
        ClientFilter {
            beyond: None,
            partner: self.partner.clone(),
            links,
            services: match self.service {
                None => Vec::new(),
                Some(ServiceFilter::Is(status)) => vec![status],
                Some(ServiceFilter::AllActive) => {
                    vec![ServiceStatus::PendingAssigning, ServiceStatus::Active]
                }
            },
            access: match self.access {
                Some(AccessStatus::Expired) => vec![AccessStatus::Expired, AccessStatus::Enabled],
                access => access.into_iter().collect(),
            },
        }
    }
}

impl From<Recorded> for JournalLine {
    fn from(recorded: Recorded) -> Self {
        let Recorded {
            cursor,
            entry,
            recorded_at,
        } = recorded;
        let change = entry.change.text();
        Self {
            sequence: cursor.sequence,
            subject: entry.key.to_string(),
            kind: change.kind.to_owned(),
            id: change.id.map(str::to_owned),
            from: change.from.map(Cow::into_owned),
            to: change.to.map(Cow::into_owned),
            data: change.data,
            time: rfc3339(entry.time),
            recorded: rfc3339(recorded_at),
            correction: entry.is_correction(),
            cause: entry.cause,
            corrected_by: entry.corrected_by,
        }
    }
}
