//! The differences between two states of a client, as changes in a fixed order.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, Flag, Holding, InvitationTerms, SubscriptionTerms};
use crate::domain::access::{Access, AccessStatus, ClosedRequest, RequestEnd};
use crate::domain::client::{Client, Origin};
use crate::domain::event::Creator;
use crate::domain::holding_map::Difference;
use crate::domain::holdings::Subscription;
use crate::domain::id::Id;
use crate::domain::link::{Invitation, LinkStatus};
use crate::domain::name::Name;
use crate::domain::policy::Policies;
use crate::domain::service::ServiceStatus;

/// The changes that lead from one state of a client to another, in a fixed order. Empty when no subscriber could see a
/// difference. Compares all holdings; [`Client::observed`] does not.
#[must_use]
pub fn changes(before: &Client, after: &Client, policies: &Policies) -> Vec<Change> {
    let holdings = Holdings {
        subscriptions: after.subscriptions.differences_from(&before.subscriptions),
        sets: [
            presence(after.assignments.differences_from(&before.assignments)),
            presence(
                after
                    .former_assignments
                    .differences_from(&before.former_assignments),
            ),
            presence(after.report_schedules.differences_from(&before.report_schedules)),
            presence(after.margin_rules.differences_from(&before.margin_rules)),
            presence(after.users.differences_from(&before.users)),
            presence(after.integrations.differences_from(&before.integrations)),
        ],
    };
    between(
        &Observation::of(before),
        &Observation::with_expiry(after, policies),
        &holdings,
    )
}

impl Client {
    /// Runs `act`, and returns its result and the changes that it made: those of [`changes`], at a cost that does not depend on
    /// the number of holdings. `act` must not replace the client.
    pub fn observed<R>(&mut self, policies: &Policies, act: impl FnOnce(&mut Self) -> R) -> (R, Vec<Change>) {
        let before = Observation::of(self);
        self.subscriptions.start_recording();
        self.assignments.start_recording();
        self.former_assignments.start_recording();
        self.report_schedules.start_recording();
        self.margin_rules.start_recording();
        self.users.start_recording();
        self.integrations.start_recording();
        let result = act(self);
        let subscriptions = self.subscriptions.stop_recording();
        let assignments = self.assignments.stop_recording();
        let former_assignments = self.former_assignments.stop_recording();
        let report_schedules = self.report_schedules.stop_recording();
        let margin_rules = self.margin_rules.stop_recording();
        let users = self.users.stop_recording();
        let integrations = self.integrations.stop_recording();
        let holdings = Holdings {
            subscriptions: subscriptions.differences(&self.subscriptions),
            sets: [
                presence(assignments.differences(&self.assignments)),
                presence(former_assignments.differences(&self.former_assignments)),
                presence(report_schedules.differences(&self.report_schedules)),
                presence(margin_rules.differences(&self.margin_rules)),
                presence(users.differences(&self.users)),
                presence(integrations.differences(&self.integrations)),
            ],
        };
        let changes = between(&before, &Observation::with_expiry(self, policies), &holdings);
        (result, changes)
    }
}

/// All that changes are made from, except the holdings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    pub link: Option<LinkStatus>,
    pub name: Option<Name>,
    pub origin: Origin,
    pub service: Option<ServiceStatus>,
    pub access: AccessStatus,
    /// When the open request was opened.
    pub request: Option<DateTime<Utc>>,
    /// The last one that was closed.
    pub closed_request: Option<ClosedRequest>,
    pub expires_at: Option<DateTime<Utc>>,
    /// The nearest warning since the last renewal, in microseconds before expiry.
    pub warned: Option<i64>,
    pub invitations: u32,
    /// The open one.
    pub invitation: Option<Invitation>,
    pub account: AccountObservation,
    pub flags: [bool; Flag::ALL.len()],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountObservation {
    pub id: Option<Id>,
    pub created_by: Option<Creator>,
    pub has_owner: bool,
    pub jobs_total: Option<u64>,
}

impl Observation {
    /// Without the expiry of access: it depends on the policy, and no change is made from that of the state before.
    pub fn of(client: &Client) -> Self {
        Self {
            link: client.link_status(),
            name: client.name.clone(),
            origin: client.origin,
            service: client.service_status(),
            access: client.access_status(),
            request: client.access_request(),
            closed_request: client.closed_request,
            expires_at: None,
            warned: client.access().and_then(Access::renewal).and_then(|r| r.warned),
            invitations: client.invitations,
            invitation: client.link.invitation().cloned(),
            account: AccountObservation {
                id: client.account.id.clone(),
                created_by: client.account.created_by,
                has_owner: client.account.has_owner,
                jobs_total: client.account.jobs_total,
            },
            flags: Flag::ALL.map(|flag| client.flag(flag)),
        }
    }

    fn with_expiry(client: &Client, policies: &Policies) -> Self {
        let expires_at = |at| client.expires_at(policies.at(at));
        Self {
            expires_at: client.as_of().and_then(expires_at),
            ..Self::of(client)
        }
    }

    fn exists(&self) -> bool {
        self.link.is_some_and(|link| link != LinkStatus::Deleted)
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

impl AccountObservation {
    fn is_handed_over(&self) -> bool {
        self.created_by == Some(Creator::Partner) && self.has_owner
    }
}

/// The holdings that may differ.
pub struct Holdings<'a> {
    pub subscriptions: Vec<Difference<'a, Subscription>>,
    /// In the order of [`Holding::ALL`].
    pub sets: [Vec<Presence<'a>>; Holding::ALL.len()],
}

/// An id, whether it was held, and whether it is.
pub type Presence<'a> = (&'a Id, bool, bool);

pub fn presence<V>(differences: Vec<Difference<'_, V>>) -> Vec<Presence<'_>> {
    let presence = differences.into_iter();
    presence
        .map(|(id, old, new)| (id, old.is_some(), new.is_some()))
        .collect()
}

/// The one place that determines the order of changes.
pub fn between(before: &Observation, after: &Observation, differences: &Holdings<'_>) -> Vec<Change> {
    let mut out = Vec::new();
    facets(before, after, &mut out);
    notices(before, after, &mut out);
    invitation(before, after, &mut out);
    account(before, after, &mut out);
    subscriptions(&differences.subscriptions, &mut out);
    for (holding, differences) in Holding::ALL.into_iter().zip(&differences.sets) {
        ids_of(holding, differences, &mut out);
    }
    flags(before, after, &mut out);
    out
}

fn facets(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let (from, to) = (before.link, after.link);
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::Link { from, to });
    }
    name(before, after, out);
    let (from, to) = (before.service, after.service);
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::Service { from, to });
    }
    let (from, to) = (before.access, after.access);
    if from != to {
        let expires_at = after.expires_at;
        out.push(Change::Access { from, to, expires_at });
    }
}

fn name(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let Some(to) = &after.name else { return };
    let is_added = !before.exists() && after.exists();
    match &before.name {
        Some(from) if !is_added && before.origin == after.origin => {
            if from != to {
                out.push(Change::ClientRenamed {
                    from: from.clone(),
                    to: to.clone(),
                });
            }
        }
        _ => out.push(Change::ClientNamed {
            name: to.clone(),
            origin: after.origin,
        }),
    }
}

fn notices(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    match (before.request, after.request) {
        (from, to @ Some(_)) if from != to => out.push(Change::AccessRequested),
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
            expires_at: after.expires_at,
        });
    }
}

/// The course of one invitation. A resend is another one.
fn invitation(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let Some(new) = &after.invitation else {
        if after.invitations > before.invitations {
            out.push(Change::InvitationSent(None));
        }
        if let (Some(old), Some(LinkStatus::Active)) = (&before.invitation, after.link) {
            out.extend(old.missing().map(Change::InvitationStepCompleted));
        }
        return;
    };
    let old = before
        .invitation
        .as_ref()
        .filter(|old| before.invitations == after.invitations && leads_to(old, new));
    if old.is_none() {
        let terms = InvitationTerms::of(new, after.invitations);
        out.push(Change::InvitationSent(Some(terms)));
    }
    let is_new = |step: &_| old.is_none_or(|old| !old.done.contains(step));
    let done = new.done.iter().copied();
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
    let eligible = new.commission_eligible;
    if old.is_some_and(|old| old.commission_eligible != eligible) {
        out.push(Change::CommissionEligibilityChanged { eligible });
    }
}

/// Whether an invitation can become the other one by what happens to it. Otherwise a late event has replaced it.
fn leads_to(old: &Invitation, new: &Invitation) -> bool {
    (old.sent_at, old.channel, &old.steps) == (new.sent_at, new.channel, &new.steps)
        && old.done.is_subset(&new.done)
        && old.onboarded_independently <= new.onboarded_independently
        && old.bounced <= new.bounced
}

/// A client that is deleted forgets its account; `link.deleted` says so.
fn account(before: &Observation, after: &Observation, out: &mut Vec<Change>) {
    let (old, new) = (&before.account, &after.account);
    if after.link == Some(LinkStatus::Deleted) {
        return;
    }
    // A late event shows that no owner was set: the handover is pending again.
    let reopens = old.is_handed_over() && new.created_by == Some(Creator::Partner) && !new.is_handed_over();
    if (old.created_by, &old.id) != (new.created_by, &new.id) || reopens {
        out.push(Change::AccountCreated {
            id: new.id.clone(),
            from: old.created_by.filter(|_| !reopens),
            to: new.created_by,
        });
    }
    if new.is_handed_over() && !old.is_handed_over() {
        out.push(Change::AccountHandedOver);
    }
    if old.jobs_total != new.jobs_total {
        out.push(Change::AccountJobsCounted {
            from: old.jobs_total,
            to: new.jobs_total,
        });
    }
}

fn subscriptions(differences: &[Difference<'_, Subscription>], out: &mut Vec<Change>) {
    for (id, old, new) in differences {
        let id = (*id).clone();
        let from = old.map(|old| old.state.status());
        let Some(new) = new else {
            out.extend(from.map(|from| Change::SubscriptionRemoved { id, from }));
            continue;
        };
        let is_new = old.is_none_or(|old| (old.managed_by, &old.plan) != (new.managed_by, &new.plan));
        let terms = is_new.then(|| SubscriptionTerms::of(new));
        let renewed = old.filter(|old| terms.is_none() && old.paid_until != new.paid_until);
        if old.is_none_or(|old| old.state != new.state) || terms.is_some() {
            out.push(Change::Subscription {
                id: id.clone(),
                from,
                to: new.state.status(),
                terms,
            });
        }
        out.extend(renewed.map(|old| Change::SubscriptionRenewed {
            id,
            from: old.paid_until,
            to: new.paid_until,
        }));
    }
}

fn ids_of(holding: Holding, differences: &[Presence<'_>], out: &mut Vec<Change>) {
    for (id, was, is) in differences {
        let id = (*id).clone();
        match (was, is) {
            (false, true) => out.push(Change::Added { holding, id }),
            (true, false) => out.push(Change::Removed { holding, id }),
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
