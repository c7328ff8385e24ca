//! Moving a store: everything in it as records, out of one store and into another of any kind.
//!
//! What is stored about a client moves as it is, and is not computed again: its document has what the event log cannot
//! tell, such as how far timers have fired and whether the client holds its name. So the new store answers exactly as
//! the old one, and a document that differs from its event log still differs.
//! See `docs/decisions/0013-a-store-moves-as-records.md`, which also says what does not move.

mod copies;
mod numbering;
mod parts;
mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    Access, AuditEntry, ClosingStatus, Cursor, DeadLetterStatus, DeliveryProgress, Document, Endpoint,
    EndpointFilter, EndpointOrigin, EndpointStatus, ExpectedSource, FeedCursor, Halt, LaneProgress,
    Published, RenewOnlyWindow, Result, SigningSecret, StoreError, SweepRun, Touches,
};
use crate::domain::intervals::{ClientIntervals, Interval, Intervals};
use crate::domain::{
    Actor, AdjustmentCause, ClientKey, Entry, EventKind, Measure, Month, Policy, Refusal, Sequence,
};

pub(in crate::store) use numbering::Numbering;
pub(in crate::store) use parts::{DeadLetterRow, Parts};
pub(in crate::store) use rows::{
    access, access_log, audit, backfill, change, client, clock, closing, dead_letter, event, halt, lane,
    policy, relay, source, statement, sweep_run, touch_run, touches, webhook_endpoint,
};

/// Moves the content of a store.
#[async_trait]
pub trait Transfer: Send + Sync + 'static {
    /// Sends every record of the store, a page at a time, in the order of [`Kind`]. All come from one moment, while
    /// others write. Waits for the receiver, so that memory is bounded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also when the receiver is gone.
    async fn export(&self, into: mpsc::Sender<Vec<Record>>) -> Result<()>;

    /// Migrates a store without clients and dead letters, and begins an import into it: removes what it may have (policies,
    /// lanes, expected sources, halts, runs of sweeps, the audit log), and marks it as incomplete. Until [`Import::end`], nobody else can use
    /// the store. An import that was begun before and has not ended is discarded.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`].
    async fn begin_import(&self) -> Result<Box<dyn Import>>;
}

/// An import in progress. Dropped without [`Import::end`], it leaves an incomplete store.
#[async_trait]
pub trait Import: Send {
    /// Writes records in one transaction. They must come in the order of [`Kind`].
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] when another import was begun. [`StoreError::Conflict`] when two records exclude each
    /// other: two events with the same source and id, or two clients of a partner that hold the same name.
    async fn write(&mut self, records: Vec<Record>) -> Result<()>;

    /// Ends the import: the store is complete, and continues the numbering of the old one.
    async fn end(self: Box<Self>) -> Result<()>;
}

/// A record of a store. The names of the variants are those of the lines of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Policy(MovedPolicy),
    Backfill(MovedBackfill),
    Clock(MovedClock),
    Lane(LaneProgress),
    Source(ExpectedSource),
    Halt(Halt),
    AccessLog(MovedAccessLog),
    SweepRun(SweepRun),
    Closing(MovedClosing),
    WebhookEndpoint(Box<MovedEndpoint>),
    Audit(Box<AuditEntry>),
    DeadLetter(Box<MovedDeadLetter>),
    Client(Box<MovedClient>),
    Touches(MovedTouches),
    TouchRun(MovedRun),
    Event(Box<MovedEvent>),
    Statement(Box<MovedStatement>),
    Access(Box<Access>),
    Relay(MovedRelay),
    Change(Box<MovedChange>),
}

/// The kind of a record, in the order in which a store moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Policy,
    Backfill,
    Clock,
    Lane,
    Source,
    Halt,
    AccessLog,
    SweepRun,
    Closing,
    WebhookEndpoint,
    Audit,
    DeadLetter,
    Client,
    Touches,
    TouchRun,
    Event,
    Statement,
    Access,
    Relay,
    Change,
}

impl Record {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Policy(_) => Kind::Policy,
            Self::Backfill(_) => Kind::Backfill,
            Self::Clock(_) => Kind::Clock,
            Self::Lane(_) => Kind::Lane,
            Self::Source(_) => Kind::Source,
            Self::Halt(_) => Kind::Halt,
            Self::AccessLog(_) => Kind::AccessLog,
            Self::SweepRun(_) => Kind::SweepRun,
            Self::Closing(_) => Kind::Closing,
            Self::WebhookEndpoint(_) => Kind::WebhookEndpoint,
            Self::Audit(_) => Kind::Audit,
            Self::DeadLetter(_) => Kind::DeadLetter,
            Self::Client(_) => Kind::Client,
            Self::Touches(_) => Kind::Touches,
            Self::TouchRun(_) => Kind::TouchRun,
            Self::Event(_) => Kind::Event,
            Self::Statement(_) => Kind::Statement,
            Self::Access(_) => Kind::Access,
            Self::Relay(_) => Kind::Relay,
            Self::Change(_) => Kind::Change,
        }
    }
}

/// A recorded policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedPolicy {
    pub effective_from: DateTime<Utc>,
    pub policy: Policy,
}

/// The deadline backfill in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedBackfill {
    pub policy_from: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ClientKey>,
}

/// The latest moment at which a worker fired timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedClock {
    pub latest: DateTime<Utc>,
}

/// Since when the access log is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedAccessLog {
    pub since: DateTime<Utc>,
}

/// A dead letter without its claim: whoever is redriving it writes to the old store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedDeadLetter {
    pub id: i64,
    /// In hexadecimal. It covers the whole body; the stored body may be truncated.
    pub digest: String,
    pub origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: MovedBody,
    pub bytes: i64,
    pub reason: String,
    pub status: DeadLetterStatus,
    pub times_seen: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_outcome: Option<String>,
}

/// The stored part of a body: as text if it is UTF-8, otherwise in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovedBody {
    Text(String),
    Hex(String),
}

/// A client that anything was ever stored about, and its row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedClient {
    pub client: ClientKey,
    /// None: it has no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<MovedRow>,
}

/// The row of a client. Its deadlines and all other columns follow from the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedRow {
    pub version: i64,
    pub document: Document,
}

/// The open run of a client, and its window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedTouches {
    pub client: ClientKey,
    pub open: Touches,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_only: Option<RenewOnlyWindow>,
}

/// A closed run of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedRun {
    pub client: ClientKey,
    pub number: i32,
    /// Not empty.
    pub touches: Touches,
}

/// A row of the event log. What was decided about its name follows from the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedEvent {
    pub client: ClientKey,
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub time: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    #[serde(default, skip_serializing_if = "Actor::is_unknown")]
    pub actor: Actor,
    pub received_at: DateTime<Utc>,
    /// None: it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Its type and its data.
    pub kind: EventKind,
}

/// The closing of a month, without its claim: whoever is closing the month writes to the old store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedClosing {
    pub month: Month,
    pub closed_by: String,
    pub started_at: DateTime<Utc>,
    /// None: it is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// The last client that it has stated, while it is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ClientKey>,
    pub statements: i64,
    pub adjustments: i64,
}

impl MovedClosing {
    pub(super) fn status(&self) -> ClosingStatus {
        if self.closed_at.is_some() {
            ClosingStatus::Closed
        } else {
            ClosingStatus::InProgress
        }
    }
}

/// An endpoint of webhooks, with its secrets and its cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedEndpoint {
    pub name: String,
    pub origin: EndpointOrigin,
    pub url: String,
    pub filter: EndpointFilter,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SigningSecret>,
    pub status: EndpointStatus,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    pub created_at: DateTime<Utc>,
    pub epoch: i64,
    /// The last line that it has received.
    pub place: LinePlace,
    /// When that line was recorded.
    pub recorded_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<DateTime<Utc>>,
}

impl From<Endpoint> for MovedEndpoint {
    fn from(endpoint: Endpoint) -> Self {
        let progress = endpoint.progress;
        let Published {
            epoch,
            cursor,
            recorded_at,
        } = progress.cursor.0;
        Self {
            name: endpoint.name,
            origin: endpoint.origin,
            url: endpoint.url,
            filter: endpoint.filter,
            secrets: endpoint.secrets,
            status: endpoint.status,
            why: endpoint.why,
            created_at: endpoint.created_at,
            epoch,
            place: cursor.into(),
            recorded_at,
            failing_since: progress.failing_since,
            last_attempt_at: progress.last_attempt_at,
            last_outcome: progress.last_outcome,
            delivered_at: progress.delivered_at,
        }
    }
}

impl From<MovedEndpoint> for Endpoint {
    fn from(moved: MovedEndpoint) -> Self {
        let cursor = FeedCursor(Published {
            epoch: moved.epoch,
            cursor: Cursor {
                transaction: moved.place.transaction,
                sequence: moved.place.sequence,
            },
            recorded_at: moved.recorded_at,
        });
        Self {
            name: moved.name,
            origin: moved.origin,
            url: moved.url,
            filter: moved.filter,
            secrets: moved.secrets,
            status: moved.status,
            why: moved.why,
            revision: 1,
            created_at: moved.created_at,
            progress: DeliveryProgress {
                cursor,
                failing_since: moved.failing_since,
                last_attempt_at: moved.last_attempt_at,
                last_outcome: moved.last_outcome,
                delivered_at: moved.delivered_at,
            },
        }
    }
}

/// What a closing stated of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedStatement {
    pub client: ClientKey,
    pub month: Month,
    pub stated_in: Month,
    pub intervals: MovedIntervals,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<AdjustmentCause>,
}

/// The intervals of a client, as pairs of moments. The days follow from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedIntervals {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub billable: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commission: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status_credit: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

impl From<&ClientIntervals> for MovedIntervals {
    fn from(intervals: &ClientIntervals) -> Self {
        let pairs = |measure: Measure| {
            let intervals = measure.of(intervals).as_slice();
            intervals
                .iter()
                .map(|interval| (interval.from, interval.to))
                .collect()
        };
        Self {
            billable: pairs(Measure::Billable),
            commission: pairs(Measure::Commission),
            status_credit: pairs(Measure::StatusCredit),
            access: pairs(Measure::Access),
        }
    }
}

impl From<MovedIntervals> for ClientIntervals {
    fn from(moved: MovedIntervals) -> Self {
        let intervals = |pairs: Vec<(DateTime<Utc>, DateTime<Utc>)>| {
            Intervals::of(pairs.into_iter().map(|(from, to)| Interval { from, to }))
        };
        Self {
            access: intervals(moved.access),
            billable: intervals(moved.billable),
            commission: intervals(moved.commission),
            status_credit: intervals(moved.status_credit),
        }
    }
}

/// How far the journal was published, and the last numbers that were assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedRelay {
    pub epoch: i64,
    /// The last published line.
    pub published: LinePlace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_before: Option<DateTime<Utc>>,
    /// The last line that was pruned. None: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_line: Option<MovedLine>,
    pub last_line: i64,
    pub last_dead_letter: i64,
    pub last_sweep_run: i64,
}

/// The place of a line in the journal: [`Cursor`] in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinePlace {
    /// The transaction that wrote it, on PostgreSQL. 0: SQLite wrote it.
    pub transaction: i64,
    /// Its number.
    pub sequence: i64,
}

/// A line of the journal that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedLine {
    pub place: LinePlace,
    pub recorded_at: DateTime<Utc>,
}

impl From<Cursor> for LinePlace {
    fn from(cursor: Cursor) -> Self {
        let Cursor {
            transaction,
            sequence,
        } = cursor;
        Self {
            transaction,
            sequence,
        }
    }
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedChange {
    pub place: LinePlace,
    pub recorded_at: DateTime<Utc>,
    pub entry: Entry,
}

/// Sends a page, and waits until the receiver has room.
///
/// # Errors
/// [`StoreError::Unavailable`] when the receiver is gone.
pub(super) async fn send(into: &mpsc::Sender<Vec<Record>>, page: Vec<Record>) -> Result<()> {
    if page.is_empty() {
        return Ok(());
    }
    into.send(page)
        .await
        .map_err(|_| StoreError::Unavailable("the export was stopped".into()))
}

/// Checks that a store may be imported into.
///
/// # Errors
/// [`StoreError::NotEmpty`].
pub(super) fn expect_empty(clients: i64, dead_letters: i64) -> Result<()> {
    let what = match (clients, dead_letters) {
        (0, 0) => return Ok(()),
        (0, 1) => "a dead letter".to_owned(),
        (0, n) => format!("{n} dead letters"),
        (1, _) => "a client".to_owned(),
        (n, _) => format!("{n} clients"),
    };
    Err(StoreError::NotEmpty { what })
}
