//! The access log: who entered which account when. It is off unless the settings say for how long entries are stored.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Engine;
use crate::domain::event::AccessedBy;
use crate::domain::time::serialize;
use crate::domain::{Actor, ClientKey, Event, Refusal};
use crate::store::{Access, AccessFilter, AccessesPage, EventPosition, RetentionTarget, StoreError};

/// The number of entries that one call reads at most to find those of a partner.
const WALK: u32 = 5_000;
/// Entries that one transaction removes when the access log is switched on again.
const CHUNK: u32 = 1_000;

/// An entry of the access log in its public form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessView {
    pub subject: String,
    /// When somebody entered, according to the source.
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    /// Who entered: the partner, or staff of the customer.
    pub by: AccessedBy,
    /// The user, as the source says.
    pub user: Option<String>,
    #[serde(flatten)]
    pub actor: Actor,
    pub source: Arc<str>,
    pub id: Arc<str>,
    /// The code of the refusal: the entry was not allowed. None: it was.
    pub refusal: Option<&'static str>,
    /// The refusal in a sentence.
    pub reason: Option<&'static str>,
}

impl From<Access> for AccessView {
    fn from(access: Access) -> Self {
        Self {
            subject: access.client.to_string(),
            time: access.time,
            by: access.by,
            user: access.user,
            actor: access.actor,
            source: access.source,
            id: access.id,
            refusal: access.refused.map(Refusal::code),
            reason: access.refused.map(Refusal::words),
        }
    }
}

/// A page of entries, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogPage {
    pub accesses: Vec<AccessView>,
    /// Where the next page begins. None: this is the last one.
    pub next: Option<EventPosition>,
}

impl From<AccessesPage> for AccessLogPage {
    fn from(page: AccessesPage) -> Self {
        Self {
            accesses: page.accesses.into_iter().map(AccessView::from).collect(),
            next: page.next,
        }
    }
}

impl Engine {
    /// Switches the access log on: entries are stored for this long. None: it is off.
    #[must_use]
    pub fn with_access_log(mut self, retention: Option<TimeDelta>) -> Self {
        self.access_log = retention;
        self
    }

    /// For how long entries of the access log are stored. None: it is off.
    #[must_use]
    pub fn access_log(&self) -> Option<TimeDelta> {
        self.access_log
    }

    /// Records whether the access log is on: a worker does when it starts. Switched on, the log begins empty: late events have not
    /// changed the outcomes of older entries meanwhile.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn record_access_log(&self) -> Result<(), StoreError> {
        let since = self.access_log.map(|_| self.watch.present());
        if since.is_some() {
            // Until another worker switches it on and adds entries.
            while self.store.access_log_since().await?.is_none()
                && self
                    .store
                    .prune(RetentionTarget::Accesses, DateTime::<Utc>::MAX_UTC, CHUNK)
                    .await?
                    > 0
            {}
        }
        self.store.record_access_log(since).await
    }

    /// Records that the access log lacks what this worker has ingested without it, if it is on for others: a worker does when it
    /// ends. In a rolling restart, the log is complete since the last worker without it has ended.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn record_end_without_access_log(&self) -> Result<(), StoreError> {
        if self.access_log.is_some() || self.store.access_log_since().await?.is_none() {
            return Ok(());
        }
        self.store.postpone_access_log(self.watch.present()).await
    }

    /// Since when the access log is on. None: it is off, or no worker has started with it.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn access_log_since(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        match self.access_log {
            Some(_) => self.store.access_log_since().await,
            None => Ok(None),
        }
    }

    /// The entries of a client, the latest first, after a position, at most `limit`. Those that have expired are left out, and
    /// while the access log is off, those that were not removed yet are returned. None: the client does not exist.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn accesses(
        &self,
        key: &ClientKey,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        limit: u32,
    ) -> Result<Option<AccessLogPage>, StoreError> {
        let filter = self.without_expired(filter);
        let page = self.store.accesses(key, &filter, after, limit).await?;
        if page.accesses.is_empty() && self.store.client(key).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(page.into()))
    }

    /// As [`Engine::accesses`], of all clients or those of a partner. Does a bounded amount of work, so a page may be shorter than
    /// its limit although others follow.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn all_accesses(
        &self,
        partner: Option<&str>,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        limit: u32,
    ) -> Result<AccessLogPage, StoreError> {
        let filter = self.without_expired(filter);
        let page = self.store.all_accesses(partner, &filter, after, WALK, limit);
        Ok(page.await?.into())
    }

    fn without_expired(&self, filter: &AccessFilter) -> AccessFilter {
        AccessFilter {
            since: filter.since.max(self.oldest_access(self.now())),
            ..*filter
        }
    }

    /// The entries that new events add to the access log: none while it is off.
    pub(super) fn new_accesses<'e>(&self, events: impl IntoIterator<Item = &'e Event>) -> Vec<Access> {
        if self.access_log.is_none() {
            return Vec::new();
        }
        // Retention would remove older entries again.
        let oldest = self.oldest_access(self.watch.present());
        let is_young = |event: &&Event| Some(event.time) >= oldest;
        events
            .into_iter()
            .filter(is_young)
            .filter_map(Access::of)
            .collect()
    }

    /// As [`Engine::new_accesses`], of the touches of these clients.
    pub(super) fn renewed_accesses(
        &self,
        events: &[(usize, Event)],
        renewed: &HashSet<ClientKey>,
    ) -> Vec<Access> {
        let events = events.iter().map(|(_, event)| event);
        self.new_accesses(events.filter(|event| renewed.contains(&event.key)))
    }

    /// The time of the oldest entry that is stored at a moment. None: the access log is off.
    fn oldest_access(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let retention = self.access_log?;
        now.checked_sub_signed(retention)
    }

    /// Before this moment, retention removes entries. While the access log is off, it removes all of them.
    pub(super) fn accesses_expire_before(&self) -> Option<DateTime<Utc>> {
        match self.access_log {
            // Also entries ahead of the clock.
            None => Some(DateTime::<Utc>::MAX_UTC),
            Some(_) => self.oldest_access(self.now()),
        }
    }
}
