//! The stores: what the rest of the program asks of them, a trait for each subject, and two adapters that implement
//! all.
//!
//! Everything is written in a [`Batch`], one transaction. All other reads see committed state only. [`Store`] is the
//! union of the traits; take a narrower one where it suffices, as the breaker takes [`Sweeps`].

mod accesses;
mod activity;
mod actor;
mod audit;
mod batch;
mod browser_sessions;
mod checkpoints;
mod clients;
mod clock;
mod columns;
mod commit;
mod dead_letter;
mod dead_letters;
mod document;
mod error;
mod event_id;
mod event_position;
mod feed;
mod halts;
mod lanes;
mod lists;
mod namesakes;
mod outbox;
mod policies;
mod pool;
pub mod postgres;
mod related;
mod retention;
mod schema;
mod sources;
pub mod sqlite;
mod statements;
mod sweeps;
mod touches;
mod traces;
mod transfer;
mod upkeep;
mod verification;
mod webhooks;
mod words;
mod workers;

pub use accesses::{Access, AccessFilter, Accesses, AccessesPage, TouchOutcome};
pub use activity::{Activity, ChangeCounts, MinuteCounts};
pub use audit::{Audit, AuditEntry, AuditFilter, AuditHow, AuditPage, AuditRecord, OperatorAction};
pub use batch::{Batch, BatchLimits, BatchRead, BatchWrite, NameClaim, Transactions};
pub use browser_sessions::{BrowserSession, BrowserSessions, EndedSessions, SessionDigest};
pub use checkpoints::{Checkpoint, CheckpointPlace, CheckpointWrite, Checkpoints, HistoryRange};
pub use clients::{ClientFilter, Clients, Logged, Stored};
pub use clock::StoreClock;
pub use commit::{ClientWrite, Commit, EventWrite, OutcomeUpdate, RecordedOutcome, TouchWrite};
pub use dead_letter::{LONGEST_BODY, body_digest, hex};
pub use dead_letters::{
    DeadLetter, DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary, DeadLetters,
};
pub use document::{Deadlines, Document};
pub use error::StoreError;
pub use event_position::{EventPosition, NoPosition};
pub use feed::{ClientState, Feed, FeedCursor, FeedFilter, FeedGap, FeedPage};
pub use halts::{Halt, HaltKind, Halts};
pub use lanes::{LaneProgress, Lanes, Watermark};
pub use lists::{ClientSearch, Facets, ListPosition, Lists, RefusalFilter, RefusalsPage, Refused};
pub use outbox::{Cursor, Outbox, Published, Recorded, Unpublished};
pub use policies::{DeadlineBackfill, PolicyHistory, PolicyReplacement};
pub use related::RelatedClients;
pub use retention::{Retention, RetentionTarget};
pub use schema::{MigrationStep, SchemaState};
pub use sources::{EventCount, ExpectedSource, Heard, Sources};
pub use statements::{Closing, ClosingClaim, ClosingStatus, Stated, Statements};
pub use sweeps::{Due, RunCounts, RunEnd, RunStatus, SweepRun, Sweeps};
pub use touches::{PACKED_SOURCE, RenewOnlyWindow, Renewal, RunError, Touch, Touches};
pub use traces::{EventTrace, TraceHeaders};
pub use transfer::{
    Import, Kind, LinePlace, MovedAccessLog, MovedBackfill, MovedBody, MovedChange, MovedClient, MovedClock,
    MovedClosing, MovedDeadLetter, MovedEndpoint, MovedEvent, MovedIntervals, MovedPolicy, MovedRelay,
    MovedRow, MovedRun, MovedStatement, MovedTouches, Record, Transfer,
};
pub use upkeep::{Connections, Upkeep};
pub use verification::{Census, ClientSnapshot, Columns, SharedEvent, SnapshotRow, Verification};
pub use webhooks::{
    DeliveryProgress, Endpoint, EndpointChange, EndpointFieldError, EndpointFilter, EndpointOrigin,
    EndpointStatus, SigningSecret, Webhooks, check_endpoint_name,
};
pub use workers::{WorkerRecord, Workers};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// All that a store does, for callers that need most of it.
pub trait Store:
    Accesses
    + Activity
    + Audit
    + BrowserSessions
    + Clients
    + DeadLetters
    + Feed
    + Halts
    + Lanes
    + Lists
    + Outbox
    + PolicyHistory
    + RelatedClients
    + Retention
    + Sources
    + Statements
    + StoreClock
    + Sweeps
    + Transactions
    + Transfer
    + Upkeep
    + Verification
    + Webhooks
    + Workers
{
}

impl<T> Store for T where
    T: Accesses
        + Activity
        + Audit
        + BrowserSessions
        + Clients
        + DeadLetters
        + Feed
        + Halts
        + Lanes
        + Lists
        + Outbox
        + PolicyHistory
        + RelatedClients
        + Retention
        + Sources
        + Statements
        + StoreClock
        + Sweeps
        + Transactions
        + Transfer
        + Upkeep
        + Verification
        + Webhooks
        + Workers
{
}
