//! Deferred events: events with a time ahead of the clock are stored as dead letters, and redriven at that time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::redrive::{CLAIM, is_still_dead, summary};
use super::{Engine, Incoming, Outcome};
use crate::store::StoreError;
use crate::wire::{Decoder, Members, Pairs};

/// Maximum number of dead letters redriven in one batch.
const CHUNK: u32 = 500;

/// A spell ends after this time without another deferred event.
const OVER: Duration = Duration::from_mins(1);

/// A spell of events that are ahead of the clock, logged once when it begins and once when it ends. One such event may be its
/// sender's mistake; many mean that this clock is behind.
#[derive(Debug, Default)]
pub struct Deferred(Mutex<Option<Spell>>);

#[derive(Clone, Copy, Debug)]
struct Spell {
    events: u64,
    /// When the last one arrived, by [`crate::clock::Clock::elapsed`].
    last: Duration,
}

impl Deferred {
    pub(super) fn notice(&self, outcomes: &[Outcome], elapsed: Duration) {
        let mut reasons = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Deferred { reason, .. } => Some(reason),
            _ => None,
        });
        let Some(first) = reasons.next() else { return };
        let events = 1 + reasons.count() as u64;
        let mut spell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spell.is_none() {
            tracing::warn!(
                why = first,
                "an event is ahead of this clock and is deferred; if there are many, this clock is behind"
            );
        }
        let before = spell.map_or(0, |spell| spell.events);
        *spell = Some(Spell {
            events: before + events,
            last: elapsed,
        });
    }

    /// How many events were deferred in this spell. None: there is no spell.
    fn spell(&self, elapsed: Duration) -> Option<u64> {
        let mut spell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = (*spell)?;
        if elapsed.saturating_sub(so_far.last) < OVER {
            return Some(so_far.events);
        }
        tracing::info!(
            events.deferred = so_far.events,
            "no further events were deferred for a minute; those that were are ingested when their time comes"
        );
        *spell = None;
        None
    }
}

impl Engine {
    /// How many events were deferred in the current spell. None: there is no spell.
    pub fn recently_deferred(&self) -> Option<u64> {
        self.deferred.spell(self.watch.elapsed())
    }

    /// Redrives deferred events that are due, and returns how many dead letters it read. Several workers share them.
    ///
    /// # Errors
    /// When the store cannot be reached. Unfinished dead letters are redriven again when the claim expires.
    pub async fn redrive_deferred(&self, decoder: &Decoder) -> Result<usize, StoreError> {
        let now = self.watch.present();
        let records = self.store.claim_deferred(now, now + CLAIM, CHUNK).await?;
        let read = records.len();
        if read == 0 {
            return Ok(0);
        }
        let headers: Vec<Pairs> = records
            .iter()
            .map(|record| Pairs::from(record.dead_letter.headers.clone()))
            .collect();
        let messages: Vec<Members<'_, Pairs>> = records
            .iter()
            .zip(&headers)
            .map(|(record, headers)| decoder.members_again(&record.dead_letter, headers))
            .collect();
        let members: Vec<(&Members<'_, Pairs>, usize)> = messages
            .iter()
            .flat_map(|message| (0..message.count()).map(move |member| (message, member)))
            .collect();
        let incoming: Vec<Incoming> = members
            .iter()
            .map(|(message, member)| self.incoming(message.decode(*member), || message.dead(*member, "")))
            .collect();
        let dead = |place: usize, reason: &str| {
            let (message, member) = members[place];
            message.dead(member, reason)
        };
        let outcomes = self.ingest_messages(incoming, &dead, None).await?;
        let mut rest = outcomes.as_slice();
        let mut done = Vec::with_capacity(read);
        for (record, message) in records.iter().zip(&messages) {
            let (outcomes, after) = rest.split_at(message.count());
            rest = after;
            if is_still_dead(outcomes) {
                let redrive_outcome = summary(outcomes);
                self.store
                    .end_redrive(record.id, true, &redrive_outcome, self.now())
                    .await?;
            } else {
                done.push((record.id, summary(outcomes)));
            }
        }
        if !done.is_empty() {
            self.store.end_redrives(&done, self.now()).await?;
        }
        Ok(read)
    }
}
