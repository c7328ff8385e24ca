//! An app that hears of changes and of nothing else, and knows from them what is so about each client.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Name;

/// Facets and holdings, by subject.
#[derive(Debug, Default)]
pub struct Listener {
    known: BTreeMap<String, Heard>,
    /// The ids of published changes: one comes again when its confirmation was lost.
    ids: BTreeSet<String>,
    /// The events of whose refusal it was told, by source and id.
    pub refusals: BTreeSet<Name>,
    /// Those, by subject and event, with the reasons given.
    pub refused: BTreeMap<(String, Name), BTreeSet<String>>,
    /// Changes that do not fit what was heard before.
    pub complaints: Vec<String>,
}

#[derive(Debug, Default)]
struct Heard {
    facets: BTreeMap<String, String>,
    flags: BTreeSet<&'static str>,
    subscriptions: BTreeMap<String, String>,
    holdings: BTreeMap<String, BTreeSet<String>>,
}

/// What begins with one change and stops with another.
const FLAGS: &[(&str, &str, &str)] = &[
    ("access_requested", "access.requested", "access.request_closed"),
    ("billable", "billing.started", "billing.stopped"),
    ("commission", "commission.started", "commission.stopped"),
    (
        "status_credit",
        "status_credit.granted",
        "status_credit.withdrawn",
    ),
    ("retrieving", "data_retrieval.started", "data_retrieval.stopped"),
];

const HOLDINGS: &[(&str, &str)] = &[
    ("assignment", "assignments"),
    ("report_schedule", "report_schedules"),
    ("margin_rule", "margin_rules"),
    ("user", "users"),
    ("integration", "integrations"),
];

/// These tell that something happened; nothing is different afterwards in a facet or a holding.
const NOTICES: &[&str] = &[
    "client.renamed",
    "invitation.sent",
    "invitation.stalled",
    "access.expiring",
    "event.refused",
    "subscription.renewed",
];

impl Listener {
    /// Hears a change: a published event, or a line of the journal.
    pub fn hear(&mut self, change: &Value) {
        if let Some(id) = change["specversion"].as_str().and(change["id"].as_str())
            && !self.ids.insert(id.to_owned())
        {
            return;
        }
        let line = change.get("data").unwrap_or(change);
        if line["type"] == "event.refused" {
            let text = |field: &str| line["cause"][field].as_str().unwrap_or_default().to_owned();
            let (subject, event) = (change["subject"].as_str(), (text("source"), text("id")));
            let reasons = self
                .refused
                .entry((subject.unwrap_or_default().to_owned(), event.clone()));
            reasons
                .or_default()
                .insert(line["to"].as_str().unwrap_or_default().to_owned());
            self.refusals.insert(event);
        }
        let subject = change["subject"].as_str().expect("a subject");
        let heard = self.known.entry(subject.to_owned()).or_default();
        if let Err(complaint) = heard.hear(line) {
            self.complaints.push(format!("{complaint}: {change}"));
        }
    }

    /// What is known of a client, in the form of [`part_told`]; None when nothing was heard that made it
    /// one.
    pub fn known(&self, subject: &str) -> Option<Value> {
        let heard = self.known.get(subject)?;
        heard.facets.get("link")?;
        let mut known = json!({});
        for facet in ["link", "service", "access"] {
            known[facet] = json!(heard.facets.get(facet));
        }
        // Nothing is said when access is none from the start.
        if known["access"].is_null() {
            known["access"] = json!("none");
        }
        for (flag, ..) in FLAGS {
            known[flag] = json!(heard.flags.contains(flag));
        }
        known["subscriptions"] = json!(heard.subscriptions);
        for (_, plural) in HOLDINGS {
            let ids = heard.holdings.get(*plural);
            known[plural] = json!(ids.cloned().unwrap_or_default());
        }
        Some(known)
    }
}

/// The part of a client's view that its changes tell.
pub fn part_told(view: &Value) -> Value {
    let mut told = json!({});
    for facet in ["link", "service", "access"] {
        told[facet] = view[facet].clone();
    }
    for (flag, ..) in FLAGS {
        told[flag] = view[flag].clone();
    }
    told["access_requested"] = json!(!view["access_request"].is_null());
    let subscriptions = view["subscriptions"].as_array().expect("a list");
    let by_id = subscriptions.iter().map(|held| {
        let id = held["id"].as_str().expect("an id");
        (id, held["status"].as_str().expect("a status"))
    });
    told["subscriptions"] = json!(by_id.collect::<BTreeMap<_, _>>());
    for (_, plural) in HOLDINGS {
        told[plural] = view[plural].clone();
    }
    told
}

impl Heard {
    fn hear(&mut self, line: &Value) -> Result<(), &'static str> {
        let kind = line["type"].as_str().expect("a type");
        let id = || line["id"].as_str().expect("the holding's id").to_owned();
        if NOTICES.contains(&kind) {
            return Ok(());
        }
        for (flag, starts, stops) in FLAGS {
            if kind == *starts {
                return sound(self.flags.insert(flag), "began twice");
            }
            if kind == *stops {
                return sound(self.flags.remove(flag), "stopped, and had not begun");
            }
        }
        let (what, becomes) = kind.split_once('.').expect("two words");
        if let Some((_, plural)) = HOLDINGS.iter().find(|(holding, _)| *holding == what) {
            let held = self.holdings.entry((*plural).to_owned()).or_default();
            return match becomes {
                "added" => sound(held.insert(id()), "added twice"),
                "removed" => sound(held.remove(&id()), "removed, and was not there"),
                _ => Err("no type of change"),
            };
        }
        if what == "subscription" {
            return self.hear_of_subscription(&id(), becomes, line);
        }
        let to = line["to"].as_str().expect("a facet moves to a status");
        let before = self.facets.insert(what.to_owned(), to.to_owned());
        sound(["link", "service", "access"].contains(&what), "no type of change")?;
        sound(to == becomes, "its type says one thing, its `to` another")?;
        let nothing = if what == "access" { Some("none") } else { None };
        let before = before.as_deref().or(nothing);
        sound(
            line["from"].as_str().or(nothing) == before,
            "not from where it was",
        )
    }

    fn hear_of_subscription(&mut self, id: &str, becomes: &str, line: &Value) -> Result<(), &'static str> {
        let status = match becomes {
            "prepared" => "prepared",
            "started" => "active",
            "ended" => "ended",
            _ => return Err("no type of change"),
        };
        let before = match line["to"].as_str() {
            Some(to) => {
                sound(to == status, "its type says one thing, its `to` another")?;
                self.subscriptions.insert(id.to_owned(), status.to_owned())
            }
            // A correction: it ended and is nothing now, so it never was.
            None => self.subscriptions.remove(id),
        };
        sound(
            before.as_deref() == line["from"].as_str(),
            "not from where it was",
        )
    }
}

fn sound(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}
