//! Statements: the closed months, and the days of each client in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::columns::{Both, KeyRow, Moment, RowId, json, key, row};
use super::event_id::EventId;
use super::outbox::Recorded;
use super::{AuditEntry, Result};
use crate::domain::intervals::{ClientIntervals, Interval, Intervals};
use crate::domain::statement::DaySet;
use crate::domain::text_enum::text_enum;
use crate::domain::time::{serialize, serialize_optional};
use crate::domain::{AdjustmentCause, ClientKey, Measure, Month, MonthDays};

/// Closings of months, and what they stated.
#[async_trait]
pub trait Statements: Send + Sync + 'static {
    /// Every closing, in order of months. At most the last one is in progress.
    async fn closings(&self) -> Result<Vec<Closing>>;

    /// Begins the closing of a month, or continues one that no other process holds. False: the month is closed, another process
    /// is closing it, another month is being closed, or the month is not the next one: only the first closing can be of any month.
    ///
    /// Adds the entry to the audit log in the same transaction, unless its author has one of the same action and target already: a
    /// closing may take many calls.
    async fn claim_closing(
        &self,
        claim: &ClosingClaim,
        now: DateTime<Utc>,
        entry: Option<&AuditEntry>,
    ) -> Result<bool>;

    /// Prolongs a claim. False: another process has taken the closing over.
    async fn renew_closing(&self, claim: &ClosingClaim) -> Result<bool>;

    /// Records, in one transaction, rows of the clients up to `upto`, and that the closing has come that far. Their `stated_in` is
    /// the month of the claim. Prolongs the claim. False: another process has taken the closing over, and nothing is written.
    async fn record_stated(
        &self,
        claim: &ClosingClaim,
        upto: &ClientKey,
        rows: &[(ClientKey, Stated)],
    ) -> Result<bool>;

    /// Ends a closing: the month is closed. False: another process has taken it over.
    async fn end_closing(&self, claim: &ClosingClaim, at: DateTime<Utc>) -> Result<bool>;

    /// Gives up a claim, so that any process can continue the closing at once.
    async fn release_closing(&self, claim: &ClosingClaim) -> Result<()>;

    /// What closings have stated of these clients, those in progress included: of each client in order of `month`, then
    /// `stated_in`. A client without rows has no entry.
    async fn stated(&self, keys: &[ClientKey]) -> Result<HashMap<ClientKey, Vec<Stated>>>;

    /// Whether an event of one of these clients happened before a moment. Packed touches do not count.
    async fn any_event_before(&self, keys: &[ClientKey], before: DateTime<Utc>) -> Result<bool>;

    /// The source and id of the events of a client that happened before `before` and were stored at or after `since`, in order of
    /// time, at most `limit`. Refused events, those of [`crate::domain::statement::WITHOUT_DAYS`] and packed touches are not among them.
    async fn stored_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Arc<str>, Arc<str>)>>;

    /// The corrections of a client that took effect before `before` and were recorded at or after `since`, oldest line first, at
    /// most `limit`.
    async fn corrections_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Recorded>>;
}

text_enum! {
    /// The state of a closing.
    pub enum ClosingStatus {
        InProgress = "in_progress",
        Closed = "closed",
    }
}

/// The closing of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Closing {
    pub month: Month,
    pub status: ClosingStatus,
    /// Who began the closing, and so decided it. Whoever continues it changes nothing here.
    pub closed_by: String,
    #[serde(serialize_with = "serialize")]
    pub started_at: DateTime<Utc>,
    /// None: it is in progress.
    #[serde(serialize_with = "serialize_optional")]
    pub closed_at: Option<DateTime<Utc>>,
    /// Until when no other process continues it.
    #[serde(skip)]
    pub claimed_until: Option<DateTime<Utc>>,
    /// The last client that it has stated, while it is in progress.
    #[serde(skip)]
    pub after: Option<ClientKey>,
    /// Clients with a day in the month.
    pub statements: i64,
    /// Adjustments of earlier months.
    pub adjustments: i64,
}

/// The right to close a month, of one process.
#[derive(Clone, Debug)]
pub struct ClosingClaim {
    pub month: Month,
    /// Who begins the closing. Of no consequence for one that has begun.
    pub by: String,
    /// Unlike that of any other process.
    pub token: String,
    pub until: DateTime<Utc>,
}

/// The entry of an author who continues a closing that somebody else began.
pub(super) fn continuing(entry: &AuditEntry, begun_by: String) -> AuditEntry {
    let mut entry = entry.clone();
    entry.details.insert("begun_by".to_owned(), begun_by.into());
    entry
}

/// The days of a client in a month, as one closing stated them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    pub month: Month,
    /// The month whose statement has it: the same month, or a later one, which adjusts it.
    pub stated_in: Month,
    pub days: MonthDays,
    /// Within the month.
    pub intervals: ClientIntervals,
    /// Of an adjustment.
    pub causes: Vec<AdjustmentCause>,
}

impl Stated {
    pub(super) fn intervals_text(&self) -> String {
        let parts = Parts::of(&self.intervals, self.month);
        if parts.0.is_empty() {
            String::new()
        } else {
            json(&parts)
        }
    }

    pub(super) fn causes_text(&self) -> String {
        if self.causes.is_empty() {
            String::new()
        } else {
            json(&self.causes)
        }
    }
}

/// The intervals of the measures that were neither on for the whole month nor never, as pairs of microseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Parts(BTreeMap<Measure, Vec<(i64, i64)>>);

impl Parts {
    fn of(intervals: &ClientIntervals, month: Month) -> Self {
        let part = |measure: Measure| {
            let intervals = measure.of(intervals).as_slice();
            let is_plain = intervals.is_empty() || intervals == [month.bounds()];
            let micros =
                |interval: &Interval| (interval.from.timestamp_micros(), interval.to.timestamp_micros());
            (!is_plain).then(|| (measure, intervals.iter().map(micros).collect()))
        };
        Self(Measure::ALL.into_iter().filter_map(part).collect())
    }

    /// None: a time is out of range.
    fn read(&self, days: MonthDays, month: Month) -> Option<ClientIntervals> {
        let read = |measure: Measure| -> Option<Intervals> {
            let Some(pairs) = self.0.get(&measure) else {
                let is_on = !days.get(measure).is_empty();
                return Some(Intervals::of(is_on.then(|| month.bounds())));
            };
            let interval = |(from, to): &(i64, i64)| {
                Some(Interval {
                    from: DateTime::from_timestamp_micros(*from)?,
                    to: DateTime::from_timestamp_micros(*to)?,
                })
            };
            let intervals: Option<Vec<Interval>> = pairs.iter().map(interval).collect();
            Some(Intervals::of(intervals?))
        };
        Some(ClientIntervals {
            access: read(Measure::Access)?,
            billable: read(Measure::Billable)?,
            commission: read(Measure::Commission)?,
            status_credit: read(Measure::StatusCredit)?,
        })
    }
}

row! {
    ClosingRow<T> {
        month: i32,
        status: String,
        closed_by: String,
        started_at: T,
        closed_at: Option<T>,
        claimed_until: Option<T>,
        partner: Option<String>,
        client: Option<String>,
        statements: i64,
        adjustments: i64,
    }
}

impl<T: Moment> ClosingRow<T> {
    pub(super) fn read(self) -> Result<Closing> {
        let id = RowId {
            table: "closings",
            key: &self.month,
        };
        Ok(Closing {
            month: month(id, "month", self.month)?,
            status: id.word("status", &self.status, ClosingStatus::from_name)?,
            closed_by: self.closed_by,
            started_at: id.moment("started_at", self.started_at)?,
            closed_at: id.optional_moment("closed_at", self.closed_at)?,
            claimed_until: id.optional_moment("claimed_until", self.claimed_until)?,
            after: self
                .partner
                .zip(self.client)
                .map(|(partner, client)| key(&partner, &client)),
            statements: self.statements,
            adjustments: self.adjustments,
        })
    }
}

row! {
    StatedRow {
        month: i32,
        stated_in: i32,
        billable: i32,
        commission: i32,
        status_credit: i32,
        access: i32,
        intervals: String,
        causes: String,
    }
}

impl StatedRow {
    pub(super) fn read(self, key: &ClientKey) -> Result<Stated> {
        let id = RowId {
            table: "statement_days",
            key,
        };
        let days = |column: &'static str, bits: i32| {
            DaySet::from_bits(bits).ok_or_else(|| id.unreadable(column, "it is negative"))
        };
        let days = MonthDays {
            billable: days("billable", self.billable)?,
            commission: days("commission", self.commission)?,
            status_credit: days("status_credit", self.status_credit)?,
            access: days("access", self.access)?,
        };
        let of = month(id, "month", self.month)?;
        let parts: Parts = match self.intervals.as_str() {
            "" => Parts::default(),
            text => id.json("intervals", text)?,
        };
        let intervals = parts
            .read(days, of)
            .ok_or_else(|| id.unreadable("intervals", "a time is out of range"))?;
        Ok(Stated {
            month: of,
            stated_in: month(id, "stated_in", self.stated_in)?,
            days,
            intervals,
            causes: match self.causes.as_str() {
                "" => Vec::new(),
                text => id.json("causes", text)?,
            },
        })
    }
}

fn month(id: RowId<'_>, column: &'static str, number: i32) -> Result<Month> {
    Month::from_number(number).ok_or_else(|| id.unreadable(column, format!("{number} is no month")))
}

row! {
    /// The name of an event.
    EventNameRow {
        source: Option<String>,
        id: EventId,
    }
}

impl EventNameRow {
    pub(super) fn read(self, key: &ClientKey) -> Result<(Arc<str>, Arc<str>)> {
        let id = RowId { table: "events", key };
        Ok((id.known("source", self.source)?.into(), self.id.0.into()))
    }
}

/// The rows of each client, in order.
pub(super) fn by_client(rows: Vec<Both<KeyRow, StatedRow>>) -> Result<HashMap<ClientKey, Vec<Stated>>> {
    let mut stated: HashMap<ClientKey, Vec<Stated>> = HashMap::new();
    for Both(of, row) in rows {
        let key = of.read(RowId {
            table: "statement_days",
            key: &row.month,
        })?;
        let row = row.read(&key)?;
        stated.entry(key).or_default().push(row);
    }
    for rows in stated.values_mut() {
        rows.sort_by_key(|row| (row.month, row.stated_in));
    }
    Ok(stated)
}

/// The numbers of statements and of adjustments among rows of a closing.
pub(super) fn counts(claim: &ClosingClaim, rows: &[(ClientKey, Stated)]) -> (i64, i64) {
    let statements = rows.iter().filter(|(_, row)| row.month == claim.month).count();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    (count(statements), count(rows.len() - statements))
}
