//! An event of an upstream app: its envelope, the table of event types, and its place in the client's history.

mod data;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::{Actor, ActorKind};
use super::id::{ClientKey, Id};
use super::name::Name;
use super::sequence::Sequence;

pub use data::{
    AccessedBy, Channel, Creator, Field, FieldType, FieldValue, ManagedBy, NoSteps, Side, Step, Steps, Via,
};

/// An event of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `source` and `id` together name the event. The same pair again is a duplicate and changes nothing, or a mistake of its
    /// sender ([`super::Namesake`]).
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub key: ClientKey,
    /// When it happened, in whole microseconds.
    pub time: DateTime<Utc>,
    /// Orders events of the same time.
    pub sequence: Option<Sequence>,
    /// Who caused it.
    pub actor: Actor,
    pub kind: EventKind,
    pub name_verdict: NameVerdict,
}

/// The source of the changes that Tenure publishes.
pub const OWN_SOURCE: &str = "tenure";

/// Whether a source is reserved: `tenure`, and every one that begins with `tenure:`. No incoming event may have one, because
/// Tenure uses them for the events that it stores and publishes itself.
#[must_use]
pub fn is_reserved_source(source: &str) -> bool {
    source
        .strip_prefix(OWN_SOURCE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Whether the name that an event claims was free. The first claim to arrive wins: Tenure decides when the event could
/// first be applied. The verdict stays with the event, even when earlier events arrive late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameVerdict {
    /// Not decided yet, or the event claims no name.
    #[default]
    Open,
    Granted,
    Taken,
}

/// The place of an event in its client's history: ordered by time, then sequence (absent first), then the place of the event
/// type in the tables, then source, then id.
///
/// A touch has neither source nor id here: two touches at the same moment are the same fact.
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

    /// Whether the event is a touch: a partner enters an account. It is the most frequent event, and only renews access.
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

    /// Whether an event with the same source and id is this event again, and not its [`super::Namesake`].
    #[must_use]
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.key, self.time, &self.kind) == (&other.key, other.time, &other.kind)
    }

    /// Truncates a time to the precision of both stores: whole microseconds since 1970. A leap second becomes the second
    /// after it, so that events have the same order in memory and in the store.
    #[must_use]
    pub fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
    }
}

fn yes() -> bool {
    true
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $type:literal $variant:ident { $($(#[$field_attr:meta])* $field:ident: $ty:ty),* $(,)? })*) => {
        /// The type of an event, with its data.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", content = "data")]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $type)] $variant { $($(#[$field_attr])* $field: $ty),* },)*
        }

        /// The type of an event, without its data.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventType {
            $($(#[$doc])* $variant,)*
        }

        /// Every event type, in the order of the tables of `docs/lifecycles.md`.
        pub const TYPES: &[&str] = &[$($type),*];

        impl EventType {
            /// The `type` attribute of events of this type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $type,)* }
            }
        }

        impl EventKind {
            #[must_use]
            pub fn event_type(&self) -> EventType {
                match self { $(Self::$variant { .. } => EventType::$variant,)* }
            }

            /// The `type` attribute of the event.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                self.event_type().name()
            }

            /// The place of the type in the table: an app that adds and invites in one step may give both events the
            /// same time.
            #[must_use]
            pub fn rank(&self) -> u8 {
                self.event_type() as u8
            }
        }

        /// The names of the fields in the data of an event type.
        #[must_use]
        pub fn field_names(type_name: &str) -> &'static [&'static str] {
            match type_name {
                $($type => &[$(stringify!($field)),*],)*
                _ => &[],
            }
        }

        /// The fields in the data of an event type. A field is optional when the table gives it a default.
        #[must_use]
        pub fn fields(type_name: &str) -> Vec<Field> {
            match type_name {
                $($type => vec![$(Field {
                    name: stringify!($field),
                    is_required: ![$(stringify!($field_attr)),*]
                        .iter()
                        .any(|attribute: &&str| attribute.starts_with("serde") && attribute.contains("default")),
                    is_nullable: <$ty as FieldValue>::IS_NULLABLE,
                    value: <$ty as FieldValue>::TYPE,
                }),*],)*
                _ => Vec::new(),
            }
        }
    };
}

// Add a type at the end: its place is its rank, which clients store as part of the last event's position. A type in the
// middle would change the order of events that are already in the log.
event_kinds! {
    "client.added" ClientAdded {
        /// The name of the business. Unique among the partner's clients, whatever its case and spacing.
        name: Name,
        /// Whether the partner imported the client instead of adding it by hand.
        #[serde(default)] imported: bool,
    }
    "client.renamed" ClientRenamed {
        /// The new name. Unique among the partner's clients, whatever its case and spacing.
        name: Name,
    }
    "client.invited" ClientInvited {
        /// How the invitation is sent. Only an invitation through `referral` can be rejected.
        #[serde(default)] channel: Channel,
        /// What the client must complete for the link to become active.
        #[serde(default)] steps: Steps,
        /// Whether the partner earns commission once the link is active.
        #[serde(default = "yes")] commission_eligible: bool,
    }
    "invitation.accepted" InvitationAccepted {}
    "onboarding.completed" OnboardingCompleted {
        /// How the business got its account. `independent`: not through the invitation, so the step does not count.
        #[serde(default)] via: Via,
    }
    "consent.granted" ConsentGranted {}
    "invitation.rejected" InvitationRejected {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "identity.rejected" IdentityRejected {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "client.archived" ClientArchived {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "client.lost" ClientLost {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "partner.disconnected" PartnerDisconnected {
        /// The side that ended the connection.
        by: Side,
    }
    "client.deleted" ClientDeleted {}
    "assignment.added" AssignmentAdded {
        /// The campaign or data source, as the dashboard names it.
        assignment_id: Id,
        /// The kind of service, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")] service: Option<String>,
    }
    "assignment.removed" AssignmentRemoved {
        /// The id that `assignment.added` had.
        assignment_id: Id,
    }
    "report_schedule.created" ReportScheduleCreated {
        /// The report schedule, as the dashboard names it.
        schedule_id: Id,
    }
    "report_schedule.deleted" ReportScheduleDeleted {
        /// The id that `report_schedule.created` had.
        schedule_id: Id,
    }
    "margin_rule.created" MarginRuleCreated {
        /// The margin rule, as the dashboard names it.
        rule_id: Id,
    }
    "margin_rule.deleted" MarginRuleDeleted {
        /// The id that `margin_rule.created` had.
        rule_id: Id,
    }
    "client.terminated" ClientTerminated {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "client.reactivated" ClientReactivated {}
    "subscription.added" SubscriptionAdded {
        /// The subscription, as the partner space names it.
        subscription_id: Id,
        /// The plan, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")] plan: Option<String>,
        /// The side that manages and pays for it. Only the partner's own subscriptions end with the link.
        #[serde(default)] managed_by: ManagedBy,
        /// Up to when it is paid.
        #[serde(default, skip_serializing_if = "Option::is_none")] paid_until: Option<DateTime<Utc>>,
    }
    "subscription.renewed" SubscriptionRenewed {
        /// The id that `subscription.added` had.
        subscription_id: Id,
        /// Up to when it is paid now.
        paid_until: DateTime<Utc>,
    }
    "subscription.ended" SubscriptionEnded {
        /// The id that `subscription.added` had.
        subscription_id: Id,
    }
    "user.added" UserAdded {
        /// The user whom the partner gave access to the client.
        user_id: Id,
    }
    "user.removed" UserRemoved {
        /// The id that `user.added` had.
        user_id: Id,
    }
    "integration.added" IntegrationAdded {
        /// The integration, as the partner space names it.
        integration_id: Id,
    }
    "integration.removed" IntegrationRemoved {
        /// The id that `integration.added` had.
        integration_id: Id,
    }
    "account.accessed" AccountAccessed {
        /// Who entered. Staff of the customer never renew the partner's access.
        #[serde(default)] by: AccessedBy,
        /// The user who entered, for the access log.
        #[serde(default, skip_serializing_if = "Option::is_none")] user: Option<String>,
    }
    "access.disabled" AccessDisabled {}
    "access.enabled" AccessEnabled {}
    "access.requested" AccessRequested {}
    "access.approved" AccessApproved {}
    "access.denied" AccessDenied {}
    "account.jobs_counted" JobsCounted {
        /// The number of jobs in the account so far. Tenure remembers the highest.
        #[serde(deserialize_with = "super::whole")] #[schemars(range(max = 9_007_199_254_740_992_u64))] total: u64,
    }
    "account.updated" AccountUpdated {}
    "commission.eligibility_changed" CommissionEligibilityChanged {
        /// Whether the partner earns commission for the client from now on.
        eligible: bool,
    }
    "identity.cleared" IdentityCleared {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "invitation.bounced" InvitationBounced {
        /// Why, for people. Changes repeat the first 500 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    "account.created" AccountCreated {
        /// Who created the account. A partner hands it over to its owner later.
        #[serde(default)] by: Creator,
        /// The account, as the account app names it. Access decisions can then be asked for by account.
        #[serde(default, skip_serializing_if = "Option::is_none")] account_id: Option<Id>,
    }
    "account.owner_set" AccountOwnerSet {}
}

impl EventKind {
    /// The name that this event claims for its client, if any.
    #[must_use]
    pub fn claimed_name(&self) -> Option<&Name> {
        match self {
            Self::ClientAdded { name, .. } | Self::ClientRenamed { name } => Some(name),
            _ => None,
        }
    }

    /// The side whose event it is.
    #[must_use]
    pub fn side(&self) -> ActorKind {
        match self {
            Self::InvitationAccepted {}
            | Self::OnboardingCompleted { .. }
            | Self::ConsentGranted {}
            | Self::ClientLost { .. }
            | Self::PartnerDisconnected { by: Side::Client }
            | Self::AccountAccessed {
                by: AccessedBy::Staff,
                ..
            }
            | Self::AccountCreated {
                by: Creator::Customer,
                ..
            }
            | Self::AccessDisabled {}
            | Self::AccessEnabled {}
            | Self::AccessApproved {}
            | Self::AccessDenied {} => ActorKind::Customer,
            Self::InvitationRejected { .. }
            | Self::InvitationBounced { .. }
            | Self::IdentityRejected { .. }
            | Self::IdentityCleared { .. }
            | Self::JobsCounted { .. }
            | Self::AccountUpdated {}
            | Self::CommissionEligibilityChanged { .. } => ActorKind::BackOffice,
            _ => ActorKind::Partner,
        }
    }

    /// Why it happened, as its sender says.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::InvitationRejected { reason }
            | Self::InvitationBounced { reason }
            | Self::IdentityRejected { reason }
            | Self::IdentityCleared { reason }
            | Self::ClientArchived { reason }
            | Self::ClientLost { reason }
            | Self::ClientTerminated { reason } => reason.as_deref(),
            _ => None,
        }
    }

    /// Whether the event can change the status of the link or the name. Only these events decide whether another of them is
    /// possible.
    #[must_use]
    pub fn is_link_event(&self) -> bool {
        match self {
            Self::ClientAdded { .. }
            | Self::ClientRenamed { .. }
            | Self::ClientInvited { .. }
            | Self::InvitationAccepted {}
            | Self::OnboardingCompleted { .. }
            | Self::ConsentGranted {}
            | Self::InvitationRejected { .. }
            | Self::IdentityRejected { .. }
            | Self::IdentityCleared { .. }
            | Self::ClientArchived { .. }
            | Self::ClientLost { .. }
            | Self::PartnerDisconnected { .. }
            | Self::ClientDeleted {} => true,
            Self::AssignmentAdded { .. }
            | Self::AssignmentRemoved { .. }
            | Self::ReportScheduleCreated { .. }
            | Self::ReportScheduleDeleted { .. }
            | Self::MarginRuleCreated { .. }
            | Self::MarginRuleDeleted { .. }
            | Self::ClientTerminated { .. }
            | Self::ClientReactivated {}
            | Self::SubscriptionAdded { .. }
            | Self::SubscriptionRenewed { .. }
            | Self::SubscriptionEnded { .. }
            | Self::UserAdded { .. }
            | Self::UserRemoved { .. }
            | Self::IntegrationAdded { .. }
            | Self::IntegrationRemoved { .. }
            | Self::AccountAccessed { .. }
            | Self::AccessDisabled {}
            | Self::AccessEnabled {}
            | Self::AccessRequested {}
            | Self::AccessApproved {}
            | Self::AccessDenied {}
            | Self::JobsCounted { .. }
            | Self::AccountUpdated {}
            | Self::CommissionEligibilityChanged { .. }
            | Self::InvitationBounced { .. }
            | Self::AccountCreated { .. }
            | Self::AccountOwnerSet { .. } => false,
        }
    }

    /// Truncates the times in the data as [`Event::truncate`] does.
    #[must_use]
    pub fn truncate(mut self) -> Self {
        match &mut self {
            Self::SubscriptionAdded {
                paid_until: Some(paid_until),
                ..
            }
            | Self::SubscriptionRenewed { paid_until, .. } => *paid_until = Event::truncate(*paid_until),
            _ => {}
        }
        self
    }
}
