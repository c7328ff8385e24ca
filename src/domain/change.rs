//! A change: one visible difference in a client, published to subscribers and recorded in the journal.

mod diff;
mod kind;
mod text;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::AccessStatus;
use super::cause::Cause;
use super::holdings::SubscriptionStatus;
use super::id::{ClientKey, Id};
use super::link::LinkStatus;
use super::name::Name;
use super::refusal::Refusal;
use super::service::ServiceStatus;

pub use diff::changes;
pub use kind::{ChangeKind, Flag, Holding};
pub use text::{ChangeError, ChangeText};

/// One difference between two states of a client, or a notice that something happened to it.
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
    },
    AccessRequested,
    /// The request was approved, denied, or access began or ended without an answer.
    AccessRequestClosed,
    /// `left` is the time until expiry, as an ISO 8601 duration.
    AccessExpiring {
        left: String,
    },
    ClientRenamed {
        from: Name,
        to: Name,
    },
    InvitationSent,
    InvitationStalled,
    /// `from` is none for a subscription that was just added.
    Subscription {
        id: Id,
        from: Option<SubscriptionStatus>,
        to: SubscriptionStatus,
    },
    /// A late event shows that the subscription never existed. Its type is `subscription.ended`, without `to`.
    SubscriptionVoided {
        id: Id,
        from: SubscriptionStatus,
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
    EventRefused(Refusal),
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
    /// A late event or a rebuild caused it.
    pub correction: bool,
}

impl Change {
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Link { to, .. } => ChangeKind::Link(*to),
            Self::Service { to, .. } => ChangeKind::Service(*to),
            Self::Access { to, .. } => ChangeKind::Access(*to),
            Self::AccessRequested => ChangeKind::AccessRequested,
            Self::AccessRequestClosed => ChangeKind::AccessRequestClosed,
            Self::AccessExpiring { .. } => ChangeKind::AccessExpiring,
            Self::ClientRenamed { .. } => ChangeKind::ClientRenamed,
            Self::InvitationSent => ChangeKind::InvitationSent,
            Self::InvitationStalled => ChangeKind::InvitationStalled,
            Self::Subscription { to, .. } => ChangeKind::Subscription(*to),
            Self::SubscriptionVoided { .. } => ChangeKind::Subscription(SubscriptionStatus::Ended),
            Self::SubscriptionRenewed { .. } => ChangeKind::SubscriptionRenewed,
            Self::Added { holding, .. } => ChangeKind::Added(*holding),
            Self::Removed { holding, .. } => ChangeKind::Removed(*holding),
            Self::Started(flag) => ChangeKind::Started(*flag),
            Self::Stopped(flag) => ChangeKind::Stopped(*flag),
            Self::EventRefused(_) => ChangeKind::EventRefused,
        }
    }

    /// The id of the holding or subscription that changed.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Subscription { id, .. }
            | Self::SubscriptionVoided { id, .. }
            | Self::SubscriptionRenewed { id, .. }
            | Self::Added { id, .. }
            | Self::Removed { id, .. } => Some(id),
            Self::Link { .. }
            | Self::Service { .. }
            | Self::Access { .. }
            | Self::AccessRequested
            | Self::AccessRequestClosed
            | Self::AccessExpiring { .. }
            | Self::ClientRenamed { .. }
            | Self::InvitationSent
            | Self::InvitationStalled
            | Self::Started(_)
            | Self::Stopped(_)
            | Self::EventRefused(_) => None,
        }
    }
}
