//! The public view of a client: the same JSON in the CLI and over HTTP.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::access::AccessStatus;
use super::client::Client;
use super::event::ManagedBy;
use super::holding_map::HoldingSet;
use super::holdings::{SubscriptionState, SubscriptionStatus};
use super::id::{ClientKey, Id};
use super::link::LinkStatus;
use super::policy::Policy;
use super::service::ServiceStatus;
use super::text_enum::text_enum;
use super::time::serialize_optional;

/// A client at one moment. Times are RFC 3339 in UTC.
#[expect(clippy::struct_excessive_bools, reason = "the articles define each of them")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientView {
    pub partner: String,
    pub client: String,
    pub name: Option<String>,
    pub link: Option<LinkStatus>,
    pub service: Option<ServiceStatus>,
    pub access: AccessStatus,
    /// When the partner opened its request for access, while it is open.
    #[serde(serialize_with = "serialize_optional")]
    pub access_request: Option<DateTime<Utc>>,
    #[serde(serialize_with = "serialize_optional")]
    pub expires_at: Option<DateTime<Utc>>,
    pub connected: bool,
    pub billable: bool,
    pub visible: bool,
    pub retrieving: bool,
    pub commission: bool,
    pub status_credit: bool,
    /// None for a deleted client.
    pub tab: Option<Tab>,
    pub subscriptions: Vec<SubscriptionView>,
    pub assignments: Vec<Id>,
    pub report_schedules: Vec<Id>,
    pub margin_rules: Vec<Id>,
    pub users: Vec<Id>,
    pub integrations: Vec<Id>,
    pub jobs_total: Option<u64>,
    #[serde(serialize_with = "serialize_optional")]
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// The time of the last event or timer that this state includes.
    #[serde(serialize_with = "serialize_optional")]
    pub as_of: Option<DateTime<Utc>>,
    /// The number of times that the client's document was written.
    pub version: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubscriptionView {
    pub id: Id,
    pub status: SubscriptionStatus,
    pub managed_by: ManagedBy,
    pub plan: Option<String>,
    #[serde(serialize_with = "serialize_optional")]
    pub paid_until: Option<DateTime<Utc>>,
    #[serde(serialize_with = "serialize_optional")]
    pub ended_at: Option<DateTime<Utc>>,
}

impl ClientView {
    /// The view of a client whose timers have fired up to the moment in question, under the policy in force then.
    #[must_use]
    pub fn of(key: &ClientKey, client: &Client, version: i64, policy: &Policy) -> Self {
        let ids = |set: &HoldingSet| set.keys().cloned().collect();
        Self {
            partner: key.partner.to_string(),
            client: key.client.to_string(),
            name: client.name.as_ref().map(|name| name.as_str().to_owned()),
            link: client.link_status(),
            service: client.service_status(),
            access: client.access_status(),
            access_request: client.access_request(),
            expires_at: client.expires_at(policy),
            connected: client.connected(),
            billable: client.billable(),
            visible: client.visible(),
            retrieving: client.retrieving(),
            commission: client.commission(),
            status_credit: client.status_credit(),
            tab: client.link_status().and_then(tab),
            subscriptions: client
                .subscriptions
                .iter()
                .map(|(id, subscription)| SubscriptionView {
                    id: id.clone(),
                    status: subscription.state.status(),
                    managed_by: subscription.managed_by,
                    plan: subscription.plan.clone(),
                    paid_until: subscription.paid_until,
                    ended_at: match subscription.state {
                        SubscriptionState::Ended { ended_at } => Some(ended_at),
                        _ => None,
                    },
                })
                .collect(),
            assignments: client.assignments.keys().cloned().collect(),
            report_schedules: ids(&client.report_schedules),
            margin_rules: ids(&client.margin_rules),
            users: ids(&client.users),
            integrations: ids(&client.integrations),
            jobs_total: client.account.jobs_total,
            last_accessed_at: client.account.last_accessed_at,
            as_of: client.as_of(),
            version,
        }
    }
}

text_enum! {
    /// The tabs of a partner's client list (000).
    pub enum Tab {
        Active = "active",
        Inactive = "inactive",
    }
}

/// 000: archived and lost clients are under the Inactive tab.
#[must_use]
pub fn tab(link: LinkStatus) -> Option<Tab> {
    match link {
        LinkStatus::Archived | LinkStatus::Lost => Some(Tab::Inactive),
        LinkStatus::Deleted => None,
        LinkStatus::Draft
        | LinkStatus::Invited
        | LinkStatus::Active
        | LinkStatus::InvitationRejected
        | LinkStatus::AccessRejected => Some(Tab::Active),
    }
}
