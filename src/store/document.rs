//! The document of a client: its state, and a copy of its deadlines.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Client, Name, Sweep};

/// The deadline of each sweep, as in the `deadlines` table. The copy lets a write touch that table only for changed
/// deadlines.
pub type Deadlines = BTreeMap<Sweep, DateTime<Utc>>;

/// The content of the `doc` column. What nearly every event changes stands first: PostgreSQL logs a new row only from its
/// first changed byte to its last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub client: Client,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines: Deadlines,
    /// The last touch in a closed run. That run may already hold a touch at or before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touches_closed_until: Option<DateTime<Utc>>,
    /// The time of the last checkpoint. A late event up to this moment changes the state of a checkpoint. None: the client has
    /// no checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointed_until: Option<DateTime<Utc>>,
    /// A late event revived the client after another client took its name: it has the name without holding it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub name_conflicted: bool,
}

impl Document {
    /// The name that this client holds. None: it is deleted or a ghost, or has its name without holding it.
    #[must_use]
    pub fn held_name(&self) -> Option<&Name> {
        self.client.current_name().filter(|_| !self.name_conflicted)
    }
}
