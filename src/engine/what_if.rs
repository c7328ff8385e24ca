//! What-if: the same histories under another policy, compared with the recorded policies.

mod life;
mod totals;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::Engine;
use super::blocking::run_blocking;
use super::histories::{GROUP, Together};
use crate::domain::intervals::Interval;
use crate::domain::{ClientKey, Policies, Policy};
use crate::store::{Logged, StoreError};
use life::{Life, only_in};

pub use life::WhatIfChange;
pub use totals::{Coming, Difference, DifferenceTotals, Total, WhatIfTotals};

/// A page ends once the events that it has replayed and the changes that it lists are this many.
const MOST_ON_PAGE: usize = 50_000;

/// What to compare.
#[derive(Clone, Debug)]
pub struct WhatIfRequest {
    /// The policy that is in force for all time instead of the recorded ones.
    pub policy: Policy,
    /// Only clients of this partner.
    pub partner: Option<String>,
    /// Differences before this moment are not reported. Histories are replayed from their beginning all the same.
    pub since: DateTime<Utc>,
    /// The comparison ends here, inclusive. What is later than now happens if no event arrives.
    pub until: DateTime<Utc>,
    /// Only clients after this key, where the previous page ended.
    pub after: Option<ClientKey>,
    /// Maximum number of clients that differ on a page.
    pub limit: u32,
}

impl WhatIfRequest {
    /// How far before now a comparison begins, unless the request says otherwise.
    pub const BACK: TimeDelta = TimeDelta::days(365);
    /// How far after now it ends, unless the request says otherwise.
    pub const AHEAD: TimeDelta = TimeDelta::days(90);
}

/// A page of the comparison, in key order.
#[derive(Clone, Debug, Default)]
pub struct WhatIf {
    /// The clients that differ. A page may have none and not be the last.
    pub clients: Vec<ClientWhatIf>,
    /// The sums of the clients that the page examined, by partner.
    pub partners: Vec<PartnerWhatIf>,
    /// What the days to come bring to these clients.
    pub days: Vec<WhatIfDay>,
    /// Where the next page begins. None: this page is the last.
    pub next: Option<ClientKey>,
}

/// How a client differs under the other policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientWhatIf {
    pub client: String,
    pub access: Difference,
    pub billing: Difference,
    pub commission: Difference,
    /// Changes that only the other policy makes, in order of time.
    pub added: Vec<WhatIfChange>,
    /// Changes that only the recorded policies make, in order of time.
    pub dropped: Vec<WhatIfChange>,
}

/// The sums of one partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartnerWhatIf {
    pub partner: String,
    #[serde(flatten)]
    pub totals: WhatIfTotals,
}

/// What one day (UTC) to come brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhatIfDay {
    pub day: NaiveDate,
    #[serde(flatten)]
    pub coming: Coming,
}

impl Engine {
    /// Compares what histories bring about under the recorded policies and under another policy, both from their beginning: the
    /// other policy is in force for all time, as in a store that ran under it from the start. Timers fire when they are due;
    /// neither halts nor the low watermark hold them up.
    ///
    /// A page replays a bounded number of events, except that it replays at least one client completely.
    ///
    /// # Errors
    /// When the store cannot be reached, or a value in it cannot be read.
    pub async fn what_if(&self, request: &WhatIfRequest) -> Result<WhatIf, StoreError> {
        let policies = (*self.policies().await?).clone();
        let comparison = Comparison {
            recorded: policies,
            other: Policies::always(request.policy.clone()),
            window: Interval {
                from: request.since,
                to: request.until,
            },
            now: self.now(),
        };
        let limit = request.limit.max(1) as usize;
        let most = limit.saturating_mul(10).clamp(1_000, 10_000);
        let partner = request.partner.as_deref();
        let group = u32::try_from(GROUP).unwrap_or(u32::MAX);
        let mut page = Page::default();
        let mut after = request.after.clone();
        loop {
            let keys = self.store.keys(partner, after.as_ref(), group).await?;
            let is_last = keys.len() < GROUP;
            let mut histories = self.histories(&keys).await?;
            while let Some(Together { clients, .. }) = histories.next(self).await? {
                for (key, compared) in comparison.clone().run(clients).await {
                    page.add(&key, compared);
                    if page.listed.len() >= limit
                        || page.replayed >= most
                        || page.events_and_changes >= MOST_ON_PAGE
                    {
                        let is_end = is_last && keys.last() == Some(&key);
                        return Ok(page.end((!is_end).then_some(key)));
                    }
                }
            }
            if is_last {
                return Ok(page.end(None));
            }
            after = keys.last().cloned();
        }
    }
}

/// A page while clients are added to it.
#[derive(Default)]
struct Page {
    listed: Vec<ClientWhatIf>,
    replayed: usize,
    events_and_changes: usize,
    /// In key order.
    partners: Vec<PartnerWhatIf>,
    days: BTreeMap<NaiveDate, Coming>,
}

impl Page {
    fn add(&mut self, key: &ClientKey, compared: Compared) {
        self.replayed += 1;
        let client = &compared.client;
        self.events_and_changes += compared.events + client.added.len() + client.dropped.len();
        if self
            .partners
            .last()
            .is_none_or(|last| last.partner != *key.partner)
        {
            self.partners.push(PartnerWhatIf {
                partner: key.partner.to_string(),
                totals: WhatIfTotals::default(),
            });
        }
        if let Some(partner) = self.partners.last_mut() {
            partner.totals.add(&compared.totals());
        }
        for (day, coming) in compared.days {
            self.days.entry(day).or_default().add(&coming);
        }
        if compared.client.differs() {
            self.listed.push(compared.client);
        }
    }

    fn end(self, next: Option<ClientKey>) -> WhatIf {
        let days = self.days.into_iter();
        WhatIf {
            clients: self.listed,
            partners: self.partners,
            days: days.map(|(day, coming)| WhatIfDay { day, coming }).collect(),
            next,
        }
    }
}

/// What is compared.
#[derive(Clone)]
struct Comparison {
    recorded: Policies,
    other: Policies,
    window: Interval,
    now: DateTime<Utc>,
}

/// A client under both policies.
struct Compared {
    client: ClientWhatIf,
    events: usize,
    /// The changes to come.
    days: BTreeMap<NaiveDate, Coming>,
}

impl Comparison {
    async fn run(self, clients: Vec<(ClientKey, Vec<Logged>)>) -> Vec<(ClientKey, Compared)> {
        let comparing = move || {
            let clients = clients.into_iter();
            let compared = clients.map(|(key, history)| {
                let compared = self.compare(&key, &history);
                (key, compared)
            });
            compared.collect()
        };
        run_blocking(comparing).await
    }

    fn compare(&self, key: &ClientKey, history: &[Logged]) -> Compared {
        let events = history.iter().map(|logged| &logged.event);
        let recorded = Life::of(events.clone(), self.window, &self.recorded);
        let other = Life::of(events, self.window, &self.other);
        let mut days: BTreeMap<NaiveDate, Coming> = BTreeMap::new();
        for change in self.coming(&recorded) {
            let day = days.entry(change.time.date_naive()).or_default();
            *day.recorded.entry(change.kind.clone()).or_default() += 1;
        }
        for change in self.coming(&other) {
            let day = days.entry(change.time.date_naive()).or_default();
            *day.what_if.entry(change.kind.clone()).or_default() += 1;
        }
        let added = only_in(other.changes(), recorded.changes());
        let dropped = only_in(recorded.changes(), other.changes());
        let (before, after) = (recorded.into_intervals(), other.into_intervals());
        Compared {
            client: ClientWhatIf {
                client: key.to_string(),
                access: Difference::between(&before.access, &after.access),
                billing: Difference::between(&before.billable, &after.billable),
                commission: Difference::between(&before.commission, &after.commission),
                added,
                dropped,
            },
            events: history.len(),
            days,
        }
    }

    /// The changes of a life that are later than now.
    fn coming<'l>(&self, life: &'l Life<'_>) -> impl Iterator<Item = &'l WhatIfChange> {
        let now = self.now;
        life.changes().iter().filter(move |change| change.time > now)
    }
}

impl Compared {
    fn totals(&self) -> WhatIfTotals {
        let client = &self.client;
        let mut coming = Coming::default();
        for day in self.days.values() {
            coming.add(day);
        }
        WhatIfTotals {
            clients: 1,
            differ: u64::from(client.differs()),
            access: DifferenceTotals::of(&client.access),
            billing: DifferenceTotals::of(&client.billing),
            commission: DifferenceTotals::of(&client.commission),
            coming,
        }
    }
}

impl ClientWhatIf {
    fn differs(&self) -> bool {
        let differences = [&self.access, &self.billing, &self.commission];
        differences.iter().any(|difference| difference.differs())
            || !self.added.is_empty()
            || !self.dropped.is_empty()
    }
}

/// Adds up days of several pages.
#[derive(Clone, Debug, Default)]
pub struct WhatIfDays(BTreeMap<NaiveDate, Coming>);

impl WhatIfDays {
    pub fn add(&mut self, day: &WhatIfDay) {
        self.0.entry(day.day).or_default().add(&day.coming);
    }

    /// The days with changes, in order.
    #[must_use]
    pub fn into_days(self) -> Vec<WhatIfDay> {
        let days = self.0.into_iter();
        days.map(|(day, coming)| WhatIfDay { day, coming }).collect()
    }
}
