//! A change: one visible difference in a client, published to subscribers and recorded in the journal.

mod details;
mod diff;
mod kind;
mod last_changes;
mod text;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::{AccessStatus, RequestEnd};
use super::cause::{Cause, Corrector};
use super::client::Origin;
use super::event::{Creator, Step};
use super::holdings::SubscriptionStatus;
use super::id::{ClientKey, Id};
use super::link::LinkStatus;
use super::name::Name;
use super::refusal::Refusal;
use super::service::ServiceStatus;

pub use details::{Details, InvitationTerms, SubscriptionTerms};
pub use diff::changes;
pub(super) use diff::{Holdings, Observation, between, presence};
pub use kind::{ChangeKind, Flag, Holding, kinds_of, kinds_of_any};
pub use last_changes::{LastChanges, Occurrence};
pub use text::{ChangeError, ChangeText};

/// One difference between two states of a client, or a notice that something happened to it. It has everything that it changes in
/// the client's JSON, except what its time says: when a request was opened, an invitation was sent, or a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `from` is none for a client that was just added.
    Link {
        from: Option<LinkStatus>,
        to: LinkStatus,
    },
    Service {
        from: Option<ServiceStatus>,
        to: ServiceStatus,
    },
    Access {
        from: AccessStatus,
        to: AccessStatus,
        /// When enabled access expires, unless it is renewed.
        expires_at: Option<DateTime<Utc>>,
    },
    /// It took effect when the request was opened.
    AccessRequested,
    /// `to` is how. A late event can remove it: the request was never opened.
    AccessRequestClosed {
        to: Option<RequestEnd>,
    },
    /// `left` is the time until expiry, as an ISO 8601 duration.
    AccessExpiring {
        left: String,
        expires_at: Option<DateTime<Utc>>,
    },
    /// The client was added, or added again.
    ClientNamed {
        name: Name,
        origin: Origin,
    },
    ClientRenamed {
        from: Name,
        to: Name,
    },
    /// It took effect when the invitation was sent. Without terms, the invitation is over already: a late event shows that there was one.
    InvitationSent(Option<InvitationTerms>),
    InvitationStalled,
    /// A step that the invitation requires.
    InvitationStepCompleted(Step),
    /// 000, FAQ: the business "onboarded independently"; send the invitation again.
    InvitationBypassed,
    InvitationBounced,
    /// Whether the open invitation promises commission.
    CommissionEligibilityChanged {
        eligible: bool,
    },
    /// `from` is none for a subscription that was just added. When it ends, this took effect at its end.
    Subscription {
        id: Id,
        from: Option<SubscriptionStatus>,
        to: SubscriptionStatus,
        /// None: they stay as they were published.
        terms: Option<SubscriptionTerms>,
    },
    /// The client let go of the subscription, or a late event shows that it never existed.
    SubscriptionRemoved {
        id: Id,
        from: SubscriptionStatus,
    },
    /// `id` is the account's, if an event named it. `from` is the creator that was published before: the same one when only
    /// the id is new. A late event can remove `to`.
    AccountCreated {
        id: Option<Id>,
        from: Option<Creator>,
        to: Option<Creator>,
    },
    /// 002: the partner added the account's owner.
    AccountHandedOver,
    /// The highest total of jobs so far. A late event can remove `to`.
    AccountJobsCounted {
        from: Option<u64>,
        to: Option<u64>,
    },
    /// `from` and `to` are the times up to which the subscription is paid. A late event can remove `to`.
    SubscriptionRenewed {
        id: Id,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
    },
    Added {
        holding: Holding,
        id: Id,
    },
    Removed {
        holding: Holding,
        id: Id,
    },
    Started(Flag),
    Stopped(Flag),
    /// `conflicts_with` is the client of the same partner that has the name, if the event is refused for a name.
    EventRefused {
        refusal: Refusal,
        conflicts_with: Option<Arc<str>>,
    },
    /// The event had been refused for this reason. A late event made it possible.
    EventAccepted(Refusal),
}

/// A change with its time and cause: one row of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(rename = "client")]
    pub key: ClientKey,
    pub change: Change,
    /// When it took effect: the event's time, or the timer's due time.
    pub time: DateTime<Utc>,
    pub cause: Cause,
    /// For a correction: what made it necessary. Its time and its cause are those in the history as it is known since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_by: Option<Corrector>,
}

impl Entry {
    /// Whether it amends what was published before.
    #[must_use]
    pub fn is_correction(&self) -> bool {
        self.corrected_by.is_some()
    }
}

impl Change {
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Link { to, .. } => ChangeKind::Link(*to),
            Self::Service { to, .. } => ChangeKind::Service(*to),
            Self::Access { to, .. } => ChangeKind::Access(*to),
            Self::AccessRequested => ChangeKind::AccessRequested,
            Self::AccessRequestClosed { .. } => ChangeKind::AccessRequestClosed,
            Self::AccessExpiring { .. } => ChangeKind::AccessExpiring,
            Self::ClientNamed { .. } => ChangeKind::ClientNamed,
            Self::ClientRenamed { .. } => ChangeKind::ClientRenamed,
            Self::InvitationSent(_) => ChangeKind::InvitationSent,
            Self::InvitationStalled => ChangeKind::InvitationStalled,
            Self::InvitationStepCompleted(_) => ChangeKind::InvitationStepCompleted,
            Self::InvitationBypassed => ChangeKind::InvitationBypassed,
            Self::InvitationBounced => ChangeKind::InvitationBounced,
            Self::CommissionEligibilityChanged { .. } => ChangeKind::CommissionEligibilityChanged,
            Self::Subscription { to, .. } => ChangeKind::Subscription(*to),
            Self::SubscriptionRemoved { .. } => ChangeKind::SubscriptionRemoved,
            Self::AccountCreated { .. } => ChangeKind::AccountCreated,
            Self::AccountHandedOver => ChangeKind::AccountHandedOver,
            Self::AccountJobsCounted { .. } => ChangeKind::AccountJobsCounted,
            Self::SubscriptionRenewed { .. } => ChangeKind::SubscriptionRenewed,
            Self::Added { holding, .. } => ChangeKind::Added(*holding),
            Self::Removed { holding, .. } => ChangeKind::Removed(*holding),
            Self::Started(flag) => ChangeKind::Started(*flag),
            Self::Stopped(flag) => ChangeKind::Stopped(*flag),
            Self::EventRefused { .. } => ChangeKind::EventRefused,
            Self::EventAccepted(_) => ChangeKind::EventAccepted,
        }
    }

    /// The id of the holding, subscription or account that changed.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Subscription { id, .. }
            | Self::SubscriptionRemoved { id, .. }
            | Self::SubscriptionRenewed { id, .. }
            | Self::Added { id, .. }
            | Self::Removed { id, .. } => Some(id),
            Self::AccountCreated { id, .. } => id.as_ref(),
            Self::Link { .. }
            | Self::Service { .. }
            | Self::Access { .. }
            | Self::AccessRequested
            | Self::AccessRequestClosed { .. }
            | Self::AccessExpiring { .. }
            | Self::ClientNamed { .. }
            | Self::ClientRenamed { .. }
            | Self::InvitationSent(_)
            | Self::InvitationStalled
            | Self::InvitationStepCompleted(_)
            | Self::InvitationBypassed
            | Self::InvitationBounced
            | Self::CommissionEligibilityChanged { .. }
            | Self::AccountHandedOver
            | Self::AccountJobsCounted { .. }
            | Self::Started(_)
            | Self::Stopped(_)
            | Self::EventRefused { .. }
            | Self::EventAccepted(_) => None,
        }
    }
}
