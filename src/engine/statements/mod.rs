//! Statements: the days of each client in a month, as they were closed or as they are known now.

mod causes;
mod close;
mod computed;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use close::{CLOSING_CLAIM, CloseRequest};

use super::Engine;
use super::histories::GROUP;
use crate::domain::intervals::ClientIntervals;
use crate::domain::statement::DayCounts;
use crate::domain::time::rfc3339;
use crate::domain::{Adjustment, ClientKey, Month, MonthDays};
use crate::store::{Closing, ClosingStatus, Stated, StoreError};
use computed::{Computation, Computed};

/// Which part of a statement to show.
#[derive(Clone, Debug)]
pub struct StatementRequest {
    pub month: Month,
    /// Only clients of this partner.
    pub partner: Option<String>,
    /// Recompute a closed month from the events as they are known now.
    pub recompute: bool,
    /// Only clients after this key, where the previous page ended.
    pub after: Option<ClientKey>,
    /// Maximum number of clients that are examined for a page. Those without a day and without an adjustment are left out.
    pub limit: u32,
}

/// A page of a statement, in key order.
#[derive(Clone, Debug)]
pub struct StatementPage {
    /// The closing of the month, or the part of it that is done. None: nobody has begun to close it.
    pub closing: Option<Closing>,
    /// A page may have none and not be the last.
    pub clients: Vec<ClientStatement>,
    /// Where the next page begins. None: this page is the last.
    pub next: Option<ClientKey>,
    /// Whether it has the adjustments that the month would state now.
    is_preview: bool,
}

/// The pages of a statement, all of one kind: as closed, or as known now.
pub struct StatementPages {
    request: StatementRequest,
    /// The status of the closing, and whether pages are previews, as of the first page.
    first: Option<(Option<ClosingStatus>, bool)>,
    is_over: bool,
}

/// The days of a client in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientStatement {
    #[serde(skip)]
    pub key: ClientKey,
    pub client: String,
    pub days: DayCounts,
    /// Within the month.
    pub intervals: ClientIntervals,
    /// Of earlier months that are closed, in their order.
    pub adjustments: Vec<Adjustment>,
}

/// The sums of a partner's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartnerSum {
    pub partner: String,
    /// Clients with a day in the month, or with an adjustment.
    pub clients: u64,
    pub days: DayCounts,
    /// The sum of the adjustments of earlier months.
    pub adjustments: DayCounts,
}

/// Adds up statements of clients in key order. Memory grows with the number of partners.
#[derive(Clone, Debug, Default)]
pub struct PartnerSums(Vec<PartnerSum>);

/// Why there is no statement of a month, or why it cannot be closed.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("{0} has not begun; name the present month or an earlier one")]
    NotBegun(Month),
    #[error("{month} has not ended; close it at {} or later", rfc3339(month.end()))]
    NotEnded { month: Month },
    #[error(
        "{month} is closed: {by} closed it at {}. Later changes to its days become adjustments in the statement of a later month",
        rfc3339(*at)
    )]
    Closed {
        month: Month,
        by: String,
        at: DateTime<Utc>,
    },
    #[error("{month} cannot be closed now: months are closed in order, and the next one is {next}")]
    OutOfOrder { month: Month, next: Month },
    #[error(
        "{month} is being closed now: {by} began the closing. Wait until it ends. If it was interrupted, continue it at {} or later",
        rfc3339(*until)
    )]
    InProgress {
        month: Month,
        by: String,
        until: DateTime<Utc>,
    },
    #[error(
        "events of {month} may still arrive: {behind}. Close the month when they have arrived, or confirm to close it without \
         them: they then become adjustments in later statements"
    )]
    EventsMayArrive { month: Month, behind: String },
    #[error(
        "{month} cannot be the first month that is closed: no event happened in it or before. Close the month of the first events, \
         or confirm that closings begin with this month. That cannot be undone, and every later month must be closed in order"
    )]
    BeforeFirstEvent { month: Month },
    #[error("the statement of {0} changed while it was read: a closing began or ended; read it again")]
    Changed(Month),
    #[error("{0}. No month can be closed until the clock is right: correct it, and close the month again")]
    Clock(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The closings of a store.
struct Closings(Vec<Closing>);

impl Closings {
    fn of(&self, month: Month) -> Option<&Closing> {
        self.0.iter().find(|closing| closing.month == month)
    }

    fn is_closed(&self, month: Month) -> bool {
        self.of(month).is_some_and(is_closed)
    }

    /// The months that are closed, in order.
    fn closed(&self) -> impl DoubleEndedIterator<Item = &Closing> {
        self.0.iter().filter(|closing| is_closed(closing))
    }

    /// The month that is closed next. None: any month may be the first.
    fn next(&self) -> Option<Month> {
        let in_progress = self.0.iter().find(|closing| !is_closed(closing));
        in_progress
            .map(|closing| closing.month)
            .or_else(|| Some(self.closed().next_back()?.month.next()))
    }
}

fn is_closed(closing: &Closing) -> bool {
    closing.status == ClosingStatus::Closed
}

impl Engine {
    /// A statement of a month: of a closed one as it was closed, with the adjustments of earlier months that are stated in it; of
    /// any other as it is known now, up to the present, and of the month that is closed next with the adjustments that it would
    /// state now.
    ///
    /// Examines a bounded number of clients, so a page takes a bounded time, except for the length of their histories.
    ///
    /// # Errors
    /// [`StatementError::NotBegun`], or when the store cannot be reached.
    pub async fn statement(&self, request: &StatementRequest) -> Result<StatementPage, StatementError> {
        let month = request.month;
        if self.now() < month.start() {
            return Err(StatementError::NotBegun(month));
        }
        let closings = Closings(self.store.closings().await?);
        let partner = request.partner.as_deref();
        let keys = self
            .store
            .keys(partner, request.after.as_ref(), request.limit)
            .await?;
        let is_last = keys.len() < request.limit as usize;
        let is_as_closed = closings.is_closed(month) && !request.recompute;
        let is_preview = closings.next() == Some(month) && !request.recompute;
        let clients = if is_as_closed {
            self.as_closed(month, &keys).await?
        } else {
            let computation = self.computation(month, &closings, is_preview).await?;
            self.as_known_now(&computation, &keys).await?
        };
        Ok(StatementPage {
            closing: closings.of(month).cloned(),
            clients,
            next: keys.last().filter(|_| !is_last).cloned(),
            is_preview,
        })
    }

    /// The closings of months, in order. At most the last one is in progress.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn closings(&self) -> Result<Vec<Closing>, StoreError> {
        self.store.closings().await
    }

    async fn as_closed(&self, month: Month, keys: &[ClientKey]) -> Result<Vec<ClientStatement>, StoreError> {
        let mut stated = self.store.stated(keys).await?;
        let rows = keys
            .iter()
            .filter_map(|key| Some((key.clone(), stated.remove(key)?)));
        Ok(rows
            .map(|(key, rows)| ClientStatement::as_closed(key, month, &rows))
            .filter(ClientStatement::has_content)
            .collect())
    }

    async fn as_known_now(
        &self,
        computation: &Computation,
        keys: &[ClientKey],
    ) -> Result<Vec<ClientStatement>, StatementError> {
        let mut clients = Vec::new();
        for group in keys.chunks(GROUP) {
            for computed in self.compute(computation, group, None).await? {
                clients.push(computed.statement());
            }
        }
        clients.retain(ClientStatement::has_content);
        Ok(clients)
    }
}

impl StatementPages {
    /// Begins after `after` of the request.
    #[must_use]
    pub fn of(request: StatementRequest) -> Self {
        Self {
            request,
            first: None,
            is_over: false,
        }
    }

    /// The next page. None: the previous one was the last.
    ///
    /// # Errors
    /// [`StatementError`], for example [`StatementError::Changed`].
    pub async fn next(&mut self, engine: &Engine) -> Result<Option<StatementPage>, StatementError> {
        if self.is_over {
            return Ok(None);
        }
        let page = engine.statement(&self.request).await?;
        let kind = (
            page.closing.as_ref().map(|closing| closing.status),
            page.is_preview,
        );
        if *self.first.get_or_insert(kind) != kind {
            return Err(StatementError::Changed(self.request.month));
        }
        self.is_over = page.next.is_none();
        self.request.after.clone_from(&page.next);
        Ok(Some(page))
    }
}

impl ClientStatement {
    fn as_closed(key: ClientKey, month: Month, rows: &[Stated]) -> Self {
        let own = rows
            .iter()
            .find(|row| row.month == month && row.stated_in == month);
        let adjustment = |(place, row): (usize, &Stated)| {
            if row.stated_in != month || row.month == month {
                return None;
            }
            // Rows are in order of `month`, then `stated_in`.
            let before = rows[..place].last().filter(|before| before.month == row.month);
            let before = before.map_or_else(MonthDays::default, |before| before.days);
            Some(Adjustment::between(
                row.month,
                before,
                row.days,
                row.causes.clone(),
            ))
        };
        Self {
            client: key.to_string(),
            key,
            days: own.map(|row| row.days.count()).unwrap_or_default(),
            intervals: own.map(|row| row.intervals.clone()).unwrap_or_default(),
            adjustments: rows.iter().enumerate().filter_map(adjustment).collect(),
        }
    }

    fn has_content(&self) -> bool {
        self.days != DayCounts::default() || !self.adjustments.is_empty()
    }
}

impl Computed {
    /// What a statement says of the client.
    fn statement(self) -> ClientStatement {
        let adjustments = self.adjusted.into_iter();
        ClientStatement {
            client: self.key.to_string(),
            key: self.key,
            days: self.days.count(),
            intervals: self.intervals,
            adjustments: adjustments
                .map(|one| Adjustment::between(one.month, one.before, one.days, one.causes))
                .collect(),
        }
    }
}

impl PartnerSums {
    pub fn add(&mut self, client: &ClientStatement) {
        if self
            .0
            .last()
            .is_none_or(|sum| *sum.partner != *client.key.partner)
        {
            self.0.push(PartnerSum {
                partner: client.key.partner.to_string(),
                clients: 0,
                days: DayCounts::default(),
                adjustments: DayCounts::default(),
            });
        }
        if let Some(sum) = self.0.last_mut() {
            sum.clients += 1;
            sum.days += client.days;
            for adjustment in &client.adjustments {
                sum.adjustments += adjustment.days;
            }
        }
    }

    /// In order of partners.
    #[must_use]
    pub fn into_sums(self) -> Vec<PartnerSum> {
        self.0
    }
}
