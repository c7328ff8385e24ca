//! A subscriber that receives changes and nothing else, and rebuilds each client from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Name;

/// The facets and holdings of every client, by subject.
#[derive(Debug, Default)]
pub struct Subscriber {
    known: BTreeMap<String, Received>,
    /// The ids of published changes. Tenure publishes a change again when its confirmation was lost.
    ids: BTreeSet<String>,
    /// The events whose refusal was published.
    pub refusals: BTreeSet<Name>,
    /// The same by subject, with the published reasons.
    pub refused: BTreeMap<(String, Name), BTreeSet<String>>,
    /// Changes that contradict earlier ones.
    pub contradictions: Vec<String>,
}

#[derive(Debug, Default)]
struct Received {
    facets: BTreeMap<String, String>,
    flags: BTreeSet<&'static str>,
    subscriptions: BTreeMap<String, String>,
    holdings: BTreeMap<String, BTreeSet<String>>,
    account: Option<Account>,
}

#[derive(Debug)]
struct Account {
    by: String,
    id: Option<String>,
    is_handed_over: bool,
}

/// The flags: name, change that raises it, change that lowers it.
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
    ("visible", "visibility.started", "visibility.stopped"),
];

const HOLDINGS: &[(&str, &str)] = &[
    ("assignment", "assignments"),
    ("report_schedule", "report_schedules"),
    ("margin_rule", "margin_rules"),
    ("user", "users"),
    ("integration", "integrations"),
];

/// Notices: they report an occurrence, and change no facet and no holding.
const NOTICES: &[&str] = &[
    "client.renamed",
    "invitation.sent",
    "invitation.stalled",
    "invitation.step_completed",
    "invitation.bypassed",
    "invitation.bounced",
    "access.expiring",
    "event.refused",
    "subscription.renewed",
];

impl Subscriber {
    /// Receives a change: a published event, or a row of the journal.
    pub fn receive(&mut self, change: &Value) {
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
        if line["type"] == "access.request_closed" && line["correction"] == false {
            let expected = match line["cause"]["type"].as_str() {
                Some("access.approved") => "approved",
                Some("access.denied") => "denied",
                Some("access.enabled") => "enabled",
                Some("access.disabled") => "disabled",
                _ => "disconnected",
            };
            if line["to"] != expected {
                self.contradictions.push(format!("not {expected}: {change}"));
            }
        }
        let subject = change["subject"].as_str().expect("a subject");
        let received = self.known.entry(subject.to_owned()).or_default();
        if let Err(contradiction) = received.receive(line) {
            self.contradictions.push(format!("{contradiction}: {change}"));
        }
    }

    /// The client as its changes describe it, in the form of [`published_part`]. None if it was never added.
    pub fn known(&self, subject: &str) -> Option<Value> {
        let received = self.known.get(subject)?;
        received.facets.get("link")?;
        let mut known = json!({});
        for facet in ["link", "service", "access"] {
            known[facet] = json!(received.facets.get(facet));
        }
        // No change reports that access is none from the start.
        if known["access"].is_null() {
            known["access"] = json!("none");
        }
        for (flag, ..) in FLAGS {
            known[flag] = json!(received.flags.contains(flag));
        }
        known["handover"] = match &received.account {
            Some(account) if account.by == "partner" && account.is_handed_over => json!("done"),
            Some(account) if account.by == "partner" => json!("pending"),
            _ => json!("none"),
        };
        known["account_id"] = json!(received.account.as_ref().and_then(|account| account.id.clone()));
        known["subscriptions"] = json!(received.subscriptions);
        for (_, plural) in HOLDINGS {
            let ids = received.holdings.get(*plural);
            known[plural] = json!(ids.cloned().unwrap_or_default());
        }
        Some(known)
    }
}

/// The part of a client's view that changes report.
pub fn published_part(view: &Value) -> Value {
    let mut published = json!({});
    for facet in ["link", "service", "access"] {
        published[facet] = view[facet].clone();
    }
    for (flag, ..) in FLAGS {
        published[flag] = view[flag].clone();
    }
    published["access_requested"] = json!(!view["access_request"].is_null());
    for fact in ["handover", "account_id"] {
        published[fact] = view[fact].clone();
    }
    let subscriptions = view["subscriptions"].as_array().expect("a list");
    let by_id = subscriptions.iter().map(|held| {
        let id = held["id"].as_str().expect("an id");
        (id, held["status"].as_str().expect("a status"))
    });
    published["subscriptions"] = json!(by_id.collect::<BTreeMap<_, _>>());
    for (_, plural) in HOLDINGS {
        published[plural] = view[plural].clone();
    }
    published
}

impl Received {
    fn receive(&mut self, line: &Value) -> Result<(), &'static str> {
        let kind = line["type"].as_str().expect("a type");
        let id = || line["id"].as_str().expect("the holding's id").to_owned();
        if NOTICES.contains(&kind) {
            return Ok(());
        }
        for (flag, starts, stops) in FLAGS {
            if kind == *starts {
                return ensure(self.flags.insert(flag), "started twice");
            }
            if kind == *stops {
                return ensure(self.flags.remove(flag), "stopped without having started");
            }
        }
        let (what, becomes) = kind.split_once('.').expect("two words");
        if let Some((_, plural)) = HOLDINGS.iter().find(|(holding, _)| *holding == what) {
            let held = self.holdings.entry((*plural).to_owned()).or_default();
            return match becomes {
                "added" => ensure(held.insert(id()), "added twice"),
                "removed" => ensure(held.remove(&id()), "removed without having been added"),
                _ => Err("unknown type of change"),
            };
        }
        if what == "subscription" {
            return self.receive_subscription(&id(), becomes, line);
        }
        if what == "account" {
            return self.receive_account(becomes, line);
        }
        if kind == "link.deleted" {
            self.account = None;
        }
        let to = line["to"].as_str().expect("a facet moves to a status");
        let before = self.facets.insert(what.to_owned(), to.to_owned());
        ensure(
            ["link", "service", "access"].contains(&what),
            "unknown type of change",
        )?;
        ensure(to == becomes, "its type contradicts its `to`")?;
        let nothing = if what == "access" { Some("none") } else { None };
        let before = before.as_deref().or(nothing);
        ensure(
            line["from"].as_str().or(nothing) == before,
            "its `from` is not the previous status",
        )
    }

    fn receive_subscription(&mut self, id: &str, becomes: &str, line: &Value) -> Result<(), &'static str> {
        let status = match becomes {
            "prepared" => "prepared",
            "started" => "active",
            "ended" => "ended",
            "removed" => {
                let before = self.subscriptions.remove(id);
                ensure(before.is_some(), "removed without having been added")?;
                return ensure(
                    before.as_deref() == line["from"].as_str(),
                    "its `from` is not the previous status",
                );
            }
            _ => return Err("unknown type of change"),
        };
        ensure(line["to"] == status, "its type contradicts its `to`")?;
        let before = self.subscriptions.insert(id.to_owned(), status.to_owned());
        ensure(
            before.as_deref() == line["from"].as_str(),
            "its `from` is not the previous status",
        )
    }
}

impl Received {
    fn receive_account(&mut self, becomes: &str, line: &Value) -> Result<(), &'static str> {
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        if becomes == "handed_over" {
            let account = self
                .account
                .as_mut()
                .ok_or("handed over without having been created")?;
            return ensure(
                !std::mem::replace(&mut account.is_handed_over, true),
                "handed over twice",
            );
        }
        ensure(becomes == "created", "unknown type of change")?;
        let before = self.account.take();
        let (from, to) = (text("from"), text("to"));
        // Without `from`, the handover of a known account is pending again.
        let known = before.as_ref().map(|account| &account.by);
        ensure(
            from.is_none() || from.as_ref() == known,
            "its `from` is not the previous creator",
        )?;
        let only_its_id_is_new = from == to;
        self.account = to.map(|by| Account {
            by,
            id: text("id"),
            is_handed_over: only_its_id_is_new && before.is_some_and(|account| account.is_handed_over),
        });
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}
