//! Recorded policies, and the progress of the deadline backfill.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::domain::{ClientKey, Policy};
use crate::store::columns::json;
use crate::store::policies::{BackfillRow, PolicyRow};
use crate::store::{DeadlineBackfill, PolicyHistory, PolicyReplacement, Result};

#[async_trait]
impl PolicyHistory for SqliteStore {
    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        all(&self.readers).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            record(&mut transaction, from, policy, backfill).await?;
            transaction.commit().await
        })
        .await
    }

    async fn replace_policies(&self, replaced: &[PolicyReplacement]) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            replace(&mut transaction, replaced).await?;
            transaction.commit().await
        })
        .await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        let deadline_backfill: Option<BackfillRow<i64>> =
            sqlx::query_as("select policy_from, partner, client from deadline_backfill")
                .fetch_optional(&self.readers)
                .await?;
        deadline_backfill.map(BackfillRow::read).transpose()
    }

    async fn record_backfill(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        self.in_turn(async {
            let statement = match upto {
                Some(key) => sqlx::query(
                    "update deadline_backfill set partner = ?2, client = ?3 where policy_from = ?1",
                )
                .bind(micros(policy_from))
                .bind(&*key.partner)
                .bind(&*key.client),
                None => sqlx::query("delete from deadline_backfill where policy_from = ?1")
                    .bind(micros(policy_from)),
            };
            statement.execute(&self.writer).await?;
            Ok(())
        })
        .await
    }
}

pub(super) async fn all(executor: impl SqliteExecutor<'_>) -> Result<Vec<(DateTime<Utc>, Policy)>> {
    let policies: Vec<PolicyRow<i64>> = sqlx::query_as(
        "select effective_from, policy
         from policies
         order by effective_from",
    )
    .fetch_all(executor)
    .await?;
    policies.into_iter().map(PolicyRow::read).collect()
}

/// Records a policy.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    from: DateTime<Utc>,
    policy: &Policy,
    backfill: bool,
) -> Result<()> {
    sqlx::query(
        "insert into policies (effective_from, policy)
         values (?1, ?2)
         on conflict (effective_from) do update
         set policy = excluded.policy",
    )
    .bind(micros(from))
    .bind(json(policy))
    .execute(&mut *connection)
    .await?;
    if backfill {
        sqlx::query(
            "insert into deadline_backfill (only_row, policy_from)
             values (1, ?1)
             on conflict (only_row) do update
             set policy_from = excluded.policy_from, partner = null, client = null",
        )
        .bind(micros(from))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Replaces recorded policies.
pub(super) async fn replace(connection: &mut SqliteConnection, replaced: &[PolicyReplacement]) -> Result<()> {
    for one in replaced {
        sqlx::query("update policies set effective_from = ?2, policy = ?3 where effective_from = ?1")
            .bind(micros(one.from))
            .bind(micros(one.to))
            .bind(json(&one.policy))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
