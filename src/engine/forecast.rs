//! The forecast: what timers will change if no event arrives.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::Engine;
use super::plan::plan_forecast;
use crate::domain::time::serialize;
use crate::domain::{Cause, ClientKey, Entry, Timer};
use crate::store::StoreError;

/// Which part of the forecast to compute.
#[derive(Clone, Debug)]
pub struct ForecastRequest {
    /// Only clients of this partner.
    pub partner: Option<String>,
    /// The forecast ends here, inclusive.
    pub until: DateTime<Utc>,
    /// Only clients after this key, where the previous page ended.
    pub after: Option<ClientKey>,
    /// Maximum number of clients that are computed for a page. Fewer may change.
    pub limit: u32,
}

/// A page of the forecast, in key order.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// The clients that change. A page may have none and not be the last.
    pub clients: Vec<ClientForecast>,
    /// Where the next page begins. None: this page is the last.
    pub next: Option<ClientKey>,
}

/// The expected changes of a client, in order of time.
#[derive(Clone, Debug, Serialize)]
pub struct ClientForecast {
    pub client: String,
    pub changes: Vec<ExpectedChange>,
}

/// A change that a timer will make.
#[derive(Clone, Debug, Serialize)]
pub struct ExpectedChange {
    /// When the timer is due. It may be overdue: the next sweep fires it.
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub timer: Timer,
}

/// What changes on one day (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastDay {
    pub day: NaiveDate,
    /// The clients that change.
    pub clients: u64,
    pub changes: u64,
    /// The changes by their type.
    pub by_type: BTreeMap<String, u64>,
}

/// Adds up the forecast by day.
#[derive(Clone, Debug, Default)]
pub struct ForecastDays(BTreeMap<NaiveDate, ForecastDay>);

impl Engine {
    /// What timers will change up to a moment, under the recorded policies, if no event arrives. Overdue timers count as fired
    /// now, by one sweep; later ones as fired when they are due. Neither halts nor the low watermark hold them up.
    ///
    /// Examines a bounded number of clients, so a page takes a bounded time.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn forecast(&self, request: &ForecastRequest) -> Result<Forecast, StoreError> {
        let examined = request.limit.saturating_mul(10).clamp(1_000, 10_000);
        let partner = request.partner.as_deref();
        let keys = self.store.keys(partner, request.after.as_ref(), examined).await?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(Forecast::default());
        };
        let (policies, now) = (self.policies().await?, self.now());
        let due = self
            .store
            .due_clients(first, last, request.until, request.limit)
            .await?;
        let is_full = due.len() >= request.limit as usize;
        let next = match due.last() {
            Some(stored) if is_full && stored.key != *last => Some(stored.key.clone()),
            _ if keys.len() >= examined as usize => Some(last.clone()),
            _ => None,
        };
        let mut clients = Vec::new();
        for stored in due {
            let key = stored.key.clone();
            // A deadline may be too early: then nothing changes.
            let entries = plan_forecast(stored, now, request.until, &policies);
            if !entries.is_empty() {
                clients.push(ClientForecast {
                    client: key.to_string(),
                    changes: entries.iter().filter_map(ExpectedChange::of).collect(),
                });
            }
        }
        Ok(Forecast { clients, next })
    }
}

impl ClientForecast {
    /// How many of its changes are overdue.
    #[must_use]
    pub fn overdue(&self, now: DateTime<Utc>) -> u64 {
        let overdue = self.changes.iter().filter(|change| change.is_overdue(now));
        overdue.count() as u64
    }
}

impl ExpectedChange {
    /// Whether its time has passed, and no sweep has made it yet.
    #[must_use]
    pub fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.time <= now
    }

    /// None: no timer makes the change.
    fn of(entry: &Entry) -> Option<Self> {
        let Cause::Timer { timer } = entry.cause else {
            return None;
        };
        let text = entry.change.text();
        Some(Self {
            time: entry.time,
            kind: text.kind.to_owned(),
            id: text.id.map(str::to_owned),
            from: text.from.map(Cow::into_owned),
            to: text.to.map(Cow::into_owned),
            timer,
        })
    }
}

impl ForecastDays {
    pub fn add(&mut self, client: &ClientForecast) {
        let mut last = None;
        for change in &client.changes {
            let day = change.time.date_naive();
            let total = self.0.entry(day).or_insert_with(|| ForecastDay {
                day,
                clients: 0,
                changes: 0,
                by_type: BTreeMap::new(),
            });
            // The changes of a client are in order of time.
            total.clients += u64::from(last != Some(day));
            total.changes += 1;
            *total.by_type.entry(change.kind.clone()).or_default() += 1;
            last = Some(day);
        }
    }

    /// The days with changes, in order.
    #[must_use]
    pub fn into_days(self) -> Vec<ForecastDay> {
        self.0.into_values().collect()
    }
}
