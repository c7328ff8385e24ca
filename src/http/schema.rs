//! OpenAPI schemas of parameters and of the views that the domain and the engine serialize.
//!
//! This file repeats the fields of the views, because deriving `ToSchema` on the real types would put `value_type`,
//! `format` and `required` attributes of OpenAPI on nearly every field of the domain: its times and ids have serializers of
//! their own. A test compares the fields with real responses, and the names of statuses come from the real enums.

#![expect(dead_code, reason = "the types only describe schemas")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::access::{AccessStatus, ROLE};
use crate::domain::account::Handover;
use crate::domain::client::Origin;
use crate::domain::event::{AccessedBy, Channel, Step};
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::view::ViewAsClient;
use crate::domain::why::ReasonKind;
use crate::domain::{ActorKind, ChangeKind, Refusal, Repair, Sweep, Timer};
use crate::engine::HistoryKind;
use crate::store::{ClosingStatus, DeadLetterStatus, RunStatus};

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

/// A place in a history: `next` of the previous page.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,18}_[0-9]{1,9}$")]
pub struct HistoryPlace(String);

/// An answer about a client, or `subscription:ID` with the id of a subscription.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(link|service|access|billable|commission|subscription:[\s\S]{1,200})$",
    example = "access"
)]
pub struct AnswerName(String);

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

/// A month (UTC).
#[derive(ToSchema)]
#[schema(as = Month, pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])$", example = "2026-02")]
pub struct MonthText(String);

/// Who closes a month.
#[derive(ToSchema)]
#[schema(pattern = r"\S", min_length = 1, max_length = 128, example = "ann")]
pub struct CloserName(String);

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
    /// The code of the refusal: it was not allowed. Null: it was.
    #[schema(required)]
    refusal: Option<String>,
    /// The refusal in a sentence.
    #[schema(required)]
    reason: Option<String>,
}

/// `latest`, or a place in the feed of changes: `next` of a page, the `id` of an event in a stream, or the cursor of a snapshot.
#[derive(ToSchema)]
#[schema(pattern = r"^(latest|[0-7]?[0-9a-f]{1,15}(-[0-7]?[0-9a-f]{1,15}){3})$")]
pub struct ChangesCursor(String);

/// A time in seconds.
#[derive(ToSchema)]
#[schema(pattern = r"^([0-5]?[0-9]|60)s$", example = "30s")]
pub struct Wait(String);

/// Types of changes, separated by commas. `access.*` stands for all types that begin with `access.`.
pub struct ChangePatterns;

impl PartialSchema for ChangePatterns {
    fn schema() -> RefOr<Schema> {
        let mut types = BTreeSet::new();
        for kind in ChangeKind::ALL {
            let (first, rest) = kind.as_str().split_once('.').unwrap_or_default();
            types.insert(format!(r"{first}\.\*"));
            types.insert(format!(r"{first}\.{rest}"));
        }
        let one = types.into_iter().collect::<Vec<_>>().join("|");
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^({one})(,({one}))*$")))
            .examples(["access.*,link.lost"])
            .into()
    }
}

impl ToSchema for ChangePatterns {}

/// A change as it is published, a CloudEvents message.
#[derive(ToSchema)]
pub struct PublishedChange {
    specversion: String,
    /// The epoch and the number of the change, of 19 digits each. Of two changes of a client, the newer has the greater id.
    id: String,
    source: String,
    #[schema(example = "link.active")]
    r#type: String,
    #[schema(example = "acme/bakery")]
    subject: String,
    /// When the change took effect.
    time: DateTime<Utc>,
    partitionkey: String,
    datacontenttype: String,
    data: PublishedChangeData,
}

/// The content of a published change.
#[derive(ToSchema)]
pub struct PublishedChangeData {
    epoch: String,
    /// Increases within a client.
    sequence: i64,
    r#type: String,
    /// The id of the holding or of the account.
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    data: Option<ChangeData>,
    /// When Tenure recorded the change.
    recorded: DateTime<Utc>,
    cause: Cause,
    /// Whether the change amends what was published before.
    correction: bool,
    corrected_by: Option<Corrector>,
}

/// A line of a snapshot. The last line is `{"end":{"clients":…,"cursor":"…"}}`.
#[derive(ToSchema)]
pub struct SnapshotLine {
    client: ClientView,
    /// The `id` of the last change that this state includes.
    last_change: String,
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

/// A setting of a policy and its value.
#[derive(ToSchema)]
#[schema(pattern = r"^[^=]+=", example = "access.idle=45d")]
pub struct PolicySetting(String);

/// How a client differs under the other policy.
#[derive(ToSchema)]
pub struct ClientWhatIf {
    #[schema(example = "acme/bakery")]
    client: String,
    /// Whether access is enabled.
    access: Difference,
    billing: Difference,
    commission: Difference,
    /// Changes that only the other policy makes, in order of time.
    added: Vec<WhatIfChange>,
    /// Changes that only the recorded policies make, in order of time.
    dropped: Vec<WhatIfChange>,
}

/// When something holds under one of the policies only.
#[derive(ToSchema)]
pub struct Difference {
    /// Only under the recorded policies.
    lost: Vec<Interval>,
    /// Only under the other policy.
    gained: Vec<Interval>,
    /// Days (UTC) of which any part counts under the recorded policies, and none under the other policy.
    lost_days: u64,
    /// Days (UTC) of which any part counts under the other policy, and none under the recorded policies.
    gained_days: u64,
}

/// The closing of a month.
#[derive(ToSchema)]
pub struct Closing {
    #[schema(example = "2026-10")]
    month: String,
    status: ClosingStatus,
    /// Who began to close the month. Who continues a closing is not recorded.
    closed_by: String,
    started_at: DateTime<Utc>,
    /// Null: the closing is in progress.
    #[schema(required)]
    closed_at: Option<DateTime<Utc>>,
    /// Clients with a day in the month.
    statements: i64,
    /// Adjustments of earlier months that are stated with it.
    adjustments: i64,
}

/// The days of a client in a month.
#[derive(ToSchema)]
pub struct ClientStatement {
    #[schema(example = "acme/bakery")]
    client: String,
    days: DayCounts,
    intervals: ClientIntervals,
    /// Of earlier months that are closed, in their order.
    adjustments: Vec<Adjustment>,
}

/// Numbers of days (UTC): a day counts if any part of it does. In an adjustment, the differences.
#[derive(ToSchema)]
pub struct DayCounts {
    billable: i64,
    commission: i64,
    status_credit: i64,
    access: i64,
}

/// When the client had access, was billable, and earned commission and status credit, within the month.
#[derive(ToSchema)]
pub struct ClientIntervals {
    access: Vec<Interval>,
    billable: Vec<Interval>,
    commission: Vec<Interval>,
    status_credit: Vec<Interval>,
}

/// A period: from `from`, up to and excluding `to`.
#[derive(ToSchema)]
pub struct Interval {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// A change that only one of the policies makes: by a timer, or with an event.
#[derive(ToSchema)]
pub struct WhatIfChange {
    time: DateTime<Utc>,
    #[schema(example = "access.expired")]
    r#type: String,
    /// The id of the holding.
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    timer: Option<Timer>,
    /// The type of the event.
    event: Option<String>,
}

/// Sums of clients.
#[derive(ToSchema)]
pub struct WhatIfTotals {
    /// The clients that were replayed, also those whose events were all refused.
    clients: u64,
    /// Those that differ.
    differ: u64,
    access: DifferenceTotals,
    billing: DifferenceTotals,
    commission: DifferenceTotals,
    coming: Coming,
}

/// The sums of one partner.
#[derive(ToSchema)]
pub struct PartnerWhatIf {
    #[schema(example = "acme")]
    partner: String,
    clients: u64,
    differ: u64,
    access: DifferenceTotals,
    billing: DifferenceTotals,
    commission: DifferenceTotals,
    coming: Coming,
}

/// Sums of differences.
#[derive(ToSchema)]
pub struct DifferenceTotals {
    lost: Total,
    gained: Total,
}

/// For how many clients something is lost or gained, and for how long in sum.
#[derive(ToSchema)]
pub struct Total {
    clients: u64,
    /// Days (UTC), of each client.
    days: u64,
    seconds: i64,
}

/// The changes to come by their type.
#[derive(ToSchema)]
pub struct Coming {
    /// Under the recorded policies.
    recorded: BTreeMap<String, u64>,
    /// Under the other policy.
    what_if: BTreeMap<String, u64>,
}

/// What one day (UTC) to come brings.
#[derive(ToSchema)]
pub struct WhatIfDay {
    #[schema(format = Date)]
    day: String,
    /// The changes under the recorded policies by their type.
    recorded: BTreeMap<String, u64>,
    /// The changes under the other policy by their type.
    what_if: BTreeMap<String, u64>,
}

/// What differs between the days of a month as they were stated and as they are known since.
#[derive(ToSchema)]
pub struct Adjustment {
    /// The month of the days, which is before that of the statement.
    #[schema(example = "2026-09")]
    month: String,
    days: DayCounts,
    /// The days that count now and did not before, by measure.
    added: BTreeMap<String, Vec<String>>,
    /// The days that counted before and do not now, by measure.
    removed: BTreeMap<String, Vec<String>>,
    /// What made it necessary: late events, of which a touch may have its type only, or `tenure rebuild`.
    causes: Vec<AdjustmentCause>,
}

/// What made an adjustment necessary: a late event, or `tenure rebuild`.
#[derive(ToSchema)]
pub struct AdjustmentCause {
    /// Absent for a touch that is packed.
    source: Option<String>,
    /// Absent for a touch that is packed.
    id: Option<String>,
    r#type: Option<String>,
    rebuild: Option<Repair>,
}

/// The sums of a partner's clients.
#[derive(ToSchema)]
pub struct PartnerSum {
    partner: String,
    /// Clients with a day in the month, or with an adjustment.
    clients: u64,
    days: DayCounts,
    /// The sum of the adjustments of earlier months.
    adjustments: DayCounts,
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

/// Something that happened to a client, or will, and what it changed.
#[derive(ToSchema)]
pub struct HistoryEntry {
    time: DateTime<Utc>,
    kind: HistoryKind,
    /// The timer has not fired yet.
    expected: bool,
    #[schema(required)]
    timer: Option<Timer>,
    #[schema(required)]
    event: Option<HistoryEvent>,
    /// In the order in which they were recorded.
    changes: Vec<HistoryChange>,
}

/// An event of a history, or several touches in a row.
#[derive(ToSchema)]
pub struct HistoryEvent {
    source: String,
    id: String,
    r#type: String,
    /// Null if the event log does not have it.
    #[schema(required, value_type = Option<Object>)]
    data: Option<serde_json::Value>,
    /// Who caused the event, as its sender says.
    #[schema(required)]
    actor: Option<String>,
    #[schema(required)]
    actorkind: Option<ActorKind>,
    /// The code of the refusal. Null: the event is applied.
    #[schema(required)]
    refusal: Option<String>,
    /// The code of the refusal that was published before an earlier event arrived late. Null: this has not changed.
    #[schema(required)]
    refused_before: Option<String>,
    /// The number of touches.
    count: u64,
    /// The time of the last of several touches.
    #[schema(required)]
    last: Option<DateTime<Utc>>,
}

/// A line of the journal, or a change that a timer will make.
#[derive(ToSchema)]
pub struct HistoryChange {
    /// Increases within a client. Null for a change to come.
    #[schema(required)]
    sequence: Option<i64>,
    #[schema(example = "link.active")]
    r#type: String,
    /// The id of the holding or of the account.
    #[schema(required)]
    id: Option<String>,
    #[schema(required)]
    from: Option<String>,
    #[schema(required)]
    to: Option<String>,
    /// The client of the same partner that has the name for which an event is refused.
    #[schema(required)]
    conflicts_with: Option<String>,
    /// When Tenure recorded the change. Null for a change to come.
    #[schema(required)]
    recorded: Option<DateTime<Utc>>,
    correction: bool,
    /// What made a correction necessary. Null: it is no correction.
    #[schema(required)]
    corrected_by: Option<Corrector>,
    /// The line whose value a correction replaces, if the journal has it.
    #[schema(required)]
    corrects: Option<i64>,
    /// The correction that replaces the value of this line.
    #[schema(required)]
    replaced_by: Option<i64>,
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

/// Explanations of answers about a client.
#[derive(ToSchema)]
pub struct Why {
    answers: Vec<Explanation>,
    /// The number of subscriptions that are not among the answers because there are too many: ask for each of them.
    omitted: u64,
}

/// Why an answer is as it is: what it rests on, and what would turn it.
#[derive(ToSchema)]
pub struct Explanation {
    answer: AnswerName,
    /// The moment that the answer is about.
    at: DateTime<Utc>,
    value: AnswerValue,
    /// When the status of the answer last changed. Null: it never changed.
    #[schema(required)]
    since: Option<DateTime<Utc>>,
    sentence: String,
    /// Without any one of them the answer would be another: events and timers in order of time, then settings of policies.
    causes: Vec<Reason>,
    /// Events that lead to the answer together with the causes, although others would take the place of each of them.
    supporting: Vec<SupportingEvents>,
    /// What would turn the answer: first what changes it if no event comes.
    turns: Vec<Turn>,
}

/// What an answer says. A field that it does not have is absent.
#[derive(ToSchema)]
pub struct AnswerValue {
    /// The status of the facet or of the subscription; `yes` or `no` for billable and commission. `none`: the client was not
    /// added, has no access or has no such subscription.
    #[schema(example = "enabled")]
    status: String,
    /// When the open invitation was sent.
    sent_at: Option<DateTime<Utc>>,
    /// The steps that the open invitation still needs.
    missing: Option<Vec<Step>>,
    /// When enabled access expires.
    expires_at: Option<DateTime<Utc>>,
    /// When the partner requested access, while the request is open.
    access_request: Option<DateTime<Utc>>,
    /// Who manages the subscription.
    managed_by: Option<ManagedBy>,
    plan: Option<String>,
    paid_until: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

/// Something that an answer rests on. The field that its kind names is not null.
#[derive(ToSchema)]
pub struct Reason {
    kind: ReasonKind,
    /// When it happened, fired or took effect. Null: a policy that was in force from the beginning.
    #[schema(required)]
    time: Option<DateTime<Utc>>,
    #[schema(required)]
    event: Option<ReasonEvent>,
    #[schema(required)]
    timer: Option<Timer>,
    #[schema(required)]
    policy: Option<ReasonPolicy>,
    sentence: String,
}

/// An event that an answer rests on.
#[derive(ToSchema)]
pub struct ReasonEvent {
    /// `tenure:touch` for a touch: the log does not have the names of touches.
    source: String,
    id: String,
    r#type: String,
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// Who caused the event, as its sender says.
    #[schema(required)]
    actor: Option<String>,
    #[schema(required)]
    actorkind: Option<ActorKind>,
}

/// A setting of a policy that an answer rests on.
#[derive(ToSchema)]
pub struct ReasonPolicy {
    #[schema(example = "access.idle")]
    setting: String,
    value: String,
    /// A value with which the answer would be another.
    other: String,
}

/// Events of one kind in a row that an answer rests on, although others would take the place of each of them.
#[derive(ToSchema)]
pub struct SupportingEvents {
    time: DateTime<Utc>,
    /// The first of them.
    event: ReasonEvent,
    count: u64,
    /// The time of the last of several.
    #[schema(required)]
    last: Option<DateTime<Utc>>,
    sentence: String,
}

/// Something that would turn an answer.
#[derive(ToSchema)]
pub struct Turn {
    kind: ReasonKind,
    /// When it happens if no event comes before. Null: it takes events.
    #[schema(required)]
    time: Option<DateTime<Utc>>,
    #[schema(required)]
    timer: Option<Timer>,
    /// The events that it takes, in their order; empty if it happens by itself.
    events: Vec<TurnEvent>,
    /// The answer that it leads to. Events are tried at the moment of the answer.
    to: AnswerValue,
    sentence: String,
}

/// An event that would turn an answer.
#[derive(ToSchema)]
pub struct TurnEvent {
    r#type: String,
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// The side whose event it is. If an event has the `actorkind` of another side, it is refused as `not_theirs`.
    side: ActorKind,
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
