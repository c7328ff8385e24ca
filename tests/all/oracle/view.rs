//! A client's public JSON, field by field as DESIGN lists them; without `as_of` and `version`, which
//! tell of the store.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::life::Life;
use super::rules::Rules;

pub fn view(subject: &str, life: &Life, rules: &Rules) -> Option<Value> {
    let link = life.link?;
    let (partner, client) = subject.split_once('/').expect("partner/client");
    let connected = link == "active";
    let invitation = life.invitation.as_ref();
    let tab = match link {
        "deleted" => None,
        "archived" | "lost" => Some("inactive"),
        _ => Some("active"),
    };
    Some(json!({
        "partner": partner,
        "client": client,
        "name": life.name,
        "link": link,
        "service": life.service,
        "access": life.access,
        "access_request": time(life.request),
        "expires_at": time(life.expires_at(rules)),
        "connected": connected,
        "billable": life.service == "active",
        "visible": life.service != "terminated",
        "retrieving": life.service == "active" && !life.assignments.is_empty(),
        "commission": connected && invitation.is_some_and(|sent| sent.commission_eligible),
        "status_credit": connected,
        "tab": tab,
        "subscriptions": subscriptions(life),
        "assignments": ids(&life.assignments),
        "report_schedules": ids(&life.report_schedules),
        "margin_rules": ids(&life.margin_rules),
        "users": ids(&life.users),
        "integrations": ids(&life.integrations),
        "jobs_total": life.jobs_total,
        "last_accessed_at": time(life.last_accessed_at),
    }))
}

fn subscriptions(life: &Life) -> Vec<Value> {
    let one = |(id, held): (&String, &super::life::Subscription)| {
        json!({
            "id": id,
            "status": held.status,
            "managed_by": if held.by_partner { "partner" } else { "client" },
            "plan": held.plan,
            "paid_until": time(held.paid_until),
            "ended_at": time(held.ended_at),
        })
    };
    life.subscriptions.iter().map(one).collect()
}

fn ids(holdings: &BTreeSet<String>) -> Vec<&String> {
    holdings.iter().collect()
}

fn time(moment: Option<DateTime<Utc>>) -> Option<String> {
    moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
