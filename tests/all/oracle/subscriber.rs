//! A subscriber that receives changes and nothing else, and rebuilds each client's JSON from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Name;
use super::received::Received;

/// Every client, by subject.
#[derive(Debug, Default)]
pub struct Subscriber {
    known: BTreeMap<String, Received>,
    /// The ids of published changes. Tenure publishes a change again when its confirmation was lost.
    ids: BTreeSet<String>,
    /// The events that are refused as far as it knows, by subject.
    pub refusals: BTreeSet<(String, Name)>,
    /// The events whose refusal was ever published, by subject, with the published reasons.
    pub refused: BTreeMap<(String, Name), BTreeSet<String>>,
    /// Changes that contradict earlier ones.
    pub contradictions: Vec<String>,
}

/// The parts of a client's JSON that no change reports: each renewal of access moves them, or they follow from the policy and
/// from the store.
const UNPUBLISHED: [&str; 5] = [
    "last_accessed_at",
    "expires_at",
    "holds_until",
    "version",
    "as_of",
];

impl Subscriber {
    /// Begins with a client of a snapshot.
    pub fn begin_with(&mut self, view: &Value) {
        let text = |field: &str| view[field].as_str().expect("text");
        let subject = format!("{}/{}", text("partner"), text("client"));
        self.known.insert(subject, Received::of_view(view));
    }

    /// Receives a change: a published event, or a row of the journal.
    pub fn receive(&mut self, change: &Value) {
        if let Some(id) = change["specversion"].as_str().and(change["id"].as_str())
            && !self.ids.insert(id.to_owned())
        {
            return;
        }
        let data = change.get("specversion").and(change.get("data"));
        let line = data.unwrap_or(change);
        if line["type"] == "access.request_closed" && line["correction"] == false {
            self.check_how_a_request_closed(line);
        }
        let subject = change["subject"].as_str().expect("a subject");
        let time = change["time"].as_str().expect("a time");
        let received = if let Some("event.refused" | "event.accepted") = line["type"].as_str() {
            self.receive_outcome(subject, line)
        } else {
            let known = self.known.entry(subject.to_owned()).or_default();
            known.receive(line, time)
        };
        let is_marked = line["correction"] == line.get("corrected_by").is_some();
        let received = received.and(if is_marked {
            Ok(())
        } else {
            Err("its mark and its corrector contradict each other")
        });
        if let Err(contradiction) = received {
            self.contradictions.push(format!("{contradiction}: {change}"));
        }
    }

    /// Each event closes a request in a way of its own. A timer closes one in none of these ways.
    fn check_how_a_request_closed(&mut self, line: &Value) {
        let by_events = ["approved", "denied", "enabled", "disabled"];
        let is_right = if let Some(kind) = line["cause"]["type"].as_str() {
            let way = kind.strip_prefix("access.").filter(|way| by_events.contains(way));
            line["to"] == way.unwrap_or("disconnected")
        } else {
            let way = line["to"].as_str();
            way.is_some_and(|way| way != "disconnected" && !by_events.contains(&way))
        };
        if !is_right {
            self.contradictions
                .push(format!("its cause does not close a request like this: {line}"));
        }
    }

    fn receive_outcome(&mut self, subject: &str, line: &Value) -> Result<(), &'static str> {
        let text = |field: &str| line["cause"][field].as_str().unwrap_or_default().to_owned();
        let event = (subject.to_owned(), (text("source"), text("id")));
        if line["type"] == "event.accepted" {
            let was_refused = self.refusals.remove(&event);
            return was_refused
                .then_some(())
                .ok_or("accepted without having been refused");
        }
        let reason = line["to"].as_str().unwrap_or_default().to_owned();
        let holder = &line["data"]["conflicts_with"];
        // A repair finds the name released.
        let is_repair = line["corrected_by"]["rebuild"].is_string();
        if holder.is_string() != (reason == "name_taken") && !is_repair {
            return Err("a refusal for a name says who has it, and no other does");
        }
        if subject.ends_with(&format!("/{}", holder.as_str().unwrap_or_default())) {
            return Err("a client does not conflict with itself");
        }
        self.refused.entry(event.clone()).or_default().insert(reason);
        let is_new = self.refusals.insert(event);
        is_new.then_some(()).ok_or("refused twice")
    }

    /// The client as its changes describe it, in the form of [`published_part`]. None if it was never added.
    pub fn known(&self, subject: &str) -> Option<Value> {
        let mut known = self.known.get(subject)?.json()?;
        let (partner, client) = subject.split_once('/').expect("partner/client");
        known["partner"] = json!(partner);
        known["client"] = json!(client);
        Some(known)
    }
}

/// The part of a client's view that changes report: all of it but a few.
pub fn published_part(view: &Value) -> Value {
    let mut published = view.clone();
    let fields = published.as_object_mut().expect("an object");
    fields.retain(|name, _| !UNPUBLISHED.contains(&&**name));
    published
}
