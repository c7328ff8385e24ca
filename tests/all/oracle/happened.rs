//! The changes of a history with their times and causes, found by comparing the states before and after each event and timer.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Oracle;
use super::client_state::{ClientState, Invitation};
use super::received::{FLAGS, HOLDINGS};
use super::view::view;

/// A change of one type, holding and step. A change of a name has the type `client.named` here.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    pub what: What,
    pub time: DateTime<Utc>,
    pub cause: Value,
}

/// Type, holding, and step of an invitation.
pub type What = (String, Option<String>, Option<String>);

/// What a line of the journal is about.
pub fn what(line: &Value) -> What {
    let text = |field: &str| line[field].as_str().map(str::to_owned);
    let kind = text("type").expect("a type");
    let step = text("to").filter(|_| kind == "invitation.step_completed");
    let kind = if kind == "client.renamed" {
        "client.named".to_owned()
    } else {
        kind
    };
    let id = text("id").filter(|_| kind != "account.created");
    (kind, id, step)
}

impl Oracle {
    /// Everything that happened to a client up to a moment, in order.
    pub fn happened(&self, client: &str, moment: DateTime<Utc>) -> Vec<Happened> {
        let ours = self.events.values().filter(|event| event.subject == client);
        let mut history: Vec<_> = ours.filter(|event| event.time <= moment).collect();
        history.sort_by_cached_key(|event| event.place());
        let mut happened = Vec::new();
        let mut state = ClientState::default();
        let mut now = DateTime::<Utc>::MIN_UTC;
        for event in history {
            self.pass(client, &mut state, now, event.time, &mut happened);
            now = event.time;
            let before = state.clone();
            let taken = self.names_taken.contains(&event.name());
            if state.apply(event, self.eras.at(now), taken).is_ok() {
                let changes = self.differences(client, &before, &state, now);
                happened.extend(changes.into_iter().map(|what| Happened {
                    what,
                    time: now,
                    cause: event.cause(),
                }));
            }
        }
        self.pass(client, &mut state, now, moment, &mut happened);
        happened
    }

    /// Fires every timer that is due at or before `until`.
    fn pass(
        &self,
        client: &str,
        state: &mut ClientState,
        mut now: DateTime<Utc>,
        until: DateTime<Utc>,
        happened: &mut Vec<Happened>,
    ) {
        while let Some((at, timer)) = state.next(None, now, &self.eras) {
            if at > until {
                return;
            }
            let before = state.clone();
            state.fire(timer, at, self.eras.at(at));
            let changes = self.differences(client, &before, state, at);
            happened.extend(changes.into_iter().map(|what| Happened {
                what,
                time: at,
                cause: json!({ "timer": timer.name() }),
            }));
            now = at;
        }
    }

    fn differences(
        &self,
        client: &str,
        before: &ClientState,
        after: &ClientState,
        at: DateTime<Utc>,
    ) -> Vec<What> {
        let json = |state: &ClientState| view(client, state, at, &self.eras).unwrap_or(Value::Null);
        let (old, new) = (json(before), json(after));
        let mut out = Vec::new();
        for facet in ["link", "service", "access"] {
            let from = if facet == "access" && old.is_null() {
                json!("none")
            } else {
                old[facet].clone()
            };
            if from != new[facet] {
                let to = new[facet].as_str().expect("a status");
                out.push((format!("{facet}.{to}"), None, None));
            }
        }
        let is_gone = |view: &Value| view.is_null() || view["link"] == "deleted";
        if (is_gone(&old) && !is_gone(&new)) || old["name"] != new["name"] {
            out.push(("client.named".to_owned(), None, None));
        }
        match (
            old["access_request"].is_string(),
            new["access_request"].is_string(),
        ) {
            (false, true) => out.push(("access.requested".to_owned(), None, None)),
            (true, false) => out.push(("access.request_closed".to_owned(), None, None)),
            _ => {}
        }
        for (flag, starts, stops) in FLAGS {
            match (old[flag] == true, new[flag] == true) {
                (false, true) => out.push(((*starts).to_owned(), None, None)),
                (true, false) => out.push(((*stops).to_owned(), None, None)),
                _ => {}
            }
        }
        holdings(&old, &new, &mut out);
        subscriptions(before, after, &mut out);
        invitation(before, after, &mut out);
        account(before, after, &mut out);
        if after.access == "enabled" && after.warned.is_some() && before.warned != after.warned {
            out.push(("access.expiring".to_owned(), None, None));
        }
        out
    }
}

fn holdings(old: &Value, new: &Value, out: &mut Vec<What>) {
    for (holding, plural) in HOLDINGS {
        let ids = |view: &Value| -> Vec<String> {
            let ids = view[plural].as_array().into_iter().flatten();
            ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
        };
        let (old, new) = (ids(old), ids(new));
        let added = new.iter().filter(|id| !old.contains(id));
        out.extend(added.map(|id| (format!("{holding}.added"), Some(id.clone()), None)));
        let removed = old.iter().filter(|id| !new.contains(id));
        out.extend(removed.map(|id| (format!("{holding}.removed"), Some(id.clone()), None)));
    }
}

fn subscriptions(before: &ClientState, after: &ClientState, out: &mut Vec<What>) {
    for (id, held) in &after.subscriptions {
        let old = before.subscriptions.get(id);
        let verb = match held.status {
            "active" => "started",
            status => status,
        };
        if old.is_none_or(|old| old.status != held.status) {
            out.push((format!("subscription.{verb}"), Some(id.clone()), None));
        } else if old.is_some_and(|old| old.paid_until != held.paid_until) {
            out.push(("subscription.renewed".to_owned(), Some(id.clone()), None));
        }
    }
    let gone = before.subscriptions.keys();
    let gone = gone.filter(|id| !after.subscriptions.contains_key(*id));
    out.extend(gone.map(|id| ("subscription.removed".to_owned(), Some(id.clone()), None)));
}

fn invitation(before: &ClientState, after: &ClientState, out: &mut Vec<What>) {
    let Some(new) = &after.invitation else { return };
    let is_sent = after.invitations_sent > before.invitations_sent;
    if is_sent {
        out.push(("invitation.sent".to_owned(), None, None));
    }
    let old = before.invitation.as_ref().filter(|_| !is_sent);
    let steps = new.done.iter();
    let steps = steps.filter(|step| old.is_none_or(|old| !old.done.contains(step)));
    out.extend(steps.map(|step| {
        (
            "invitation.step_completed".to_owned(),
            None,
            Some((*step).to_owned()),
        )
    }));
    let noted = |sent: &Invitation| [sent.onboarded_independently, sent.bounced, sent.stalled];
    let were = old.map_or([false; 3], noted);
    let kinds = ["invitation.bypassed", "invitation.bounced", "invitation.stalled"];
    for ((kind, was), is) in kinds.into_iter().zip(were).zip(noted(new)) {
        if is && !was {
            out.push((kind.to_owned(), None, None));
        }
    }
    let is_promise = after.link == Some("invited");
    if is_promise && old.is_some_and(|old| old.commission_eligible != new.commission_eligible) {
        out.push(("commission.eligibility_changed".to_owned(), None, None));
    }
}

/// A client that is deleted forgets its account; its `link.deleted` says so.
fn account(before: &ClientState, after: &ClientState, out: &mut Vec<What>) {
    if after.link == Some("deleted") {
        return;
    }
    if let Some(new) = &after.account {
        let old = before.account.as_ref();
        if old.is_none_or(|old| old.id != new.id) {
            out.push(("account.created".to_owned(), None, None));
        }
        if new.has_owner && !old.is_some_and(|old| old.has_owner) {
            out.push(("account.handed_over".to_owned(), None, None));
        }
    }
    if before.jobs_total != after.jobs_total {
        out.push(("account.jobs_counted".to_owned(), None, None));
    }
}
