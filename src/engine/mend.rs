//! Timers that fired ahead of now: a worker's clock was wrong, and changes were published that have not happened. When the clock is
//! right, the clients are rebuilt as of now, and the journal gets corrections.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use crate::domain::ClientKey;
use crate::domain::policy::later;
use crate::domain::time::rfc3339;
use crate::store::{ClientFilter, StoreError};

/// Clients that are read at a time.
const PAGE: u32 = 500;

/// An event that is further ahead than this cannot have been taken by a right clock: this one is behind.
const EVENTS_AHEAD: TimeDelta = TimeDelta::hours(1);

/// How often the latest moment is entered.
const NOTE_EVERY: TimeDelta = TimeDelta::seconds(30);

/// Whether timers have fired ahead of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Not as far as is known.
    No,
    /// They had, of so many clients, which are corrected now.
    Corrected(u64),
    /// They seem to have, and nothing is corrected unseen.
    Held { why: String },
}

impl Engine {
    /// Notes the present as a moment at which timers may fire. Where a later one was noted, some clock was wrong: clients whose
    /// timers fired ahead of now are rebuilt, unless this clock may be wrong itself, or they are more than the breaker allows.
    ///
    /// # Errors
    /// When the store cannot be reached; the next call goes on.
    pub async fn correct_ahead(&self) -> Result<Ahead, StoreError> {
        let now = self.now();
        if self.watch.wrong().is_some() {
            return Ok(Ahead::No);
        }
        let noted = self.store.latest_moment().await?;
        let Some(latest) = noted.filter(|latest| self.watch.is_to_come(*latest)) else {
            self.note(noted, now).await?;
            return Ok(Ahead::No);
        };
        let keys = match self.ahead(now).await? {
            Ok(keys) => keys,
            Err(why) => return Ok(Ahead::Held { why }),
        };
        let clients = keys.len() as u64;
        if clients > 0 {
            let of = self.census_of_clients().await?;
            if self.breaker.trips(clients, of) {
                return Ok(Ahead::Held {
                    why: format!(
                        "timers of {clients} of {of} clients have fired up to {}, which is ahead of this clock. If this clock \
                         is right, run `tenure rebuild`, which corrects them; if not, set it",
                        rfc3339(latest)
                    ),
                });
            }
        }
        for key in keys {
            let rebuilt = self.rebuild_client(key, Vec::new()).await?;
            if let Err(why) = rebuilt.done {
                tracing::error!(client = %rebuilt.key, why, "the client's timers fired ahead of now, and it cannot be corrected");
            }
        }
        self.store.rewind_moment(latest, now).await?;
        Ok(Ahead::Corrected(clients))
    }

    /// Notes the present as a moment at which timers may fire.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn note_now(&self) -> Result<(), StoreError> {
        let noted = self.store.latest_moment().await?;
        self.note(noted, self.now()).await
    }

    async fn note(&self, noted: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), StoreError> {
        if noted.is_none_or(|latest| later(latest, NOTE_EVERY) <= now) {
            self.store.record_moment(now).await?;
        }
        Ok(())
    }

    /// Ends the search for timers that fired ahead of now: a person has had everybody rebuilt.
    pub(super) async fn nothing_is_ahead(&self) -> Result<(), StoreError> {
        let now = self.now();
        match self.store.latest_moment().await? {
            Some(latest) if self.watch.is_to_come(latest) => self.store.rewind_moment(latest, now).await,
            _ => Ok(()),
        }
    }

    /// The clients whose timers fired ahead of now; or why this clock is behind, and they are not.
    async fn ahead(&self, now: DateTime<Utc>) -> Result<Result<BTreeSet<ClientKey>, String>, StoreError> {
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
                let seen = client.seen.as_ref().map(|seen| seen.time);
                if let Some(seen) = seen.filter(|seen| *seen > later(now, EVENTS_AHEAD)) {
                    return Ok(Err(format!(
                        "the store has an event of {}, of {}, which is ahead of this clock: this clock is behind; set it",
                        stored.key,
                        rfc3339(seen)
                    )));
                }
                if client.fired.is_some_and(|fired| self.watch.is_to_come(fired)) {
                    keys.insert(stored.key);
                }
            }
            if is_last {
                return Ok(Ok(keys));
            }
        }
    }

    async fn census_of_clients(&self) -> Result<u64, StoreError> {
        let links = self.store.census().await?.link;
        Ok(u64::try_from(links.values().sum::<i64>()).unwrap_or(0))
    }
}
