//! An event as the oracle reads it, and its position in the history.

use std::sync::LazyLock;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use crate::lifecycles::document;

/// The event types in the order of the tables of `docs/lifecycles.md`.
static TYPES: LazyLock<Vec<&'static str>> = LazyLock::new(document::event_types);

#[derive(Clone, Debug)]
pub struct SentEvent {
    pub source: String,
    pub id: String,
    /// `partner/client`.
    pub subject: String,
    pub kind: &'static str,
    pub time: DateTime<Utc>,
    sequence: Option<String>,
    actor: Option<String>,
    actorkind: Option<String>,
    data: Value,
}

impl SentEvent {
    /// Reads a valid structured event.
    pub fn read(event: &Value) -> Self {
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        let kind = event["type"].as_str();
        let known = TYPES.iter().find(|known| Some(**known) == kind);
        Self {
            source: text("source").expect("a source"),
            id: text("id").expect("an id"),
            subject: text("subject").expect("a subject"),
            kind: known
                .unwrap_or_else(|| panic!("docs/lifecycles.md has no row for the event type {kind:?}")),
            time: moment(&event["time"]).expect("a time"),
            sequence: text("sequence"),
            actor: text("actor"),
            actorkind: text("actorkind"),
            data: event["data"].clone(),
        }
    }

    pub fn name(&self) -> (String, String) {
        (self.source.clone(), self.id.clone())
    }

    /// The differences that make an event with the same source and id another event.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let mut differences = Vec::new();
        let differs = [
            ("subject", self.subject != other.subject),
            ("type", self.kind != other.kind),
            ("time", self.time != other.time),
            ("data", self.kind == other.kind && self.data != other.data),
        ];
        for (what, differs) in differs {
            if differs {
                differences.push(what);
            }
        }
        differences
    }

    /// The sort key of histories.
    pub fn place(&self) -> impl Ord {
        let rank = TYPES.iter().position(|kind| *kind == self.kind);
        (
            self.time,
            self.sequence.clone().map(ranked),
            rank,
            self.source.clone(),
            self.id.clone(),
        )
    }

    /// Whether the side that caused the event may do so.
    pub fn is_theirs(&self) -> bool {
        let by = |field: &str, side: &str| self.text(field).as_deref() == Some(side);
        let whose = match self.kind {
            "invitation.accepted"
            | "onboarding.completed"
            | "consent.granted"
            | "client.lost"
            | "access.disabled"
            | "access.enabled"
            | "access.approved"
            | "access.denied" => "customer",
            "partner.disconnected" if by("by", "client") => "customer",
            "account.accessed" if by("by", "staff") => "customer",
            "account.created" if by("by", "customer") => "customer",
            "identity.rejected"
            | "identity.cleared"
            | "invitation.bounced"
            | "invitation.rejected"
            | "account.updated"
            | "account.jobs_counted"
            | "commission.eligibility_changed" => "back_office",
            _ => "partner",
        };
        match self.actorkind.as_deref() {
            Some(side @ ("partner" | "customer")) => side == whose,
            _ => true,
        }
    }

    /// The event as the cause of a change.
    pub fn cause(&self) -> Value {
        let mut cause = json!({"source": self.source, "id": self.id, "type": self.kind});
        let details = [
            ("actor", self.actor.clone()),
            ("actorkind", self.actorkind.clone()),
            ("reason", self.text("reason")),
        ];
        for (name, text) in details {
            if let Some(text) = text {
                cause[name] = text.into();
            }
        }
        cause
    }

    pub fn text(&self, field: &str) -> Option<String> {
        self.data[field].as_str().map(str::to_owned)
    }

    /// A required text field, such as the id of a holding.
    pub fn holding(&self, field: &str) -> String {
        self.text(field)
            .unwrap_or_else(|| panic!("{} without {field}", self.kind))
    }

    pub fn texts(&self, field: &str) -> Option<Vec<String>> {
        let texts = self.data[field].as_array()?;
        Some(
            texts
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    }

    pub fn flag(&self, field: &str) -> Option<bool> {
        self.data[field].as_bool()
    }

    pub fn number(&self, field: &str) -> u64 {
        self.data[field].as_u64().expect("a number")
    }

    pub fn moment(&self, field: &str) -> Option<DateTime<Utc>> {
        moment(&self.data[field])
    }
}

/// Numbers come before text. No sequence is longer than 128 characters, so leading zeros bring all numbers to one length.
fn ranked(sequence: String) -> (bool, String, String) {
    let is_text = !sequence.chars().all(|c: char| c.is_ascii_digit());
    let rank = if is_text {
        sequence.clone()
    } else {
        format!("{sequence:0>128}")
    };
    (is_text, rank, sequence)
}

/// Reads a time, truncated to the microsecond.
fn moment(text: &Value) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(text.as_str()?).expect("a time");
    Some(moment.to_utc().trunc_subsecs(6))
}
