//! The journal read back: applying a client's changes in order to nothing gives its present
//! facets and holdings. This is what a listener of `tenure.changes` can build, and what proves
//! the journal complete.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, kind_from_name};
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

    /// What has to be told to whoever knows this, so that they know that. A facet that was told of and never was
    /// cannot be taken back: there is no change that says so.
    #[must_use]
    pub fn changes_to(&self, expected: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        let none = || Some("none".to_owned());
        let facets = [
            ("link", self.link.clone(), expected.link.clone()),
            ("service", self.service.clone(), expected.service.clone()),
            (
                "access",
                self.access.clone().or_else(none),
                expected.access.clone().or_else(none),
            ),
        ];
        for (facet, from, to) in facets {
            if let (true, Some(to)) = (from != to, to) {
                tell(facet, &to, None, from.as_deref(), Some(&to), &mut out);
            }
        }
        match (self.access_requested, expected.access_requested) {
            (false, true) => tell("access", "requested", None, None, None, &mut out),
            (true, false) => tell("access", "request_closed", None, None, None, &mut out),
            _ => {}
        }
        for (id, status) in &expected.subscriptions {
            let from = self.subscriptions.get(id).map(String::as_str);
            if from != Some(status) {
                let verb = if status == "active" { "started" } else { status };
                tell("subscription", verb, Some(id), from, Some(status), &mut out);
            }
        }
        for (id, status) in &self.subscriptions {
            if !expected.subscriptions.contains_key(id) {
                tell("subscription", "ended", Some(id), Some(status), None, &mut out);
            }
        }
        for (holding, id) in expected.holdings.difference(&self.holdings) {
            tell(holding, "added", Some(id), None, None, &mut out);
        }
        for (holding, id) in self.holdings.difference(&expected.holdings) {
            tell(holding, "removed", Some(id), None, None, &mut out);
        }
        for switch in expected.on.symmetric_difference(&self.on) {
            let verb = match (switch == "status_credit", expected.on.contains(switch)) {
                (true, true) => "granted",
                (true, false) => "withdrawn",
                (false, true) => "started",
                (false, false) => "stopped",
            };
            tell(switch, verb, None, None, None, &mut out);
        }
        out
    }
}

fn tell(
    subject: &str,
    verb: &str,
    id: Option<&String>,
    from: Option<&str>,
    to: Option<&str>,
    out: &mut Vec<Change>,
) {
    // Every pair that can come up here is a type of change; a test tells all of them.
    if let Some(kind) = kind_from_name(&format!("{subject}.{verb}")) {
        out.push(Change {
            kind,
            id: id.cloned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        });
    }
}
