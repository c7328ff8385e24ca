//! The types of changes: the one table of their names.

use std::collections::BTreeSet;

use crate::domain::access::AccessStatus;
use crate::domain::holdings::SubscriptionStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;

/// A set of ids that a client holds. Subscriptions are not among them: they have statuses of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    Assignment,
    /// An assignment that the last clean-up removed.
    FormerAssignment,
    ReportSchedule,
    MarginRule,
    User,
    Integration,
}

impl Holding {
    /// In the order of the changes that one event causes.
    pub const ALL: [Self; 6] = [
        Self::Assignment,
        Self::FormerAssignment,
        Self::ReportSchedule,
        Self::MarginRule,
        Self::User,
        Self::Integration,
    ];
}

/// A value that follows from the facets and is either on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    Billing,
    Commission,
    StatusCredit,
    DataRetrieval,
    Visibility,
}

impl Flag {
    pub const ALL: [Self; 5] = [
        Self::Billing,
        Self::Commission,
        Self::StatusCredit,
        Self::DataRetrieval,
        Self::Visibility,
    ];
}

/// The type of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    Link(LinkStatus),
    Service(ServiceStatus),
    Access(AccessStatus),
    AccessRequested,
    AccessRequestClosed,
    AccessExpiring,
    ClientNamed,
    ClientRenamed,
    InvitationSent,
    InvitationStalled,
    InvitationStepCompleted,
    InvitationBypassed,
    InvitationBounced,
    CommissionEligibilityChanged,
    Subscription(SubscriptionStatus),
    SubscriptionRenewed,
    SubscriptionRemoved,
    AccountCreated,
    AccountHandedOver,
    AccountJobsCounted,
    Added(Holding),
    Removed(Holding),
    Started(Flag),
    Stopped(Flag),
    EventRefused,
    EventAccepted,
}

macro_rules! change_kinds {
    ($($name:literal = $kind:ident $(($of:path))?;)+) => {
        impl ChangeKind {
            /// Every type of change, in the order of `docs/lifecycles.md`.
            pub const ALL: &'static [Self] = &[$(Self::$kind $(($of))?),+];

            /// The name in the journal and in published changes, and the routing key.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind $(($of))? => $name,)+
                }
            }

            /// The type with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind $(($of))?),)+
                    _ => None,
                }
            }
        }
    };
}

change_kinds! {
    "link.draft" = Link(LinkStatus::Draft);
    "link.invited" = Link(LinkStatus::Invited);
    "link.active" = Link(LinkStatus::Active);
    "link.invitation_rejected" = Link(LinkStatus::InvitationRejected);
    "link.access_rejected" = Link(LinkStatus::AccessRejected);
    "link.archived" = Link(LinkStatus::Archived);
    "link.lost" = Link(LinkStatus::Lost);
    "link.deleted" = Link(LinkStatus::Deleted);
    "service.pending_assigning" = Service(ServiceStatus::PendingAssigning);
    "service.active" = Service(ServiceStatus::Active);
    "service.terminated" = Service(ServiceStatus::Terminated);
    "access.none" = Access(AccessStatus::None);
    "access.enabled" = Access(AccessStatus::Enabled);
    "access.disabled" = Access(AccessStatus::Disabled);
    "access.expired" = Access(AccessStatus::Expired);
    "access.requested" = AccessRequested;
    "access.request_closed" = AccessRequestClosed;
    "access.expiring" = AccessExpiring;
    "client.named" = ClientNamed;
    "client.renamed" = ClientRenamed;
    "invitation.sent" = InvitationSent;
    "invitation.stalled" = InvitationStalled;
    "invitation.step_completed" = InvitationStepCompleted;
    "invitation.bypassed" = InvitationBypassed;
    "invitation.bounced" = InvitationBounced;
    "commission.eligibility_changed" = CommissionEligibilityChanged;
    "subscription.prepared" = Subscription(SubscriptionStatus::Prepared);
    "subscription.started" = Subscription(SubscriptionStatus::Active);
    "subscription.renewed" = SubscriptionRenewed;
    "subscription.ended" = Subscription(SubscriptionStatus::Ended);
    "subscription.removed" = SubscriptionRemoved;
    "account.created" = AccountCreated;
    "account.handed_over" = AccountHandedOver;
    "account.jobs_counted" = AccountJobsCounted;
    "assignment.added" = Added(Holding::Assignment);
    "assignment.removed" = Removed(Holding::Assignment);
    "former_assignment.added" = Added(Holding::FormerAssignment);
    "former_assignment.removed" = Removed(Holding::FormerAssignment);
    "report_schedule.added" = Added(Holding::ReportSchedule);
    "report_schedule.removed" = Removed(Holding::ReportSchedule);
    "margin_rule.added" = Added(Holding::MarginRule);
    "margin_rule.removed" = Removed(Holding::MarginRule);
    "user.added" = Added(Holding::User);
    "user.removed" = Removed(Holding::User);
    "integration.added" = Added(Holding::Integration);
    "integration.removed" = Removed(Holding::Integration);
    "billing.started" = Started(Flag::Billing);
    "billing.stopped" = Stopped(Flag::Billing);
    "commission.started" = Started(Flag::Commission);
    "commission.stopped" = Stopped(Flag::Commission);
    "status_credit.granted" = Started(Flag::StatusCredit);
    "status_credit.withdrawn" = Stopped(Flag::StatusCredit);
    "data_retrieval.started" = Started(Flag::DataRetrieval);
    "data_retrieval.stopped" = Stopped(Flag::DataRetrieval);
    "visibility.started" = Started(Flag::Visibility);
    "visibility.stopped" = Stopped(Flag::Visibility);
    "event.refused" = EventRefused;
    "event.accepted" = EventAccepted;
}

impl std::fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The types of changes that a pattern stands for: one type, or the first word of several and `.*`, as in the routing keys of
/// RabbitMQ. None: there are no such types.
#[must_use]
pub fn kinds_of(pattern: &str) -> Option<Vec<ChangeKind>> {
    let prefix = pattern.strip_suffix('*').filter(|prefix| prefix.ends_with('.'));
    let matches = |kind: &ChangeKind| match prefix {
        Some(prefix) => kind.as_str().starts_with(prefix),
        None => kind.as_str() == pattern,
    };
    let kinds: Vec<ChangeKind> = ChangeKind::ALL.iter().copied().filter(matches).collect();
    Some(kinds).filter(|kinds| !kinds.is_empty())
}

/// The types of changes that any of several patterns stands for, each once. Empty: there are no patterns. None: a pattern stands for
/// no type.
#[must_use]
pub fn kinds_of_any<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Option<Vec<ChangeKind>> {
    let mut kinds = BTreeSet::new();
    for pattern in patterns {
        kinds.extend(kinds_of(pattern)?);
    }
    Some(kinds.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::{ChangeKind, kinds_of, kinds_of_any};

    #[test]
    fn names_are_unique_and_read_back() {
        for &kind in ChangeKind::ALL {
            assert_eq!(ChangeKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ChangeKind::from_name("link.unknown"), None);
    }

    #[test]
    fn a_pattern_is_a_type_or_its_first_word() {
        for (pattern, types) in [
            ("access.expired", &["access.expired"][..]),
            (
                "service.*",
                &[
                    "service.pending_assigning",
                    "service.active",
                    "service.terminated",
                ],
            ),
            (
                "status_credit.*",
                &["status_credit.granted", "status_credit.withdrawn"],
            ),
        ] {
            let kinds = kinds_of(pattern).unwrap();
            let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            assert_eq!(names, types);
        }
        let overlapping = kinds_of_any(["access.*", "access.expired", "access.*"]).unwrap();
        assert_eq!(Some(&overlapping), kinds_of("access.*").as_ref());
        assert_eq!(kinds_of_any([]), Some(Vec::new()));
        assert_eq!(kinds_of_any(["access.*", "access"]), None);
        for pattern in [
            "",
            "*",
            ".*",
            "access",
            "access.",
            "acc.*",
            "access*",
            "access.exp*",
            "no.*",
        ] {
            assert_eq!(kinds_of(pattern), None, "{pattern}");
        }
    }
}
