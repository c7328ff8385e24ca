//! An event as the oracle reads it, and its place among others.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

/// The event types in the order of LIFECYCLES' tables.
const TYPES: &[&str] = &[
    "client.added",
    "client.renamed",
    "client.invited",
    "invitation.accepted",
    "onboarding.completed",
    "consent.granted",
    "invitation.rejected",
    "identity.rejected",
    "client.archived",
    "client.lost",
    "partner.disconnected",
    "client.deleted",
    "assignment.added",
    "assignment.removed",
    "report_schedule.created",
    "report_schedule.deleted",
    "margin_rule.created",
    "margin_rule.deleted",
    "client.terminated",
    "client.reactivated",
    "subscription.added",
    "subscription.renewed",
    "subscription.ended",
    "user.added",
    "user.removed",
    "integration.added",
    "integration.removed",
    "account.accessed",
    "access.disabled",
    "access.enabled",
    "access.requested",
    "access.approved",
    "access.denied",
    "account.jobs_counted",
    "account.updated",
];

#[derive(Clone, Debug)]
pub struct Happening {
    pub source: String,
    pub id: String,
    /// `partner/client`.
    pub subject: String,
    pub kind: &'static str,
    pub time: DateTime<Utc>,
    sequence: Option<String>,
    data: Value,
}

impl Happening {
    /// Reads a structured event that is known to be a good one.
    pub fn read(event: &Value) -> Self {
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        let kind = event["type"].as_str();
        let known = TYPES.iter().find(|known| Some(**known) == kind);
        Self {
            source: text("source").expect("a source"),
            id: text("id").expect("an id"),
            subject: text("subject").expect("a subject"),
            kind: known.unwrap_or_else(|| panic!("no type of event: {kind:?}")),
            time: moment(&event["time"]).expect("a time"),
            sequence: text("sequence"),
            data: event["data"].clone(),
        }
    }

    pub fn name(&self) -> (String, String) {
        (self.source.clone(), self.id.clone())
    }

    /// What histories are sorted by.
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

    pub fn text(&self, field: &str) -> Option<String> {
        self.data[field].as_str().map(str::to_owned)
    }

    /// The id of the holding that the event is about.
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

/// Digits are numbers and come before text. None is longer than 128 digits, so zeros in front bring them to one length.
fn ranked(sequence: String) -> (bool, String, String) {
    let is_text = !sequence.chars().all(|c: char| c.is_ascii_digit());
    let rank = if is_text {
        sequence.clone()
    } else {
        format!("{sequence:0>128}")
    };
    (is_text, rank, sequence)
}

/// Times are cut to the microsecond when they are read.
fn moment(text: &Value) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(text.as_str()?).expect("a time");
    Some(moment.to_utc().trunc_subsecs(6))
}
