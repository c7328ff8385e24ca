//! The low watermark: how far timers may fire. Every event from before it has been ingested. A later event may still wait in a
//! queue of the broker, or with a source that has fallen silent, and cancel a timer that seems due.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ClockWatch, Engine, SilentSource};
use crate::domain::time::rfc3339;
use crate::store::{ExpectedSource, LaneProgress, StoreError};

/// The moment up to which every event has been ingested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LowWatermark {
    /// None: not known yet.
    pub until: Option<DateTime<Utc>>,
    /// What is furthest behind the clock: a lane or a silent source.
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
    /// Earlier events may still come from a source that is silent.
    Source(SilentSource),
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
            Self::Source(silent) => fmt::Display::fmt(silent, f),
            Self::Clock { clock } => f.write_str(clock),
        }
    }
}

impl HeldBack {
    /// Every event from before this moment has been ingested. None: not known.
    #[must_use]
    pub fn watermark(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Lane { watermark, .. } => *watermark,
            Self::Source(silent) => Some(silent.silent_since),
            Self::Clock { .. } => None,
        }
    }
}

impl LowWatermark {
    /// Without lanes no event can wait in a queue, and without a silent source none can wait elsewhere: then the low watermark
    /// is the moment itself. A watermark in the future was written by a wrong clock, and is ignored.
    pub(super) fn of(
        lanes: &[LaneProgress],
        sources: &[ExpectedSource],
        moment: DateTime<Utc>,
        clock: &ClockWatch,
    ) -> Self {
        let lanes = lanes.iter().map(|lane| HeldBack::Lane {
            lane: lane.lane.clone(),
            watermark: lane.watermark.filter(|at| !clock.is_in_the_future(*at)),
        });
        let silent = sources
            .iter()
            .filter_map(|source| SilentSource::of(source, clock))
            .map(HeldBack::Source);
        let behind = lanes
            .chain(silent)
            .min_by_key(HeldBack::watermark)
            .filter(|behind| behind.watermark().is_none_or(|at| at < moment));
        Self {
            until: behind.as_ref().map_or(Some(moment), HeldBack::watermark),
            behind,
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
