//! Who caused an event: two optional attributes of its envelope.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::EventKind;
use super::text_enum::text_enum;

/// Maximum length of an actor's id in characters.
pub const MAX_ACTOR_CHARS: usize = 128;

/// Who caused an event, as its sender says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// An id of the sender's own.
    #[serde(rename = "actor", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    #[serde(rename = "actorkind", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ActorKind>,
}

impl Actor {
    /// The sender does not say who caused the event.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.id.is_none() && self.kind.is_none()
    }

    /// Whether the actor can have caused such an event: a partner cannot do what is the customer's to do, nor the reverse, and
    /// neither can do what is the back office's. Of any other actor, its sender vouches for it.
    #[must_use]
    pub fn may_cause(&self, kind: &EventKind) -> bool {
        match self.kind {
            Some(side @ (ActorKind::Partner | ActorKind::Customer)) => side == kind.side(),
            Some(ActorKind::BackOffice | ActorKind::System) | None => true,
        }
    }
}

text_enum! {
    /// The side that an actor belongs to.
    pub enum ActorKind {
        Partner = "partner",
        Customer = "customer",
        BackOffice = "back_office",
        System = "system",
    }
}
