//! The differences between two states of a client, as changes in a fixed order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::{Change, Flag, Holding};
use crate::domain::access::Access;
use crate::domain::client::Client;
use crate::domain::holdings::Subscription;
use crate::domain::id::Id;

/// The changes that lead from one state of a client to another, in a fixed order. Empty when no subscriber could see a
/// difference.
#[must_use]
pub fn changes(before: &Client, after: &Client) -> Vec<Change> {
    let mut out = Vec::new();
    facets(before, after, &mut out);
    notices(before, after, &mut out);
    subscriptions(&before.subscriptions, &after.subscriptions, &mut out);
    holdings(before, after, &mut out);
    flags(before, after, &mut out);
    out
}

fn facets(before: &Client, after: &Client, out: &mut Vec<Change>) {
    let (from, to) = (before.link_status(), after.link_status());
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::Link { from, to });
    }
    if let (Some(from), Some(to)) = (&before.name, &after.name)
        && from != to
    {
        out.push(Change::ClientRenamed {
            from: from.clone(),
            to: to.clone(),
        });
    }
    let (from, to) = (before.service_status(), after.service_status());
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::Service { from, to });
    }
    let (from, to) = (before.access_status(), after.access_status());
    if from != to {
        out.push(Change::Access { from, to });
    }
}

fn notices(before: &Client, after: &Client, out: &mut Vec<Change>) {
    match (before.access_request(), after.access_request()) {
        (None, Some(_)) => out.push(Change::AccessRequested),
        (Some(_), None) => out.push(Change::AccessRequestClosed),
        _ => {}
    }
    let warned = |client: &Client| client.access().and_then(Access::renewal).and_then(|r| r.warned);
    if let Some(span) = warned(after)
        && warned(before) != Some(span)
    {
        out.push(Change::AccessExpiring {
            left: iso_duration(TimeDelta::microseconds(span)),
        });
    }
    if after.invitations > before.invitations {
        out.push(Change::InvitationSent);
    }
    let stalled = |client: &Client| client.link.invitation().filter(|i| i.stalled).map(|i| i.sent_at);
    if stalled(after).is_some() && stalled(before) != stalled(after) {
        out.push(Change::InvitationStalled);
    }
}

fn subscriptions(
    before: &BTreeMap<Id, Subscription>,
    after: &BTreeMap<Id, Subscription>,
    out: &mut Vec<Change>,
) {
    for (id, new) in after {
        let old = before.get(id);
        let (from, to) = (old.map(|old| old.state.status()), new.state.status());
        if from != Some(to) {
            out.push(Change::Subscription {
                id: id.clone(),
                from,
                to,
            });
        }
        if let Some(old) = old
            && old.paid_until != new.paid_until
        {
            out.push(Change::SubscriptionRenewed {
                id: id.clone(),
                from: old.paid_until,
                to: new.paid_until,
            });
        }
    }
    for (id, old) in before.iter().filter(|(id, _)| !after.contains_key(id)) {
        out.push(Change::SubscriptionVoided {
            id: id.clone(),
            from: old.state.status(),
        });
    }
}

fn holdings(before: &Client, after: &Client, out: &mut Vec<Change>) {
    if before.assignments != after.assignments {
        let ids = |client: &Client| client.assignments.keys().cloned().collect();
        ids_of(Holding::Assignment, &ids(before), &ids(after), out);
    }
    for (holding, before, after) in [
        (
            Holding::ReportSchedule,
            &before.report_schedules,
            &after.report_schedules,
        ),
        (Holding::MarginRule, &before.margin_rules, &after.margin_rules),
        (Holding::User, &before.users, &after.users),
        (Holding::Integration, &before.integrations, &after.integrations),
    ] {
        ids_of(holding, before, after, out);
    }
}

fn ids_of(holding: Holding, before: &BTreeSet<Id>, after: &BTreeSet<Id>, out: &mut Vec<Change>) {
    out.extend(
        after
            .difference(before)
            .cloned()
            .map(|id| Change::Added { holding, id }),
    );
    out.extend(
        before
            .difference(after)
            .cloned()
            .map(|id| Change::Removed { holding, id }),
    );
}

fn flags(before: &Client, after: &Client, out: &mut Vec<Change>) {
    for flag in Flag::ALL {
        match (before.flag(flag), after.flag(flag)) {
            (false, true) => out.push(Change::Started(flag)),
            (true, false) => out.push(Change::Stopped(flag)),
            _ => {}
        }
    }
}

/// ISO 8601, in days where the span is whole days.
fn iso_duration(span: TimeDelta) -> String {
    if span == TimeDelta::days(span.num_days()) {
        format!("P{}D", span.num_days())
    } else {
        span.to_string()
    }
}
