//! The cause of a change: an event, a timer or a rebuild. And what made a correction necessary.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::event::Event;
use super::text_enum::text_enum;
use super::timer::Timer;

/// What caused a change. The journal stores it as JSON, and published changes contain the same JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    Event {
        source: Arc<str>,
        id: Arc<str>,
        #[serde(rename = "type")]
        kind: Cow<'static, str>,
        /// Who caused the event.
        #[serde(flatten)]
        actor: Actor,
        /// Why, as its sender says. A long reason is cut: a change repeats it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Arc<str>>,
    },
    Timer {
        timer: Timer,
    },
    /// A rebuild (`tenure rebuild`, or the correction of a wrong clock) found that stored data contradicts the event log, and
    /// takes back what nothing in the log causes.
    Rebuild {
        rebuild: Repair,
    },
}

/// What made a correction necessary. The journal stores it, and published changes contain the same JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Corrector {
    /// It happened before what was known of its client.
    LateEvent {
        source: Arc<str>,
        id: Arc<str>,
        #[serde(rename = "type")]
        kind: Cow<'static, str>,
    },
    Rebuild {
        rebuild: Repair,
    },
}

text_enum! {
    /// Which stored data a rebuild repaired. Subscribers read it in `corrected_by`.
    pub enum Repair {
        /// The stored state of the client was wrong. Changes published from it may have been wrong too.
        State = "state",
        /// The stored state was right, but the journal did not report it.
        Journal = "journal",
    }
}

/// Maximum length of a reason in a cause, in characters.
pub const MAX_REASON_CHARS: usize = 500;

/// The beginning of a reason.
fn cut(reason: &str) -> Arc<str> {
    match reason.char_indices().nth(MAX_REASON_CHARS) {
        None => reason.into(),
        Some((end, _)) => format!("{}…", &reason[..end]).into(),
    }
}

impl From<&Event> for Cause {
    fn from(event: &Event) -> Self {
        Self::Event {
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.type_name().into(),
            actor: event.actor.clone(),
            reason: event.kind.reason().map(cut),
        }
    }
}

impl From<&Event> for Corrector {
    fn from(event: &Event) -> Self {
        Self::LateEvent {
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.type_name().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::ActorKind;

    #[test]
    fn a_cause_has_the_actor_of_its_event_and_the_beginning_of_its_reason() {
        for (given, written) in [
            ("moved".to_owned(), "moved".to_owned()),
            (String::new(), String::new()),
            ("ü".repeat(500), "ü".repeat(500)),
            ("ü".repeat(501), format!("{}…", "ü".repeat(500))),
        ] {
            assert_eq!(&*cut(&given), written);
        }
        let cause = Cause::Event {
            source: "/app".into(),
            id: "1".into(),
            kind: "client.lost".into(),
            actor: Actor {
                id: Some("u-7".into()),
                kind: Some(ActorKind::BackOffice),
            },
            reason: Some("moved".into()),
        };
        let json = serde_json::json!({
            "source": "/app", "id": "1", "type": "client.lost", "actor": "u-7", "actorkind": "back_office", "reason": "moved",
        });
        assert_eq!(serde_json::to_value(&cause).unwrap(), json);
        assert_eq!(serde_json::from_value::<Cause>(json).unwrap(), cause);
        let json = serde_json::json!({"source": "/app", "id": "1", "type": "client.lost"});
        let cause: Cause = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&cause).unwrap(), json);
    }
}
