//! Reads and writes the audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::session::Transaction;
use super::{SqliteStore, dead_letters, halts, lanes, micros, policies, webhooks, workers};
use crate::store::audit::{AuditRow, AuditTexts};
use crate::store::columns::text;
use crate::store::{Audit, AuditEntry, AuditFilter, AuditPage, AuditRecord, OperatorAction, Result};

#[async_trait]
impl Audit for SqliteStore {
    async fn act(&self, action: &OperatorAction, entry: &AuditEntry) -> Result<bool> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            let done = carry_out(&mut transaction, action).await?;
            if done {
                add(&mut *transaction, entry).await?;
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok(done)
        })
        .await
    }

    async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        self.in_turn(add(&self.writer, entry)).await
    }

    async fn audit_log(&self, filter: &AuditFilter, before: i64, rows: u32, limit: u32) -> Result<AuditPage> {
        let actions = filter.actions();
        let (since, until) = filter.time();
        let (first, last) = if filter.has_time() {
            numbers_within(&self.readers, since, until).await?
        } else {
            (i64::MIN, i64::MAX)
        };
        let before = before.min(last.saturating_add(1));
        // In the order of numbers, not by the index of times, which has another order.
        let end: Option<i64> = sqlx::query_scalar(
            "select number
             from audit_log
             where number < ?1 and number >= ?2 and +at >= ?3 and +at < ?4
             order by number desc
             limit 1 offset ?5",
        )
        .bind(before)
        .bind(first)
        .bind(micros(since))
        .bind(micros(until))
        .bind(i64::from(rows.saturating_sub(1)))
        .fetch_optional(&self.readers)
        .await?;
        let entries: Vec<AuditRow<i64>> = sqlx::query_as(
            "select number, at, who, how, action, target, reason, details, request_id
             from audit_log
             where number < ?1 and number >= ?2 and +at >= ?3 and +at < ?4
               and (?5 is null or who = ?5)
               and (?6 is null or action = ?6 or substr(action, 1, length(?7)) = ?7)
             order by number desc
             limit ?8",
        )
        .bind(before)
        .bind(end.unwrap_or(first))
        .bind(micros(since))
        .bind(micros(until))
        .bind(&filter.who)
        .bind(actions.as_ref().map(|(action, _)| action))
        .bind(actions.as_ref().map(|(_, below)| below))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.readers)
        .await?;
        let entries = entries.into_iter().map(AuditRow::read).collect::<Result<_>>()?;
        Ok(AuditPage::of(entries, limit, end))
    }

    async fn last_audits(&self, action: &str, target: &str, limit: u32) -> Result<Vec<AuditRecord>> {
        let entries: Vec<AuditRow<i64>> = sqlx::query_as(
            "select number, at, who, how, action, target, reason, details, request_id
             from audit_log
             where target = ?1 and action = ?2
             order by number desc
             limit ?3",
        )
        .bind(text(target))
        .bind(text(action))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        entries.into_iter().map(AuditRow::read).collect()
    }
}

/// The first and the last number of the entries of a time. Between them, nearly all entries are of that time; without them, a walk
/// would read every newer entry. 1 and 0: there are none.
async fn numbers_within(
    executor: impl SqliteExecutor<'_>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(i64, i64)> {
    let numbers = sqlx::query_as(
        "select coalesce(min(number), 1), coalesce(max(number), 0) from audit_log where at >= ?1 and at < ?2",
    )
    .bind(micros(since))
    .bind(micros(until))
    .fetch_one(executor)
    .await?;
    Ok(numbers)
}

async fn carry_out(connection: &mut SqliteConnection, action: &OperatorAction) -> Result<bool> {
    match action {
        OperatorAction::Halt(halt) => halts::add(connection, halt).await,
        OperatorAction::Resume(sweep, kind) => halts::remove(connection, *sweep, *kind).await,
        OperatorAction::RecordPolicy { from, policy } => {
            policies::record(connection, *from, policy, true).await?;
            Ok(true)
        }
        OperatorAction::ReplacePolicies(replaced) => {
            policies::replace(connection, replaced).await?;
            Ok(true)
        }
        OperatorAction::SetLanes { lanes, at } => {
            lanes::set(connection, lanes, *at).await?;
            Ok(true)
        }
        OperatorAction::DiscardDeadLetter { id, at } => dead_letters::discard(connection, *id, *at).await,
        OperatorAction::AddEndpoint(endpoint) => webhooks::insert(connection, endpoint).await,
        OperatorAction::ChangeEndpoint {
            name,
            revision,
            change,
        } => webhooks::change(connection, name, *revision, change).await,
        OperatorAction::RemoveEndpoint(name) => webhooks::remove(connection, name).await,
        OperatorAction::RemoveWorker { name, unseen_since } => {
            workers::remove(connection, name, Some(*unseen_since)).await
        }
    }
}

/// Adds an entry.
pub(super) async fn add(executor: impl SqliteExecutor<'_>, entry: &AuditEntry) -> Result<()> {
    let texts = AuditTexts::of(entry);
    sqlx::query(
        "insert into audit_log (at, who, how, action, target, reason, details, request_id)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(micros(entry.at))
    .bind(texts.who)
    .bind(entry.how.as_str())
    .bind(texts.action)
    .bind(texts.target)
    .bind(texts.reason)
    .bind(texts.details)
    .bind(texts.request_id)
    .execute(executor)
    .await?;
    Ok(())
}
