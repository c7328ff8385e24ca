//! Explanations of answers.

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::ManagedBy;
use crate::domain::event::Step;
use crate::domain::why::ReasonKind;
use crate::domain::{ActorKind, Timer};

/// An answer about a client, or `subscription:ID` with the id of a subscription.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(link|service|access|billable|commission|status_credit|connected|visible|retrieving|on_client_list|tab|view_as_client|subscription:[\s\S]{1,200})$",
    example = "access"
)]
pub struct AnswerName(String);

/// Explanations of answers about a client.
#[derive(ToSchema)]
pub struct Why {
    answers: Vec<Explanation>,
    /// The number of subscriptions that are not among the answers because there are too many: ask for each of them.
    omitted: u64,
}

/// Why an answer is as it is: what it rests on, and what would change it.
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
    /// Without any one of them the answer would be different: events and timers in order of time, then settings of policies.
    causes: Vec<Reason>,
    /// Events that lead to the answer together with the causes, although other events could replace each of them.
    supporting: Vec<SupportingEvents>,
    /// What would change the answer: first the timer or policy that changes it if no event comes.
    turns: Vec<Turn>,
}

/// What an answer says. A field that it does not have is absent.
#[derive(ToSchema)]
pub struct AnswerValue {
    /// The status of the facet or of the subscription; the tab; what is shown to somebody who views as the client; `yes` or `no`
    /// for any other answer. `none`: the client was not added, has no access, is on no tab or has no such subscription.
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
    /// `tenure:touch` for a packed touch, whose source and id are not stored.
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
    /// A value with which the answer would be different.
    other: String,
}

/// Consecutive events of one type that an answer rests on, although other events could replace each of them.
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

/// Something that would change an answer.
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

/// An event that would change an answer.
#[derive(ToSchema)]
pub struct TurnEvent {
    r#type: String,
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// The side whose event it is. If an event has the `actorkind` of another side, it is refused as `not_theirs`.
    side: ActorKind,
}
