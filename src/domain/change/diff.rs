//! The differences between two states of a client, as changes in a fixed order.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, Flag, Holding};
use crate::domain::access::{Access, AccessStatus};
use crate::domain::client::Client;
use crate::domain::holding_map::Difference;
use crate::domain::holdings::Subscription;
use crate::domain::link::LinkStatus;
use crate::domain::name::Name;
use crate::domain::service::ServiceStatus;

/// The changes that lead from one state of a client to another, in a fixed order. Empty when no subscriber could see a
/// difference. Compares all holdings; [`Client::observed`] does not.
#[must_use]
pub fn changes(before: &Client, after: &Client) -> Vec<Change> {
    let holdings = Holdings {
        subscriptions: after.subscriptions.differences_from(&before.subscriptions),
        assignments: after.assignments.differences_from(&before.assignments),
        sets: [
            after.report_schedules.differences_from(&before.report_schedules),
            after.margin_rules.differences_from(&before.margin_rules),
            after.users.differences_from(&before.users),
            after.integrations.differences_from(&before.integrations),
        ],
    };
    between(&Observation::of(before), &Observation::of(after), &holdings)
}

impl Client {
    /// Runs `act`, and returns its result and the changes that it made: those of [`changes`], at a cost that does not depend on
    /// the number of holdings. `act` must not replace the client.
    pub fn observed<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> (R, Vec<Change>) {
        let before = Observation::of(self);
        self.subscriptions.start_recording();
        self.assignments.start_recording();
        self.report_schedules.start_recording();
        self.margin_rules.start_recording();
        self.users.start_recording();
        self.integrations.start_recording();
        let result = act(self);
        let subscriptions = self.subscriptions.stop_recording();
        let assignments = self.assignments.stop_recording();
        let report_schedules = self.report_schedules.stop_recording();
        let margin_rules = self.margin_rules.stop_recording();
        let users = self.users.stop_recording();
        let integrations = self.integrations.stop_recording();
        let holdings = Holdings {
            subscriptions: subscriptions.differences(&self.subscriptions),
            assignments: assignments.differences(&self.assignments),
            sets: [
                report_schedules.differences(&self.report_schedules),
                margin_rules.differences(&self.margin_rules),
                users.differences(&self.users),
                integrations.differences(&self.integrations),
            ],
        };
        let changes = between(&before, &Observation::of(self), &holdings);
        (result, changes)
    }
}

/// All that changes are made from, except the holdings.
struct Observation {
    link: Option<LinkStatus>,
    name: Option<Name>,
    service: Option<ServiceStatus>,
    access: AccessStatus,
    has_request: bool,
    /// The nearest warning since the last renewal, in microseconds before expiry.
    warned: Option<i64>,
    invitations: u32,
    /// When the open invitation was sent, if it has stalled.
    stalled: Option<DateTime<Utc>>,
    flags: [bool; Flag::ALL.len()],
}

impl Observation {
    fn of(client: &Client) -> Self {
        let invitation = client.link.invitation();
        Self {
            link: client.link_status(),
            name: client.name.clone(),
            service: client.service_status(),
            access: client.access_status(),
            has_request: client.access_request().is_some(),
            warned: client.access().and_then(Access::renewal).and_then(|r| r.warned),
            invitations: client.invitations,
            stalled: invitation.filter(|i| i.stalled).map(|i| i.sent_at),
            flags: Flag::ALL.map(|flag| client.flag(flag)),
        }
    }
}

/// The holdings that may differ.
struct Holdings<'a> {
    subscriptions: Vec<Difference<'a, Subscription>>,
    assignments: Vec<Difference<'a, Option<String>>>,
    /// Of report schedules, margin rules, users and integrations.
    sets: [Vec<Difference<'a, ()>>; 4],
}

/// The one place that determines the order of changes.
fn between(before: &Observation, after: &Observation, differences: &Holdings<'_>) -> Vec<Change> {
    let mut out = Vec::new();
    facets(before, after, &mut out);
    notices(before, after, &mut out);
    subscriptions(&differences.subscriptions, &mut out);
    holdings(differences, &mut out);
    flags(before, after, &mut out);
    out
}

fn facets(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let (from, to) = (before.link, after.link);
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
    let (from, to) = (before.service, after.service);
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::Service { from, to });
    }
    let (from, to) = (before.access, after.access);
    if from != to {
        out.push(Change::Access { from, to });
    }
}

fn notices(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    match (before.has_request, after.has_request) {
        (false, true) => out.push(Change::AccessRequested),
        (true, false) => out.push(Change::AccessRequestClosed),
        _ => {}
    }
    if let Some(span) = after.warned
        && before.warned != Some(span)
    {
        out.push(Change::AccessExpiring {
            left: iso_duration(TimeDelta::microseconds(span)),
        });
    }
    if after.invitations > before.invitations {
        out.push(Change::InvitationSent);
    }
    if after.stalled.is_some() && before.stalled != after.stalled {
        out.push(Change::InvitationStalled);
    }
}

fn subscriptions(differences: &[Difference<'_, Subscription>], out: &mut Vec<Change>) {
    for (id, old, new) in differences {
        let from = old.map(|old| old.state.status());
        let Some(new) = new else {
            let voided = from.map(|from| Change::SubscriptionVoided {
                id: (*id).clone(),
                from,
            });
            out.extend(voided);
            continue;
        };
        let to = new.state.status();
        if from != Some(to) {
            out.push(Change::Subscription {
                id: (*id).clone(),
                from,
                to,
            });
        }
        if let Some(old) = old
            && old.paid_until != new.paid_until
        {
            out.push(Change::SubscriptionRenewed {
                id: (*id).clone(),
                from: old.paid_until,
                to: new.paid_until,
            });
        }
    }
}

fn holdings(differences: &Holdings<'_>, out: &mut Vec<Change>) {
    let [report_schedules, margin_rules, users, integrations] = &differences.sets;
    ids_of(Holding::Assignment, &differences.assignments, out);
    ids_of(Holding::ReportSchedule, report_schedules, out);
    ids_of(Holding::MarginRule, margin_rules, out);
    ids_of(Holding::User, users, out);
    ids_of(Holding::Integration, integrations, out);
}

fn ids_of<V>(holding: Holding, differences: &[Difference<'_, V>], out: &mut Vec<Change>) {
    for (id, old, new) in differences {
        let id = (*id).clone();
        match (old, new) {
            (None, Some(_)) => out.push(Change::Added { holding, id }),
            (Some(_), None) => out.push(Change::Removed { holding, id }),
            _ => {}
        }
    }
}

fn flags(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    for (flag, (before, after)) in Flag::ALL
        .into_iter()
        .zip(before.flags.into_iter().zip(after.flags))
    {
        match (before, after) {
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
