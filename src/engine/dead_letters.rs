//! Dead letters as the command line and HTTP show them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::rfc3339;
use crate::store::{DeadLetterRecord, DeadLetterStatus, DeadLetterSummary};

/// A dead letter without headers and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    pub id: i64,
    pub status: DeadLetterStatus,
    /// Where the message came from.
    #[schema(example = "amqp:tenure.events.0")]
    pub origin: String,
    /// Why it is a dead letter.
    pub reason: String,
    #[schema(required)]
    pub content_type: Option<String>,
    /// Length of the body as received, in bytes.
    pub bytes: i64,
    /// How many times the same message was received.
    pub times_seen: i64,
    #[schema(format = DateTime)]
    pub first_seen_at: String,
    #[schema(format = DateTime)]
    pub last_seen_at: String,
    /// When it was redriven successfully or discarded.
    #[schema(required, format = DateTime)]
    pub resolved_at: Option<String>,
    /// When it was last redriven.
    #[schema(required, format = DateTime)]
    pub redriven_at: Option<String>,
    /// The outcome of the last redrive.
    #[schema(required)]
    pub redrive_outcome: Option<String>,
    /// When it is redriven automatically, while it is open: its event is ahead of the clock.
    #[schema(required, format = DateTime)]
    pub retry_at: Option<String>,
}

/// A dead letter with headers and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterDetails {
    #[serde(flatten)]
    pub summary: DeadLetterView,
    /// A list, because two headers may have the same name.
    pub headers: Vec<HeaderView>,
    /// The body as text; invalid UTF-8 is replaced.
    pub body: String,
}

/// A header of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderView {
    pub name: String,
    pub value: String,
}

impl From<DeadLetterSummary> for DeadLetterView {
    fn from(dead_letter: DeadLetterSummary) -> Self {
        Self {
            id: dead_letter.id,
            status: dead_letter.status,
            origin: dead_letter.origin,
            reason: dead_letter.reason,
            content_type: dead_letter.content_type,
            bytes: dead_letter.bytes,
            times_seen: dead_letter.times_seen,
            first_seen_at: rfc3339(dead_letter.first_seen_at),
            last_seen_at: rfc3339(dead_letter.last_seen_at),
            resolved_at: dead_letter.resolved_at.map(rfc3339),
            redriven_at: dead_letter.redriven_at.map(rfc3339),
            redrive_outcome: dead_letter.redrive_outcome,
            retry_at: dead_letter.retry_at.map(rfc3339),
        }
    }
}

impl From<DeadLetterRecord> for DeadLetterDetails {
    fn from(record: DeadLetterRecord) -> Self {
        let dead_letter = record.dead_letter;
        Self {
            headers: dead_letter
                .headers
                .into_iter()
                .map(|(name, value)| HeaderView { name, value })
                .collect(),
            body: String::from_utf8_lossy(&dead_letter.body).into_owned(),
            summary: DeadLetterView::from(DeadLetterSummary {
                id: record.id,
                origin: dead_letter.origin,
                content_type: dead_letter.content_type,
                reason: dead_letter.reason,
                status: record.status,
                bytes: record.bytes,
                times_seen: record.times_seen,
                first_seen_at: record.first_seen_at,
                last_seen_at: record.last_seen_at,
                resolved_at: record.resolved_at,
                redriven_at: record.redriven_at,
                redrive_outcome: record.redrive_outcome,
                retry_at: dead_letter.retry_at,
            }),
        }
    }
}
