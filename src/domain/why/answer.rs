//! The answers about a client that can be explained, and what each of them consists of.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::domain::access::{Access, AccessStatus};
use crate::domain::client::Origin;
use crate::domain::event::{AccessedBy, ManagedBy, Step};
use crate::domain::holdings::SubscriptionState;
use crate::domain::id::clip;
use crate::domain::link::LinkStatus;
use crate::domain::service::{Service, ServiceStatus};
use crate::domain::time::serialize_optional;
use crate::domain::view::{Tab, is_on_client_list, tab, view_as_client};
use crate::domain::{Client, EventKind, Id, Policy, Timer};

/// A question about a client that its events, timers and policies answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Link,
    Service,
    Access,
    Billable,
    Commission,
    StatusCredit,
    Connected,
    Visible,
    Retrieving,
    OnClientList,
    Tab,
    ViewAsClient,
    Subscription(Id),
}

/// Text that does not name an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid answer \"{0}\": expected {names}, or subscription:ID with the id of a subscription",
    names = Answer::OF_EVERY_CLIENT.map(|answer| answer.to_string()).join(", ")
)]
pub struct UnknownAnswer(String);

/// What an answer says. Fields that an answer does not have are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The status of the facet or of the subscription; the tab; what is shown to somebody who views as the client; `yes` or `no`
    /// for any other answer. `none`: the client was not added, has no access, is on no tab or has no such subscription.
    pub status: &'static str,
    /// Of an invited client.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub sent_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<Step>>,
    /// Of enabled access that expires.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub expires_at: Option<DateTime<Utc>>,
    /// When the partner opened its request for access, while it is open.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub access_request: Option<DateTime<Utc>>,
    /// Of a subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub paid_until: Option<DateTime<Utc>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub ended_at: Option<DateTime<Utc>>,
}

impl Answer {
    /// The answers about every client; those about its subscriptions depend on the client.
    pub const OF_EVERY_CLIENT: [Self; 12] = [
        Self::Link,
        Self::Service,
        Self::Access,
        Self::Billable,
        Self::Commission,
        Self::StatusCredit,
        Self::Connected,
        Self::Visible,
        Self::Retrieving,
        Self::OnClientList,
        Self::Tab,
        Self::ViewAsClient,
    ];

    /// The answer at a moment up to which the client's timers have fired.
    #[must_use]
    pub fn value(&self, client: &Client, policy: &Policy) -> Value {
        let value = Value::of(self.status(client));
        match self {
            Self::Link => Value {
                sent_at: client.link.invitation().map(|invitation| invitation.sent_at),
                missing: client
                    .link
                    .invitation()
                    .map(|invitation| invitation.missing().collect()),
                ..value
            },
            Self::Access => Value {
                expires_at: client.expires_at(policy),
                access_request: client.access_request(),
                ..value
            },
            Self::Subscription(id) => {
                let Some(subscription) = client.subscriptions.get(id) else {
                    return value;
                };
                Value {
                    managed_by: Some(subscription.managed_by),
                    plan: subscription.plan.clone(),
                    paid_until: subscription.paid_until,
                    ended_at: match subscription.state {
                        SubscriptionState::Ended { ended_at } => Some(ended_at),
                        _ => None,
                    },
                    ..value
                }
            }
            _ => value,
        }
    }

    /// The first part of the answer.
    pub(super) fn status(&self, client: &Client) -> &'static str {
        let flag = |on: bool| if on { "yes" } else { "no" };
        match self {
            Self::Link => client.link_status().map_or(NONE, LinkStatus::as_str),
            Self::Service => client.service_status().map_or(NONE, ServiceStatus::as_str),
            Self::Access => client.access_status().as_str(),
            Self::Billable => flag(client.billable()),
            Self::Commission => flag(client.commission()),
            Self::StatusCredit => flag(client.status_credit()),
            Self::Connected => flag(client.connected()),
            Self::Visible => flag(client.visible()),
            Self::Retrieving => flag(client.retrieving()),
            Self::OnClientList => flag(client.link_status().is_some_and(is_on_client_list)),
            Self::Tab => client.link_status().and_then(tab).map_or(NONE, Tab::as_str),
            Self::ViewAsClient => view_as_client(client).as_str(),
            Self::Subscription(id) => client
                .subscriptions
                .get(id)
                .map_or(NONE, |held| held.state.status().as_str()),
        }
    }

    /// Whether events of this kind can make a difference to the answer.
    pub(super) fn depends_on(&self, kind: &EventKind) -> bool {
        if kind.is_link_event() {
            return true;
        }
        match self {
            Self::Link | Self::StatusCredit | Self::Connected | Self::OnClientList | Self::Tab => false,
            Self::Visible => matches!(
                kind,
                EventKind::ClientTerminated { .. } | EventKind::ClientReactivated {}
            ),
            Self::Retrieving | Self::ViewAsClient => matches!(
                kind,
                EventKind::AssignmentAdded { .. }
                    | EventKind::AssignmentRemoved { .. }
                    | EventKind::ClientTerminated { .. }
                    | EventKind::ClientReactivated {}
            ),
            Self::Service | Self::Billable => matches!(
                kind,
                EventKind::AssignmentAdded { .. }
                    | EventKind::ClientTerminated { .. }
                    | EventKind::ClientReactivated {}
            ),
            Self::Access => matches!(
                kind,
                EventKind::AccountAccessed {
                    by: AccessedBy::Partner,
                    ..
                } | EventKind::AccessDisabled {}
                    | EventKind::AccessEnabled {}
                    | EventKind::AccessRequested {}
                    | EventKind::AccessApproved {}
                    | EventKind::AccessDenied {}
                    | EventKind::JobsCounted { .. }
                    | EventKind::AccountUpdated {}
            ),
            Self::Commission => matches!(kind, EventKind::CommissionEligibilityChanged { .. }),
            Self::Subscription(id) => matches!(
                kind,
                EventKind::SubscriptionAdded { subscription_id, .. }
                    | EventKind::SubscriptionRenewed { subscription_id, .. }
                    | EventKind::SubscriptionEnded { subscription_id }
                    if subscription_id == id
            ),
        }
    }

    /// The settings of policies that timers of the answer are computed from: their common beginning.
    pub(super) fn settings_prefix(&self) -> Option<&'static str> {
        match self {
            Self::Access => Some("access."),
            Self::Subscription(_) => Some("subscriptions."),
            Self::Retrieving | Self::ViewAsClient => Some("cleanup."),
            _ => None,
        }
    }

    /// The holding that events are tried on which would change the answer.
    pub(super) fn holding<'a>(&'a self, client: &'a Client) -> Option<&'a Id> {
        match self {
            Self::Subscription(id) => Some(id),
            Self::Retrieving | Self::ViewAsClient => client.assignments.keys().next(),
            _ => None,
        }
    }

    /// Whether the service makes a difference to the answer.
    fn has_service(&self) -> bool {
        matches!(self, Self::Service | Self::Billable | Self::Visible) || self.has_assignments()
    }

    /// Whether assignments make a difference to the answer, beyond the first of a pending client.
    fn has_assignments(&self) -> bool {
        matches!(self, Self::Retrieving | Self::ViewAsClient)
    }

    /// The moment from which a timer runs that can change the answer. It identifies one run of the timer. None: the timer does
    /// not run, or makes no difference to the answer.
    pub(super) fn timer_runs_from(&self, timer: Timer, client: &Client) -> Option<DateTime<Utc>> {
        match (self, timer) {
            (Self::Access, Timer::AccessExpiry) => Some(client.access()?.renewal()?.renewed_at),
            (Self::Access, Timer::RequestLapse) => client.access_request(),
            (Self::Subscription(id), Timer::SubscriptionEnd) => client.subscriptions.get(id)?.link_lost_at,
            (Self::Retrieving | Self::ViewAsClient, Timer::TerminatedCleanup) => match client.service {
                Service::Terminated { at } if !client.assignments.is_empty() => Some(at),
                _ => None,
            },
            _ => None,
        }
    }

    /// Sets the moment from which a timer runs.
    pub(super) fn set_run(&self, timer: Timer, client: &mut Client, from: DateTime<Utc>) {
        match (self, timer) {
            (Self::Access, Timer::AccessExpiry) => {
                if let Some(Access::Enabled(renewal)) = client.access_mut() {
                    renewal.since = from;
                    renewal.renewed_at = from;
                }
            }
            (Self::Access, Timer::RequestLapse) => {
                if let Some(Access::Disabled { request } | Access::Expired { request }) = client.access_mut()
                {
                    *request = Some(from);
                }
            }
            (Self::Subscription(id), Timer::SubscriptionEnd) => {
                client
                    .subscriptions
                    .update(id, |subscription| subscription.link_lost_at = Some(from));
            }
            (Self::Retrieving | Self::ViewAsClient, Timer::TerminatedCleanup) => {
                client.service = Service::Terminated { at: from };
            }
            _ => {}
        }
    }

    /// Removes from a client what makes no difference to the answer, so that two clients with the same answers from here on are
    /// equal.
    pub(super) fn reduce(&self, client: &mut Client) {
        client.name = None;
        client.origin = Origin::default();
        client.closed_request = None;
        client.invitations = 0;
        client.account.last_accessed_at = None;
        client.former_assignments.clear();
        if !self.has_assignments() {
            // An assignment makes a pending client active once, and never again.
            client.assignments.clear();
        }
        if !self.has_service() {
            client.service = Service::default();
        }
        match client.access_mut() {
            Some(Access::Enabled(renewal)) if matches!(self, Self::Access) => {
                // Since when access is enabled is no part of the answer.
                renewal.since = renewal.renewed_at;
            }
            Some(access) if !matches!(self, Self::Access) => *access = Access::Disabled { request: None },
            _ => {}
        }
    }
}

/// The status of what is not there. That of access has the same text.
const NONE: &str = AccessStatus::None.as_str();

impl Value {
    fn of(status: &'static str) -> Self {
        Self {
            status,
            sent_at: None,
            missing: None,
            expires_at: None,
            access_request: None,
            managed_by: None,
            plan: None,
            paid_until: None,
            ended_at: None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("link"),
            Self::Service => f.write_str("service"),
            Self::Access => f.write_str("access"),
            Self::Billable => f.write_str("billable"),
            Self::Commission => f.write_str("commission"),
            Self::StatusCredit => f.write_str("status_credit"),
            Self::Connected => f.write_str("connected"),
            Self::Visible => f.write_str("visible"),
            Self::Retrieving => f.write_str("retrieving"),
            Self::OnClientList => f.write_str("on_client_list"),
            Self::Tab => f.write_str("tab"),
            Self::ViewAsClient => f.write_str("view_as_client"),
            Self::Subscription(id) => write!(f, "subscription:{}", id.as_str()),
        }
    }
}

impl FromStr for Answer {
    type Err = UnknownAnswer;

    fn from_str(text: &str) -> Result<Self, UnknownAnswer> {
        let plain = Self::OF_EVERY_CLIENT
            .into_iter()
            .find(|answer| answer.to_string() == text);
        let subscription = || {
            let id = text.strip_prefix("subscription:")?;
            Id::try_from(id.to_owned()).ok().map(Self::Subscription)
        };
        plain
            .or_else(subscription)
            .ok_or_else(|| UnknownAnswer(clip(text)))
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
