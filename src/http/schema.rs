//! OpenAPI schemas of parameters and of the views that the domain and the engine serialize.
//!
//! These files repeat the fields of the views, because deriving `ToSchema` on the real types would put `value_type`,
//! `format` and `required` attributes of OpenAPI on nearly every field of the domain: its times and ids have serializers of
//! their own. A test compares the fields with real responses, and the names of statuses come from the real enums.

#![expect(dead_code, reason = "the types only describe schemas")]

mod audit;
mod feed;
mod history;
mod statements;
mod what_if;
mod why;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::access::{AccessStatus, ROLE};
use crate::domain::account::Handover;
use crate::domain::client::Origin;
use crate::domain::event::{AccessedBy, Channel, Step, TYPES};
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::ViewAsClient;
use crate::domain::why::ReasonKind;
use crate::domain::{ActorKind, ChangeKind, Refusal, Repair, Sweep, Timer};
use crate::engine::HistoryKind;
use crate::store::{AuditHow, ClosingStatus, DeadLetterStatus, RunStatus};

pub use audit::{AuditAction, AuditEntry, OperatorName, ReasonText};
pub use feed::{ChangePatterns, ChangesCursor, PublishedChange, SnapshotLine, Wait};
pub use history::{HistoryEntry, HistoryPlace};
pub use statements::{ClientStatement, CloserName, Closing, MonthText, PartnerSum};
pub use what_if::{ClientWhatIf, PartnerWhatIf, PolicySetting, WhatIfDay, WhatIfTotals};
pub use why::{AnswerName, Why};

/// An event in structured mode. `openapi_schemas` makes its schema.
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

/// A client: `{partner}/{client}`.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}/)[A-Za-z0-9._~:@-]{1,128}/(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}$",
    example = "acme/bakery"
)]
pub struct Subject(String);

/// The number of a run of a sweep.
#[derive(ToSchema)]
#[schema(minimum = 0, example = 1)]
pub struct RunNumber(i64);

/// A place in the journal: `next` of the previous page.
#[derive(ToSchema)]
#[schema(pattern = r"^[0-9]{1,18}-[0-9]{1,18}$")]
pub struct JournalPlace(String);
/// The beginning of a client's id.
#[derive(ToSchema)]
#[schema(pattern = r"^[A-Za-z0-9._~:@-]+$", min_length = 1, max_length = 128)]
pub struct IdPrefix(String);

/// A part of a name, with at least one visible character.
#[derive(ToSchema)]
#[schema(pattern = r"^[\s\S]*\S[\s\S]*$", max_length = 200)]
pub struct NamePart(String);

/// The id of a holding or of an account.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 200)]
pub struct HoldingId(String);

/// The CloudEvents attribute `source`.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 512)]
pub struct SourceName(String);

/// `next` of a page of clients.
#[derive(ToSchema)]
#[schema(pattern = r"^(?!\.{1,2}/)[A-Za-z0-9._~:@-]{1,128}/[\s\S]+$")]
pub struct ListPosition(String);

/// `next` of a page of refusals.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,17}\.[0-9]{1,18}\.[0-9]{1,18}\.[\s\S]+$")]
pub struct RefusalPosition(String);

/// `next` of a page of the access log.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,17}\.[0-9]{1,18}\.[0-9]{1,18}\.[\s\S]+$")]
pub struct AccessPosition(String);

/// An entry of the access log: somebody entered the account, or tried to.
#[derive(ToSchema)]
#[schema(as = Access)]
pub struct AccessView {
    #[schema(example = "acme/bakery")]
    subject: String,
    /// When it happened, according to the source.
    time: DateTime<Utc>,
    /// The partner, or staff of the customer.
    by: AccessedBy,
    /// The user who entered, as the source says: at most 200 characters of it.
    #[schema(required)]
    user: Option<String>,
    /// Who caused the event, as its sender says.
    actor: Option<String>,
    actorkind: Option<ActorKind>,
    source: String,
    id: String,
    /// The code of the refusal, if the entry was not allowed. Null: it was allowed.
    #[schema(required)]
    refusal: Option<String>,
    /// The refusal in a sentence.
    #[schema(required)]
    reason: Option<String>,
}

/// A partner that has a client for an account.
#[derive(ToSchema)]
pub struct AccountPartner {
    partner: String,
    client: String,
    #[schema(required)]
    name: Option<String>,
    #[schema(required)]
    link: Option<LinkStatus>,
    connected: bool,
    access: AccessStatus,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// When the partner requested access, while the request is open.
    #[schema(required)]
    access_request: Option<DateTime<Utc>>,
}

/// A partner, and the number of its clients: all, and by status. A status without clients is absent.
#[derive(ToSchema)]
#[schema(as = Partner)]
pub struct PartnerView {
    partner: String,
    clients: i64,
    link: BTreeMap<String, i64>,
    service: BTreeMap<String, i64>,
    access: BTreeMap<String, i64>,
}

/// The number of clients that match a search, in all and by status, as they are now. A status without clients is absent.
#[derive(ToSchema)]
pub struct ClientCounts {
    clients: i64,
    link: BTreeMap<String, i64>,
    service: BTreeMap<String, i64>,
    access: BTreeMap<String, i64>,
    /// Whether these are all. Otherwise others may follow: a request examines a bounded number of clients.
    complete: bool,
}

/// A refused event.
#[derive(ToSchema)]
#[schema(as = Refusal)]
pub struct RefusalView {
    #[schema(example = "acme/bakery")]
    subject: String,
    source: String,
    id: String,
    r#type: String,
    /// When it happened, according to its source.
    time: DateTime<Utc>,
    /// When Tenure received it.
    received: DateTime<Utc>,
    code: RefusalCode,
    /// The code in a sentence.
    reason: String,
    /// Who caused the event, as its sender says.
    actor: Option<String>,
    actorkind: Option<ActorKind>,
}

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

/// The values that a change sets in addition to a status. A change has only the fields of its type.
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
    /// The client of the same partner that has the name for which an event is refused.
    conflicts_with: Option<String>,
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

/// What timers will change of a client if no event arrives.
#[derive(ToSchema)]
pub struct ClientForecast {
    #[schema(example = "acme/bakery")]
    client: String,
    /// In order of time.
    changes: Vec<ExpectedChange>,
}

/// A change that a timer will make.
#[derive(ToSchema)]
pub struct ExpectedChange {
    /// When the timer is due. It may be overdue: the next sweep fires it.
    time: DateTime<Utc>,
    #[schema(example = "access.expired")]
    r#type: String,
    /// The id of the holding.
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    timer: Timer,
}

/// What changes on one day (UTC).
#[derive(ToSchema)]
pub struct ForecastDay {
    #[schema(format = Date)]
    day: String,
    /// The clients that change.
    clients: u64,
    changes: u64,
    /// The changes by their type.
    by_type: BTreeMap<String, u64>,
}

/// A period: from `from`, up to and excluding `to`.
#[derive(ToSchema)]
pub struct Interval {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// A run of a sweep.
#[derive(ToSchema)]
pub struct SweepRun {
    id: i64,
    sweep: Sweep,
    /// The cron tick of the run.
    scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    /// The run swept deadlines up to this moment.
    #[schema(required)]
    upto: Option<DateTime<Utc>>,
    status: RunStatus,
    /// Clients examined.
    examined: i64,
    /// Clients for which a timer fired.
    changed: i64,
    /// Lines written to the journal.
    changes: i64,
    /// Clients that could not be swept.
    failed: i64,
    /// Why the run is not done.
    #[schema(required)]
    error: Option<String>,
    /// The worker that started it.
    worker: String,
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

/// Every event type, and whether the client would accept it.
#[derive(ToSchema)]
pub struct PossibleEvents {
    /// The moment that the answer is about.
    at: DateTime<Utc>,
    events: Vec<Possibility>,
}

/// Whether an event of one type would be applied.
#[derive(ToSchema)]
pub struct Possibility {
    #[schema(example = "client.invited")]
    r#type: String,
    /// The data that was tried: the required fields, and `by` if the type has it.
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// The side whose event it is. If an event has the `actorkind` of another side, it is refused as `not_theirs`.
    side: ActorKind,
    possible: bool,
    /// The code of the refusal, if the event is not possible.
    refusal: Option<String>,
    /// The refusal in a sentence.
    reason: Option<String>,
}

/// Whether the partner may access the account, or perform the action.
#[derive(ToSchema)]
pub struct Decision {
    allowed: bool,
    reason: DecisionReason,
    /// Null: the partner has no access.
    #[schema(required)]
    role: Option<Role>,
    /// The actions that the role does not include; empty without a role.
    forbidden: Vec<String>,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// False while an expected source is silent: the decision may depend on events that have not arrived.
    assured: bool,
    /// The silent source; null if the decision is assured.
    #[schema(required)]
    silent_source: Option<String>,
    /// When this decision becomes different without a new event, at the earliest; null: never.
    #[schema(required)]
    holds_until: Option<DateTime<Utc>>,
    /// The moment that the decision is about.
    decided_at: DateTime<Utc>,
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
    AccessedBy: AccessedBy::NAMES;
    Channel: Channel::ALL.map(Channel::as_str);
    Step: Step::ALL.map(Step::as_str);
    Origin: Origin::ALL.map(Origin::as_str);
    ViewAsClient: ViewAsClient::ALL.map(ViewAsClient::as_str);
    Handover: Handover::ALL.map(Handover::as_str);
    LinkStatus: LinkStatus::ALL.map(LinkStatus::as_str);
    ServiceStatus: ServiceStatus::ALL.map(ServiceStatus::as_str);
    AccessStatus: AccessStatus::ALL.map(AccessStatus::as_str);
    HistoryKind: HistoryKind::NAMES;
    ReasonKind: ReasonKind::NAMES;
    Timer: Timer::NAMES;
    Sweep: Sweep::NAMES;
    RunStatus: RunStatus::ALL.map(RunStatus::as_str);
    ClosingStatus: ClosingStatus::ALL.map(ClosingStatus::as_str);
    DeadLetterStatus: DeadLetterStatus::ALL.map(DeadLetterStatus::as_str);
    AuditHow: AuditHow::ALL.map(AuditHow::as_str);
}

// Of views that write text. A test compares these names with responses.
names! {
    struct ServiceFilter: ServiceStatus::ALL.map(ServiceStatus::as_str).into_iter().chain(["all_active"]);
    struct Tab: ["active", "inactive"];
    struct SubscriptionStatus: ["prepared", "active", "ended"];
    struct ManagedBy: ["partner", "client"];
    struct Role: [ROLE];
    struct OpenRequest: ["open"];
    struct YesOrNo: ["true", "false"];
    /// An event type.
    struct EventType: TYPES.iter().copied();
    /// A change type.
    struct ChangeType: ChangeKind::ALL.iter().map(|kind| kind.as_str());
    struct RefusalCode: Refusal::ALL.iter().map(|refusal| refusal.code());
    struct EvaluationReason: [
        "access_enabled",
        "access_none",
        "access_disabled",
        "access_expired",
        "unknown_client",
        "action_forbidden",
        "unknown_account",
    ];
    struct DecisionReason: [
        "access_enabled",
        "access_none",
        "access_disabled",
        "access_expired",
        "unknown_client",
        "action_forbidden",
    ];
}
