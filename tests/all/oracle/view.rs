//! A client's public JSON, without `as_of` and `version`, which depend on the store.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::client_state::ClientState;
use tenure::domain::Policy;

pub fn view(subject: &str, state: &ClientState, policy: &Policy) -> Option<Value> {
    let link = state.link?;
    let (partner, client) = subject.split_once('/').expect("partner/client");
    let connected = link == "active";
    let invitation = state.invitation.as_ref();
    let tab = match link {
        "deleted" => None,
        "archived" | "lost" => Some("inactive"),
        _ => Some("active"),
    };
    Some(json!({
        "partner": partner,
        "client": client,
        "name": state.name,
        "link": link,
        "service": state.service,
        "access": state.access,
        "access_request": time(state.request),
        "expires_at": time(state.expires_at(policy)),
        "connected": connected,
        "billable": state.service == "active",
        "visible": state.service != "terminated",
        "retrieving": state.service == "active" && !state.assignments.is_empty(),
        "commission": connected && invitation.is_some_and(|sent| sent.commission_eligible),
        "status_credit": connected,
        "tab": tab,
        "subscriptions": subscriptions(state),
        "assignments": ids(&state.assignments),
        "report_schedules": ids(&state.report_schedules),
        "margin_rules": ids(&state.margin_rules),
        "users": ids(&state.users),
        "integrations": ids(&state.integrations),
        "jobs_total": state.jobs_total,
        "last_accessed_at": time(state.last_accessed_at),
    }))
}

fn subscriptions(state: &ClientState) -> Vec<Value> {
    let one = |(id, held): (&String, &super::client_state::Subscription)| {
        json!({
            "id": id,
            "status": held.status,
            "managed_by": if held.by_partner { "partner" } else { "client" },
            "plan": held.plan,
            "paid_until": time(held.paid_until),
            "ended_at": time(held.ended_at),
        })
    };
    state.subscriptions.iter().map(one).collect()
}

fn ids(holdings: &BTreeSet<String>) -> Vec<&String> {
    holdings.iter().collect()
}

fn time(moment: Option<DateTime<Utc>>) -> Option<String> {
    moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
