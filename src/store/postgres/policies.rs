//! Recorded policies, and the progress of the deadline backfill.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::PostgresStore;
use crate::domain::{ClientKey, Policy};
use crate::store::columns::json;
use crate::store::policies::{BackfillRow, PolicyRow};
use crate::store::{DeadlineBackfill, PolicyHistory, PolicyReplacement, Result};

#[async_trait]
impl PolicyHistory for PostgresStore {
    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        self.in_time(all(&self.pool)).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()> {
        self.in_time(record(&self.pool, from, policy, backfill)).await
    }

    async fn replace_policies(&self, replaced: &[PolicyReplacement]) -> Result<()> {
        self.in_time(replace(&self.pool, replaced)).await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        self.in_time(async {
            let deadline_backfill: Option<BackfillRow<DateTime<Utc>>> =
                sqlx::query_as("select policy_from, partner, client from deadline_backfill")
                    .fetch_optional(&self.pool)
                    .await?;
            deadline_backfill.map(BackfillRow::read).transpose()
        })
        .await
    }

    async fn record_backfill(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        self.in_time(async {
            let statement = match upto {
                Some(key) => sqlx::query(
                    "update deadline_backfill set partner = $2, client = $3 where policy_from = $1",
                )
                .bind(policy_from)
                .bind(&*key.partner)
                .bind(&*key.client),
                None => sqlx::query("delete from deadline_backfill where policy_from = $1").bind(policy_from),
            };
            statement.execute(&self.pool).await?;
            Ok(())
        })
        .await
    }
}

pub(super) async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<(DateTime<Utc>, Policy)>> {
    let policies: Vec<PolicyRow<DateTime<Utc>>> = sqlx::query_as(
        "select effective_from, policy::text
         from policies
         order by effective_from",
    )
    .fetch_all(executor)
    .await?;
    policies.into_iter().map(PolicyRow::read).collect()
}

/// Records a policy.
pub(super) async fn record(
    executor: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    policy: &Policy,
    backfill: bool,
) -> Result<()> {
    sqlx::query(
        "with recorded as (
             insert into policies (effective_from, policy)
             values ($1, $2::json)
             on conflict (effective_from) do update
             set policy = excluded.policy
         )
         insert into deadline_backfill (policy_from)
         select $1
         where $3
         on conflict (only_row) do update
         set policy_from = excluded.policy_from, partner = null, client = null",
    )
    .bind(from)
    .bind(json(policy))
    .bind(backfill)
    .execute(executor)
    .await?;
    Ok(())
}

/// Replaces recorded policies.
pub(super) async fn replace(executor: impl PgExecutor<'_>, replaced: &[PolicyReplacement]) -> Result<()> {
    sqlx::query(
        "update policies p
         set effective_from = r.after, policy = r.policy::json
         from unnest($1::timestamptz[], $2::timestamptz[], $3::text[]) as r (before, after, policy)
         where p.effective_from = r.before",
    )
    .bind(replaced.iter().map(|one| one.from).collect::<Vec<_>>())
    .bind(replaced.iter().map(|one| one.to).collect::<Vec<_>>())
    .bind(replaced.iter().map(|one| json(&one.policy)).collect::<Vec<_>>())
    .execute(executor)
    .await?;
    Ok(())
}
