//! The history of a client.

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::Corrector;
use crate::domain::{ActorKind, Timer};
use crate::engine::HistoryKind;

/// A place in a history: `next` of the previous page.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,18}_[0-9]{1,9}$")]
pub struct HistoryPlace(String);

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
