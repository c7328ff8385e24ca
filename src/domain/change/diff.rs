//! The differences between two states of a client, as changes in a fixed order.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, Flag, Holding};
use crate::domain::access::{Access, AccessStatus, ClosedRequest, RequestEnd};
use crate::domain::account::Handover;
use crate::domain::client::Client;
use crate::domain::event::Creator;
use crate::domain::holding_map::Difference;
use crate::domain::holdings::Subscription;
use crate::domain::id::Id;
use crate::domain::link::{Invitation, LinkStatus};
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
    /// When the open request was opened.
    request: Option<DateTime<Utc>>,
    closed_request: Option<ClosedRequest>,
    /// The nearest warning since the last renewal, in microseconds before expiry.
    warned: Option<i64>,
    invitations: u32,
    /// The open one.
    invitation: Option<Invitation>,
    account: AccountObservation,
    flags: [bool; Flag::ALL.len()],
}

impl Observation {
    fn of(client: &Client) -> Self {
        Self {
            link: client.link_status(),
            name: client.name.clone(),
            service: client.service_status(),
            access: client.access_status(),
            request: client.access_request(),
            closed_request: client.closed_request,
            warned: client.access().and_then(Access::renewal).and_then(|r| r.warned),
            invitations: client.invitations,
            invitation: client.link.invitation().cloned(),
            account: AccountObservation {
                id: client.account.id.clone(),
                created_by: client.account.created_by,
                handover: client.account.handover(),
            },
            flags: Flag::ALL.map(|flag| client.flag(flag)),
        }
    }
}

impl Observation {
    /// How the request that was opened at this moment is closed, or a later one that it led to. None: there was none, as a late
    /// event shows.
    fn end_of_request(&self, opened_at: DateTime<Utc>) -> Option<RequestEnd> {
        if self.access == AccessStatus::None {
            return Some(RequestEnd::Disconnected);
        }
        let closed = self.closed_request.filter(|closed| closed.opened_at >= opened_at);
        closed.map(|closed| closed.by)
    }
}

struct AccountObservation {
    id: Option<Id>,
    created_by: Option<Creator>,
    handover: Handover,
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
    invitation(before, after, &mut out);
    account(before, after, &mut out);
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
    match (before.request, after.request) {
        (None, Some(_)) => out.push(Change::AccessRequested),
        (Some(opened_at), None) => out.push(Change::AccessRequestClosed {
            to: after.end_of_request(opened_at),
        }),
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
}

/// The course of one invitation. A resend is another one.
fn invitation(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let (old, new) = match (&before.invitation, &after.invitation) {
        (Some(old), None) if after.link == Some(LinkStatus::Active) => {
            out.extend(old.missing().map(Change::InvitationStepCompleted));
            return;
        }
        (_, None) => return,
        (old, Some(new)) => (old.as_ref().filter(|old| old.sent_at == new.sent_at), new),
    };
    let done = new.done.iter().copied();
    let is_new = |step: &_| old.is_none_or(|old| !old.done.contains(step));
    out.extend(done.filter(is_new).map(Change::InvitationStepCompleted));
    let noted = |invitation: &Invitation| {
        [
            invitation.onboarded_independently,
            invitation.bounced,
            invitation.stalled,
        ]
    };
    let changes = [
        Change::InvitationBypassed,
        Change::InvitationBounced,
        Change::InvitationStalled,
    ];
    let were = old.map_or([false; 3], noted);
    for ((change, was), is) in changes.into_iter().zip(were).zip(noted(new)) {
        if is && !was {
            out.push(change);
        }
    }
}

/// A client that is deleted forgets its account; `link.deleted` says so.
fn account(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let (old, new) = (&before.account, &after.account);
    if after.link == Some(LinkStatus::Deleted) {
        return;
    }
    // A late event shows that no owner was set: the handover is pending again.
    let reopens = (old.handover, new.handover) == (Handover::Done, Handover::Pending);
    if (old.created_by, &old.id) != (new.created_by, &new.id) || reopens {
        out.push(Change::AccountCreated {
            id: new.id.clone(),
            from: old.created_by.filter(|_| !reopens),
            to: new.created_by,
        });
    }
    if new.handover == Handover::Done && old.handover != Handover::Done {
        out.push(Change::AccountHandedOver);
    }
}

fn subscriptions(differences: &[Difference<'_, Subscription>], out: &mut Vec<Change>) {
    for (id, old, new) in differences {
        let from = old.map(|old| old.state.status());
        let Some(new) = new else {
            let removed = from.map(|from| Change::SubscriptionRemoved {
                id: (*id).clone(),
                from,
            });
            out.extend(removed);
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
