//! How many messages wait in each queue that this process consumes, as it has counted them last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Engine;

/// The messages that wait in a queue. Those that a worker has received and not yet acknowledged do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
pub struct QueueDepth {
    pub messages: u32,
    pub counted_at: DateTime<Utc>,
}

/// The last count of each queue, in memory.
#[derive(Debug, Default)]
pub(super) struct QueueDepths(Mutex<BTreeMap<String, QueueDepth>>);

impl Engine {
    /// Records how many messages wait in all queues. A queue that is not among them is forgotten.
    pub fn note_depths(&self, counted: BTreeMap<String, u32>) {
        let counted_at = self.now();
        let counted = counted.into_iter().map(|(lane, messages)| {
            let depth = QueueDepth { messages, counted_at };
            (lane, depth)
        });
        *self.depths.0.lock().unwrap_or_else(PoisonError::into_inner) = counted.collect();
    }

    /// How many messages wait in each queue. Only a process that is connected to the broker knows it.
    #[must_use]
    pub fn queue_depths(&self) -> BTreeMap<String, QueueDepth> {
        let depths = self.depths.0.lock().unwrap_or_else(PoisonError::into_inner);
        depths.clone()
    }
}
