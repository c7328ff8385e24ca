//! Something that happened in an upstream app, and its place in a client's history.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::{ClientKey, Id};
use super::name::Name;
use super::sequence::Sequence;
use super::text_enum::text_enum;

/// One event of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// With `id`, the event's name: the same pair again is a duplicate and changes nothing.
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub key: ClientKey,
    /// When it happened, to the microsecond.
    pub time: DateTime<Utc>,
    /// Orders events of the same time.
    pub sequence: Option<Sequence>,
    pub kind: EventKind,
    pub name_verdict: NameVerdict,
}

/// The source of the changes that Tenure publishes.
pub const OWN_SOURCE: &str = "tenure";

/// Whether a source is Tenure's own: `tenure`, and every one that begins with `tenure:`. No event may have it, because
/// Tenure marks what it stores and publishes itself with them.
#[must_use]
pub fn is_reserved_source(source: &str) -> bool {
    source
        .strip_prefix(OWN_SOURCE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Whether the name that an event claims was free. First come, first served: it is decided when
/// the event could first be applied, and stays with the event, whatever order the rest arrives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameVerdict {
    /// Not asked yet, or the event claims no name.
    #[default]
    Open,
    Granted,
    Taken,
}

/// The place of an event in its client's history: by time, then sequence (absent first), then
/// the order of the event types in the lifecycle tables, then source, then id.
///
/// Accesses bear no source and id here: two at the same moment are the same fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub time: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    pub rank: u8,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub source: Arc<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub id: Arc<str>,
}

impl Event {
    #[must_use]
    pub fn position(&self) -> Position {
        let (source, id) = if self.is_touch() {
            Default::default()
        } else {
            (self.source.clone(), self.id.clone())
        };
        Position {
            time: self.time,
            sequence: self.sequence.clone(),
            rank: self.kind.rank(),
            source,
            id,
        }
    }

    /// A partner's entry into an account: the hottest event, which renews access and nothing else.
    #[must_use]
    pub fn is_touch(&self) -> bool {
        matches!(
            self.kind,
            EventKind::AccountAccessed {
                by: AccessedBy::Partner,
                ..
            }
        )
    }

    /// Cuts a time to what both stores keep: whole microseconds since 1970. A leap second becomes the
    /// second after it, so that order in memory and order in the store are one.
    #[must_use]
    pub fn cut(time: DateTime<Utc>) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
    }
}

text_enum! {
    /// The channel that an invitation is sent through (000).
    #[derive(Default)]
    pub enum Channel {
        #[default]
        Standard = "standard",
        /// Invites only businesses that have no space yet (000, "Invitation rejected").
        Referral = "referral",
    }
}

text_enum! {
    /// A step that an invited client completes to become active (000, "Active").
    pub enum Step {
        Accepted = "accepted",
        Onboarded = "onboarded",
        Consented = "consented",
    }
}

/// The steps of an invitation: never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Step>", into = "BTreeSet<Step>")]
pub struct Steps(BTreeSet<Step>);

impl Steps {
    #[must_use]
    pub fn done_by(&self, done: &BTreeSet<Step>) -> bool {
        self.0.is_subset(done)
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self([Step::Accepted, Step::Onboarded, Step::Consented].into())
    }
}

impl TryFrom<BTreeSet<Step>> for Steps {
    type Error = String;
    fn try_from(steps: BTreeSet<Step>) -> Result<Self, String> {
        if steps.is_empty() {
            return Err("`steps` is empty; leave it out for all three".into());
        }
        Ok(Self(steps))
    }
}

impl From<Steps> for BTreeSet<Step> {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

text_enum! {
    /// How a business completed its onboarding (000, FAQ).
    #[derive(Default)]
    pub enum Via {
        #[default]
        Invitation = "invitation",
        Independent = "independent",
    }
}

text_enum! {
    /// The side that ended a connection.
    pub enum Side {
        Partner = "partner",
        Client = "client",
    }
}

text_enum! {
    /// The side that manages and pays for a subscription (000: only the partner's own end with the link).
    #[derive(Default)]
    pub enum ManagedBy {
        #[default]
        Partner = "partner",
        Client = "client",
    }
}

text_enum! {
    /// Who entered an account (002: staff access never expires).
    #[derive(Default)]
    pub enum AccessedBy {
        #[default]
        Partner = "partner",
        Staff = "staff",
    }
}

fn yes() -> bool {
    true
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $type:literal $variant:ident { $($(#[$field_attr:meta])* $field:ident: $ty:ty),* $(,)? })*) => {
        /// What happened, with its data. The order is the order of the lifecycle tables, and
        /// part of an event's [`Position`]: new types go to the end of their table only together
        /// with a migration of the log.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $type)] $variant { $($(#[$field_attr])* $field: $ty),* },)*
        }

        /// Every event type, in the order of the lifecycle tables.
        pub const TYPES: &[&str] = &[$($type),*];

        impl EventKind {
            /// The `type` attribute of the event.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $type,)* }
            }

            /// The place of the type in the lifecycle tables: an app that adds and invites in one
            /// stroke may stamp both with the same second.
            #[must_use]
            pub fn rank(&self) -> u8 {
                enum Rank { $($variant),* }
                match self { $(Self::$variant { .. } => Rank::$variant as u8,)* }
            }
        }
    };
}

event_kinds! {
    "client.added" ClientAdded { name: Name, #[serde(default)] imported: bool }
    "client.renamed" ClientRenamed { name: Name }
    "client.invited" ClientInvited {
        #[serde(default)] channel: Channel,
        #[serde(default)] steps: Steps,
        #[serde(default = "yes")] commission_eligible: bool,
    }
    "invitation.accepted" InvitationAccepted {}
    "onboarding.completed" OnboardingCompleted { #[serde(default)] via: Via }
    "consent.granted" ConsentGranted {}
    "invitation.rejected" InvitationRejected { #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String> }
    "identity.rejected" IdentityRejected { #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String> }
    "client.archived" ClientArchived { #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String> }
    "client.lost" ClientLost { #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String> }
    "partner.disconnected" PartnerDisconnected { by: Side }
    "client.deleted" ClientDeleted {}
    "assignment.added" AssignmentAdded {
        assignment_id: Id,
        #[serde(default, skip_serializing_if = "Option::is_none")] service: Option<String>,
    }
    "assignment.removed" AssignmentRemoved { assignment_id: Id }
    "report_schedule.created" ReportScheduleCreated { schedule_id: Id }
    "report_schedule.deleted" ReportScheduleDeleted { schedule_id: Id }
    "margin_rule.created" MarginRuleCreated { rule_id: Id }
    "margin_rule.deleted" MarginRuleDeleted { rule_id: Id }
    "client.terminated" ClientTerminated { #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String> }
    "client.reactivated" ClientReactivated {}
    "subscription.added" SubscriptionAdded {
        subscription_id: Id,
        #[serde(default, skip_serializing_if = "Option::is_none")] plan: Option<String>,
        #[serde(default)] managed_by: ManagedBy,
        #[serde(default, skip_serializing_if = "Option::is_none")] paid_until: Option<DateTime<Utc>>,
    }
    "subscription.renewed" SubscriptionRenewed { subscription_id: Id, paid_until: DateTime<Utc> }
    "subscription.ended" SubscriptionEnded { subscription_id: Id }
    "user.added" UserAdded { user_id: Id }
    "user.removed" UserRemoved { user_id: Id }
    "integration.added" IntegrationAdded { integration_id: Id }
    "integration.removed" IntegrationRemoved { integration_id: Id }
    "account.accessed" AccountAccessed {
        #[serde(default)] by: AccessedBy,
        #[serde(default, skip_serializing_if = "Option::is_none")] user: Option<String>,
    }
    "access.disabled" AccessDisabled {}
    "access.enabled" AccessEnabled {}
    "access.requested" AccessRequested {}
    "access.approved" AccessApproved {}
    "access.denied" AccessDenied {}
    "account.jobs_counted" JobsCounted { #[serde(deserialize_with = "super::whole")] total: u64 }
    "account.updated" AccountUpdated {}
}

impl EventKind {
    /// The name that this event claims for its client.
    #[must_use]
    pub fn claimed_name(&self) -> Option<&Name> {
        match self {
            Self::ClientAdded { name, .. } | Self::ClientRenamed { name } => Some(name),
            _ => None,
        }
    }

    /// Cuts the times inside the data to what both stores keep.
    #[must_use]
    pub fn cut(mut self) -> Self {
        match &mut self {
            Self::SubscriptionAdded {
                paid_until: Some(paid_until),
                ..
            }
            | Self::SubscriptionRenewed { paid_until, .. } => *paid_until = Event::cut(*paid_until),
            _ => {}
        }
        self
    }
}
