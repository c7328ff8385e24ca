//! How the domain's answers look, for the OpenAPI document alone: the domain knows nothing of HTTP. A test
//! holds these against what is really answered.

#![expect(dead_code, reason = "described, never made")]

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

/// A subject: `{partner}/{client}`, in the pattern of both.
pub(super) const SUBJECT: &str =
    r"^(?!\.{1,2}/)[A-Za-z0-9._~:@-]{1,128}/(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}$";

/// An event in structured mode. `event_schema` has what stands in the document for it.
#[derive(ToSchema)]
pub struct CloudEvent {}

/// The id of a partner: not `.` nor `..`.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]+$",
    min_length = 1,
    max_length = 128,
    example = "acme"
)]
pub struct PartnerId(String);

/// The id of a partner's client: not `.` nor `..`.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]+$",
    min_length = 1,
    max_length = 128,
    example = "bakery"
)]
pub struct ClientId(String);

/// What the partner is about to do. A few things it may never do; a name that resembles one of these is an error too.
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

/// Items on a page; 100 without.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 1000)]
pub struct PageSize(u32);

/// A number that a page ends with.
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
    link: Option<LinkName>,
    #[schema(required)]
    service: Option<ServiceName>,
    access: AccessName,
    /// Since when the partner's request for access is open.
    #[schema(required)]
    access_request: Option<DateTime<Utc>>,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    connected: bool,
    billable: bool,
    /// In dashboards.
    visible: bool,
    /// New data is retrieved.
    retrieving: bool,
    commission: bool,
    status_credit: bool,
    /// A deleted client is on neither.
    #[schema(required)]
    tab: Option<TabName>,
    subscriptions: Vec<Subscription>,
    assignments: Vec<String>,
    report_schedules: Vec<String>,
    margin_rules: Vec<String>,
    users: Vec<String>,
    integrations: Vec<String>,
    #[schema(required)]
    jobs_total: Option<u64>,
    #[schema(required)]
    last_accessed_at: Option<DateTime<Utc>>,
    /// The last event or timer that this state knows of.
    #[schema(required)]
    as_of: Option<DateTime<Utc>>,
    /// How often what is stored was written.
    version: i64,
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

/// A line of the journal: what became different, when and why.
#[derive(ToSchema)]
pub struct JournalLine {
    /// Rises within a client.
    sequence: i64,
    #[schema(example = "acme/bakery")]
    subject: String,
    #[schema(example = "link.active")]
    r#type: String,
    /// The holding's.
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// When it took effect.
    time: DateTime<Utc>,
    /// When Tenure wrote it.
    recorded: DateTime<Utc>,
    cause: Cause,
    /// A late event brought it about, or a rebuild.
    correction: bool,
}

/// What brought a change about: an event, a timer, or `tenure rebuild`, which tells what it has put right.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Cause {
    Event {
        source: String,
        id: String,
        r#type: String,
    },
    Timer {
        timer: String,
    },
    Rebuild {
        rebuild: Repair,
    },
}

/// Whether the partner may enter, or do what it is about to do.
#[derive(ToSchema)]
pub struct Decision {
    allowed: bool,
    reason: DecisionReason,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// Names as they stand in answers and are asked for.
macro_rules! names {
    ($($name:ident { $($variant:ident),* })*) => {
        $(
            #[derive(ToSchema)]
            #[serde(rename_all = "snake_case")]
            pub enum $name { $($variant),* }
        )*
    };
}

names! {
    Repair { State, Journal }
    LinkName { Draft, Invited, Active, InvitationRejected, AccessRejected, Archived, Lost, Deleted }
    ServiceName { PendingAssigning, Active, Terminated }
    ServiceFilterName { PendingAssigning, Active, Terminated, AllActive }
    AccessName { None, Enabled, Disabled, Expired }
    TabName { Active, Inactive }
    SubscriptionStatus { Prepared, Active, Ended }
    ManagedBy { Partner, Client }
    DecisionReason { AccessEnabled, AccessNone, AccessDisabled, AccessExpired, UnknownClient, ActionForbidden }
    DeadStatusName { Open, Redriven, Discarded }
}
