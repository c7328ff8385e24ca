//! Policies, and how far the deadlines of the last one have been computed.

use super::PostgresStore;
use super::session::in_time;
use crate::store::PolicyHistory;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::sessions::Sessions;
use crate::domain::{ClientKey, Policy};
use crate::store::rows::{self, json};
use crate::store::{DeadlineBackfill, PolicyReplacement, Result};

#[async_trait]
impl PolicyHistory for PostgresStore {
    async fn policies(&self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        in_time(self.limit, all(&self.pool)).await
    }

    async fn record_policy(&self, from: DateTime<Utc>, policy: &Policy, backfill: bool) -> Result<()> {
        in_time(self.limit, record(&self.pool, from, policy, backfill)).await
    }

    async fn replace_policies(&self, replaced: &[PolicyReplacement]) -> Result<()> {
        in_time(self.limit, replace(&self.pool, replaced)).await
    }

    async fn deadline_backfill(&self) -> Result<Option<DeadlineBackfill>> {
        in_time(self.limit, deadline_backfill(&self.pool)).await
    }

    async fn record_backfill(&self, policy_from: DateTime<Utc>, upto: Option<&ClientKey>) -> Result<()> {
        in_time(self.limit, record_backfill(&self.pool, policy_from, upto)).await
    }
}

pub(super) async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<(DateTime<Utc>, Policy)>> {
    let policies: Vec<(DateTime<Utc>, String)> = sqlx::query_as(
        "select took_effect_at, policy::text
         from policies
         order by took_effect_at",
    )
    .fetch_all(executor)
    .await?;
    policies.into_iter().map(rows::policy).collect()
}

pub(super) async fn record(
    pool: &Sessions,
    from: DateTime<Utc>,
    policy: &Policy,
    backfill: bool,
) -> Result<()> {
    sqlx::query(
        "with recorded as (
             insert into policies (took_effect_at, policy)
             values ($1, $2::json)
             on conflict (took_effect_at) do update
             set policy = excluded.policy
         )
         insert into arming (policy_from)
         select $1
         where $3
         on conflict (only_row) do update
         set policy_from = excluded.policy_from, partner = null, client = null",
    )
    .bind(from)
    .bind(json(policy))
    .bind(backfill)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn replace(pool: &Sessions, replaced: &[PolicyReplacement]) -> Result<()> {
    sqlx::query(
        "update policies p
         set took_effect_at = r.after, policy = r.policy::json
         from unnest($1::timestamptz[], $2::timestamptz[], $3::text[]) as r (before, after, policy)
         where p.took_effect_at = r.before",
    )
    .bind(replaced.iter().map(|one| one.from).collect::<Vec<_>>())
    .bind(replaced.iter().map(|one| one.to).collect::<Vec<_>>())
    .bind(replaced.iter().map(|one| json(&one.policy)).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn deadline_backfill(pool: &Sessions) -> Result<Option<DeadlineBackfill>> {
    let deadline_backfill: Option<(DateTime<Utc>, Option<String>, Option<String>)> =
        sqlx::query_as("select policy_from, partner, client from arming")
            .fetch_optional(pool)
            .await?;
    deadline_backfill.map(rows::deadline_backfill).transpose()
}

pub(super) async fn record_backfill(
    pool: &Sessions,
    policy_from: DateTime<Utc>,
    upto: Option<&ClientKey>,
) -> Result<()> {
    let statement = match upto {
        Some(key) => sqlx::query("update arming set partner = $2, client = $3 where policy_from = $1")
            .bind(policy_from)
            .bind(&*key.partner)
            .bind(&*key.client),
        None => sqlx::query("delete from arming where policy_from = $1").bind(policy_from),
    };
    statement.execute(pool).await?;
    Ok(())
}
