//! What operators do. Every action is an entry of the audit log, with who, how and why.
//!
//! An action that is one transaction is written with its entry. One that is several (a sweep, a redrive, a rebuild, a pruning) is
//! recorded before it changes anything, and a closing with its claim, so that nothing changes without an entry.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::lists::WALK;
use super::policy::APPLY;
use super::{
    Adoption, AdoptionMode, CloseRequest, Discard, Engine, PruneReport, Rebuilt, Redrive, Scope,
    StatementError, SweepMode, SweepOptions, SweepReport,
};
use crate::config::RetentionSettings;
use crate::domain::{ClientKey, Entry, Event, Policy, Sweep};
use crate::store::{
    AuditEntry, AuditFilter, AuditHow, AuditPage, AuditRecord, Closing, Halt, HaltKind, OperatorAction,
    StoreError,
};
use crate::wire::Decoder;

/// The action that pauses a sweep.
const PAUSE_SWEEP: &str = "sweep.pause";
/// The action that pauses an endpoint of webhooks.
pub(super) const PAUSE_ENDPOINT: &str = "webhook.pause";

/// Who acts, how and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name of the token, or the user of the system.
    pub who: String,
    pub how: AuditHow,
    /// None: the operator gave none.
    pub reason: Option<String>,
    /// The `x-request-id` of the request.
    pub request_id: Option<String>,
}

impl Authority {
    /// That of the settings, which a worker puts into the store when it starts.
    #[must_use]
    pub fn of_settings() -> Self {
        Self {
            who: AuditHow::Settings.as_str().to_owned(),
            how: AuditHow::Settings,
            reason: None,
            request_id: None,
        }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into()).filter(|reason: &String| !reason.trim().is_empty());
        self
    }

    /// An entry of the audit log. `details` is a JSON object, or null.
    #[must_use]
    pub fn entry(
        &self,
        at: DateTime<Utc>,
        action: &str,
        target: Option<String>,
        details: Value,
    ) -> AuditEntry {
        AuditEntry {
            at: Event::truncate(at),
            who: self.who.clone(),
            how: self.how,
            action: action.to_owned(),
            target,
            reason: self.reason.clone(),
            details: match details {
                Value::Object(details) => details,
                _ => Map::new(),
            },
            request_id: self.request_id.clone(),
        }
    }
}

impl Engine {
    /// The engine for an operator.
    #[must_use]
    pub fn operator<'e>(&'e self, authority: &'e Authority) -> Operator<'e> {
        Operator {
            engine: self,
            authority,
        }
    }

    /// Entries of the audit log with a number below `before`, newest first, at most `limit`. A page may have fewer although others
    /// follow: it examines [`WALK`] entries.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: i64,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        self.store.audit_log(filter, before, WALK, limit).await
    }

    /// The entry of the last pause of a sweep. None: retention has removed it, or nobody has paused the sweep.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn last_sweep_pause(&self, sweep: Sweep) -> Result<Option<AuditRecord>, StoreError> {
        self.last_audit(PAUSE_SWEEP, sweep.as_str()).await
    }

    /// As [`Engine::last_sweep_pause`], of an endpoint of webhooks.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn last_endpoint_pause(&self, name: &str) -> Result<Option<AuditRecord>, StoreError> {
        self.last_audit(PAUSE_ENDPOINT, name).await
    }

    /// The newest entries about policies that were put into force, newest first, at most `limit`, however many other entries
    /// there are.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn applied_policies(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.store.last_audits(APPLY, "", limit).await
    }

    async fn last_audit(&self, action: &str, target: &str) -> Result<Option<AuditRecord>, StoreError> {
        let last = self.store.last_audits(action, target, 1).await?;
        Ok(last.into_iter().next())
    }
}

/// The engine for an operator.
#[derive(Clone, Copy)]
pub struct Operator<'e> {
    pub(super) engine: &'e Engine,
    authority: &'e Authority,
}

impl Operator<'_> {
    /// An entry of the audit log, as of now.
    #[must_use]
    pub fn entry(&self, action: &str, target: Option<String>, details: Value) -> AuditEntry {
        self.authority.entry(self.engine.now(), action, target, details)
    }

    /// Adds an entry to the audit log, for an action that is not one of the methods here. `details` is a JSON object, or null.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn record(
        &self,
        action: &str,
        target: Option<String>,
        details: Value,
    ) -> Result<(), StoreError> {
        let entry = self.entry(action, target, details);
        self.engine.store.record_audit(&entry).await
    }

    pub(super) async fn act(&self, action: OperatorAction, entry: &AuditEntry) -> Result<bool, StoreError> {
        self.engine.store.act(&action, entry).await
    }

    /// Pauses a sweep for the reason of the authority: from its next chunk on, only manual runs change anything. False: it is
    /// paused already, and the first reason stays.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn pause_sweep(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let entry = self.entry(PAUSE_SWEEP, Some(sweep.to_string()), Value::Null);
        let halt = Halt {
            sweep,
            kind: HaltKind::Paused,
            at: entry.at,
            why: self.authority.reason.clone().unwrap_or_default(),
        };
        self.act(OperatorAction::Halt(halt), &entry).await
    }

    /// Lifts the pause of a sweep. False: it was not paused.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn resume_sweep(&self, sweep: Sweep) -> Result<bool, StoreError> {
        let entry = self.entry("sweep.resume", Some(sweep.to_string()), Value::Null);
        self.act(OperatorAction::Resume(sweep, HaltKind::Paused), &entry)
            .await
    }

    /// Runs a sweep by hand, confirmed or not: [`Engine::sweep`]. A dry run has no entry.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn sweep(
        &self,
        sweep: Sweep,
        options: SweepOptions,
        seen: impl FnMut(&[(ClientKey, Vec<Entry>)]) + Send,
    ) -> Result<SweepReport, StoreError> {
        let action = match options.mode {
            SweepMode::Confirmed => Some("sweep.confirm"),
            SweepMode::ByHand | SweepMode::Scheduled { .. } => Some("sweep.run"),
            SweepMode::DryRun => None,
        };
        if let Some(action) = action {
            let details = match options.as_of {
                Some(as_of) => json!({ "as_of": as_of }),
                None => Value::Null,
            };
            self.record(action, Some(sweep.to_string()), details).await?;
        }
        self.engine.sweep(sweep, options, seen).await
    }

    /// Puts a confirmed policy into force: [`Engine::adopt`]. It may withdraw policies that are recorded ahead of the clock.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn apply_policy(&self, policy: &Policy, notice: TimeDelta) -> Result<Adoption, StoreError> {
        let entry = self.entry(APPLY, None, Value::Null);
        self.engine
            .adopt_as(policy, notice, AdoptionMode::Confirmed, Some(&entry))
            .await
    }

    /// Redrives a dead letter: [`Engine::redrive`].
    ///
    /// # Errors
    /// When the store cannot be reached; redriving again is safe.
    pub async fn redrive(&self, id: i64, decoder: &Decoder) -> Result<Redrive, StoreError> {
        let entry = self.entry("dead_letter.redrive", Some(id.to_string()), Value::Null);
        self.engine.redrive_as(id, None, decoder, Some(&entry)).await
    }

    /// Redrives a dead letter with another body, as a new event. If that is not a valid event, nothing is ingested.
    ///
    /// # Errors
    /// When the store cannot be reached; redriving again is safe.
    pub async fn redrive_edited(
        &self,
        id: i64,
        body: Vec<u8>,
        decoder: &Decoder,
    ) -> Result<Redrive, StoreError> {
        let entry = self.entry("dead_letter.edit", Some(id.to_string()), Value::Null);
        self.engine
            .redrive_as(id, Some(body), decoder, Some(&entry))
            .await
    }

    /// Discards a dead letter, unless it is resolved already.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn discard_dead_letter(&self, id: i64) -> Result<Discard, StoreError> {
        let entry = self.entry("dead_letter.discard", Some(id.to_string()), Value::Null);
        let action = OperatorAction::DiscardDeadLetter { id, at: entry.at };
        loop {
            if self.act(action.clone(), &entry).await? {
                return Ok(Discard::Now);
            }
            // None: it was open again by the time that it was read.
            if let Some(resolved) = self.engine.resolution(id).await? {
                return Ok(resolved);
            }
        }
    }

    /// Removes all lanes: timers no longer wait for events from the broker.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn remove_lanes(&self) -> Result<(), StoreError> {
        let lanes = self.engine.store.lanes().await?;
        let lanes: Vec<_> = lanes.iter().map(|lane| lane.lane.as_str()).collect();
        let entry = self.entry("lane.remove", None, json!({ "lanes": lanes }));
        let action = OperatorAction::SetLanes {
            lanes: Vec::new(),
            at: entry.at,
        };
        self.act(action, &entry).await?;
        self.engine.lanes.invalidate();
        Ok(())
    }

    /// Closes a month: [`Engine::close_month`]. Whoever continues a closing that somebody else began has an entry too.
    ///
    /// # Errors
    /// [`StatementError`].
    pub async fn close_month(
        &self,
        request: &CloseRequest,
        progress: impl FnMut(u64, &ClientKey) + Send,
    ) -> Result<Closing, StatementError> {
        let details = json!({ "by": request.by.as_str(), "confirmed": request.confirmed });
        let entry = self.entry("statement.close", Some(request.month.to_string()), details);
        self.engine.close_month_as(request, Some(&entry), progress).await
    }

    /// Replays clients and repairs the stored state: [`Engine::rebuild`].
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn rebuild(&self, scope: &Scope, seen: impl FnMut(Rebuilt) + Send) -> Result<(), StoreError> {
        let target = scope.client.as_ref().map(ToString::to_string);
        let after = scope.after.as_ref().map(ToString::to_string);
        let details = json!({ "partner": scope.partner, "after": after });
        self.record("rebuild", target, details).await?;
        self.engine.rebuild(scope, seen).await
    }

    /// Removes rows that are older than the settings allow: [`Engine::prune`].
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn prune(
        &self,
        settings: &RetentionSettings,
        stop: &CancellationToken,
    ) -> Result<PruneReport, StoreError> {
        self.record("prune", None, Value::Null).await?;
        self.engine.prune(settings, false, stop).await
    }
}
