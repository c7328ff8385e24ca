//! The cause of a change: an event, a timer or a rebuild.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::text_enum::text_enum;
use super::timer::Timer;

/// What caused a change. The journal stores it as JSON, and published changes contain the same JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cause {
    Event {
        source: Arc<str>,
        id: Arc<str>,
        #[serde(rename = "type")]
        kind: Cow<'static, str>,
    },
    Timer {
        timer: Timer,
    },
    /// A rebuild (`tenure rebuild`, or the correction of a wrong clock) found that stored data contradicts the event log.
    Rebuild {
        rebuild: Repair,
    },
}

text_enum! {
    /// Which stored data a rebuild repaired. Subscribers read it in the cause of a correction.
    pub enum Repair {
        /// The stored state of the client was wrong. Changes published from it may have been wrong too.
        State = "state",
        /// The stored state was right, but the journal did not report it.
        Journal = "journal",
    }
}

impl From<&Event> for Cause {
    fn from(event: &Event) -> Self {
        Self::Event {
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.type_name().into(),
        }
    }
}
