//! Reads and writes the audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, PgExecutor};

use super::{PostgresStore, dead_letters, halts, lanes, policies, webhooks, workers};
use crate::store::audit::{AuditRow, AuditTexts};
use crate::store::columns::text;
use crate::store::{Audit, AuditEntry, AuditFilter, AuditPage, AuditRecord, OperatorAction, Result};

#[async_trait]
impl Audit for PostgresStore {
    async fn act(&self, action: &OperatorAction, entry: &AuditEntry) -> Result<bool> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
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
        self.in_time(add(&self.pool, entry)).await
    }

    async fn audit_log(&self, filter: &AuditFilter, before: i64, rows: u32, limit: u32) -> Result<AuditPage> {
        self.in_time(async {
            let actions = filter.actions();
            let (since, until) = filter.time();
            let (first, last) = if filter.has_time() {
                numbers_within(&self.pool, since, until).await?
            } else {
                (i64::MIN, i64::MAX)
            };
            let before = before.min(last.saturating_add(1));
            // The place of the last row that is read.
            let end: Option<i64> = sqlx::query_scalar(
                "select number
                 from audit_log
                 where number < $1 and number >= $2 and at >= $3 and at < $4
                 order by number desc
                 limit 1 offset $5",
            )
            .bind(before)
            .bind(first)
            .bind(since)
            .bind(until)
            .bind(i64::from(rows.saturating_sub(1)))
            .fetch_optional(&self.pool)
            .await?;
            let entries: Vec<AuditRow<DateTime<Utc>>> = sqlx::query_as(
                "select number, at, who, how, action, target, reason, details, request_id
                 from audit_log
                 where number < $1 and number >= $2 and at >= $3 and at < $4
                   and ($5::text is null or who = $5)
                   and ($6::text is null or action = $6 or starts_with(action, $7))
                 order by number desc
                 limit $8",
            )
            .bind(before)
            .bind(end.unwrap_or(first))
            .bind(since)
            .bind(until)
            .bind(&filter.who)
            .bind(actions.as_ref().map(|(action, _)| action))
            .bind(actions.as_ref().map(|(_, below)| below))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.pool)
            .await?;
            let entries = entries.into_iter().map(AuditRow::read).collect::<Result<_>>()?;
            Ok(AuditPage::of(entries, limit, end))
        })
        .await
    }

    async fn last_audits(&self, action: &str, target: &str, limit: u32) -> Result<Vec<AuditRecord>> {
        self.in_time(async {
            let entries: Vec<AuditRow<DateTime<Utc>>> = sqlx::query_as(
                "select number, at, who, how, action, target, reason, details, request_id
                 from audit_log
                 where target = $1 and action = $2
                 order by number desc
                 limit $3",
            )
            .bind(text(target))
            .bind(text(action))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            entries.into_iter().map(AuditRow::read).collect()
        })
        .await
    }
}

/// The first and the last number of the entries of a time. Between them, nearly all entries are of that time; without them, a walk
/// would read every newer entry. 1 and 0: there are none.
async fn numbers_within(
    executor: impl PgExecutor<'_>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(i64, i64)> {
    // The offset keeps the planner from looking for the first and the last number in the order of numbers.
    let numbers = sqlx::query_as(
        "select coalesce(min(number), 1), coalesce(max(number), 0)
         from (select number from audit_log where at >= $1 and at < $2 offset 0) numbers",
    )
    .bind(since)
    .bind(until)
    .fetch_one(executor)
    .await?;
    Ok(numbers)
}

async fn carry_out(connection: &mut PgConnection, action: &OperatorAction) -> Result<bool> {
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
pub(super) async fn add(executor: impl PgExecutor<'_>, entry: &AuditEntry) -> Result<()> {
    let texts = AuditTexts::of(entry);
    sqlx::query(
        "insert into audit_log (at, who, how, action, target, reason, details, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(entry.at)
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
