//! A client's public JSON, without `as_of` and `version`, which depend on the store.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::client_state::{ClientState, Invitation};
use super::eras::Eras;

pub fn view(subject: &str, state: &ClientState, moment: DateTime<Utc>, eras: &Eras) -> Option<Value> {
    let link = state.link?;
    let (partner, client) = subject.split_once('/').expect("partner/client");
    let connected = link == "active";
    let invitation = state.invitation.as_ref();
    let tab = match link {
        "deleted" => None,
        "active" => Some("active"),
        _ => Some("inactive"),
    };
    let view_as_client = if state.service == "terminated" {
        "no"
    } else if state.assignments.is_empty() {
        "no_connections"
    } else {
        "data"
    };
    Some(json!({
        "partner": partner,
        "client": client,
        "name": state.name,
        "link": link,
        "service": state.service,
        "access": state.access,
        "access_request": time(state.request),
        "expires_at": time(state.expires_at(eras.at(moment))),
        "connected": connected,
        "billable": state.service == "active",
        "visible": state.service != "terminated",
        "retrieving": state.service == "active" && !state.assignments.is_empty(),
        "commission": connected && invitation.is_some_and(|sent| sent.commission_eligible),
        "status_credit": connected,
        "tab": tab,
        "on_client_list": matches!(link, "draft" | "invited" | "active"),
        "origin": if state.imported { "imported" } else { "added" },
        "invitation": invitation.filter(|_| link == "invited").map(|sent| open_invitation(sent, state)),
        "view_as_client": view_as_client,
        "assignable": matches!(state.service, "pending_assigning" | "active"),
        "subscriptions": subscriptions(state),
        "assignments": ids(&state.assignments),
        "former_assignments": ids(&state.former_assignments),
        "report_schedules": ids(&state.report_schedules),
        "margin_rules": ids(&state.margin_rules),
        "users": ids(&state.users),
        "integrations": ids(&state.integrations),
        "account_id": state.account.as_ref().and_then(|account| account.id.clone()),
        "handover": state.handover(),
        "jobs_total": state.jobs_total,
        "last_accessed_at": time(state.last_accessed_at),
        "holds_until": time(holds_until(state, moment, eras)),
    }))
}

fn open_invitation(sent: &Invitation, state: &ClientState) -> Value {
    let ordered = |mut steps: Vec<&'static str>| {
        steps.sort_by_key(|step| sent.steps.iter().position(|asked| asked == step));
        steps
    };
    json!({
        "sent_at": time(Some(sent.at)),
        "channel": if sent.referral { "referral" } else { "standard" },
        "steps": sent.steps,
        "done": ordered(sent.done.clone()),
        "missing": sent.missing(),
        "onboarded_independently": sent.onboarded_independently,
        "bounced": sent.bounced,
        "count": state.invitations_sent,
    })
}

/// The next timer, or a policy under which access expires at another moment.
fn holds_until(state: &ClientState, moment: DateTime<Utc>, eras: &Eras) -> Option<DateTime<Utc>> {
    let timer = state.next(None, moment, eras).map(|(at, _)| at);
    let expires_at = state.expires_at(eras.at(moment));
    let later = eras.all().iter().filter(|era| era.start > moment);
    let mut moved = later.filter(|era| state.expires_at(&era.policy) != expires_at);
    timer.into_iter().chain(moved.next().map(|era| era.start)).min()
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

pub fn time(moment: Option<DateTime<Utc>>) -> Option<String> {
    moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
