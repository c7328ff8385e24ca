//! What became of refused events: whether the client has accepted such an event since.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::lists::RefusalView;
use super::{Engine, HistoryEntry, HistoryRequest};
use crate::domain::{ClientKey, Refusal};
use crate::store::StoreError;

/// What became of a refused event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is still refused, and no event of its type was applied to its client since.
    Refused {
        /// For which other reason it was refused before an earlier event arrived late.
        before: Option<Refusal>,
    },
    /// It is still refused, but a later event of its type was applied then.
    AppliedLater(DateTime<Utc>),
}

impl Engine {
    /// The fate of each refusal. Reads the histories of their clients, and gives up after a time: None for those that are left.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn fates(
        &self,
        refusals: &[RefusalView],
        within: Duration,
    ) -> Result<Vec<Option<Fate>>, StoreError> {
        let began = Instant::now();
        let mut histories: HashMap<&str, Vec<HistoryEntry>> = HashMap::new();
        let mut fates = Vec::with_capacity(refusals.len());
        for refusal in refusals {
            if !histories.contains_key(&*refusal.subject) && began.elapsed() < within {
                let entries = self.entries_of(&refusal.subject).await?;
                histories.insert(&refusal.subject, entries);
            }
            let history = histories.get(&*refusal.subject);
            fates.push(history.and_then(|history| fate(refusal, history)));
        }
        Ok(fates)
    }

    async fn entries_of(&self, subject: &str) -> Result<Vec<HistoryEntry>, StoreError> {
        let Ok(key) = ClientKey::from_subject(subject) else {
            return Ok(Vec::new());
        };
        let page = self.history(&key, &HistoryRequest::default()).await?;
        Ok(page.map(|page| page.entries).unwrap_or_default())
    }
}

/// The place of the first later event of the same type that was applied, for the place of a refused event in a history.
#[must_use]
pub fn applied_later(history: &[HistoryEntry], place: usize) -> Option<usize> {
    let refused = history.get(place)?.event.as_ref()?;
    let is_applied = |entry: &HistoryEntry| {
        let event = entry.event.as_ref();
        event.is_some_and(|event| event.kind == refused.kind && event.refusal.is_none())
    };
    let later = history[place + 1..].iter().position(is_applied)?;
    Some(place + 1 + later)
}

fn fate(refusal: &RefusalView, history: &[HistoryEntry]) -> Option<Fate> {
    let event = |entry: &&HistoryEntry| {
        entry
            .event
            .as_ref()
            .is_some_and(|event| event.source == refusal.source && event.id == refusal.id)
    };
    let place = history.iter().position(|entry| event(&entry))?;
    Some(match applied_later(history, place) {
        Some(later) => Fate::AppliedLater(history[later].time),
        None => Fate::Refused {
            before: history[place]
                .event
                .as_ref()
                .and_then(|event| event.refused_before),
        },
    })
}
