//! Checkpoints: earlier states of clients with long histories. A late event replays its client's history from the last
//! checkpoint before it, not from the beginning.
//!
//! A checkpoint can be computed again at any time, and nothing depends on its existence. See
//! `docs/decisions/0016-replays-start-from-checkpoints.md`.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, row};
use crate::domain::{Client, ClientKey};

/// The state of a client after a part of its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// It includes every event up to this moment, and no later one. The client has seen a later event, so an event that would
    /// change the state is late.
    pub time: DateTime<Utc>,
    /// About how many events those are.
    pub events: i64,
    /// A digest of the policies in force up to then.
    pub policies: i64,
    /// None: it cannot be read.
    pub client: Option<Client>,
}

/// The place of a checkpoint in the history of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPlace {
    pub time: DateTime<Utc>,
    pub events: i64,
}

/// The checkpoints of a client, as a replay needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The last one before the moment that was asked for.
    pub nearest: Option<Checkpoint>,
    /// The places of all, in the order of their times.
    pub places: Vec<CheckpointPlace>,
}

/// What a commit changes in the checkpoints of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointWrite {
    pub key: ClientKey,
    /// Their times.
    pub removed: Vec<DateTime<Utc>>,
    pub added: Vec<Checkpoint>,
}

/// A part of a client's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    pub key: ClientKey,
    /// Only events after this moment. None: all events.
    pub after: Option<DateTime<Utc>>,
}

impl HistoryRange {
    /// The whole history.
    #[must_use]
    pub fn all(key: ClientKey) -> Self {
        Self { key, after: None }
    }
}

row! {
    CheckpointRow<T> {
        time: T,
        events: i64,
        policies: i64,
        /// None: it was not asked for.
        state: Option<String>,
    }
}

impl<T: Moment> CheckpointRow<T> {
    /// Reads a checkpoint with its state.
    pub(super) fn read(self, key: &ClientKey) -> Result<Checkpoint> {
        let id = RowId {
            table: "checkpoints",
            key,
        };
        Ok(Checkpoint {
            time: id.moment("time", self.time)?,
            events: self.events,
            policies: self.policies,
            client: self.state.and_then(|state| serde_json::from_str(&state).ok()),
        })
    }
}

/// Groups rows by client. Only the nearest checkpoint of a client has a state; the rows of a client come in the order of time.
pub(super) fn by_client<'a, N: Eq + Hash, T: Moment>(
    rows: impl IntoIterator<Item = (N, CheckpointRow<T>)>,
    key: impl Fn(&N) -> Option<&'a ClientKey>,
) -> Result<HashMap<ClientKey, Checkpoints>> {
    let mut checkpoints: HashMap<ClientKey, Checkpoints> = HashMap::new();
    for (number, row) in rows {
        let Some(key) = key(&number) else { continue };
        let is_nearest = row.state.is_some();
        let checkpoint = row.read(key)?;
        let client = checkpoints.entry(key.clone()).or_default();
        client.places.push(CheckpointPlace {
            time: checkpoint.time,
            events: checkpoint.events,
        });
        if is_nearest {
            client.nearest = Some(checkpoint);
        }
    }
    Ok(checkpoints)
}
