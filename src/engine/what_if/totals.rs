//! The differences between two policies for one client, and their totals over clients.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::intervals::Intervals;

/// When something holds under one of the policies only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Only under the recorded policies.
    pub lost: Intervals,
    /// Only under the other policy.
    pub gained: Intervals,
    /// Days (UTC) of which any part counts under the recorded policies, and none under the other policy.
    pub lost_days: u64,
    /// Days (UTC) of which any part counts under the other policy, and none under the recorded policies.
    pub gained_days: u64,
}

/// Sums of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhatIfTotals {
    /// The clients that were replayed.
    pub clients: u64,
    /// Those that differ.
    pub differ: u64,
    pub access: DifferenceTotals,
    pub billing: DifferenceTotals,
    pub commission: DifferenceTotals,
    /// The changes to come, by type.
    pub coming: Coming,
}

/// Sums of differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DifferenceTotals {
    pub lost: Total,
    pub gained: Total,
}

/// For how many clients something is lost or gained, and for how long in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    pub clients: u64,
    /// Days (UTC), of each client.
    pub days: u64,
    pub seconds: i64,
}

/// The changes to come under the recorded policies and under the other policy, by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coming {
    pub recorded: BTreeMap<String, u64>,
    pub what_if: BTreeMap<String, u64>,
}

impl Difference {
    pub(super) fn between(before: &Intervals, after: &Intervals) -> Self {
        let (days_before, days_after) = (before.days(), after.days());
        Self {
            lost: before.without(after),
            gained: after.without(before),
            lost_days: days_before.without(&days_after).count_days(),
            gained_days: days_after.without(&days_before).count_days(),
        }
    }

    pub(super) fn differs(&self) -> bool {
        !self.lost.is_empty() || !self.gained.is_empty()
    }
}

impl WhatIfTotals {
    /// Adds the sums of other clients.
    pub fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.differ += other.differ;
        self.access.add(&other.access);
        self.billing.add(&other.billing);
        self.commission.add(&other.commission);
        self.coming.add(&other.coming);
    }
}

impl DifferenceTotals {
    /// Those of one client.
    pub(super) fn of(difference: &Difference) -> Self {
        let total = |intervals: &Intervals, days| Total {
            clients: u64::from(!intervals.is_empty()),
            days,
            seconds: intervals.total().num_seconds(),
        };
        Self {
            lost: total(&difference.lost, difference.lost_days),
            gained: total(&difference.gained, difference.gained_days),
        }
    }

    fn add(&mut self, other: &Self) {
        for (total, other) in [(&mut self.lost, &other.lost), (&mut self.gained, &other.gained)] {
            total.clients += other.clients;
            total.days += other.days;
            total.seconds += other.seconds;
        }
    }
}

impl Coming {
    pub(super) fn add(&mut self, other: &Self) {
        for (counts, others) in [
            (&mut self.recorded, &other.recorded),
            (&mut self.what_if, &other.what_if),
        ] {
            for (kind, count) in others {
                *counts.entry(kind.clone()).or_default() += count;
            }
        }
    }
}
