//! The horizon: how far timers may fire. What happened before it has been heard of; what happened after it may still
//! wait in a queue of the broker, and put off what seems due.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use crate::domain::view::rfc3339;
use crate::store::{LaneProgress, StoreError};

/// Up to which moment everything that has happened has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Horizon {
    /// None: not known yet.
    pub until: Option<DateTime<Utc>>,
    /// The lane that has come least far, if it is behind the clock.
    pub behind: Option<HeldBack>,
}

/// A lane of the broker in which older events may still wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    /// The queue.
    pub lane: String,
    /// Everything before this moment has come out of it. None: nothing is known of it yet.
    pub watermark: Option<DateTime<Utc>>,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.watermark {
            Some(at) => write!(
                f,
                "events from after {} may still wait in {}",
                rfc3339(at),
                self.lane
            ),
            None => write!(f, "nothing has come through {} yet", self.lane),
        }
    }
}

impl Horizon {
    /// Without a lane there is nowhere to wait: the horizon is the moment itself.
    pub fn of(lanes: &[LaneProgress], moment: DateTime<Utc>) -> Self {
        let slowest = lanes
            .iter()
            .min_by_key(|lane| lane.watermark)
            .filter(|lane| lane.watermark.is_none_or(|at| at < moment));
        Self {
            until: slowest.map_or(Some(moment), |lane| lane.watermark),
            behind: slowest.map(|lane| HeldBack {
                lane: lane.lane.clone(),
                watermark: lane.watermark,
            }),
        }
    }
}

impl Engine {
    /// Keeps these lanes of the broker, and no others: timers wait for each of them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn keep_lanes(&self, lanes: &[String]) -> Result<(), StoreError> {
        self.store.keep_lanes(lanes, self.now()).await?;
        self.lanes.forget();
        Ok(())
    }
}
