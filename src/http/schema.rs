//! OpenAPI schemas of parameters and of the views that the domain and the engine serialize.
//!
//! This file repeats the fields of the views, because deriving `ToSchema` on the real types would put `value_type`,
//! `format` and `required` attributes of OpenAPI on nearly every field of the domain: its times and ids have serializers of
//! their own. A test compares the fields with real responses, and the names of statuses come from the real enums.

#![expect(dead_code, reason = "the types only describe schemas")]

use chrono::{DateTime, Utc};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::access::AccessStatus;
use crate::domain::account::Handover;
use crate::domain::client::Origin;
use crate::domain::event::{Channel, Step};
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::ViewAsClient;
use crate::domain::{ActorKind, Repair};
use crate::store::DeadLetterStatus;

/// The pattern of a subject, `{partner}/{client}`.
pub(super) const SUBJECT: &str =
    r"^(?!\.{1,2}/)[A-Za-z0-9._~:@-]{1,128}/(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}$";

/// An event in structured mode. `event_schema` makes its schema.
#[derive(ToSchema)]
pub struct CloudEvent {}

/// The id of a partner, but not `.` or `..`.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]+$",
    min_length = 1,
    max_length = 128,
    example = "acme"
)]
pub struct PartnerId(String);

/// The id of a partner's client, but not `.` or `..`.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]+$",
    min_length = 1,
    max_length = 128,
    example = "bakery"
)]
pub struct ClientId(String);

/// An action of the partner. Some are forbidden; a name that resembles one of them is an error.
#[derive(ToSchema)]
#[schema(
    pattern = r"^[a-z0-9_]+$",
    min_length = 1,
    max_length = 64,
    example = "invoice_create"
)]
pub struct ActionName(String);

/// A moment in RFC 3339.
#[derive(ToSchema)]
#[schema(format = DateTime, example = "2026-03-01T12:00:00Z")]
pub struct Moment(String);

/// Maximum number of items on a page; default 100.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 1000)]
pub struct PageSize(u32);

/// The number of the last item on the previous page.
#[derive(ToSchema)]
#[schema(minimum = 0)]
pub struct Number(i64);

/// A client at one moment.
#[derive(ToSchema)]
#[schema(as = Client)]
#[expect(clippy::struct_excessive_bools, reason = "they are answers, not a state")]
pub struct ClientView {
    partner: String,
    client: String,
    #[schema(required)]
    name: Option<String>,
    #[schema(required)]
    link: Option<LinkStatus>,
    #[schema(required)]
    service: Option<ServiceStatus>,
    access: AccessStatus,
    /// When the partner requested access, while the request is open.
    #[schema(required)]
    access_request: Option<DateTime<Utc>>,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    connected: bool,
    billable: bool,
    /// Whether dashboards show the client.
    visible: bool,
    /// Whether new data is retrieved.
    retrieving: bool,
    commission: bool,
    status_credit: bool,
    /// Null for a deleted client.
    #[schema(required)]
    tab: Option<Tab>,
    /// Whether an app that shows connections shows the partner this client.
    on_client_list: bool,
    origin: Origin,
    /// Null unless the link is `invited`.
    #[schema(required)]
    invitation: Option<Invitation>,
    view_as_client: ViewAsClient,
    /// Whether the client is offered when a campaign is assigned.
    assignable: bool,
    subscriptions: Vec<Subscription>,
    assignments: Vec<String>,
    /// What the last clean-up of the terminated client removed, until the client is assigned again.
    former_assignments: Vec<String>,
    report_schedules: Vec<String>,
    margin_rules: Vec<String>,
    users: Vec<String>,
    integrations: Vec<String>,
    /// The account in the account app, if an event named it.
    #[schema(required)]
    account_id: Option<String>,
    handover: Handover,
    #[schema(required)]
    jobs_total: Option<u64>,
    #[schema(required)]
    last_accessed_at: Option<DateTime<Utc>>,
    /// When this view becomes different without a new event, at the earliest; null: never.
    #[schema(required)]
    holds_until: Option<DateTime<Utc>>,
    /// The time of the last event or timer in this state.
    #[schema(required)]
    as_of: Option<DateTime<Utc>>,
    /// The number of writes of the stored state.
    version: i64,
}

/// An open invitation.
#[derive(ToSchema)]
pub struct Invitation {
    sent_at: DateTime<Utc>,
    channel: Channel,
    /// The steps that lead to an active link.
    steps: Vec<Step>,
    done: Vec<Step>,
    missing: Vec<Step>,
    /// Whether the business onboarded without the invitation: send it again.
    onboarded_independently: bool,
    bounced: bool,
    /// The number of invitations since the client was added, resends included.
    count: u32,
}

#[derive(ToSchema)]
pub struct Subscription {
    id: String,
    status: SubscriptionStatus,
    managed_by: ManagedBy,
    #[schema(required)]
    plan: Option<String>,
    #[schema(required)]
    paid_until: Option<DateTime<Utc>>,
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
}

/// A line of the journal: a change, its time and its cause.
#[derive(ToSchema)]
pub struct JournalLine {
    /// Increases within a client.
    sequence: i64,
    #[schema(example = "acme/bakery")]
    subject: String,
    #[schema(example = "link.active")]
    r#type: String,
    /// The id of the holding or of the account.
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    data: Option<ChangeData>,
    /// When the change took effect.
    time: DateTime<Utc>,
    /// When Tenure recorded the change.
    recorded: DateTime<Utc>,
    cause: Cause,
    /// Whether the change amends what was published before.
    correction: bool,
    corrected_by: Option<Corrector>,
}

/// What a change changes in the client besides a status. A change has only the fields of its type.
#[derive(ToSchema)]
pub struct ChangeData {
    origin: Option<Origin>,
    channel: Option<Channel>,
    steps: Option<Vec<Step>>,
    /// Whether the invitation promises commission.
    commission_eligible: Option<bool>,
    /// The number of invitations since the client was added.
    count: Option<u32>,
    managed_by: Option<ManagedBy>,
    plan: Option<String>,
    paid_until: Option<DateTime<Utc>>,
    /// When access expires, unless it is renewed.
    expires_at: Option<DateTime<Utc>>,
}

/// What made a correction necessary: a late event, or `tenure rebuild`.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Corrector {
    LateEvent {
        source: String,
        id: String,
        r#type: String,
    },
    Rebuild {
        rebuild: Repair,
    },
}

/// The cause of a change: an event, a timer, or `tenure rebuild`.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Cause {
    Event {
        source: String,
        id: String,
        r#type: String,
        /// Who caused the event, as its sender says.
        actor: Option<String>,
        actorkind: Option<ActorKind>,
        /// Why, as its sender says; at most 500 characters of it.
        reason: Option<String>,
    },
    Timer {
        timer: String,
    },
    Rebuild {
        rebuild: Repair,
    },
}

/// Whether the partner may access the account, or perform the action.
#[derive(ToSchema)]
pub struct Decision {
    allowed: bool,
    reason: DecisionReason,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// Implements a schema with a fixed list of names. With `struct`, it also declares a type for it.
macro_rules! names {
    ($($(#[$doc:meta])* struct $schema:ident: $names:expr;)*) => {
        $(
            $(#[$doc])*
            pub struct $schema;
        )*
        names! { $($schema: $names;)* }
    };
    ($($schema:ident: $names:expr;)*) => {
        $(
            impl PartialSchema for $schema {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .enum_values(Some($names))
                        .into()
                }
            }

            impl ToSchema for $schema {}
        )*
    };
}

// Of the real types, so that the document cannot miss a name.
names! {
    ActorKind: ActorKind::NAMES;
    Repair: Repair::ALL.map(Repair::as_str);
    Channel: Channel::ALL.map(Channel::as_str);
    Step: Step::ALL.map(Step::as_str);
    Origin: Origin::ALL.map(Origin::as_str);
    ViewAsClient: ViewAsClient::ALL.map(ViewAsClient::as_str);
    Handover: Handover::ALL.map(Handover::as_str);
    LinkStatus: LinkStatus::ALL.map(LinkStatus::as_str);
    ServiceStatus: ServiceStatus::ALL.map(ServiceStatus::as_str);
    AccessStatus: AccessStatus::ALL.map(AccessStatus::as_str);
    DeadLetterStatus: DeadLetterStatus::ALL.map(DeadLetterStatus::as_str);
}

// Of views that write text. A test compares these names with responses.
names! {
    struct ServiceFilter: ServiceStatus::ALL.map(ServiceStatus::as_str).into_iter().chain(["all_active"]);
    struct Tab: ["active", "inactive"];
    struct SubscriptionStatus: ["prepared", "active", "ended"];
    struct ManagedBy: ["partner", "client"];
    struct DecisionReason: [
        "access_enabled",
        "access_none",
        "access_disabled",
        "access_expired",
        "unknown_client",
        "action_forbidden",
    ];
}
