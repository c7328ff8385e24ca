//! A client as its changes describe it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

#[derive(Debug, Default)]
pub struct Received {
    facets: BTreeMap<String, String>,
    flags: BTreeSet<&'static str>,
    name: Option<String>,
    origin: Value,
    /// When the open request was opened.
    request: Option<String>,
    /// The open one.
    invitation: Option<Invitation>,
    subscriptions: BTreeMap<String, Value>,
    holdings: BTreeMap<&'static str, BTreeSet<String>>,
    account: Option<Account>,
    jobs_total: Option<u64>,
}

#[derive(Debug)]
struct Account {
    by: String,
    id: Option<String>,
    is_handed_over: bool,
}

#[derive(Debug)]
struct Invitation {
    sent_at: String,
    terms: Value,
    done: BTreeSet<String>,
    bypassed: bool,
    bounced: bool,
}

type Checked = Result<(), &'static str>;

/// The flags: name, change that raises it, change that lowers it.
pub const FLAGS: &[(&str, &str, &str)] = &[
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

pub const HOLDINGS: &[(&str, &str)] = &[
    ("assignment", "assignments"),
    ("former_assignment", "former_assignments"),
    ("report_schedule", "report_schedules"),
    ("margin_rule", "margin_rules"),
    ("user", "users"),
    ("integration", "integrations"),
];

impl Received {
    /// A client as a snapshot has it. Changes say more in two places, which stay unknown: the commission of an invitation, and
    /// who created an account that needs no handover.
    pub fn of_view(view: &Value) -> Self {
        let text = |field: &str| view[field].as_str().map(str::to_owned);
        let ids = |plural: &str| -> BTreeSet<String> {
            let ids = view[plural].as_array().expect("ids").iter();
            ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
        };
        let facets = ["link", "service", "access"].into_iter();
        let subscriptions = view["subscriptions"].as_array().expect("subscriptions").iter();
        let handover = view["handover"].as_str().expect("a handover");
        let account = text("account_id").is_some() || handover != "none";
        Self {
            facets: facets
                .filter_map(|facet| Some((facet.to_owned(), text(facet)?)))
                .collect(),
            flags: FLAGS
                .iter()
                .map(|(flag, ..)| *flag)
                .filter(|flag| view[flag] == true)
                .collect(),
            name: text("name"),
            origin: view["origin"].clone(),
            request: text("access_request"),
            invitation: Some(&view["invitation"])
                .filter(|invitation| invitation.is_object())
                .map(Invitation::of_view),
            subscriptions: subscriptions
                .map(|held| (held["id"].as_str().expect("an id").to_owned(), held.clone()))
                .collect(),
            holdings: HOLDINGS
                .iter()
                .map(|(_, plural)| (*plural, ids(plural)))
                .collect(),
            account: account.then(|| Account {
                by: if handover == "none" { "customer" } else { "partner" }.to_owned(),
                id: text("account_id"),
                is_handed_over: handover == "done",
            }),
            jobs_total: view["jobs_total"].as_u64(),
        }
    }

    /// The JSON of the client, without its key. None if it was never added.
    pub fn json(&self) -> Option<Value> {
        let link = self.facets.get("link")?.as_str();
        let service = self.facets.get("service").map(String::as_str);
        // No change reports that access is none from the start.
        let access = self.facets.get("access").map_or("none", String::as_str);
        let assignments = self.holdings.get("assignments");
        let tab = match link {
            "deleted" => Value::Null,
            "active" => json!("active"),
            _ => json!("inactive"),
        };
        let view_as_client = match service {
            Some("terminated") => "no",
            _ if assignments.is_none_or(BTreeSet::is_empty) => "no_connections",
            _ => "data",
        };
        let mut known = json!({
            "name": self.name, "link": link, "service": service, "access": access, "access_request": self.request,
            "connected": link == "active", "tab": tab,
            "on_client_list": matches!(link, "draft" | "invited" | "active"),
            "origin": self.origin,
            "invitation": self.invitation.as_ref().map(Invitation::json),
            "view_as_client": view_as_client,
            "assignable": service.is_some_and(|service| service != "terminated"),
            "subscriptions": self.subscriptions.values().collect::<Vec<_>>(),
            "account_id": self.account.as_ref().and_then(|account| account.id.clone()),
            "handover": match &self.account {
                Some(account) if account.by == "partner" && account.is_handed_over => "done",
                Some(account) if account.by == "partner" => "pending",
                _ => "none",
            },
            "jobs_total": self.jobs_total,
        });
        for (flag, ..) in FLAGS {
            known[flag] = json!(self.flags.contains(flag));
        }
        for (_, plural) in HOLDINGS {
            known[plural] = json!(self.holdings.get(plural).cloned().unwrap_or_default());
        }
        Some(known)
    }

    pub fn receive(&mut self, line: &Value, time: &str) -> Checked {
        let kind = line["type"].as_str().expect("a type");
        let id = || line["id"].as_str().expect("the holding's id").to_owned();
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
            let held = self.holdings.entry(plural).or_default();
            return match becomes {
                "added" => ensure(held.insert(id()), "added twice"),
                "removed" => ensure(held.remove(&id()), "removed without having been added"),
                _ => Err("unknown type of change"),
            };
        }
        match what {
            "subscription" => self.receive_subscription(&id(), becomes, line, time),
            "account" => self.receive_account(becomes, line),
            "client" => self.receive_name(becomes, line),
            "invitation" | "commission" => self.receive_invitation(becomes, line, time),
            "link" | "service" | "access" => self.receive_facet(what, becomes, line, time),
            _ => Err("unknown type of change"),
        }
    }

    fn receive_facet(&mut self, what: &str, becomes: &str, line: &Value, time: &str) -> Checked {
        match (what, becomes) {
            ("access", "requested") => {
                // A correction can say that it was opened at another time.
                let was_open = self.request.replace(time.to_owned()).is_some();
                return ensure(!was_open || line["correction"] == true, "requested twice");
            }
            ("access", "request_closed") => {
                return ensure(self.request.take().is_some(), "closed without having been opened");
            }
            ("access", "expiring") => {
                // A correction can report a warning of a policy that is over, when access does not expire any more.
                let expires = !line["data"]["expires_at"].is_null();
                return ensure(
                    expires || line["correction"] == true,
                    "nobody knows when it expires",
                );
            }
            _ => {}
        }
        let to = line["to"].as_str().expect("a facet moves to a status");
        if what == "link" {
            if to != "invited" {
                self.invitation = None;
            }
            if to == "deleted" {
                (self.account, self.jobs_total) = (None, None);
            }
        }
        let before = self.facets.insert(what.to_owned(), to.to_owned());
        ensure(to == becomes, "its type contradicts its `to`")?;
        let nothing = if what == "access" { Some("none") } else { None };
        let before = before.as_deref().or(nothing);
        ensure(
            line["from"].as_str().or(nothing) == before,
            "its `from` is not the previous status",
        )
    }

    fn receive_name(&mut self, becomes: &str, line: &Value) -> Checked {
        let to = line["to"].as_str().expect("a name").to_owned();
        let before = self.name.replace(to);
        match becomes {
            "named" => {
                self.origin = line["data"]["origin"].clone();
                ensure(self.origin.is_string(), "it has no origin")
            }
            "renamed" => ensure(
                before.as_deref() == line["from"].as_str(),
                "its `from` is not the previous name",
            ),
            _ => Err("unknown type of change"),
        }
    }

    fn receive_invitation(&mut self, becomes: &str, line: &Value, time: &str) -> Checked {
        let is_invited = self.facets.get("link").is_some_and(|link| link == "invited");
        if becomes == "sent" {
            if !is_invited {
                return ensure(line.get("data").is_none(), "it is over and has terms");
            }
            self.invitation = Some(Invitation {
                sent_at: time.to_owned(),
                terms: line["data"].clone(),
                done: BTreeSet::new(),
                bypassed: false,
                bounced: false,
            });
            return ensure(line["data"]["count"].is_u64(), "it has no terms");
        }
        let Some(invitation) = &mut self.invitation else {
            // The steps that made the link active are published after that.
            return ensure(becomes == "step_completed", "there is no open invitation");
        };
        match becomes {
            "step_completed" => {
                let step = line["to"].as_str().expect("a step").to_owned();
                ensure(invitation.done.insert(step), "completed twice")
            }
            "bypassed" => ensure(
                !std::mem::replace(&mut invitation.bypassed, true),
                "bypassed twice",
            ),
            "bounced" => ensure(!std::mem::replace(&mut invitation.bounced, true), "bounced twice"),
            "eligibility_changed" => {
                let is_new = &line["data"]["commission_eligible"];
                let before = std::mem::replace(&mut invitation.terms["commission_eligible"], is_new.clone());
                ensure(before != *is_new, "nothing changed")
            }
            "stalled" => Ok(()),
            _ => Err("unknown type of change"),
        }
    }

    fn receive_subscription(&mut self, id: &str, becomes: &str, line: &Value, time: &str) -> Checked {
        let before = self.subscriptions.get(id).cloned();
        let field = |name: &str| before.as_ref().map_or(Value::Null, |held| held[name].clone());
        let (status, part) = match becomes {
            "prepared" => ("prepared", "status"),
            "started" => ("active", "status"),
            "ended" => ("ended", "status"),
            "removed" => {
                self.subscriptions.remove(id);
                return ensure(
                    !field("status").is_null() && field("status") == line["from"],
                    "its `from` is not the previous status",
                );
            }
            "renewed" => ("", "paid_until"),
            _ => return Err("unknown type of change"),
        };
        let known = self
            .subscriptions
            .entry(id.to_owned())
            .or_insert_with(|| json!({}));
        known["id"] = json!(id);
        if part == "paid_until" {
            known["paid_until"] = line["to"].clone();
            ensure(before.is_some(), "renewed without having been added")?;
        } else {
            known["status"] = json!(status);
            known["ended_at"] = if status == "ended" {
                json!(time)
            } else {
                Value::Null
            };
            if let Some(terms) = line.get("data") {
                for term in ["managed_by", "plan", "paid_until"] {
                    known[term] = terms[term].clone();
                }
            }
            ensure(line["to"] == status, "its type contradicts its `to`")?;
            ensure(
                before.is_some() || line.get("data").is_some(),
                "nobody knows its terms",
            )?;
        }
        ensure(
            field(part) == line["from"],
            "its `from` is not the previous value",
        )
    }

    fn receive_account(&mut self, becomes: &str, line: &Value) -> Checked {
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        let (from, to) = (text("from"), text("to"));
        if becomes == "jobs_counted" {
            let number = |text: Option<String>| text.map(|text| text.parse::<u64>().expect("a number"));
            let before = std::mem::replace(&mut self.jobs_total, number(to));
            return ensure(before == number(from), "its `from` is not the previous total");
        }
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
        // Without `from`, an account that is known begins anew.
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

impl Invitation {
    fn of_view(view: &Value) -> Self {
        let done = view["done"].as_array().expect("steps").iter();
        Self {
            sent_at: view["sent_at"].as_str().expect("a time").to_owned(),
            terms: view.clone(),
            done: done
                .map(|step| step.as_str().expect("a step").to_owned())
                .collect(),
            bypassed: view["onboarded_independently"] == true,
            bounced: view["bounced"] == true,
        }
    }

    fn json(&self) -> Value {
        let steps = self.terms["steps"].as_array().expect("steps");
        let is_done = |step: &&Value| step.as_str().is_some_and(|step| self.done.contains(step));
        let (done, missing): (Vec<&Value>, Vec<&Value>) = steps.iter().partition(is_done);
        json!({
            "sent_at": self.sent_at, "channel": self.terms["channel"], "steps": steps, "done": done, "missing": missing,
            "onboarded_independently": self.bypassed, "bounced": self.bounced, "count": self.terms["count"],
        })
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(otherwise) }
}
