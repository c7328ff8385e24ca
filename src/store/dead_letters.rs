//! Dead letters: messages that are not events, stored for a redrive.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, row};
use crate::domain::text_enum::text_enum;

/// Lists, redrives and resolves dead letters. They are written by a [`super::Commit`].
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Dead letters without headers and body, oldest first, with an id above `after`.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>>;

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterRecord>>;

    /// Discards an open dead letter. False: no dead letter has this id, or it is resolved, and its resolution stays.
    async fn discard_dead_letter(&self, id: i64, at: DateTime<Utc>) -> Result<bool>;

    /// Claims a dead letter for a redrive, so that nobody else redrives it before `until`. None: no dead letter has
    /// this id, it is redriven already, or another claim holds it. A claim that ends later than twice the length of
    /// this one from now was made by a wrong clock, and is ignored.
    async fn claim_dead_letter(
        &self,
        id: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DeadLetterRecord>>;

    /// Claims open dead letters whose `retry_at` has passed, the earliest first, at most `limit`, as
    /// [`DeadLetters::claim_dead_letter`] does.
    async fn claim_deferred(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DeadLetterRecord>>;

    /// Ends a redrive with its outcome, in words. A failed redrive leaves the status as it is; any other resolves the
    /// dead letter as redriven.
    async fn end_redrive(
        &self,
        id: i64,
        failed: bool,
        redrive_outcome: &str,
        at: DateTime<Utc>,
    ) -> Result<()>;

    /// Ends redrives that succeeded, each with its outcome, in words.
    async fn end_redrives(&self, done: &[(i64, String)], at: DateTime<Utc>) -> Result<()>;
}

/// A message that is not an event, with all that a redrive needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from: `amqp:tenure.events.0`, `http`, `file:events.ndjson:17` …
    pub origin: String,
    /// The `source` of its event. None: the message names none that can be read.
    pub source: Option<String>,
    pub content_type: Option<String>,
    /// Headers of the message, as text.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Why the message was rejected, for an operator.
    pub reason: String,
    /// When it is redriven automatically: its event was ahead of the clock, and may be valid by then. None: an operator
    /// decides.
    pub retry_at: Option<DateTime<Utc>>,
}

/// Selects dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    pub status: Option<DeadLetterStatus>,
}

text_enum! {
    /// The status of a dead letter.
    pub enum DeadLetterStatus {
        Open = "open",
        Redriven = "redriven",
        Discarded = "discarded",
    }
}

/// A stored dead letter. A redelivery of the same message is the same record, seen once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRecord {
    pub id: i64,
    pub dead_letter: DeadLetter,
    pub status: DeadLetterStatus,
    pub times_seen: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When it was redriven or discarded.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Length of the body as received. A body longer than [`super::LONGEST_BODY`] is stored truncated.
    pub bytes: i64,
    /// When it was last redriven, and the outcome, in words.
    pub redriven_at: Option<DateTime<Utc>>,
    pub redrive_outcome: Option<String>,
}

impl DeadLetterRecord {
    /// Whether the stored body is truncated. Then it cannot be redriven.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        usize::try_from(self.bytes).is_ok_and(|bytes| bytes > self.dead_letter.body.len())
    }
}

/// A dead letter in a list, without headers and body, which may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    pub id: i64,
    pub origin: String,
    /// As [`DeadLetter::source`].
    pub source: Option<String>,
    pub content_type: Option<String>,
    pub reason: String,
    pub status: DeadLetterStatus,
    /// Length of the body as received.
    pub bytes: i64,
    pub times_seen: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub redriven_at: Option<DateTime<Utc>>,
    pub redrive_outcome: Option<String>,
    /// When it is redriven automatically, as long as it is open.
    pub retry_at: Option<DateTime<Utc>>,
}

row! {
    SummaryRow<T> {
        id: i64,
        origin: String,
        source: Option<String>,
        content_type: Option<String>,
        reason: String,
        status: String,
        bytes: i64,
        times_seen: i64,
        first_seen_at: T,
        last_seen_at: T,
        resolved_at: Option<T>,
        redriven_at: Option<T>,
        redrive_outcome: Option<String>,
        retry_at: Option<T>,
    }
}

impl<T: Moment> SummaryRow<T> {
    pub(super) fn read(self) -> Result<DeadLetterSummary> {
        let id = RowId {
            table: "dead_letters",
            key: &self.id,
        };
        Ok(DeadLetterSummary {
            id: self.id,
            origin: self.origin,
            source: self.source,
            content_type: self.content_type,
            reason: self.reason,
            status: id.word("status", &self.status, DeadLetterStatus::from_name)?,
            bytes: self.bytes,
            times_seen: self.times_seen,
            first_seen_at: id.moment("first_seen_at", self.first_seen_at)?,
            last_seen_at: id.moment("last_seen_at", self.last_seen_at)?,
            resolved_at: id.optional_moment("resolved_at", self.resolved_at)?,
            redriven_at: id.optional_moment("redriven_at", self.redriven_at)?,
            redrive_outcome: self.redrive_outcome,
            retry_at: id.optional_moment("retry_at", self.retry_at)?,
        })
    }
}

row! {
    /// The columns that a [`SummaryRow`] leaves out.
    ContentRow {
        headers: String,
        body: Vec<u8>,
    }
}

/// A whole dead letter.
pub(super) struct DeadLetterRow<T> {
    summary: SummaryRow<T>,
    content: ContentRow,
}

impl<'r, R: sqlx::Row, T> sqlx::FromRow<'r, R> for DeadLetterRow<T>
where
    SummaryRow<T>: sqlx::FromRow<'r, R>,
    ContentRow: sqlx::FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            summary: SummaryRow::from_row(row)?,
            content: ContentRow::from_row(row)?,
        })
    }
}

impl<T: Moment> DeadLetterRow<T> {
    pub(super) fn read(self) -> Result<DeadLetterRecord> {
        let id = RowId {
            table: "dead_letters",
            key: &self.summary.id,
        };
        let headers = id.json("headers", &self.content.headers)?;
        let summary = self.summary.read()?;
        Ok(DeadLetterRecord {
            id: summary.id,
            dead_letter: DeadLetter {
                origin: summary.origin,
                source: summary.source,
                content_type: summary.content_type,
                headers,
                body: self.content.body,
                reason: summary.reason,
                retry_at: summary.retry_at,
            },
            status: summary.status,
            times_seen: summary.times_seen,
            first_seen_at: summary.first_seen_at,
            last_seen_at: summary.last_seen_at,
            resolved_at: summary.resolved_at,
            bytes: summary.bytes,
            redriven_at: summary.redriven_at,
            redrive_outcome: summary.redrive_outcome,
        })
    }
}
