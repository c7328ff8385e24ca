//! A client: three facets, their holdings, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::{Access, AccessStatus, Account};
use super::change::Flag;
use super::event::{Event, EventKind, NameVerdict, Position};
use super::holdings::Subscription;
use super::id::Id;
use super::link::{Link, LinkStatus};
use super::name::Name;
use super::policy::Policies;
use super::refusal::Refusal;
use super::service::{Service, ServiceStatus};

/// The state of one client: a function of its events and of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// None only for a ghost: a client known by refused events alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    pub link: Link,
    pub service: Service,
    #[serde(default, skip_serializing_if = "Account::is_unknown")]
    pub account: Account,
    /// How many invitations were sent, resends with them.
    #[serde(default)]
    pub invitations: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subscriptions: BTreeMap<Id, Subscription>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assignments: BTreeMap<Id, Option<String>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub report_schedules: BTreeSet<Id>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub margin_rules: BTreeSet<Id>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<Id>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub integrations: BTreeSet<Id>,
    /// The last event of the history so far, refused ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Position>,
    /// When the last timer that fired since that event was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired: Option<DateTime<Utc>>,
}

impl Client {
    /// Applies an event whose place is after all that the client has seen; timers due at or
    /// before its time have fired already ([`Client::advance`]).
    ///
    /// # Errors
    /// The refusal, when the event is not possible here. The client has then seen it all the
    /// same, and nothing else about it is different.
    pub fn apply(&mut self, event: &Event, policies: &Policies) -> Result<(), Refusal> {
        self.seen = Some(event.position());
        // Nothing that fired is after this event, so its place alone says how far the client is.
        self.fired = None;
        // Before all else: the verdict is kept as the event's outcome, and must stay with it.
        if event.name_verdict == NameVerdict::Taken {
            return Err(Refusal::NameTaken);
        }
        if !self.exists() && !matches!(event.kind, EventKind::ClientAdded { .. }) {
            return Err(Refusal::UnknownClient);
        }
        let at = event.time;
        match &event.kind {
            EventKind::ClientAdded { name, .. } => self.add(name),
            EventKind::ClientRenamed { name } => {
                self.name = Some(name.clone());
                Ok(())
            }
            EventKind::ClientInvited { .. }
            | EventKind::InvitationAccepted {}
            | EventKind::OnboardingCompleted { .. }
            | EventKind::ConsentGranted {}
            | EventKind::InvitationRejected { .. }
            | EventKind::IdentityRejected { .. }
            | EventKind::ClientArchived { .. }
            | EventKind::ClientLost { .. }
            | EventKind::PartnerDisconnected { .. }
            | EventKind::ClientDeleted {} => self.apply_to_link(&event.kind, at),
            EventKind::AssignmentAdded { .. }
            | EventKind::AssignmentRemoved { .. }
            | EventKind::ReportScheduleCreated { .. }
            | EventKind::ReportScheduleDeleted { .. }
            | EventKind::MarginRuleCreated { .. }
            | EventKind::MarginRuleDeleted { .. }
            | EventKind::ClientTerminated { .. }
            | EventKind::ClientReactivated {} => self.apply_to_service(&event.kind, at),
            EventKind::SubscriptionAdded { .. }
            | EventKind::SubscriptionRenewed { .. }
            | EventKind::SubscriptionEnded { .. }
            | EventKind::UserAdded { .. }
            | EventKind::UserRemoved { .. }
            | EventKind::IntegrationAdded { .. }
            | EventKind::IntegrationRemoved { .. } => self.apply_to_holdings(&event.kind, at),
            EventKind::AccountAccessed { .. }
            | EventKind::AccessDisabled {}
            | EventKind::AccessEnabled {}
            | EventKind::AccessRequested {}
            | EventKind::AccessApproved {}
            | EventKind::AccessDenied {} => self.apply_to_access(&event.kind, at),
            EventKind::JobsCounted { total } => {
                self.account.count_jobs(*total, at, policies.at(at));
                Ok(())
            }
            EventKind::AccountUpdated {} => {
                self.account.update(at);
                Ok(())
            }
        }
    }

    fn add(&mut self, name: &Name) -> Result<(), Refusal> {
        if self.exists() {
            return Err(Refusal::AlreadyExists);
        }
        self.name = Some(name.clone());
        self.link = Link::Draft;
        self.service = Service::PendingAssigning;
        self.prepare_subscriptions();
        Ok(())
    }

    /// Added, and not deleted since.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self.link, Link::Unknown | Link::Deleted)
    }

    /// The name that nobody else of the partner may bear meanwhile.
    #[must_use]
    pub fn current_name(&self) -> Option<&Name> {
        self.name.as_ref().filter(|_| self.exists())
    }

    /// Whether the client was ever added; a ghost was not.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.link != Link::Unknown
    }

    /// The moment that the state is computed for: the last event or fired timer.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        self.seen.as_ref().map(|seen| seen.time).max(self.fired)
    }

    /// Whether an event at this place comes too late to be simply applied: the client has seen a
    /// later one, or a timer that is due after it has fired.
    #[must_use]
    pub fn is_past(&self, position: &Position) -> bool {
        self.seen.as_ref().is_some_and(|seen| position <= seen)
            || self.fired.is_some_and(|fired| position.time < fired)
    }

    #[must_use]
    pub fn link_status(&self) -> Option<LinkStatus> {
        self.link.status()
    }

    /// None for a ghost.
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

    /// Since when the partner's request for access is open.
    #[must_use]
    pub fn access_request(&self) -> Option<DateTime<Utc>> {
        self.access().and_then(Access::request)
    }

    /// 002: the partner is linked; disabled or expired access does not end that.
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

    /// 002: goes on while access is disabled or expired, and stops with the connection.
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

    /// Whether a value that is on or off is on.
    #[must_use]
    pub fn flag(&self, flag: Flag) -> bool {
        match flag {
            Flag::Billing => self.billable(),
            Flag::Commission => self.commission(),
            Flag::StatusCredit => self.status_credit(),
            Flag::DataRetrieval => self.retrieving(),
        }
    }
}
