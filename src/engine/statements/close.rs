//! Closes a month: fixes its statement.
//!
//! A closing writes a page of clients per transaction, and records how far it has come, so that after a crash any process continues
//! it. What it has written does not count until it ends. One process at a time holds the claim on it.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Closings, StatementError};
use crate::domain::policy::later;
use crate::domain::statement::Closer;
use crate::domain::{ClientKey, Month};
use crate::engine::Engine;
use crate::engine::histories::GROUP;
use crate::engine::low_watermark::LowWatermark;
use crate::engine::statements::computed::{Computation, Computed};
use crate::store::{AuditEntry, Closing, ClosingClaim, Stated, StoreError};

/// How long a claim on a closing lasts after its last page or long history. A closing that was interrupted is continued after that.
pub const CLOSING_CLAIM: TimeDelta = TimeDelta::minutes(2);

/// Clients that are asked about at a time.
const KEYS: u32 = 1_000;

/// How to close a month.
#[derive(Clone, Debug)]
pub struct CloseRequest {
    pub month: Month,
    /// Who closes it. A closing that somebody else began stays theirs.
    pub by: Closer,
    /// Close it although events of the month may still arrive, or although it is the first one and nothing has happened by its end.
    pub confirmed: bool,
    /// The number of clients after which to stop, if more are left. None: all of them.
    pub most: Option<u64>,
}

impl Engine {
    /// Closes a month, or continues a closing that was interrupted. Months are closed in order, and for all partners. `progress`
    /// receives the number of clients so far, and the last of them, after each page.
    ///
    /// Returns the closing, which is in progress if `most` has stopped it.
    ///
    /// # Errors
    /// [`StatementError`]. Pages that were written stay, and the next call continues after them.
    pub async fn close_month(
        &self,
        request: &CloseRequest,
        progress: impl FnMut(u64, &ClientKey) + Send,
    ) -> Result<Closing, StatementError> {
        self.close_month_as(request, None, progress).await
    }

    /// With an entry of the audit log, which is added with the claim, once for each author.
    pub(in crate::engine) async fn close_month_as(
        &self,
        request: &CloseRequest,
        entry: Option<&AuditEntry>,
        mut progress: impl FnMut(u64, &ClientKey) + Send,
    ) -> Result<Closing, StatementError> {
        self.may_close(request).await?;
        let mut claim = ClosingClaim {
            month: request.month,
            by: request.by.as_str().to_owned(),
            token: format!("{:032x}", rand::random::<u128>()),
            until: later(self.now(), CLOSING_CLAIM),
        };
        if !self.store.claim_closing(&claim, self.now(), entry).await? {
            return Err(self.lost(request.month).await);
        }
        let closed = self.state_all(request, &mut claim, &mut progress).await;
        if !matches!(closed, Ok(true)) {
            // Without it, the next process waits until the claim has expired.
            let _ = self.store.release_closing(&claim).await;
        }
        closed?;
        let closings = Closings(self.store.closings().await?);
        let closing = closings.of(request.month).cloned();
        closing.ok_or_else(|| gone(request.month).into())
    }

    /// Checks what [`Engine::close_month`] checks before it changes anything: all that does not depend on other processes.
    ///
    /// # Errors
    /// Those of [`Engine::close_month`].
    pub async fn may_close(&self, request: &CloseRequest) -> Result<(), StatementError> {
        let closings = Closings(self.store.closings().await?);
        let month = request.month;
        let now = self.now();
        if let Some(closing) = closings.of(month)
            && let Some(at) = closing.closed_at
        {
            return Err(StatementError::Closed {
                month,
                by: closing.closed_by.clone(),
                at,
            });
        }
        if now < month.end() {
            return Err(StatementError::NotEnded { month });
        }
        if let Some(next) = closings.next()
            && next != month
        {
            return Err(StatementError::OutOfOrder { month, next });
        }
        if let Some(skew) = self.watch.ahead() {
            return Err(StatementError::Clock(skew.to_string()));
        }
        // Whoever began the closing has decided that.
        if request.confirmed || closings.of(month).is_some() {
            return Ok(());
        }
        if closings.0.is_empty() && !self.has_event_before(month.end()).await? {
            return Err(StatementError::BeforeFirstEvent { month });
        }
        let (lanes, sources) = (self.store.lanes().await?, self.store.sources().await?);
        let low_watermark = LowWatermark::of(&lanes, &sources, month.end(), &self.watch);
        match low_watermark.behind {
            None => Ok(()),
            Some(behind) => Err(StatementError::EventsMayArrive {
                month,
                behind: behind.to_string(),
            }),
        }
    }

    /// Whether any event happened before a moment. Asks about every client if none did.
    async fn has_event_before(&self, moment: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let keys = self.store.keys(None, after.as_ref(), KEYS).await?;
            if self.store.any_event_before(&keys, moment).await? {
                return Ok(true);
            }
            after = keys.last().cloned();
            if keys.len() < KEYS as usize {
                return Ok(false);
            }
        }
    }

    /// States the clients page by page. False: there are more than the request allows.
    async fn state_all(
        &self,
        request: &CloseRequest,
        claim: &mut ClosingClaim,
        progress: &mut (dyn FnMut(u64, &ClientKey) + Send),
    ) -> Result<bool, StatementError> {
        // Read under the claim: another process may have continued the closing just before.
        let closings = Closings(self.store.closings().await?);
        let closing = closings.of(request.month).cloned();
        let mut after = closing.ok_or_else(|| gone(request.month))?.after;
        let computation = self.computation(request.month, &closings, true).await?;
        let mut done = 0;
        let page = u32::try_from(GROUP).unwrap_or(u32::MAX);
        loop {
            let keys = self.store.keys(None, after.as_ref(), page).await?;
            let Some(last) = keys.last().cloned() else { break };
            if request.most.is_some_and(|most| done >= most) {
                return Ok(false);
            }
            let rows = self.rows(&computation, &keys, claim).await?;
            claim.until = later(self.now(), CLOSING_CLAIM);
            if !self.store.record_stated(claim, &last, &rows).await? {
                return Err(self.lost(request.month).await);
            }
            done += keys.len() as u64;
            progress(done, &last);
            after = Some(last);
        }
        if !self.store.end_closing(claim, self.now()).await? {
            return Err(self.lost(request.month).await);
        }
        Ok(true)
    }

    /// The rows of a page. A client without a day and without an adjustment has none.
    async fn rows(
        &self,
        computation: &Computation,
        keys: &[ClientKey],
        claim: &mut ClosingClaim,
    ) -> Result<Vec<(ClientKey, Stated)>, StatementError> {
        let computed = self.compute(computation, keys, Some(claim)).await?;
        let rows = computed
            .into_iter()
            .flat_map(|client| client.rows(computation.month));
        Ok(rows.collect())
    }

    /// Prolongs a claim, unless most of it is left.
    pub(super) async fn renew_closing(&self, claim: &mut ClosingClaim) -> Result<(), StatementError> {
        let until = later(self.now(), CLOSING_CLAIM);
        if until - claim.until < CLOSING_CLAIM / 4 {
            return Ok(());
        }
        claim.until = until;
        if !self.store.renew_closing(claim).await? {
            return Err(self.lost(claim.month).await);
        }
        Ok(())
    }

    /// Why this process may not close the month.
    async fn lost(&self, month: Month) -> StatementError {
        let closings = match self.store.closings().await {
            Ok(closings) => Closings(closings),
            Err(error) => return error.into(),
        };
        match (closings.of(month), closings.next()) {
            (Some(closing), _) => match closing.closed_at {
                Some(at) => StatementError::Closed {
                    month,
                    by: closing.closed_by.clone(),
                    at,
                },
                None => StatementError::InProgress {
                    month,
                    by: closing.closed_by.clone(),
                    until: closing.claimed_until.unwrap_or_else(|| self.now()),
                },
            },
            (None, Some(next)) => StatementError::OutOfOrder { month, next },
            (None, None) => gone(month).into(),
        }
    }
}

/// The store has removed a closing: only an import or a person does that.
fn gone(month: Month) -> StoreError {
    StoreError::Conflict(format!("the closing of {month} was removed"))
}

impl Computed {
    fn rows(self, stated_in: Month) -> Vec<(ClientKey, Stated)> {
        let own = (!self.days.is_empty()).then(|| Stated {
            month: stated_in,
            stated_in,
            days: self.days,
            intervals: self.intervals,
            causes: Vec::new(),
        });
        let adjusted = self.adjusted.into_iter().map(|one| Stated {
            month: one.month,
            stated_in,
            days: one.days,
            intervals: one.intervals,
            causes: one.causes,
        });
        let key = self.key;
        own.into_iter()
            .chain(adjusted)
            .map(|row| (key.clone(), row))
            .collect()
    }
}
