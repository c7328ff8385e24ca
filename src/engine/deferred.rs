//! Events that are ahead of the clock: kept as dead letters, and read again when their time has come.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::redrive::{IN_HAND, in_words, is_dead_still};
use super::{Engine, Incoming, Outcome};
use crate::store::{DeadLetterRecord, StoreError};
use crate::wire::Decoder;

/// Dead letters that are read again in one batch at most.
const CHUNK: u32 = 500;

/// After so long without another, events are no longer ahead of the clock.
const OVER: Duration = Duration::from_mins(1);

/// A spell in which events come that are ahead of the clock: logged once when it begins and once when it ends. One event may be its
/// sender's mistake; many mean that this clock is behind.
#[derive(Debug, Default)]
pub struct Deferred(Mutex<Option<Spell>>);

#[derive(Clone, Copy, Debug)]
struct Spell {
    events: u64,
    /// When the last one came, by [`crate::clock::Clock::elapsed`].
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
                "an event is ahead of this clock and is deferred; when there are many, this clock is behind"
            );
        }
        let before = spell.map_or(0, |spell| spell.events);
        *spell = Some(Spell {
            events: before + events,
            last: elapsed,
        });
    }

    /// How many events have come that are ahead of the clock, while they still come.
    fn look(&self, elapsed: Duration) -> Option<u64> {
        let mut spell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = (*spell)?;
        if elapsed.saturating_sub(so_far.last) < OVER {
            return Some(so_far.events);
        }
        tracing::info!(
            events.deferred = so_far.events,
            "no more events come that are ahead of this clock"
        );
        *spell = None;
        None
    }
}

impl Engine {
    /// How many events have been deferred lately; none when no more come.
    pub fn deferring(&self) -> Option<u64> {
        self.deferred.look(self.watch.elapsed())
    }

    /// Reads deferred dead letters again whose time has come, and ingests what they are now. Returns how many it read; several
    /// workers share them.
    ///
    /// # Errors
    /// When the store cannot be reached. What was not finished is read again when the claim is over.
    pub async fn redrive_deferred(&self, decoder: &Decoder) -> Result<usize, StoreError> {
        let now = self.now();
        let records = self.store.claim_deferred(now, now + IN_HAND, CHUNK).await?;
        let read = records.len();
        if read == 0 {
            return Ok(0);
        }
        let mut incoming = Vec::new();
        let mut lengths = Vec::with_capacity(read);
        for DeadLetterRecord { dead_letter, .. } in &records {
            let before = incoming.len();
            let again = decoder.again(dead_letter).into_iter();
            incoming.extend(again.map(|read| read.map_or_else(Incoming::Dead, Incoming::Event)));
            lengths.push(incoming.len() - before);
        }
        let outcomes = self.ingest(incoming).await?;
        let mut rest = outcomes.as_slice();
        let mut done = Vec::with_capacity(read);
        for (record, length) in records.iter().zip(lengths) {
            let (outcomes, after) = rest.split_at(length);
            rest = after;
            if is_dead_still(outcomes) {
                let redrive_outcome = in_words(outcomes);
                self.store
                    .end_redrive(record.id, true, &redrive_outcome, self.now())
                    .await?;
            } else {
                done.push((record.id, in_words(outcomes)));
            }
        }
        if !done.is_empty() {
            self.store.end_redrives(&done, self.now()).await?;
        }
        Ok(read)
    }
}
