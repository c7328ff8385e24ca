//! Endpoints of webhooks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::lead::DELIVERY;
use super::{PostgresStore, servers};
use crate::store::columns::{json, text};
use crate::store::webhooks::EndpointRow;
use crate::store::{DeliveryProgress, Endpoint, EndpointChange, Result, Webhooks};

#[async_trait]
impl Webhooks for PostgresStore {
    async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.in_time(async {
            let endpoints: Vec<EndpointRow<DateTime<Utc>>> = sqlx::query_as(
                "select name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at,
                        failing_since, last_attempt_at, last_outcome, delivered_at
                 from webhook_endpoints
                 order by name collate \"C\"",
            )
            .fetch_all(&self.pool)
            .await?;
            endpoints.into_iter().map(EndpointRow::read).collect()
        })
        .await
    }

    async fn add_endpoint(&self, endpoint: &Endpoint) -> Result<bool> {
        self.in_time(insert(&self.pool, endpoint)).await
    }

    async fn change_endpoint(
        &self,
        name: &str,
        revision: Option<i64>,
        change: &EndpointChange,
    ) -> Result<bool> {
        self.in_time(self::change(&self.pool, name, revision, change))
            .await
    }

    async fn remove_endpoint(&self, name: &str) -> Result<bool> {
        self.in_time(remove(&self.pool, name)).await
    }

    /// Never backwards: a leader that has lost its lead may call late. Never to a missing line: a backup may have been restored.
    async fn record_delivery(&self, name: &str, revision: i64, progress: &DeliveryProgress) -> Result<bool> {
        let place = &progress.cursor.0;
        self.in_time(async {
            let recorded = sqlx::query(
                "update webhook_endpoints
                 set epoch = $3, xid = $4, seq = $5, recorded_at = $6, failing_since = $7, last_attempt_at = $8,
                     last_outcome = $9, delivered_at = $10
                 where name = $1 and revision = $2
                       and ((xid, seq) = ($4, $5)
                            or (xid, seq) < ($4, $5)
                               and exists (select from journal where xid = $4 and seq = $5 and recorded_at = $6))",
            )
            .bind(name)
            .bind(revision)
            .bind(place.epoch)
            .bind(place.cursor.transaction)
            .bind(place.cursor.sequence)
            .bind(place.recorded_at)
            .bind(progress.failing_since)
            .bind(progress.last_attempt_at)
            .bind(text(&progress.last_outcome))
            .bind(progress.delivered_at)
            .execute(&self.pool)
            .await?;
            Ok(recorded.rows_affected() > 0)
        })
        .await
    }

    async fn acquire_delivery_lead(&self) -> Result<bool> {
        let mut lead = self.delivery_lead.lock().await;
        let leads = self.in_time(DELIVERY.acquire(&self.pool, &mut lead)).await;
        if leads.is_err() {
            // The session may still owe an answer.
            *lead = None;
        }
        leads
    }

    async fn release_delivery_lead(&self) -> Result<()> {
        // The lock is released with its session.
        if let Some(connection) = self.delivery_lead.lock().await.take() {
            servers::close(connection);
        }
        Ok(())
    }
}

/// Adds an endpoint as it is. False: there is one with its name.
pub(super) async fn insert(executor: impl PgExecutor<'_>, endpoint: &Endpoint) -> Result<bool> {
    let progress = &endpoint.progress;
    let place = &progress.cursor.0;
    let added = sqlx::query(
        "insert into webhook_endpoints
             (name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at,
              failing_since, last_attempt_at, last_outcome, delivered_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (name) do nothing",
    )
    .bind(&endpoint.name)
    .bind(endpoint.origin.as_str())
    .bind(&endpoint.url)
    .bind(json(&endpoint.filter))
    .bind(json(&endpoint.secrets))
    .bind(endpoint.status.as_str())
    .bind(text(&endpoint.why))
    .bind(endpoint.revision)
    .bind(endpoint.created_at)
    .bind(place.epoch)
    .bind(place.cursor.transaction)
    .bind(place.cursor.sequence)
    .bind(place.recorded_at)
    .bind(progress.failing_since)
    .bind(progress.last_attempt_at)
    .bind(text(&progress.last_outcome))
    .bind(progress.delivered_at)
    .execute(executor)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Changes an endpoint. False: there is none with this name, or not with this revision.
pub(super) async fn change(
    executor: impl PgExecutor<'_>,
    name: &str,
    revision: Option<i64>,
    change: &EndpointChange,
) -> Result<bool> {
    let target = change.target.as_ref();
    let status = change.status.as_ref();
    let cursor = change.cursor.map(|cursor| cursor.0);
    let changed = sqlx::query(
        "update webhook_endpoints
         set revision = revision + 1,
             url = coalesce($3, url), filter = coalesce($4, filter), secrets = coalesce($5, secrets),
             status = coalesce($6, status), why = coalesce($7, why),
             epoch = coalesce($8, epoch), xid = coalesce($9, xid), seq = coalesce($10, seq),
             recorded_at = coalesce($11, recorded_at),
             failing_since = case when $12 then null else failing_since end
         where name = $1 and revision = coalesce($2, revision)",
    )
    .bind(name)
    .bind(revision)
    .bind(target.map(|(url, _)| url))
    .bind(target.map(|(_, filter)| json(filter)))
    .bind(change.secrets.as_ref().map(json))
    .bind(status.map(|(status, _)| status.as_str()))
    .bind(status.map(|(_, why)| text(why)))
    .bind(cursor.map(|place| place.epoch))
    .bind(cursor.map(|place| place.cursor.transaction))
    .bind(cursor.map(|place| place.cursor.sequence))
    .bind(cursor.map(|place| place.recorded_at))
    .bind(change.ends_failure())
    .execute(executor)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Removes an endpoint. False: there is none with this name.
pub(super) async fn remove(executor: impl PgExecutor<'_>, name: &str) -> Result<bool> {
    let removed = sqlx::query("delete from webhook_endpoints where name = $1")
        .bind(name)
        .execute(executor)
        .await?;
    Ok(removed.rows_affected() > 0)
}
