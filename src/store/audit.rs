//! The audit log: what operators did, who, how and why.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::columns::{Moment, RowId, earliest, json, latest, row, text};
use super::halts::{Halt, HaltKind};
use super::policies::PolicyReplacement;
use super::webhooks::{Endpoint, EndpointChange};
use super::{Result, StoreError};
use crate::domain::text_enum::text_enum;
use crate::domain::time::serialize;
use crate::domain::{Policy, Sweep};

/// The audit log. Retention removes old entries.
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// Carries out an action and adds its entry to the audit log, in one transaction. False: there was nothing to do, such as a
    /// pause to lift, and nothing is written.
    async fn act(&self, action: &OperatorAction, entry: &AuditEntry) -> Result<bool>;

    /// Adds an entry, for an action that has no transaction of its own.
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()>;

    /// Entries with a number below `before`, newest first. Reads at most `rows` entries of the time of the filter, and returns at
    /// most `limit` of them. Of all entries of that time, it reads only the numbers, in an index.
    async fn audit_log(&self, filter: &AuditFilter, before: i64, rows: u32, limit: u32) -> Result<AuditPage>;

    /// The newest entries of an action on a target, newest first. An empty target: those without one.
    async fn last_audits(&self, action: &str, target: &str, limit: u32) -> Result<Vec<AuditRecord>>;
}

/// What an operator changes in one transaction.
#[derive(Clone, Debug)]
pub enum OperatorAction {
    /// [`super::Halts::halt`]. If the sweep has a halt of this kind, there is nothing to do.
    Halt(Halt),
    /// [`super::Halts::resume`].
    Resume(Sweep, HaltKind),
    /// [`super::PolicyHistory::record_policy`], with a backfill.
    RecordPolicy {
        from: DateTime<Utc>,
        policy: Box<Policy>,
    },
    /// [`super::PolicyHistory::replace_policies`].
    ReplacePolicies(Vec<PolicyReplacement>),
    /// [`super::Lanes::set_lanes`].
    SetLanes { lanes: Vec<String>, at: DateTime<Utc> },
    /// [`super::DeadLetters::discard_dead_letter`].
    DiscardDeadLetter { id: i64, at: DateTime<Utc> },
    /// [`super::Webhooks::add_endpoint`].
    AddEndpoint(Box<Endpoint>),
    /// [`super::Webhooks::change_endpoint`].
    ChangeEndpoint {
        name: String,
        revision: Option<i64>,
        change: Box<EndpointChange>,
    },
    /// [`super::Webhooks::remove_endpoint`].
    RemoveEndpoint(String),
    /// [`super::Workers::remove_worker`], if it was not seen since this moment.
    RemoveWorker {
        name: String,
        unseen_since: DateTime<Utc>,
    },
}

text_enum! {
    /// The way in which an operator acts.
    pub enum AuditHow {
        Console = "console",
        Http = "http",
        Cli = "cli",
        // A worker that starts with other settings.
        Settings = "settings",
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    #[serde(serialize_with = "serialize")]
    pub at: DateTime<Utc>,
    /// The name of the token, or the user of the system. `settings` for those.
    pub who: String,
    pub how: AuditHow,
    /// What was done, such as `sweep.pause`.
    pub action: String,
    /// What it was done to. None: it has no target of its own.
    #[serde(default)]
    pub target: Option<String>,
    /// None: the operator gave none.
    #[serde(default)]
    pub reason: Option<String>,
    /// More about it.
    #[serde(default)]
    pub details: Map<String, Value>,
    /// The `x-request-id` of the request.
    #[serde(default)]
    pub request_id: Option<String>,
}

/// An entry with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// Greater than those of earlier entries of this store.
    pub number: i64,
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// A page of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    pub entries: Vec<AuditRecord>,
    /// The next page has the entries with a number below this one. None: this is the last page.
    pub next: Option<i64>,
}

impl AuditPage {
    /// A page of entries that were read one more than `limit`, down to the number `end`.
    pub(super) fn of(mut entries: Vec<AuditRecord>, limit: u32, end: Option<i64>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_full = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().map(|record| record.number);
        Self {
            next: if is_full { last } else { end },
            entries,
        }
    }
}

/// Selects entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub who: Option<String>,
    /// An action, or the beginning of several: `sweep` stands for `sweep.pause` and `sweep.resume`.
    pub action: Option<String>,
}

impl AuditFilter {
    /// The time of the filter: at or after the first moment, and before the second.
    pub(super) fn time(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let since = self.since.unwrap_or_else(earliest);
        (since, self.until.unwrap_or_else(latest))
    }

    /// Whether it selects a time.
    pub(super) fn has_time(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// The action, and what the actions below it begin with.
    pub(super) fn actions(&self) -> Option<(String, String)> {
        let action = self.action.as_deref().map(text)?;
        let below = format!("{action}.");
        Some((action, below))
    }
}

/// The columns of an entry as text.
pub(super) struct AuditTexts {
    pub who: String,
    pub action: String,
    pub target: String,
    pub reason: String,
    pub details: String,
    pub request_id: String,
}

impl AuditTexts {
    pub(super) fn of(entry: &AuditEntry) -> Self {
        let optional = |value: &Option<String>| value.as_deref().map(text).unwrap_or_default();
        Self {
            who: text(&entry.who),
            action: text(&entry.action),
            target: optional(&entry.target),
            reason: optional(&entry.reason),
            details: json(&entry.details),
            request_id: optional(&entry.request_id),
        }
    }
}

row! {
    AuditRow<T> {
        number: i64,
        at: T,
        who: String,
        how: String,
        action: String,
        target: String,
        reason: String,
        details: String,
        request_id: String,
    }
}

impl<T: Moment> AuditRow<T> {
    pub(super) fn read(self) -> Result<AuditRecord, StoreError> {
        let id = RowId {
            table: "audit_log",
            key: &self.number,
        };
        let optional = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(AuditRecord {
            number: self.number,
            entry: AuditEntry {
                at: id.moment("at", self.at)?,
                who: self.who,
                how: id.word("how", &self.how, AuditHow::from_name)?,
                action: self.action,
                target: optional(self.target),
                reason: optional(self.reason),
                details: id.json("details", &self.details)?,
                request_id: optional(self.request_id),
            },
        })
    }
}
