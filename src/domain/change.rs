//! What became different in a client: the output, a row of the journal and a message to whoever
//! listens.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::access::{Access, AccessStatus};
use super::client::Client;
use super::event::Event;
use super::holdings::{Subscription, SubscriptionState};
use super::id::{ClientKey, Id};
use super::link::LinkStatus;
use super::refusal::Refusal;
use super::service::ServiceStatus;
use super::timer::Timer;

/// One difference. `from` and `to` are statuses, names or times; `id` is the holding's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A change with when and why: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: ClientKey,
    pub change: Change,
    /// When it took effect: the event's time, or the timer's due time.
    pub time: DateTime<Utc>,
    pub cause: Cause,
    /// A late event brought it about, or a rebuild.
    pub correction: bool,
}

/// What brought a change about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cause {
    Event {
        source: Arc<str>,
        id: Arc<str>,
        #[serde(rename = "type")]
        kind: Cow<'static, str>,
    },
    Timer {
        timer: Timer,
    },
    /// `tenure rebuild`: what was kept was not what the log says.
    Rebuild {
        rebuild: Repair,
    },
}

/// What a rebuild has put right, for whoever is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// The client's state was wrong, and so, perhaps, was what had been told of it.
    State,
    /// The state was right, but not what had been told of it.
    Journal,
}

impl Repair {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Journal => "journal",
        }
    }
}

impl From<&Event> for Cause {
    fn from(event: &Event) -> Self {
        Self::Event {
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.type_name().into(),
        }
    }
}

/// Every type of change. The routing keys of `tenure.changes`.
pub const TYPES: &[&str] = &[
    "link.draft",
    "link.invited",
    "link.active",
    "link.invitation_rejected",
    "link.access_rejected",
    "link.archived",
    "link.lost",
    "link.deleted",
    "service.pending_assigning",
    "service.active",
    "service.terminated",
    "access.none",
    "access.enabled",
    "access.disabled",
    "access.expired",
    "access.requested",
    "access.request_closed",
    "access.expiring",
    "client.renamed",
    "invitation.sent",
    "invitation.stalled",
    "subscription.prepared",
    "subscription.started",
    "subscription.renewed",
    "subscription.ended",
    "assignment.added",
    "assignment.removed",
    "report_schedule.added",
    "report_schedule.removed",
    "margin_rule.added",
    "margin_rule.removed",
    "user.added",
    "user.removed",
    "integration.added",
    "integration.removed",
    "billing.started",
    "billing.stopped",
    "commission.started",
    "commission.stopped",
    "status_credit.granted",
    "status_credit.withdrawn",
    "data_retrieval.started",
    "data_retrieval.stopped",
    "event.refused",
];

/// The type of change with this name.
#[must_use]
pub fn kind_from_name(name: &str) -> Option<&'static str> {
    TYPES.iter().copied().find(|kind| *kind == name)
}

impl Change {
    fn moved(kind: &'static str, from: Option<&str>, to: Option<&str>) -> Self {
        Self {
            kind,
            id: None,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        }
    }

    fn plain(kind: &'static str) -> Self {
        Self::moved(kind, None, None)
    }

    fn of(kind: &'static str, id: &Id, from: Option<&str>, to: Option<&str>) -> Self {
        Self {
            id: Some(id.as_str().to_owned()),
            ..Self::moved(kind, from, to)
        }
    }

    /// Tells that an event was refused, and why.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Self {
        Self::moved("event.refused", None, Some(refusal.code()))
    }
}

/// The differences between two states of one client, in a fixed order; none when all that can
/// be seen of them is the same.
#[must_use]
pub fn changes(before: &Client, after: &Client) -> Vec<Change> {
    let mut out = Vec::new();
    facets(before, after, &mut out);
    notices(before, after, &mut out);
    subscriptions(&before.subscriptions, &after.subscriptions, &mut out);
    holdings(before, after, &mut out);
    derived(before, after, &mut out);
    out
}

fn facets(before: &Client, after: &Client, out: &mut Vec<Change>) {
    let (from, to) = (before.link_status(), after.link_status());
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::moved(
            link_type(to),
            from.map(LinkStatus::as_str),
            Some(to.as_str()),
        ));
    }
    if let (Some(from), Some(to)) = (&before.name, &after.name)
        && from != to
    {
        out.push(Change::moved(
            "client.renamed",
            Some(from.as_str()),
            Some(to.as_str()),
        ));
    }
    let (from, to) = (before.service_status(), after.service_status());
    if let (true, Some(to)) = (from != to, to) {
        out.push(Change::moved(
            service_type(to),
            from.map(ServiceStatus::as_str),
            Some(to.as_str()),
        ));
    }
    let (from, to) = (before.access_status(), after.access_status());
    if from != to {
        out.push(Change::moved(
            access_type(to),
            Some(from.as_str()),
            Some(to.as_str()),
        ));
    }
}

fn notices(before: &Client, after: &Client, out: &mut Vec<Change>) {
    match (before.access_request(), after.access_request()) {
        (None, Some(_)) => out.push(Change::plain("access.requested")),
        (Some(_), None) => out.push(Change::plain("access.request_closed")),
        _ => {}
    }
    let warned = |client: &Client| client.access().and_then(Access::renewal).and_then(|r| r.warned);
    if let Some(span) = warned(after)
        && warned(before) != Some(span)
    {
        let left = iso_duration(TimeDelta::microseconds(span));
        out.push(Change::moved("access.expiring", None, Some(&left)));
    }
    if after.invitations > before.invitations {
        out.push(Change::plain("invitation.sent"));
    }
    let stalled = |client: &Client| client.link.invitation().filter(|i| i.stalled).map(|i| i.sent_at);
    if stalled(after).is_some() && stalled(before) != stalled(after) {
        out.push(Change::plain("invitation.stalled"));
    }
}

fn subscriptions(
    before: &BTreeMap<Id, Subscription>,
    after: &BTreeMap<Id, Subscription>,
    out: &mut Vec<Change>,
) {
    for (id, new) in after {
        let old = before.get(id);
        let from = old.map(|old| old.state.as_str());
        if from != Some(new.state.as_str()) {
            let kind = match new.state {
                SubscriptionState::Prepared => "subscription.prepared",
                SubscriptionState::Active => "subscription.started",
                SubscriptionState::Ended { .. } => "subscription.ended",
            };
            out.push(Change::of(kind, id, from, Some(new.state.as_str())));
        }
        let paid_until = |s: &Subscription| {
            s.paid_until
                .map(|t| t.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        };
        if let Some(old) = old
            && old.paid_until != new.paid_until
        {
            let (from, to) = (paid_until(old), paid_until(new));
            out.push(Change::of(
                "subscription.renewed",
                id,
                from.as_deref(),
                to.as_deref(),
            ));
        }
    }
    // Only a late event does that: the subscription never was, and `to` is absent.
    for (id, old) in before.iter().filter(|(id, _)| !after.contains_key(id)) {
        out.push(Change::of(
            "subscription.ended",
            id,
            Some(old.state.as_str()),
            None,
        ));
    }
}

fn holdings(before: &Client, after: &Client, out: &mut Vec<Change>) {
    let assignments = |client: &Client| client.assignments.keys().cloned().collect::<BTreeSet<_>>();
    if before.assignments != after.assignments {
        let kinds = ("assignment.added", "assignment.removed");
        set(kinds, &assignments(before), &assignments(after), out);
    }
    let sets = [
        (
            ("report_schedule.added", "report_schedule.removed"),
            &before.report_schedules,
            &after.report_schedules,
        ),
        (
            ("margin_rule.added", "margin_rule.removed"),
            &before.margin_rules,
            &after.margin_rules,
        ),
        (("user.added", "user.removed"), &before.users, &after.users),
        (
            ("integration.added", "integration.removed"),
            &before.integrations,
            &after.integrations,
        ),
    ];
    for (kinds, before, after) in sets {
        set(kinds, before, after, out);
    }
}

fn set(
    (added, removed): (&'static str, &'static str),
    before: &BTreeSet<Id>,
    after: &BTreeSet<Id>,
    out: &mut Vec<Change>,
) {
    out.extend(
        after
            .difference(before)
            .map(|id| Change::of(added, id, None, None)),
    );
    out.extend(
        before
            .difference(after)
            .map(|id| Change::of(removed, id, None, None)),
    );
}

fn derived(before: &Client, after: &Client, out: &mut Vec<Change>) {
    let mut switch = |of: fn(&Client) -> bool, on, off| match (of(before), of(after)) {
        (false, true) => out.push(Change::plain(on)),
        (true, false) => out.push(Change::plain(off)),
        _ => {}
    };
    switch(Client::billable, "billing.started", "billing.stopped");
    switch(Client::commission, "commission.started", "commission.stopped");
    switch(
        Client::status_credit,
        "status_credit.granted",
        "status_credit.withdrawn",
    );
    switch(
        Client::retrieving,
        "data_retrieval.started",
        "data_retrieval.stopped",
    );
}

/// ISO 8601, in days where it is whole days.
fn iso_duration(span: TimeDelta) -> String {
    if span == TimeDelta::days(span.num_days()) {
        format!("P{}D", span.num_days())
    } else {
        span.to_string()
    }
}

fn link_type(status: LinkStatus) -> &'static str {
    match status {
        LinkStatus::Draft => "link.draft",
        LinkStatus::Invited => "link.invited",
        LinkStatus::Active => "link.active",
        LinkStatus::InvitationRejected => "link.invitation_rejected",
        LinkStatus::AccessRejected => "link.access_rejected",
        LinkStatus::Archived => "link.archived",
        LinkStatus::Lost => "link.lost",
        LinkStatus::Deleted => "link.deleted",
    }
}

fn service_type(status: ServiceStatus) -> &'static str {
    match status {
        ServiceStatus::PendingAssigning => "service.pending_assigning",
        ServiceStatus::Active => "service.active",
        ServiceStatus::Terminated => "service.terminated",
    }
}

fn access_type(status: AccessStatus) -> &'static str {
    match status {
        AccessStatus::None => "access.none",
        AccessStatus::Enabled => "access.enabled",
        AccessStatus::Disabled => "access.disabled",
        AccessStatus::Expired => "access.expired",
    }
}
