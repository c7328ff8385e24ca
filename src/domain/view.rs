//! The public view of a client: the same JSON in the CLI and over HTTP.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::access::AccessStatus;
use super::account::Handover;
use super::client::{Client, Origin};
use super::event::{Channel, ManagedBy, Step};
use super::holding_map::HoldingSet;
use super::holdings::{Subscription, SubscriptionState, SubscriptionStatus};
use super::id::{ClientKey, Id};
use super::link::{Invitation, LinkStatus};
use super::policy::Policies;
use super::service::ServiceStatus;
use super::text_enum::text_enum;
use super::time::{serialize, serialize_optional};

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
    /// 002: an app that shows connections shows the partner this client.
    pub on_client_list: bool,
    pub origin: Origin,
    /// While the link is `invited`.
    pub invitation: Option<InvitationView>,
    pub view_as_client: ViewAsClient,
    /// 001: the client is offered when a campaign is assigned.
    pub assignable: bool,
    pub subscriptions: Vec<SubscriptionView>,
    pub assignments: Vec<Id>,
    /// What the last clean-up of a terminated client removed, until the client is assigned again.
    pub former_assignments: Vec<Id>,
    pub report_schedules: Vec<Id>,
    pub margin_rules: Vec<Id>,
    pub users: Vec<Id>,
    pub integrations: Vec<Id>,
    /// The account in the account app, if an event named it.
    pub account_id: Option<Id>,
    pub handover: Handover,
    pub jobs_total: Option<u64>,
    #[serde(serialize_with = "serialize_optional")]
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// When this view becomes different without a new event, at the earliest. None: never.
    #[serde(serialize_with = "serialize_optional")]
    pub holds_until: Option<DateTime<Utc>>,
    /// The time of the last event or timer that this state includes.
    #[serde(serialize_with = "serialize_optional")]
    pub as_of: Option<DateTime<Utc>>,
    /// The number of times that the client's document was written.
    pub version: i64,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvitationView {
    #[serde(serialize_with = "serialize")]
    pub sent_at: DateTime<Utc>,
    pub channel: Channel,
    /// The steps that lead to an active link.
    pub steps: Vec<Step>,
    pub done: Vec<Step>,
    pub missing: Vec<Step>,
    /// 000, FAQ: the business onboarded without the invitation; send it again.
    pub onboarded_independently: bool,
    pub bounced: bool,
    /// The number of invitations since the client was added, resends included.
    pub count: u32,
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
    /// The view of a client at a moment. Its timers must have fired up to then.
    #[must_use]
    pub fn of(
        key: &ClientKey,
        client: &Client,
        version: i64,
        moment: DateTime<Utc>,
        policies: &Policies,
    ) -> Self {
        let ids = |set: &HoldingSet| set.keys().cloned().collect();
        Self {
            partner: key.partner.to_string(),
            client: key.client.to_string(),
            name: client.name.as_ref().map(|name| name.as_str().to_owned()),
            link: client.link_status(),
            service: client.service_status(),
            access: client.access_status(),
            access_request: client.access_request(),
            expires_at: client.expires_at(policies.at(moment)),
            connected: client.connected(),
            billable: client.billable(),
            visible: client.visible(),
            retrieving: client.retrieving(),
            commission: client.commission(),
            status_credit: client.status_credit(),
            tab: client.link_status().and_then(tab),
            on_client_list: client.link_status().is_some_and(is_on_client_list),
            origin: client.origin,
            invitation: client
                .link
                .invitation()
                .map(|invitation| InvitationView::of(invitation, client.invitations)),
            view_as_client: view_as_client(client),
            // 001: pending and active clients are in the menu of assigning.
            assignable: client.visible(),
            subscriptions: client
                .subscriptions
                .iter()
                .map(|(id, subscription)| SubscriptionView::of(id, subscription))
                .collect(),
            assignments: client.assignments.keys().cloned().collect(),
            former_assignments: ids(&client.former_assignments),
            report_schedules: ids(&client.report_schedules),
            margin_rules: ids(&client.margin_rules),
            users: ids(&client.users),
            integrations: ids(&client.integrations),
            account_id: client.account.id.clone(),
            handover: client.account.handover(),
            jobs_total: client.account.jobs_total,
            last_accessed_at: client.account.last_accessed_at,
            holds_until: client.holds_until(moment, policies),
            as_of: client.as_of(),
            version,
        }
    }
}

impl SubscriptionView {
    fn of(id: &Id, subscription: &Subscription) -> Self {
        Self {
            id: id.clone(),
            status: subscription.state.status(),
            managed_by: subscription.managed_by,
            plan: subscription.plan.clone(),
            paid_until: subscription.paid_until,
            ended_at: match subscription.state {
                SubscriptionState::Ended { ended_at } => Some(ended_at),
                _ => None,
            },
        }
    }
}

impl InvitationView {
    fn of(invitation: &Invitation, count: u32) -> Self {
        Self {
            sent_at: invitation.sent_at,
            channel: invitation.channel,
            steps: invitation.steps.iter().collect(),
            done: invitation.done.iter().copied().collect(),
            missing: invitation.missing().collect(),
            onboarded_independently: invitation.onboarded_independently,
            bounced: invitation.bounced,
            count,
        }
    }
}

text_enum! {
    /// What the dashboard shows to someone who views it as this client (001).
    pub enum ViewAsClient {
        /// The client is not in the menu.
        No = "no",
        /// "A screen stating that there are no connections".
        NoConnections = "no_connections",
        Data = "data",
    }
}

pub(super) fn view_as_client(client: &Client) -> ViewAsClient {
    if !client.visible() {
        ViewAsClient::No
    } else if client.assignments.is_empty() {
        ViewAsClient::NoConnections
    } else {
        ViewAsClient::Data
    }
}

text_enum! {
    /// The tabs of a partner's client list (000).
    pub enum Tab {
        Active = "active",
        Inactive = "inactive",
    }
}

/// 000: re-inviting from the Inactive tab "follows the same flow as inviting a Draft client", so a draft is there too. Only
/// connected clients are on the other tab.
#[must_use]
pub fn tab(link: LinkStatus) -> Option<Tab> {
    match link {
        LinkStatus::Active => Some(Tab::Active),
        LinkStatus::Deleted => None,
        LinkStatus::Draft
        | LinkStatus::Invited
        | LinkStatus::InvitationRejected
        | LinkStatus::AccessRejected
        | LinkStatus::Archived
        | LinkStatus::Lost => Some(Tab::Inactive),
    }
}

/// 002: after a disconnection the "customer will be removed from your client list".
pub(super) fn is_on_client_list(link: LinkStatus) -> bool {
    matches!(link, LinkStatus::Draft | LinkStatus::Invited | LinkStatus::Active)
}
