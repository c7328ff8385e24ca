//! The journal read back: applying a client's changes in order to nothing gives its present
//! facets and holdings. This is what a listener of `tenure.changes` can build, and what proves
//! the journal complete.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::client::Client;

/// What a listener knows of a client from its changes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    pub link: Option<String>,
    pub service: Option<String>,
    pub access: Option<String>,
    pub access_requested: bool,
    /// Status as last told.
    pub subscriptions: BTreeMap<String, String>,
    pub holdings: BTreeSet<(String, String)>,
    /// `billing`, `commission`, `status_credit`, `data_retrieval`.
    pub on: BTreeSet<String>,
}

impl Replica {
    /// What the journal should have told about this client.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        let status = client.access_status().as_str();
        let ids = |kind: &str, ids: Vec<&super::Id>| -> Vec<(String, String)> {
            ids.into_iter()
                .map(|id| (kind.to_owned(), id.as_str().to_owned()))
                .collect()
        };
        let switches = [
            ("billing", client.billable()),
            ("commission", client.commission()),
            ("status_credit", client.status_credit()),
            ("data_retrieval", client.retrieving()),
        ];
        Self {
            link: client.link_status().map(|s| s.as_str().to_owned()),
            service: client.service_status().map(|s| s.as_str().to_owned()),
            access: (status != "none").then(|| status.to_owned()),
            access_requested: client.access_request().is_some(),
            subscriptions: client
                .subscriptions
                .iter()
                .map(|(id, s)| (id.as_str().to_owned(), s.state.as_str().to_owned()))
                .collect(),
            holdings: [
                ids("assignment", client.assignments.keys().collect()),
                ids("report_schedule", client.report_schedules.iter().collect()),
                ids("margin_rule", client.margin_rules.iter().collect()),
                ids("user", client.users.iter().collect()),
                ids("integration", client.integrations.iter().collect()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            on: switches
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }

    /// Takes in one change.
    pub fn apply(&mut self, change: &Change) {
        let Some((subject, verb)) = change.kind.split_once('.') else {
            return;
        };
        let id = || change.id.clone().unwrap_or_default();
        match (subject, verb) {
            ("link", status) => self.link = Some(status.to_owned()),
            ("service", status) => self.service = Some(status.to_owned()),
            ("access", "requested") => self.access_requested = true,
            ("access", "request_closed") => self.access_requested = false,
            ("access", "expiring") | ("client" | "invitation" | "event", _) | ("subscription", "renewed") => {
            }
            ("access", status) => self.access = (status != "none").then(|| status.to_owned()),
            ("subscription", _) => match &change.to {
                Some(status) => drop(self.subscriptions.insert(id(), status.clone())),
                None => drop(self.subscriptions.remove(&id())),
            },
            (switch, "started" | "granted") => drop(self.on.insert(switch.to_owned())),
            (switch, "stopped" | "withdrawn") => drop(self.on.remove(switch)),
            (holding, "added") => drop(self.holdings.insert((holding.to_owned(), id()))),
            (holding, _) => drop(self.holdings.remove(&(holding.to_owned(), id()))),
        }
    }
}
