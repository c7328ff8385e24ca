//! Events in: one batch, one transaction.

use super::Engine;
use crate::domain::{Event, Refusal};
use crate::store::{DeadLetter, StoreError};

/// Something that came through a door, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Event(Event),
    /// It cannot be an event; it is kept, and blocks nothing.
    Dead(DeadLetter),
}

/// What came of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Applied,
    Duplicate,
    Refused(Refusal),
    /// Kept as a dead letter, with this reason.
    Dead(String),
}

impl Engine {
    /// Takes a batch: when this returns, what it did, or why it did nothing, is committed. The
    /// answers are in the order of `incoming`. Not cancel-safe.
    ///
    /// # Errors
    /// When the store cannot be reached or has failed; then nothing of the batch is kept, and the same
    /// batch may be given again.
    pub async fn take(&self, incoming: Vec<Incoming>) -> Result<Vec<Answer>, StoreError> {
        unimplemented!("{}", incoming.len())
    }
}
