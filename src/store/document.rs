//! The document of a client: its state, and the deadlines that stand in the table for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Client, Name, Sweep};

/// The deadline of each sweep as it stands in the `deadlines` table. Kept with the client, so that
/// a write touches that table only where something moved.
pub type Deadlines = BTreeMap<Sweep, DateTime<Utc>>;

/// What the `doc` column holds. Two fields keep the names that stored documents have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub client: Client,
    #[serde(default, rename = "armed", skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines: Deadlines,
    /// The last touch that is in a run put away. A touch at or before it may be there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touches_closed_until: Option<DateTime<Utc>>,
    /// The client lives again by a late event, after its name was given to another: it bears the name
    /// without holding it.
    #[serde(default, rename = "name_is_lent", skip_serializing_if = "std::ops::Not::not")]
    pub name_conflicted: bool,
}

impl Document {
    /// The name that this client holds against others: none when it is deleted or a ghost, or bears its name
    /// without holding it.
    #[must_use]
    pub fn held_name(&self) -> Option<&Name> {
        self.client.current_name().filter(|_| !self.name_conflicted)
    }
}
