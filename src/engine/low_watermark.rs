//! The low watermark: how far timers may fire. Every event from before it has been ingested. A later event may still wait in a
//! queue of the broker and cancel a timer that seems due.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ClockWatch, Engine};
use crate::domain::time::rfc3339;
use crate::store::{LaneProgress, StoreError};

/// The moment up to which every event has been ingested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LowWatermark {
    /// None: not known yet.
    pub until: Option<DateTime<Utc>>,
    /// The lane with the earliest watermark, if that is behind the clock.
    pub behind: Option<HeldBack>,
}

/// Why timers that are due do not fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HeldBack {
    /// Earlier events may still wait in a lane of the broker.
    Lane {
        /// The name of its queue.
        lane: String,
        /// Every event from before this moment has been ingested. None: no heartbeat has arrived yet.
        watermark: Option<DateTime<Utc>>,
    },
    /// The clock is ahead of another.
    Clock {
        /// A sentence: how far it is ahead, and of which clock.
        clock: String,
    },
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lane {
                lane,
                watermark: Some(at),
            } => write!(f, "events from after {} may still wait in {lane}", rfc3339(*at)),
            Self::Lane {
                lane,
                watermark: None,
            } => write!(f, "no heartbeat has arrived through {lane} yet"),
            Self::Clock { clock } => f.write_str(clock),
        }
    }
}

impl LowWatermark {
    /// Without lanes no event can wait in a queue, so the low watermark is the moment itself. A watermark in the future was
    /// written by a wrong clock, and is ignored.
    pub fn of(lanes: &[LaneProgress], moment: DateTime<Utc>, clock: &ClockWatch) -> Self {
        let slowest = lanes
            .iter()
            .map(|lane| {
                (
                    lane.watermark.filter(|at| !clock.is_in_the_future(*at)),
                    &lane.lane,
                )
            })
            .min()
            .filter(|(watermark, _)| watermark.is_none_or(|at| at < moment));
        Self {
            until: slowest.map_or(Some(moment), |(watermark, _)| watermark),
            behind: slowest.map(|(watermark, lane)| HeldBack::Lane {
                lane: lane.clone(),
                watermark,
            }),
        }
    }
}

impl Engine {
    /// Registers these lanes of the broker, and no others: timers wait for each of them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn set_lanes(&self, lanes: &[String]) -> Result<(), StoreError> {
        self.store.set_lanes(lanes, self.now()).await?;
        self.lanes.invalidate();
        Ok(())
    }
}
