//! What a change says besides a status: the `data` of a change.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::client::Origin;
use crate::domain::event::{Channel, ManagedBy, Steps};
use crate::domain::holdings::Subscription;
use crate::domain::link::Invitation;
use crate::domain::time::serialize_optional;

/// The fields of all types of changes, with their names in the client's JSON. A change has those that it changes. A refusal for a
/// name has `conflicts_with`, which is not in that JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Details {
    /// How the partner got the client into its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// How the invitation was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// What the client must complete for the link to become active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Whether the partner earns commission once the link is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commission_eligible: Option<bool>,
    /// The number of invitations since the client was added, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The side that manages and pays for the subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// The plan, as the event said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Up to when the subscription is paid.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub paid_until: Option<DateTime<Utc>>,
    /// When access expires, unless it is renewed.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_optional"
    )]
    pub expires_at: Option<DateTime<Utc>>,
    /// The client of the same partner that has the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts_with: Option<Arc<str>>,
}

/// What an invitation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationTerms {
    pub channel: Channel,
    pub steps: Steps,
    pub commission_eligible: bool,
    /// The number of invitations since the client was added, this one included.
    pub count: u32,
}

/// What a subscription has besides its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionTerms {
    pub managed_by: ManagedBy,
    pub plan: Option<String>,
    pub paid_until: Option<DateTime<Utc>>,
}

impl InvitationTerms {
    pub(super) fn of(invitation: &Invitation, count: u32) -> Self {
        Self {
            channel: invitation.channel,
            steps: invitation.steps.clone(),
            commission_eligible: invitation.commission_eligible,
            count,
        }
    }

    pub(super) fn details(&self) -> Details {
        Details {
            channel: Some(self.channel),
            steps: Some(self.steps.clone()),
            commission_eligible: Some(self.commission_eligible),
            count: Some(self.count),
            ..Details::default()
        }
    }
}

impl SubscriptionTerms {
    pub(super) fn of(subscription: &Subscription) -> Self {
        Self {
            managed_by: subscription.managed_by,
            plan: subscription.plan.clone(),
            paid_until: subscription.paid_until,
        }
    }

    pub(super) fn details(&self) -> Details {
        Details {
            managed_by: Some(self.managed_by),
            plan: self.plan.clone(),
            paid_until: self.paid_until,
            ..Details::default()
        }
    }
}

impl Details {
    pub(super) fn invitation(&self) -> Option<InvitationTerms> {
        Some(InvitationTerms {
            channel: self.channel?,
            steps: self.steps.clone()?,
            commission_eligible: self.commission_eligible?,
            count: self.count?,
        })
    }

    pub(super) fn subscription(&self) -> Option<SubscriptionTerms> {
        Some(SubscriptionTerms {
            managed_by: self.managed_by?,
            plan: self.plan.clone(),
            paid_until: self.paid_until,
        })
    }
}
