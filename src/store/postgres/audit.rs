//! Reads and writes the audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, PgExecutor};

use super::{PostgresStore, dead_letters, halts, lanes, policies, webhooks, workers};
use crate::store::audit::{AuditRow, AuditTexts};
use crate::store::{Audit, AuditEntry, AuditFilter, AuditRecord, OperatorAction, Result};

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

    async fn audit_log(&self, filter: &AuditFilter, before: i64, limit: u32) -> Result<Vec<AuditRecord>> {
        self.in_time(async {
            let actions = filter.actions();
            let entries: Vec<AuditRow<DateTime<Utc>>> = sqlx::query_as(
                "select number, at, who, how, action, target, reason, details, request_id
                 from audit_log
                 where number < $1
                   and ($2::timestamptz is null or at >= $2)
                   and ($3::timestamptz is null or at < $3)
                   and ($4::text is null or who = $4)
                   and ($5::text is null or action = $5 or starts_with(action, $6))
                 order by number desc
                 limit $7",
            )
            .bind(before)
            .bind(filter.since)
            .bind(filter.until)
            .bind(&filter.who)
            .bind(actions.as_ref().map(|(action, _)| action))
            .bind(actions.as_ref().map(|(_, below)| below))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            entries.into_iter().map(AuditRow::read).collect()
        })
        .await
    }
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
