//! A client: its three facets, its holdings, and the values that follow from them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::{Access, AccessStatus, ClosedRequest};
use super::account::Account;
use super::change::Flag;
use super::event::{Event, EventKind, NameVerdict, Position, Side, Step};
use super::holding_map::{HoldingMap, HoldingSet, ids};
use super::link::{Link, LinkStatus};
use super::name::Name;
use super::policy::Policies;
use super::refusal::Refusal;
use super::service::{Service, ServiceStatus};
use super::subscriptions::Subscriptions;
use super::text_enum::text_enum;

/// The state of one client: a function of its events, the policies and a moment.
///
/// The stored document has the fields in this order: those that change most often stand first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The position of the last event so far, refused events included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Position>,
    /// The due time of the last timer that fired since that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Account::is_unknown")]
    pub account: Account,
    pub link: Link,
    pub service: Service,
    /// None for a client that was never added and has only refused events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    #[serde(default, skip_serializing_if = "Origin::is_added")]
    pub origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_request: Option<ClosedRequest>,
    /// The number of invitations that were sent since the client was added, resends included.
    #[serde(default)]
    pub invitations: u32,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub subscriptions: Subscriptions,
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty")]
    pub assignments: HoldingMap<Option<String>>,
    /// The assignments that the last clean-up removed, until the client is assigned again (001: "mapped back to their Data
    /// Sources").
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty", with = "ids")]
    pub former_assignments: HoldingSet,
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty", with = "ids")]
    pub report_schedules: HoldingSet,
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty", with = "ids")]
    pub margin_rules: HoldingSet,
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty", with = "ids")]
    pub users: HoldingSet,
    #[serde(default, skip_serializing_if = "HoldingMap::is_empty", with = "ids")]
    pub integrations: HoldingSet,
}

text_enum! {
    /// How the partner got the client into its list (000: "add or import a client").
    #[derive(Default)]
    pub enum Origin {
        #[default]
        Added = "added",
        Imported = "imported",
    }
}

impl Origin {
    #[must_use]
    pub fn is_added(&self) -> bool {
        *self == Self::Added
    }
}

impl Client {
    /// Applies an event that comes after every event the client has seen. Timers that are due at or before its time must
    /// have fired ([`Client::advance`]).
    ///
    /// # Errors
    /// The refusal, if the event is not possible here. The client has then seen the event, and is otherwise unchanged.
    pub fn apply(&mut self, event: &Event, policies: &Policies) -> Result<(), Refusal> {
        self.seen = Some(event.position());
        // No timer has fired after this event, so its position alone says how far the client is.
        self.fired = None;
        // First of all: the log stores the verdict as the event's outcome, so no other refusal may replace it.
        if event.name_verdict == NameVerdict::Taken {
            return Err(Refusal::NameTaken);
        }
        self.must_allow(event)?;
        self.apply_kind(&event.kind, event.time, policies)
    }

    /// What is looked at before the event's own rule: whether the client must be there or must not, and whether the actor may
    /// cause the event. An event that claims a name is refused for no other reason, unless the name is taken.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn must_allow(&self, event: &Event) -> Result<(), Refusal> {
        let (adds, exists) = (matches!(event.kind, EventKind::ClientAdded { .. }), self.exists());
        if !adds && !exists {
            return Err(Refusal::UnknownClient);
        }
        if !event.actor.may_cause(&event.kind) {
            return Err(Refusal::NotTheirs);
        }
        if adds && exists {
            return Err(Refusal::AlreadyExists);
        }
        Ok(())
    }

    /// The one dispatch from an event type to the rule that implements it.
    #[allow(clippy::too_many_lines, reason = "an arm for each event type")]
    fn apply_kind(
        &mut self,
        kind: &EventKind,
        at: DateTime<Utc>,
        policies: &Policies,
    ) -> Result<(), Refusal> {
        match kind {
            EventKind::ClientAdded { name, imported } => self.add(name, *imported),
            EventKind::ClientRenamed { name } => self.name = Some(name.clone()),
            EventKind::ClientInvited {
                channel,
                steps,
                commission_eligible,
            } => self.invite(*channel, steps, *commission_eligible, at)?,
            EventKind::InvitationAccepted {} => self.complete_step(Step::Accepted, at)?,
            EventKind::OnboardingCompleted { via } => self.onboard(*via, at)?,
            EventKind::ConsentGranted {} => self.complete_step(Step::Consented, at)?,
            EventKind::InvitationRejected { .. } => self.reject_invitation()?,
            EventKind::IdentityRejected { .. } => self.reject_identity()?,
            EventKind::ClientArchived { .. } => self.end_link(Side::Partner, at)?,
            EventKind::ClientLost { .. } => self.end_link(Side::Client, at)?,
            EventKind::PartnerDisconnected { by } => self.end_link(*by, at)?,
            EventKind::ClientDeleted {} => self.delete(at)?,
            EventKind::AssignmentAdded {
                assignment_id,
                service,
            } => self.add_assignment(assignment_id, service.as_deref())?,
            EventKind::AssignmentRemoved { assignment_id } => self.remove_assignment(assignment_id)?,
            EventKind::ReportScheduleCreated { schedule_id } => self.create_report_schedule(schedule_id)?,
            EventKind::ReportScheduleDeleted { schedule_id } => self.delete_report_schedule(schedule_id)?,
            EventKind::MarginRuleCreated { rule_id } => self.create_margin_rule(rule_id)?,
            EventKind::MarginRuleDeleted { rule_id } => self.delete_margin_rule(rule_id)?,
            EventKind::ClientTerminated { .. } => self.terminate(at)?,
            EventKind::ClientReactivated {} => self.reactivate()?,
            EventKind::SubscriptionAdded {
                subscription_id,
                plan,
                managed_by,
                paid_until,
            } => self.add_subscription(subscription_id, plan.as_deref(), *managed_by, *paid_until)?,
            EventKind::SubscriptionRenewed {
                subscription_id,
                paid_until,
            } => self.renew_subscription(subscription_id, *paid_until)?,
            EventKind::SubscriptionEnded { subscription_id } => self.end_subscription(subscription_id, at)?,
            EventKind::UserAdded { user_id } => self.add_user(user_id)?,
            EventKind::UserRemoved { user_id } => self.remove_user(user_id)?,
            EventKind::IntegrationAdded { integration_id } => self.add_integration(integration_id)?,
            EventKind::IntegrationRemoved { integration_id } => self.remove_integration(integration_id)?,
            EventKind::AccountAccessed { by, .. } => self.access_account(*by, at)?,
            EventKind::AccessDisabled {} => self.disable_access()?,
            EventKind::AccessEnabled {} => self.enable_access(at)?,
            EventKind::AccessRequested {} => self.request_access(at)?,
            EventKind::AccessApproved {} => self.approve_access(at)?,
            EventKind::AccessDenied {} => self.deny_access()?,
            EventKind::JobsCounted { total } => self.account.count_jobs(*total, at, policies.at(at)),
            EventKind::AccountUpdated {} => self.account.update(at),
            EventKind::CommissionEligibilityChanged { eligible } => {
                self.set_commission_eligible(*eligible)?;
            }
            EventKind::IdentityCleared { .. } => self.clear_identity()?,
            EventKind::InvitationBounced { .. } => self.bounce_invitation()?,
            EventKind::AccountCreated { by, account_id } => self.account.create(*by, account_id.as_ref()),
            EventKind::AccountOwnerSet {} => self.set_account_owner()?,
        }
        Ok(())
    }

    /// A client that is added again begins with nothing: even the subscriptions that had ended are gone, and their ids are
    /// free.
    fn add(&mut self, name: &Name, imported: bool) {
        self.name = Some(name.clone());
        self.link = Link::Draft;
        self.service = Service::PendingAssigning;
        self.origin = if imported { Origin::Imported } else { Origin::Added };
        self.subscriptions.remove_where(|_| true);
    }

    /// Whether the client was added, and not deleted since.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.link.exists()
    }

    /// The name that no other client of the partner may claim.
    #[must_use]
    pub fn current_name(&self) -> Option<&Name> {
        self.name.as_ref().filter(|_| self.exists())
    }

    /// Whether the client was ever added.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.link != Link::Unknown
    }

    /// How many holdings it has, subscriptions that have ended included.
    #[must_use]
    pub fn holdings(&self) -> usize {
        self.subscriptions.len()
            + self.assignments.len()
            + self.report_schedules.len()
            + self.margin_rules.len()
            + self.users.len()
            + self.integrations.len()
    }

    /// The moment that the state is computed for: the last event or fired timer.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        self.seen.as_ref().map(|seen| seen.time).max(self.fired)
    }

    /// Whether an event at this position arrives too late to be applied to this state: the client has seen a later event,
    /// or a timer that is due after it has fired.
    #[must_use]
    pub fn is_past(&self, position: &Position) -> bool {
        self.seen.as_ref().is_some_and(|seen| position <= seen)
            || self.fired.is_some_and(|fired| position.time < fired)
    }

    #[must_use]
    pub fn link_status(&self) -> Option<LinkStatus> {
        self.link.status()
    }

    /// None for a client that was never added.
    #[must_use]
    pub fn service_status(&self) -> Option<ServiceStatus> {
        self.is_known().then(|| self.service.status())
    }

    #[must_use]
    pub fn access(&self) -> Option<&Access> {
        self.link.connection().map(|connection| &connection.access)
    }

    #[must_use]
    pub fn access_status(&self) -> AccessStatus {
        self.access().map_or(AccessStatus::None, Access::status)
    }

    /// When the partner opened its request for access, while it is open.
    #[must_use]
    pub fn access_request(&self) -> Option<DateTime<Utc>> {
        self.access().and_then(Access::request)
    }

    /// 002: disabled or expired access does not end the connection.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.link.connection().is_some()
    }

    /// 001: "all clients in this status are billable".
    #[must_use]
    pub fn billable(&self) -> bool {
        self.service_status() == Some(ServiceStatus::Active)
    }

    /// 001: the data of terminated clients no longer appears in the dashboard.
    #[must_use]
    pub fn visible(&self) -> bool {
        self.service_status()
            .is_some_and(|status| status != ServiceStatus::Terminated)
    }

    /// 001: new data is retrieved for active clients that are mapped to a source.
    #[must_use]
    pub fn retrieving(&self) -> bool {
        self.billable() && !self.assignments.is_empty()
    }

    /// 002: commission continues while access is disabled or expired, and stops with the connection.
    #[must_use]
    pub fn commission(&self) -> bool {
        self.link
            .connection()
            .is_some_and(|connection| connection.commission_eligible)
    }

    /// 002: status credits last as long as the connection.
    #[must_use]
    pub fn status_credit(&self) -> bool {
        self.connected()
    }

    /// Whether the flag is on.
    #[must_use]
    pub fn flag(&self, flag: Flag) -> bool {
        match flag {
            Flag::Billing => self.billable(),
            Flag::Commission => self.commission(),
            Flag::StatusCredit => self.status_credit(),
            Flag::DataRetrieval => self.retrieving(),
            Flag::Visibility => self.visible(),
        }
    }
}

fn is_empty(subscriptions: &Subscriptions) -> bool {
    subscriptions.is_empty()
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn empty_parts_are_not_stored() {
        assert_eq!(
            serde_json::to_value(Client::default()).unwrap(),
            serde_json::json!({"link": "unknown", "service": "pending_assigning", "invitations": 0})
        );
    }
}
