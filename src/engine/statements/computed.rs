//! Computes the days of clients from their histories, and compares closed months with what was stated.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Closings, StatementError};
use crate::domain::intervals::ClientIntervals;
use crate::domain::{AdjustmentCause, ClientKey, Event, Month, MonthDays, Policies};
use crate::engine::Engine;
use crate::engine::blocking::run_blocking;
use crate::engine::histories::Together;
use crate::store::{ClosingClaim, Logged, Stated, StoreError};

/// What to compute.
#[derive(Clone)]
pub(super) struct Computation {
    pub month: Month,
    /// The intervals end here.
    until: DateTime<Utc>,
    /// The closed months to compare, in order.
    closed: Vec<Month>,
    /// Events that were stored before this moment were known when the last month was closed.
    pub known_since: DateTime<Utc>,
    pub policies: Arc<Policies>,
}

/// A client as its history has it now.
pub(super) struct Computed {
    pub key: ClientKey,
    pub days: MonthDays,
    /// Within the month.
    pub intervals: ClientIntervals,
    /// The closed months that differ from what was stated, in order.
    pub adjusted: Vec<Adjusted>,
}

/// A closed month that differs from what was stated.
pub(super) struct Adjusted {
    pub month: Month,
    /// As stated before.
    pub before: MonthDays,
    pub days: MonthDays,
    pub intervals: ClientIntervals,
    pub causes: Vec<AdjustmentCause>,
}

impl Engine {
    /// The computation of a month. With `adjusts`, it compares the closed months before it.
    pub(super) async fn computation(
        &self,
        month: Month,
        closings: &Closings,
        adjusts: bool,
    ) -> Result<Computation, StoreError> {
        let closed = closings
            .closed()
            .filter(|closing| adjusts && closing.month < month);
        let closed: Vec<_> = closed.collect();
        Ok(Computation {
            month,
            until: month.end().min(self.now()),
            closed: closed.iter().map(|closing| closing.month).collect(),
            known_since: closed
                .last()
                .map_or(DateTime::<Utc>::MIN_UTC, |last| last.started_at),
            policies: self.policies().await?,
        })
    }

    /// Computes a group of clients, in the order of their keys. Renews the claim of a closing after each long history.
    pub(super) async fn compute(
        &self,
        computation: &Computation,
        keys: &[ClientKey],
        mut claim: Option<&mut ClosingClaim>,
    ) -> Result<Vec<Computed>, StatementError> {
        let mut stated = if computation.closed.is_empty() {
            HashMap::new()
        } else {
            self.store.stated(keys).await?
        };
        let mut histories = self.histories(keys).await?;
        let mut computed = Vec::with_capacity(keys.len());
        while let Some(Together { clients, is_long }) = histories.next(self).await? {
            let clients = clients.into_iter().map(|(key, history)| {
                let rows = stated.remove(&key).unwrap_or_default();
                (key, history, rows)
            });
            computed.extend(self.replay(computation, clients.collect()).await?);
            if is_long && let Some(claim) = &mut claim {
                self.renew_closing(claim).await?;
            }
        }
        Ok(computed)
    }

    /// Replays histories, and finds the causes of what differs.
    async fn replay(
        &self,
        computation: &Computation,
        clients: Vec<(ClientKey, Vec<Logged>, Vec<Stated>)>,
    ) -> Result<Vec<Computed>, StoreError> {
        let shared = computation.clone();
        let replaying = move || {
            let clients = clients.into_iter();
            let replayed = clients.map(|(key, history, rows)| shared.replayed(key, history, &rows));
            replayed.collect::<Vec<_>>()
        };
        let replayed = run_blocking(replaying).await;
        let mut computed = Vec::with_capacity(replayed.len());
        for (client, history) in replayed {
            computed.push(self.find_causes(computation, client, history).await?);
        }
        Ok(computed)
    }
}

impl Computation {
    /// A client, and its history if something differs.
    fn replayed(&self, key: ClientKey, history: Vec<Logged>, rows: &[Stated]) -> (Computed, Vec<Logged>) {
        let events = history.iter().map(|logged| &logged.event);
        let all = self.intervals(events, self.until);
        let intervals = all.clone().within(self.month.bounds());
        let adjusted = |month: &Month| {
            let days = MonthDays::of(&all, *month);
            // Of a closing in progress, only this month and later ones could have rows.
            let stated = |row: &&Stated| row.month == *month && row.stated_in < self.month;
            let before = rows
                .iter()
                .rfind(stated)
                .map_or_else(MonthDays::default, |row| row.days);
            (before != days).then(|| Adjusted {
                month: *month,
                before,
                days,
                intervals: all.clone().within(month.bounds()),
                causes: Vec::new(),
            })
        };
        let computed = Computed {
            days: MonthDays::of(&intervals, self.month),
            adjusted: self.closed.iter().filter_map(adjusted).collect(),
            intervals,
            key,
        };
        let history = if computed.adjusted.is_empty() {
            Vec::new()
        } else {
            history
        };
        (computed, history)
    }

    /// The intervals of a history up to a moment.
    pub fn intervals<'e>(
        &self,
        sorted: impl IntoIterator<Item = &'e Event>,
        until: DateTime<Utc>,
    ) -> ClientIntervals {
        ClientIntervals::of_history(sorted, until, &self.policies)
    }
}
