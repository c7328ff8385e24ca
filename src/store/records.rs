//! What is read from a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::commit::{DeadLetter, RecordedOutcome};
use super::document::Document;
use super::touches::Touches;
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{Client, ClientKey, Entry, Event, Policies, Policy, Position, Sweep};

/// A deadline of some sweep: when it is due, and whose it is. They are paged through in this order.
pub type Due = (DateTime<Utc>, ClientKey);

/// A client as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: ClientKey,
    pub document: Document,
    pub version: i64,
    /// The open run of touches; those after what the document has seen are not in it yet.
    pub touches: Touches,
}

impl Stored {
    /// A client that was not there.
    #[must_use]
    pub fn absent(key: ClientKey) -> Self {
        Self {
            key,
            document: Document::default(),
            version: 0,
            touches: Touches::default(),
        }
    }

    /// The client as it was last known: its document, and the last touch since. The touches between
    /// are renewals that the last one replaced.
    #[must_use]
    pub fn client(&self, policies: &Policies) -> Client {
        self.touched(self.document.client.clone(), policies)
    }

    /// The same, taken out of the document.
    #[must_use]
    pub fn take_client(&mut self, policies: &Policies) -> Client {
        let client = std::mem::take(&mut self.document.client);
        self.touched(client, policies)
    }

    /// Whether an event at this place comes too late to be simply applied: [`Client::is_past`], of [`Stored::client`].
    #[must_use]
    pub fn is_past(&self, position: &Position) -> bool {
        let touched = self.touches.last();
        self.document.client.is_past(position)
            || touched.is_some_and(|touch| *position <= touch.position(&self.key))
    }

    fn touched(&self, mut client: Client, policies: &Policies) -> Client {
        if let Some(last) = self.touches.last().map(|touch| touch.to_event(&self.key))
            && !client.is_past(&last.position())
        {
            // A touch is put into the run only when it was applied. A document that refuses it now was tampered
            // with, which is for `verify` to tell.
            let _ = client.apply(&last, policies);
        }
        client
    }
}

/// An event of a client's history and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub event: Event,
    pub outcome: RecordedOutcome,
}

/// A name within a partner: `(partner, name key)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameClaim {
    pub partner: Arc<str>,
    pub name_key: String,
}

/// Where the relay stands in the journal: `(transaction, sequence number)`. SQLite has one writer and
/// no need of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub transaction: i64,
    pub sequence: i64,
}

/// A line of the journal as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub cursor: Cursor,
    pub entry: Entry,
    pub recorded_at: DateTime<Utc>,
}

impl Recorded {
    /// This line, as it is remembered once it was published in an epoch.
    #[must_use]
    pub fn published(&self, epoch: i64) -> Published {
        Published {
            epoch,
            cursor: self.cursor,
            recorded_at: self.recorded_at,
        }
    }
}

/// A line of the journal that was published, as the relay remembers it outside of the store. What was published later is
/// greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The epoch in which it was numbered.
    pub epoch: i64,
    pub cursor: Cursor,
    /// When it was written: a number alone may be given out again after a backup was restored.
    pub recorded_at: DateTime<Utc>,
}

/// Changes that wait to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The epoch in which they are numbered. A later epoch is a greater number.
    pub epoch: i64,
    /// Whether the journal has the line that was published last, or has pruned it since.
    pub has_last: bool,
    pub lines: Vec<Recorded>,
}

impl Outbox {
    /// Whether the store is behind a line that was published: it was restored from a backup, or has lost what it had
    /// committed.
    #[must_use]
    pub fn is_behind(&self, last: &Published) -> bool {
        last.epoch > self.epoch || (last.epoch == self.epoch && !self.has_last)
    }
}

/// Which clients to list: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Those whose document has seen an event, or fired a timer, after this moment.
    pub beyond: Option<DateTime<Utc>>,
    pub partner: Option<String>,
    /// Any of these; empty for all.
    pub links: Vec<LinkStatus>,
    pub services: Vec<ServiceStatus>,
    pub access: Vec<AccessStatus>,
}

/// Which dead letters to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    pub status: Option<DeadStatus>,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadStatus {
    Open,
    Redriven,
    Discarded,
}

impl DeadStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Redriven, Self::Discarded]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// A dead letter as it is kept: the same letter again is the same record, seen once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRecord {
    pub id: i64,
    pub dead_letter: DeadLetter,
    pub status: DeadStatus,
    pub times_seen: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When it was redriven or discarded.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Length of the body as it came; a longer one than [`super::LONGEST_BODY`] is kept cut.
    pub bytes: i64,
    /// When it was last redriven, and what came of that, in words.
    pub redriven_at: Option<DateTime<Utc>>,
    pub redrive_outcome: Option<String>,
}

impl DeadRecord {
    /// Whether less is kept than came: then it cannot be redriven.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        usize::try_from(self.bytes).is_ok_and(|bytes| bytes > self.dead_letter.body.len())
    }
}

/// A dead letter in a list: without its headers and bytes, which may be many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLine {
    pub id: i64,
    pub origin: String,
    pub content_type: Option<String>,
    pub reason: String,
    pub status: DeadStatus,
    /// Length of the body as it came.
    pub bytes: i64,
    pub times_seen: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub redriven_at: Option<DateTime<Utc>>,
    pub redrive_outcome: Option<String>,
    /// When it is read again by itself, as long as it is open.
    pub retry_at: Option<DateTime<Utc>>,
}

/// What a sweep did, in clients and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    /// Clients looked at.
    pub examined: i64,
    /// Clients for which a timer fired.
    pub changed: i64,
    /// Lines written to the journal.
    pub changes: i64,
    /// Clients that could not be swept; the rest went on.
    pub failed: i64,
}

impl std::ops::AddAssign for RunCounts {
    fn add_assign(&mut self, other: Self) {
        self.examined += other.examined;
        self.changed += other.changed;
        self.changes += other.changes;
        self.failed += other.failed;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Running,
    Done,
    Failed,
}

impl RunStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// How a worker's part in a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub at: DateTime<Utc>,
    /// The moment up to which it swept; none when it did not come to that.
    pub upto: Option<DateTime<Utc>>,
    /// Why it was not seen through.
    pub error: Option<String>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepRun {
    pub id: i64,
    pub sweep: Sweep,
    /// The tick of the cron that it stands for.
    pub scheduled_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The moment up to which it swept.
    pub upto: Option<DateTime<Utc>>,
    pub status: RunStatus,
    #[serde(flatten)]
    pub counts: RunCounts,
    pub error: Option<String>,
    /// The worker that entered it.
    pub worker: String,
}

/// Why a sweep does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltKind {
    /// By a person, until a person lets it go on.
    Paused,
    /// By the breaker, until a person confirms what it would do.
    Tripped,
}

impl HaltKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Tripped => "tripped",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Paused, Self::Tripped]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// A sweep that does not run, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Halt {
    pub sweep: Sweep,
    pub kind: HaltKind,
    pub at: DateTime<Utc>,
    pub why: String,
}

/// How far a lane of the broker has come: everything that was in its queue before the watermark has been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneProgress {
    /// The queue.
    pub lane: String,
    /// None: not known yet.
    pub watermark: Option<DateTime<Utc>>,
    pub recorded_at: DateTime<Utc>,
    /// The partition key of the last heartbeat that came through it. None: not known yet.
    pub partition_key: Option<String>,
}

/// A policy whose deadlines are still being computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineBackfill {
    /// The moment from which the policy counts.
    pub policy_from: DateTime<Utc>,
    /// Those up to this client have theirs.
    pub after: Option<ClientKey>,
}

/// A recorded policy that is replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The moment that it is recorded with.
    pub from: DateTime<Utc>,
    /// The moment that it is to have.
    pub to: DateTime<Utc>,
    pub policy: Policy,
}

/// What may grow too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionTarget {
    /// Redriven or discarded, by when that was.
    DeadLetters,
    /// By when they ended; the last `keep` of each sweep stay.
    SweepRuns { keep: u32 },
    /// Published, by when they were recorded.
    Journal,
}

impl RetentionTarget {
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::SweepRuns { .. } => "sweep_runs",
            Self::Journal => "journal",
        }
    }
}

/// How much there is. Keys are status names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    pub link: BTreeMap<String, i64>,
    pub service: BTreeMap<String, i64>,
    pub access: BTreeMap<String, i64>,
    pub events: i64,
    pub journal: i64,
    pub dead_letters_open: i64,
}
