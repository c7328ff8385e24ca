//! Redrive: dead letters put through the front door again.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Engine, Incoming, Outcome};
use crate::domain::time::rfc3339;
use crate::store::{DeadLetterRecord, DeadLetterStatus, StoreError};
use crate::wire::Decoder;

/// How long a letter stays in the hand of whoever redrives it, should they die over it.
pub(super) const IN_HAND: TimeDelta = TimeDelta::minutes(1);

/// What came of a redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// There is no such letter.
    Unknown,
    /// It was redriven before, and this came of it.
    Done(String),
    /// Somebody else redrives it at this moment.
    InHand,
    /// Less is kept of it than came.
    Cut,
    /// What its events came to, or the dead letter that it is still.
    Now(Vec<Outcome>),
}

impl Engine {
    /// Reads a dead letter once more and takes what it is now: an event (a batch of them, if it was one), or a dead
    /// letter still. It is redriven once, whoever asks at the same time; one that is dead still keeps its status and may
    /// be redriven again. The record stays, with when it was and what came of it.
    ///
    /// # Errors
    /// When the store cannot be reached; redriving again is safe.
    pub async fn redrive(&self, id: i64, decoder: &Decoder) -> Result<Redrive, StoreError> {
        let now = self.now();
        let Some(record) = self.store.claim_dead_letter(id, now, now + IN_HAND).await? else {
            return Ok(match self.store.dead_letter(id).await? {
                None => Redrive::Unknown,
                Some(DeadLetterRecord {
                    status: DeadLetterStatus::Redriven,
                    redrive_outcome,
                    ..
                }) => Redrive::Done(redrive_outcome.unwrap_or_default()),
                Some(_) => Redrive::InHand,
            });
        };
        if record.is_cut() {
            let why = "it was too long to be kept whole; its sender has to send it again";
            self.store.end_redrive(id, true, why, now).await?;
            return Ok(Redrive::Cut);
        }
        let incoming: Vec<Incoming> = decoder
            .again(&record.dead_letter)
            .into_iter()
            .map(|read| read.map_or_else(Incoming::Dead, Incoming::Event))
            .collect();
        let outcomes = self.ingest(incoming).await?;
        let failed = is_dead_still(&outcomes);
        let redrive_outcome = in_words(&outcomes);
        self.store
            .end_redrive(id, failed, &redrive_outcome, self.now())
            .await?;
        Ok(Redrive::Now(outcomes))
    }
}

/// Whether all that came of a letter is a letter. (The members of a batch are letters of their own.)
pub(super) fn is_dead_still(outcomes: &[Outcome]) -> bool {
    matches!(outcomes, [Outcome::Dead(_) | Outcome::Deferred { .. }])
}

pub(super) fn in_words(outcomes: &[Outcome]) -> String {
    let words = |outcome: &Outcome| match outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Duplicate => "duplicate".to_owned(),
        Outcome::Refused(refusal) => format!("refused ({})", refusal.code()),
        Outcome::Dead(reason) => format!("dead: {reason}"),
        Outcome::Deferred { until, .. } => format!("deferred until {}", rfc3339(*until)),
    };
    if let [outcome] = outcomes {
        return words(outcome);
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(words(outcome)).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
    counts.join(", ")
}
