//! Corrects timers that fired ahead of now: a worker's clock was ahead, and published changes that had not happened yet. Once
//! the clock is right, the affected clients are rebuilt as of now, and the journal gets corrections.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use crate::domain::ClientKey;
use crate::domain::policy::later;
use crate::domain::time::rfc3339;
use crate::store::{ClientFilter, StoreError};

/// Clients that are read at a time.
const PAGE: u32 = 500;

/// A right clock accepts no event that is further ahead than this: if the store has one, this clock is behind.
const EVENTS_AHEAD: TimeDelta = TimeDelta::hours(1);

/// Minimum interval between two records of the latest moment.
const RECORD_EVERY: TimeDelta = TimeDelta::seconds(30);

/// The result of [`Engine::correct_ahead`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AheadCorrection {
    /// No timer is known to have fired ahead of now.
    NotNeeded,
    /// This many clients had timers that fired ahead of now. They are corrected.
    Corrected { clients: u64 },
    /// Timers seem to have fired ahead of now. A person must decide.
    Held { why: String },
}

/// The clients whose timers fired ahead of now, if this clock can be trusted.
enum FiredAhead {
    Clients(BTreeSet<ClientKey>),
    /// This clock is behind: this client has an event of this time.
    ClockIsBehind {
        client: ClientKey,
        event: DateTime<Utc>,
    },
}

impl Engine {
    /// Records now as a moment at which timers may fire. If a later moment is recorded, some clock was ahead: the clients whose
    /// timers fired ahead of now are rebuilt, unless this clock may be wrong, or there are more than the breaker allows.
    ///
    /// # Errors
    /// When the store cannot be reached; the next call continues.
    pub async fn correct_ahead(&self) -> Result<AheadCorrection, StoreError> {
        let now = self.now();
        if self.watch.wrong().is_some() {
            return Ok(AheadCorrection::NotNeeded);
        }
        let recorded = self.store.latest_moment().await?;
        let Some(latest) = recorded.filter(|latest| self.watch.is_in_the_future(*latest)) else {
            self.record(recorded, now).await?;
            return Ok(AheadCorrection::NotNeeded);
        };
        let keys = match self.fired_ahead(now).await? {
            FiredAhead::Clients(keys) => keys,
            FiredAhead::ClockIsBehind { client, event } => {
                return Ok(AheadCorrection::Held {
                    why: format!(
                        "the store has an event of {client} at {}, which is ahead of this clock: this clock is behind; \
                         correct it",
                        rfc3339(event)
                    ),
                });
            }
        };
        let clients = keys.len() as u64;
        if clients > 0 {
            let population = self.linked_clients().await?;
            if self.breaker.trips(clients, population) {
                return Ok(AheadCorrection::Held {
                    why: format!(
                        "timers of {clients} of {population} clients have fired up to {}, which is ahead of this clock. If \
                         this clock is right, run `tenure rebuild`, which corrects them; if not, correct the clock",
                        rfc3339(latest)
                    ),
                });
            }
        }
        for key in keys {
            let rebuilt = self.rebuild_client(key, Vec::new()).await?;
            if let Err(error) = rebuilt.changes {
                tracing::error!(
                    client = %rebuilt.key,
                    %error,
                    "the client's timers fired ahead of now, and it cannot be corrected"
                );
            }
        }
        self.store.rewind_moment(latest, now).await?;
        Ok(AheadCorrection::Corrected { clients })
    }

    /// Records now as a moment at which timers may fire.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn record_now(&self) -> Result<(), StoreError> {
        let recorded = self.store.latest_moment().await?;
        self.record(recorded, self.now()).await
    }

    async fn record(&self, recorded: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), StoreError> {
        if recorded.is_none_or(|latest| later(latest, RECORD_EVERY) <= now) {
            self.store.record_moment(now).await?;
        }
        Ok(())
    }

    /// Ends the search for timers that fired ahead of now, after a rebuild of every client.
    pub(super) async fn end_ahead_search(&self) -> Result<(), StoreError> {
        let now = self.now();
        match self.store.latest_moment().await? {
            Some(latest) if self.watch.is_in_the_future(latest) => {
                self.store.rewind_moment(latest, now).await
            }
            _ => Ok(()),
        }
    }

    async fn fired_ahead(&self, now: DateTime<Utc>) -> Result<FiredAhead, StoreError> {
        let filter = ClientFilter {
            beyond: Some(later(now, self.watch.tolerance())),
            ..ClientFilter::default()
        };
        let mut keys = BTreeSet::new();
        let mut after: Option<ClientKey> = None;
        loop {
            let page = self.store.clients(&filter, after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            after = page.last().map(|stored| stored.key.clone());
            for stored in page {
                let client = &stored.document.client;
                let last_event = client.seen.as_ref().map(|seen| seen.time);
                if let Some(event) = last_event.filter(|time| *time > later(now, EVENTS_AHEAD)) {
                    return Ok(FiredAhead::ClockIsBehind {
                        client: stored.key,
                        event,
                    });
                }
                if client
                    .fired
                    .is_some_and(|fired| self.watch.is_in_the_future(fired))
                {
                    keys.insert(stored.key);
                }
            }
            if is_last {
                return Ok(FiredAhead::Clients(keys));
            }
        }
    }

    /// The number of clients that have a link.
    async fn linked_clients(&self) -> Result<u64, StoreError> {
        let links = self.store.census().await?.link;
        Ok(u64::try_from(links.values().sum::<i64>()).unwrap_or(0))
    }
}
