//! The transaction in which one batch is read and written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::checkpoints::{Checkpoints, HistoryRange};
use super::clients::{Logged, Stored};
use super::commit::Commit;
use super::halts::Halt;
use super::lanes::LaneProgress;
use super::sources::ExpectedSource;
use super::touches::Renewal;
use super::verification::ClientSnapshot;
use crate::domain::{ClientKey, Event, Namesake, Policy};

/// Begins transactions.
#[async_trait]
pub trait Transactions: Send + Sync + 'static {
    /// Begins the transaction of one batch. Not cancel-safe: never call it under a `select!` or a timeout of your own;
    /// the adapters limit each statement.
    async fn begin(&self) -> Result<Box<dyn Batch>>;

    /// How a long batch of events is divided.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            events_per_part: 1_000,
            parts: 1,
        }
    }

    /// The number of chunks of a sweep that are processed concurrently.
    fn concurrent_chunks(&self) -> usize {
        1
    }
}

/// How a long batch is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most events that are planned and written at a time, at least 1.
    pub events_per_part: usize,
    /// The most parts of one transaction, at least 1. Greater than 1 only where transactions do not run concurrently:
    /// each part locks its clients after those of the part before, and so not in key order.
    pub parts: usize,
}

impl BatchLimits {
    /// The most events of one transaction.
    #[must_use]
    pub fn events_per_transaction(self) -> usize {
        self.events_per_part * self.parts
    }
}

/// One transaction. Dropped without [`BatchWrite::commit`], it leaves no trace.
pub trait Batch: BatchRead + BatchWrite {}

impl<T: BatchRead + BatchWrite> Batch for T {}

/// Reads within the transaction, on its connection: a transaction that waited for a second connection could wait
/// forever with others that do the same.
#[async_trait]
pub trait BatchRead: Send {
    /// Locks and loads the clients of events, as [`BatchRead::lock`] does, waiting for those that are busy. Also returns the places
    /// of those `(source, id)` pairs that are in the event log already.
    async fn lock_for_events(
        &mut self,
        keys: &[ClientKey],
        ids: &[(&str, &str)],
    ) -> Result<(Vec<Stored>, HashSet<usize>)>;

    /// What the event log has under the source and id of each of these events, which are in it already. Leaves out
    /// events that the log has with the same client, type, time and data. Each with the place of its event. The clients are
    /// locked.
    async fn namesakes(&mut self, known: &[&Event]) -> Result<Vec<(usize, Namesake)>>;

    /// Locks and loads the clients that exist, in key order. With `skip_busy`, leaves out clients that another
    /// transaction has locked instead of waiting for them.
    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>>;

    /// The clients that hold these names. A deleted client holds none.
    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>>;

    /// The checkpoints of locked clients: for each, the last one before a moment, and the places of all. A client without
    /// checkpoints has no entry.
    async fn checkpoints(
        &mut self,
        before: &[(ClientKey, DateTime<Utc>)],
    ) -> Result<HashMap<ClientKey, Checkpoints>>;

    /// These parts of the histories of locked clients, as [`super::Clients::history`]. Leaves out clients with more than
    /// `longest` events there, or with enough runs of touches for that many. Every other client has an entry, an empty one too.
    async fn histories(
        &mut self,
        ranges: &[HistoryRange],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>>;

    /// Locks a client, if it has a row, and reads all that is stored about it, as [`super::Verification::snapshot`].
    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot>;

    /// As [`super::PolicyHistory::policies`].
    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>>;

    /// As [`super::Lanes::lanes`].
    async fn lanes(&mut self) -> Result<Vec<LaneProgress>>;

    /// As [`super::Sources::sources`].
    async fn sources(&mut self) -> Result<Vec<ExpectedSource>>;

    /// As [`super::Halts::halts`].
    async fn halts(&mut self) -> Result<Vec<Halt>>;
}

/// Writes within the transaction, and ends it.
#[async_trait]
pub trait BatchWrite: Send {
    /// Whether another writer waits for this transaction to end. Checked between the parts of a long batch.
    fn others_wait(&self) -> bool {
        false
    }

    /// Adds touches, in key order, to clients that are in a [`super::RenewOnlyWindow`] computed under this number of
    /// policies. Returns the clients whose touches were added; the caller has to read the others.
    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>>;

    /// Writes a part of the transaction, where [`BatchLimits::parts`] allows more than one. After an error the
    /// transaction can only be dropped.
    async fn write(&mut self, commit: &Commit) -> Result<()>;

    /// Writes the only or the last part, and commits.
    ///
    /// # Errors
    /// [`super::StoreError::Conflict`] when another transaction was faster: begin again, and read again.
    async fn commit(self: Box<Self>, commit: &Commit) -> Result<()>;

    /// Rolls the transaction back.
    async fn rollback(self: Box<Self>) -> Result<()>;
}

/// A name within a partner: `(partner, name key)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameClaim {
    pub partner: Arc<str>,
    pub name_key: String,
}
