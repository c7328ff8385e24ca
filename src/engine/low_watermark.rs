//! The horizon: how far timers may fire. What happened before it has been heard of; what happened after it may still
//! wait in a queue of the broker, and put off what seems due.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ClockWatch, Engine};
use crate::domain::time::rfc3339;
use crate::store::{LaneProgress, StoreError};

/// Up to which moment everything that has happened has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LowWatermark {
    /// None: not known yet.
    pub until: Option<DateTime<Utc>>,
    /// The lane that has come least far, if it is behind the clock.
    pub behind: Option<HeldBack>,
}

/// Why timers that seem due do not fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HeldBack {
    /// A lane of the broker in which older events may still wait.
    Lane {
        /// The queue.
        lane: String,
        /// Everything before this moment has come out of it. None: nothing is known of it yet.
        watermark: Option<DateTime<Utc>>,
    },
    /// The clock is ahead of another.
    Clock {
        /// By how much, and of which, in words.
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
            } => write!(f, "nothing has come through {lane} yet"),
            Self::Clock { clock } => f.write_str(clock),
        }
    }
}

impl LowWatermark {
    /// Without a lane there is nowhere to wait: the horizon is the moment itself. A watermark that is still to come was
    /// written by a clock that was wrong, and says nothing.
    pub fn of(lanes: &[LaneProgress], moment: DateTime<Utc>, clock: &ClockWatch) -> Self {
        let slowest = lanes
            .iter()
            .map(|lane| (lane.watermark.filter(|at| !clock.is_to_come(*at)), &lane.lane))
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
    /// Keeps these lanes of the broker, and no others: timers wait for each of them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn set_lanes(&self, lanes: &[String]) -> Result<(), StoreError> {
        self.store.set_lanes(lanes, self.now()).await?;
        self.lanes.invalidate();
        Ok(())
    }
}
