//! Redrives a dead letter: decodes it again and ingests its events, when a person asks for it.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Engine, Incoming, Outcome};
use crate::domain::time::rfc3339;
use crate::store::{AuditEntry, DeadLetterRecord, DeadLetterStatus, StoreError};
use crate::wire::{Decoder, Pairs};

/// How long a claim on a dead letter lasts if its owner dies.
pub(super) const CLAIM: TimeDelta = TimeDelta::minutes(1);

/// The result of a redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// There is no such dead letter.
    Unknown,
    /// It was redriven before.
    Done(Redriven),
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
            Self::Done(redriven) => return Some(("redriven", redriven.to_string())),
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

/// How a dead letter was resolved by a redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// In words.
    pub outcome: String,
    /// None: the store does not have it.
    pub at: Option<DateTime<Utc>>,
}

impl Redriven {
    fn of(record: DeadLetterRecord) -> Self {
        Self {
            outcome: record.redrive_outcome.unwrap_or_default(),
            at: record.resolved_at,
        }
    }
}

impl fmt::Display for Redriven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "at {}, with the outcome {}", rfc3339(at), self.outcome),
            None => write!(f, "earlier, with the outcome {}", self.outcome),
        }
    }
}

/// The result of discarding a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discard {
    /// There is no such dead letter.
    Unknown,
    /// It was open, and is discarded now.
    Now,
    /// It was redriven before, and stays so.
    Redriven(Redriven),
    /// It was discarded before, at this moment.
    Discarded(Option<DateTime<Utc>>),
}

impl Discard {
    /// Why it was not discarded now, in one word, and in words. None: it was.
    #[must_use]
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Now => None,
            Self::Unknown => Some(("unknown", "no such dead letter".to_owned())),
            Self::Redriven(redriven) => Some(("redriven", redriven.to_string())),
            Self::Discarded(Some(at)) => Some(("discarded", format!("before, at {}", rfc3339(*at)))),
            Self::Discarded(None) => Some(("discarded", "before".to_owned())),
        }
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
            .map(|member| self.incoming(members.decode(member), || members.dead(member, "")))
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

    /// Why a dead letter cannot be discarded. None: it is open.
    pub(super) async fn resolution(&self, id: i64) -> Result<Option<Discard>, StoreError> {
        let Some(record) = self.store.dead_letter(id).await? else {
            return Ok(Some(Discard::Unknown));
        };
        Ok(match record.status {
            DeadLetterStatus::Open => None,
            DeadLetterStatus::Redriven => Some(Discard::Redriven(Redriven::of(record))),
            DeadLetterStatus::Discarded => Some(Discard::Discarded(record.resolved_at)),
        })
    }

    /// Why a dead letter cannot be claimed.
    async fn unclaimed(&self, id: i64) -> Result<Redrive, StoreError> {
        let Some(record) = self.store.dead_letter(id).await? else {
            return Ok(Redrive::Unknown);
        };
        Ok(match record.status {
            DeadLetterStatus::Redriven => Redrive::Done(Redriven::of(record)),
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
