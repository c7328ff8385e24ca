//! Statements: on which days (UTC) of a month a client was billable, earned commission and status credit, and had access.
//!
//! A day counts if any part of it does: see `docs/statements.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{AddAssign, Sub};
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::cause::Corrector;
use super::event::EventType;
use super::intervals::{ClientIntervals, Intervals};
use super::month::Month;
use super::text_enum::text_enum;

text_enum! {
    /// What a statement counts the days of.
    pub enum Measure {
        Billable = "billable",
        Commission = "commission",
        StatusCredit = "status_credit",
        Access = "access",
    }
}

impl Measure {
    /// The intervals of this measure.
    #[must_use]
    pub fn of(self, intervals: &ClientIntervals) -> &Intervals {
        match self {
            Self::Billable => &intervals.billable,
            Self::Commission => &intervals.commission,
            Self::StatusCredit => &intervals.status_credit,
            Self::Access => &intervals.access,
        }
    }
}

/// Who closes a month: a name of 1 to 128 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closer(String);

/// Why a text is not a [`Closer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name of whoever closes the month, 1 to {} characters",
    Closer::LONGEST
)]
pub struct CloserError;

impl Closer {
    /// In characters.
    const LONGEST: usize = 128;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Closer {
    type Err = CloserError;

    fn from_str(text: &str) -> Result<Self, CloserError> {
        let name = text.trim();
        if name.is_empty() || name.chars().count() > Self::LONGEST {
            return Err(CloserError);
        }
        Ok(Self(name.to_owned()))
    }
}

/// The types of events that change no day of any measure.
pub const WITHOUT_DAYS: [&str; 11] = [
    EventType::ClientRenamed.name(),
    EventType::SubscriptionAdded.name(),
    EventType::SubscriptionRenewed.name(),
    EventType::SubscriptionEnded.name(),
    EventType::UserAdded.name(),
    EventType::UserRemoved.name(),
    EventType::IntegrationAdded.name(),
    EventType::IntegrationRemoved.name(),
    EventType::InvitationBounced.name(),
    EventType::AccountCreated.name(),
    EventType::AccountOwnerSet.name(),
];

/// Some days of a month. Bit 0 is the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySet(u32);

impl DaySet {
    /// The days that intervals within a month touch.
    #[must_use]
    pub fn of(intervals: &Intervals, month: Month) -> Self {
        let place = |moment: DateTime<Utc>| (moment - month.start()).num_days().clamp(0, 31);
        let days = intervals.within(month.bounds()).days();
        let bits = days.as_slice().iter().fold(0_u64, |bits, days| {
            bits | ((1_u64 << place(days.to)) - (1_u64 << place(days.from)))
        });
        Self(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    /// How a column stores the days.
    #[must_use]
    pub fn bits(self) -> i32 {
        self.0.cast_signed()
    }

    /// Reads [`DaySet::bits`]. None: a bit is beyond the 31st day.
    #[must_use]
    pub fn from_bits(bits: i32) -> Option<Self> {
        u32::try_from(bits).ok().map(Self)
    }

    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These days except those of another set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The days as dates.
    #[must_use]
    pub fn dates(self, month: Month) -> Vec<NaiveDate> {
        (1..=31)
            .filter(|day| self.0 & (1 << (day - 1)) != 0)
            .filter_map(|day| month.day(day))
            .collect()
    }
}

/// The days of a client in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonthDays {
    pub billable: DaySet,
    pub commission: DaySet,
    pub status_credit: DaySet,
    pub access: DaySet,
}

impl MonthDays {
    #[must_use]
    pub fn of(intervals: &ClientIntervals, month: Month) -> Self {
        let days = |measure: Measure| DaySet::of(measure.of(intervals), month);
        Self {
            billable: days(Measure::Billable),
            commission: days(Measure::Commission),
            status_credit: days(Measure::StatusCredit),
            access: days(Measure::Access),
        }
    }

    #[must_use]
    pub fn get(&self, measure: Measure) -> DaySet {
        match measure {
            Measure::Billable => self.billable,
            Measure::Commission => self.commission,
            Measure::StatusCredit => self.status_credit,
            Measure::Access => self.access,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    pub fn count(&self) -> DayCounts {
        DayCounts {
            billable: self.billable.count().into(),
            commission: self.commission.count().into(),
            status_credit: self.status_credit.count().into(),
            access: self.access.count().into(),
        }
    }
}

/// Numbers of days, or the differences of such numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayCounts {
    pub billable: i64,
    pub commission: i64,
    pub status_credit: i64,
    pub access: i64,
}

impl AddAssign for DayCounts {
    fn add_assign(&mut self, other: Self) {
        self.billable += other.billable;
        self.commission += other.commission;
        self.status_credit += other.status_credit;
        self.access += other.access;
    }
}

impl Sub for DayCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            billable: self.billable - other.billable,
            commission: self.commission - other.commission,
            status_credit: self.status_credit - other.status_credit,
            access: self.access - other.access,
        }
    }
}

/// What differs between the days of a month as they were stated and as they are known now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adjustment {
    /// The month of the days, which is before that of the statement.
    pub month: Month,
    /// The days to add to what was stated before.
    pub days: DayCounts,
    /// The days that count now and did not before.
    pub added: BTreeMap<Measure, Vec<NaiveDate>>,
    /// The days that counted before and do not now.
    pub removed: BTreeMap<Measure, Vec<NaiveDate>>,
    /// What made it necessary, in order of time; empty if that is not known.
    pub causes: Vec<AdjustmentCause>,
}

impl Adjustment {
    #[must_use]
    pub fn between(month: Month, before: MonthDays, after: MonthDays, causes: Vec<AdjustmentCause>) -> Self {
        let dates = |of: MonthDays, except: MonthDays| {
            Measure::ALL
                .into_iter()
                .map(|measure| (measure, of.get(measure).without(except.get(measure))))
                .filter(|(_, days)| !days.is_empty())
                .map(|(measure, days)| (measure, days.dates(month)))
                .collect()
        };
        Self {
            month,
            days: after.count() - before.count(),
            added: dates(after, before),
            removed: dates(before, after),
            causes,
        }
    }
}

/// What made an adjustment necessary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AdjustmentCause {
    Known(Corrector),
    /// A late touch, of which only the time is stored.
    Touch {
        #[serde(rename = "type")]
        kind: String,
    },
}

impl AdjustmentCause {
    #[must_use]
    pub fn late_event(source: &Arc<str>, id: &Arc<str>, kind: &'static str) -> Self {
        Self::Known(Corrector::LateEvent {
            source: source.clone(),
            id: id.clone(),
            kind: kind.into(),
        })
    }
}

impl fmt::Display for AdjustmentCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(Corrector::LateEvent { source, id, kind }) => write!(f, "{kind} {id} of {source}"),
            Self::Known(Corrector::Rebuild { rebuild }) => write!(f, "rebuild of the {rebuild}"),
            Self::Touch { kind } => f.write_str(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;
    use crate::domain::intervals::Interval;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    fn intervals(moments: &[(&str, &str)]) -> Intervals {
        Intervals::of(moments.iter().map(|(from, to)| Interval {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }))
    }

    #[test]
    fn a_day_counts_if_any_part_of_it_is_in_the_month() {
        let october = month("2026-10");
        for (moments, days) in [
            (&[][..], &[][..]),
            (&[("2026-09-30T23:00:00Z", "2026-10-01T00:00:00Z")], &[]),
            (&[("2026-09-30T23:00:00Z", "2026-10-01T00:00:00.000001Z")], &[1]),
            (&[("2026-10-02T10:00:00Z", "2026-10-04T00:00:00Z")], &[2, 3]),
            (&[("2026-10-31T23:59:59.999999Z", "2026-12-01T00:00:00Z")], &[31]),
            (
                &[
                    ("2026-10-05T01:00:00Z", "2026-10-05T02:00:00Z"),
                    ("2026-10-05T03:00:00Z", "2026-10-05T04:00:00Z"),
                ],
                &[5],
            ),
            (&[("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")], &[]),
        ] {
            let set = DaySet::of(&intervals(moments), october);
            let dates: Vec<u32> = set.dates(october).iter().map(Datelike::day).collect();
            assert_eq!(dates, days, "{moments:?}");
            assert_eq!(DaySet::from_bits(set.bits()), Some(set));
        }
        let whole = DaySet::of(
            &intervals(&[("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")]),
            october,
        );
        assert_eq!((whole.count(), whole.bits()), (31, i32::MAX));
        assert_eq!(DaySet::from_bits(-1), None);
    }

    #[test]
    fn a_closer_has_a_name_of_bounded_length() {
        let longest = "é".repeat(128);
        for (text, name) in [
            ("ann", Some("ann")),
            (" ann b ", Some("ann b")),
            (&longest, Some(longest.as_str())),
            ("", None),
            (" \t", None),
            (&format!("{longest}e"), None),
        ] {
            let closer = text.parse::<Closer>().ok();
            assert_eq!(closer.as_ref().map(Closer::as_str), name, "{text:?}");
        }
    }

    #[test]
    fn an_adjustment_has_the_days_that_differ() {
        let october = month("2026-10");
        let set = |from: &str, to: &str| DaySet::of(&intervals(&[(from, to)]), october);
        let before = MonthDays {
            access: set("2026-10-01T00:00:00Z", "2026-10-04T00:00:00Z"),
            billable: set("2026-10-01T00:00:00Z", "2026-10-04T00:00:00Z"),
            ..MonthDays::default()
        };
        let after = MonthDays {
            access: set("2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z"),
            ..before
        };
        let adjustment = Adjustment::between(october, before, after, Vec::new());
        assert_eq!(
            serde_json::to_value(&adjustment).unwrap(),
            serde_json::json!({
                "month": "2026-10",
                "days": {"billable": 0, "commission": 0, "status_credit": 0, "access": -1},
                "added": {"access": ["2026-10-04"]},
                "removed": {"access": ["2026-10-01", "2026-10-02"]},
                "causes": [],
            })
        );
    }
}
