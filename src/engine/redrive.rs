//! Redrives a dead letter: decodes it again and ingests its events, when a person asks for it.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Engine, Incoming, Outcome};
use crate::domain::time::rfc3339;
use crate::store::{AuditEntry, DeadLetterStatus, StoreError};
use crate::wire::{Decoder, Pairs};

/// How long a claim on a dead letter lasts if its owner dies.
pub(super) const CLAIM: TimeDelta = TimeDelta::minutes(1);

/// The result of a redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// There is no such dead letter.
    Unknown,
    /// It was redriven before, with this outcome.
    Done(String),
    /// Another process redrives it at this moment.
    Claimed,
    /// Somebody discarded it while another process redrives it.
    Discarded,
    /// Its body was too long to be stored whole.
    Truncated,
    /// The outcomes of its events, or one that says why it is still a dead letter.
    Now(Vec<Outcome>),
}

impl Redrive {
    /// Why nothing was ingested, in one word or two, and in words with what to do. None: it was redriven now.
    #[must_use]
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        let (word, why) = match self {
            Self::Now(_) => return None,
            Self::Unknown => ("unknown", "no such dead letter"),
            Self::Done(outcome) => return Some(("redriven", format!("earlier, with the outcome {outcome}"))),
            Self::Claimed => (
                "in progress",
                "another process is redriving it; look again in a minute, and retry if it is still open",
            ),
            Self::Discarded => (
                "discarded",
                "somebody discarded it while another process was redriving it; retry in a minute if its event is still needed",
            ),
            Self::Truncated => ("dead", TRUNCATED),
        };
        Some((word, why.to_owned()))
    }
}

/// Why a dead letter whose body is not stored whole cannot be redriven.
const TRUNCATED: &str = "its body was truncated when it was stored; ask the sender to send it again";

impl Engine {
    /// Reads a dead letter again and ingests the result: an event (or a batch of events), or still a dead letter. Of several
    /// concurrent callers, one redrives it. A dead letter that still cannot be read keeps its status and may be redriven again.
    /// The record stays, with the time and the outcome of the redrive.
    ///
    /// # Errors
    /// When the store cannot be reached; redriving again is safe.
    pub async fn redrive(&self, id: i64, decoder: &Decoder) -> Result<Redrive, StoreError> {
        self.redrive_as(id, None, decoder, None).await
    }

    /// With an entry of the audit log, which is added before anything is ingested, and with another body: the dead letter keeps the
    /// body that was sent. If an edited message is not a valid event, or has one that is not, nothing is ingested.
    pub(super) async fn redrive_as(
        &self,
        id: i64,
        edited: Option<Vec<u8>>,
        decoder: &Decoder,
        entry: Option<&AuditEntry>,
    ) -> Result<Redrive, StoreError> {
        let now = self.now();
        let Some(mut record) = self.store.claim_dead_letter(id, now, now + CLAIM).await? else {
            return self.unclaimed(id).await;
        };
        if let Some(entry) = entry {
            self.store.record_audit(entry).await?;
        }
        let is_edited = edited.is_some();
        if let Some(body) = edited {
            record.dead_letter.body = body;
        } else if record.is_truncated() {
            self.store.end_redrive(id, true, TRUNCATED, now).await?;
            return Ok(Redrive::Truncated);
        }
        let headers = Pairs::from(record.dead_letter.headers.clone());
        let members = decoder.members_again(&record.dead_letter, &headers);
        let incoming: Vec<Incoming> = (0..members.count())
            .map(|member| members.decode(member))
            .inspect(|read| self.report_warnings(read))
            .map(Incoming::from)
            .collect();
        let outcomes = if let Some(reason) = first_dead(&incoming).filter(|_| is_edited) {
            vec![Outcome::Dead(reason)]
        } else {
            let dead = |member, reason: &str| members.dead(member, reason);
            self.ingest_messages(incoming, &dead, None).await?
        };
        let failed = is_still_dead(&outcomes);
        let edited = if is_edited { "edited: " } else { "" };
        let redrive_outcome = format!("{edited}{}", summary(&outcomes));
        self.store
            .end_redrive(id, failed, &redrive_outcome, self.now())
            .await?;
        Ok(Redrive::Now(outcomes))
    }

    /// Why a dead letter cannot be claimed.
    async fn unclaimed(&self, id: i64) -> Result<Redrive, StoreError> {
        let Some(record) = self.store.dead_letter(id).await? else {
            return Ok(Redrive::Unknown);
        };
        Ok(match record.status {
            DeadLetterStatus::Redriven => Redrive::Done(record.redrive_outcome.unwrap_or_default()),
            DeadLetterStatus::Open => Redrive::Claimed,
            DeadLetterStatus::Discarded => Redrive::Discarded,
        })
    }
}

/// The reason of the first message that is not a valid event.
fn first_dead(incoming: &[Incoming]) -> Option<String> {
    incoming.iter().find_map(|one| match one {
        Incoming::Dead(dead_letter) => Some(dead_letter.reason.clone()),
        Incoming::Event(_) => None,
    })
}

/// Whether a dead letter is still one after it was read again. (The events of a batch are dead letters of their own.)
#[must_use]
pub fn is_still_dead(outcomes: &[Outcome]) -> bool {
    matches!(outcomes, [Outcome::Dead(_) | Outcome::Deferred { .. }])
}

/// The outcomes as text, for the record of the redrive.
pub(super) fn summary(outcomes: &[Outcome]) -> String {
    let words = |outcome: &Outcome| match outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Duplicate => "duplicate".to_owned(),
        Outcome::Refused { refusal, .. } => format!("refused ({})", refusal.code()),
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
