//! Progress of the broker's lanes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::columns::{Moment, RowId, row};

/// Lanes of the broker and their watermarks. Watermarks are written by a [`super::Commit`].
#[async_trait]
pub trait Lanes: Send + Sync + 'static {
    /// The progress of each lane.
    async fn lanes(&self) -> Result<Vec<LaneProgress>>;

    /// The key that signs heartbeats: the same for every worker on this store, and secret.
    async fn heartbeat_key(&self) -> Result<String>;

    /// Replaces the set of lanes. Lanes that stay keep their watermarks; a new one has none yet.
    async fn set_lanes(&self, lanes: &[String], at: DateTime<Utc>) -> Result<()>;
}

/// Progress of a lane: every message that entered its queue before the watermark has been processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneProgress {
    /// The queue.
    pub lane: String,
    /// None: no heartbeat has come through it yet.
    pub watermark: Option<DateTime<Utc>>,
    pub recorded_at: DateTime<Utc>,
    /// The partition key of the last heartbeat that came through it. None: no heartbeat has come yet.
    pub partition_key: Option<String>,
}

/// A heartbeat that came through a lane's queue: every message that entered the queue before it has been processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The queue.
    pub lane: String,
    /// When the heartbeat was sent.
    pub at: DateTime<Utc>,
    /// The partition key by which the broker routed it to this lane. None: it bypassed the exchange.
    pub partition_key: Option<String>,
}

row! {
    LaneRow<T> {
        lane: String,
        watermark: Option<T>,
        recorded_at: T,
        partition_key: Option<String>,
    }
}

impl<T: Moment> LaneRow<T> {
    pub(super) fn read(self) -> Result<LaneProgress> {
        let id = RowId {
            table: "lanes",
            key: &self.lane,
        };
        Ok(LaneProgress {
            watermark: id.optional_moment("watermark", self.watermark)?,
            recorded_at: id.moment("recorded_at", self.recorded_at)?,
            partition_key: self.partition_key,
            lane: self.lane,
        })
    }
}
