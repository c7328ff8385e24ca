//! Statements, and the closings of months.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::Interval;
use crate::domain::Repair;
use crate::store::ClosingStatus;

/// A month (UTC).
#[derive(ToSchema)]
#[schema(as = Month, pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])$", example = "2026-02")]
pub struct MonthText(String);

/// Who closes a month.
#[derive(ToSchema)]
#[schema(pattern = r"\S", min_length = 1, max_length = 128, example = "ann")]
pub struct CloserName(String);

/// The closing of a month.
#[derive(ToSchema)]
pub struct Closing {
    #[schema(example = "2026-10")]
    month: String,
    status: ClosingStatus,
    /// The person who began the closing. Whoever continues it is not recorded.
    closed_by: String,
    started_at: DateTime<Utc>,
    /// Null: the closing is in progress.
    #[schema(required)]
    closed_at: Option<DateTime<Utc>>,
    /// The number of clients with a day in the month. Absent for a token of some partners.
    statements: Option<i64>,
    /// The number of adjustments of earlier months in this statement. Absent for a token of some partners.
    adjustments: Option<i64>,
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

/// The days of an earlier closed month that late events added or removed.
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
    /// What made the adjustment necessary: late events, or `tenure rebuild`. A packed touch has only its type.
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
