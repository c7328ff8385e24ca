//! The result of a what-if.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::Interval;
use crate::domain::Timer;

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

/// Periods in which access, billing or commission holds under only one of the policies.
#[derive(ToSchema)]
pub struct Difference {
    /// Only under the recorded policies.
    lost: Vec<Interval>,
    /// Only under the other policy.
    gained: Vec<Interval>,
    /// The number of days (UTC) that count under the recorded policies, but not under the other policy.
    lost_days: u64,
    /// The number of days (UTC) that count under the other policy, but not under the recorded policies.
    gained_days: u64,
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
    /// The number of clients that differ.
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

/// The number of clients that lose or gain access, billing or commission, and for how long in total.
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

/// The changes of one future day (UTC).
#[derive(ToSchema)]
pub struct WhatIfDay {
    #[schema(format = Date)]
    day: String,
    /// The changes under the recorded policies by their type.
    recorded: BTreeMap<String, u64>,
    /// The changes under the other policy by their type.
    what_if: BTreeMap<String, u64>,
}
