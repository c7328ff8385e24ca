//! Endpoints of webhooks.

use async_trait::async_trait;
use sqlx::sqlite::SqliteExecutor;

use super::{SqliteStore, micros};
use crate::store::columns::{json, text};
use crate::store::webhooks::EndpointRow;
use crate::store::{DeliveryProgress, Endpoint, EndpointChange, Result, Webhooks};

#[async_trait]
impl Webhooks for SqliteStore {
    async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let endpoints: Vec<EndpointRow<i64>> = sqlx::query_as(
                "select name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at,
                        failing_since, last_attempt_at, last_outcome, delivered_at
                 from webhook_endpoints
                 order by name",
            )
            .fetch_all(&self.readers)
            .await?;
        endpoints.into_iter().map(EndpointRow::read).collect()
    }

    async fn add_endpoint(&self, endpoint: &Endpoint) -> Result<bool> {
        self.in_turn(insert(&self.writer, endpoint)).await
    }

    async fn change_endpoint(
        &self,
        name: &str,
        revision: Option<i64>,
        change: &EndpointChange,
    ) -> Result<bool> {
        self.in_turn(self::change(&self.writer, name, revision, change))
            .await
    }

    async fn remove_endpoint(&self, name: &str) -> Result<bool> {
        self.in_turn(remove(&self.writer, name)).await
    }

    /// Never backwards: a leader that has lost its lead may call late. Never to a missing line: a backup may have been restored.
    async fn record_delivery(&self, name: &str, revision: i64, progress: &DeliveryProgress) -> Result<bool> {
        let place = &progress.cursor.0;
        self.in_turn(async {
            let recorded = sqlx::query(
                "update webhook_endpoints
                 set epoch = ?3, xid = ?4, seq = ?5, recorded_at = ?6, failing_since = ?7, last_attempt_at = ?8,
                     last_outcome = ?9, delivered_at = ?10
                 where name = ?1 and revision = ?2
                       and (seq = ?5 or seq < ?5 and exists (select 1 from journal where seq = ?5 and recorded_at = ?6))",
            )
            .bind(name)
            .bind(revision)
            .bind(place.epoch)
            .bind(place.cursor.transaction)
            .bind(place.cursor.sequence)
            .bind(micros(place.recorded_at))
            .bind(progress.failing_since.map(micros))
            .bind(progress.last_attempt_at.map(micros))
            .bind(text(&progress.last_outcome))
            .bind(progress.delivered_at.map(micros))
            .execute(&self.writer)
            .await?;
            Ok(recorded.rows_affected() > 0)
        })
        .await
    }

    async fn acquire_delivery_lead(&self) -> Result<bool> {
        self.delivery_lead.acquire()
    }

    async fn release_delivery_lead(&self) -> Result<()> {
        self.delivery_lead.release();
        Ok(())
    }
}

/// Adds an endpoint as it is. False: there is one with its name.
pub(super) async fn insert(executor: impl SqliteExecutor<'_>, endpoint: &Endpoint) -> Result<bool> {
    let progress = &endpoint.progress;
    let place = &progress.cursor.0;
    let added = sqlx::query(
        "insert into webhook_endpoints
             (name, origin, url, filter, secrets, status, why, revision, created_at, epoch, xid, seq, recorded_at,
              failing_since, last_attempt_at, last_outcome, delivered_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
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
    .bind(micros(endpoint.created_at))
    .bind(place.epoch)
    .bind(place.cursor.transaction)
    .bind(place.cursor.sequence)
    .bind(micros(place.recorded_at))
    .bind(progress.failing_since.map(micros))
    .bind(progress.last_attempt_at.map(micros))
    .bind(text(&progress.last_outcome))
    .bind(progress.delivered_at.map(micros))
    .execute(executor)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Changes an endpoint. False: there is none with this name, or not with this revision.
pub(super) async fn change(
    executor: impl SqliteExecutor<'_>,
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
             url = coalesce(?3, url), filter = coalesce(?4, filter), secrets = coalesce(?5, secrets),
             status = coalesce(?6, status), why = coalesce(?7, why),
             epoch = coalesce(?8, epoch), xid = coalesce(?9, xid), seq = coalesce(?10, seq),
             recorded_at = coalesce(?11, recorded_at),
             failing_since = case when ?12 then null else failing_since end
         where name = ?1 and revision = coalesce(?2, revision)",
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
    .bind(cursor.map(|place| micros(place.recorded_at)))
    .bind(change.ends_failure())
    .execute(executor)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Removes an endpoint. False: there is none with this name.
pub(super) async fn remove(executor: impl SqliteExecutor<'_>, name: &str) -> Result<bool> {
    let removed = sqlx::query("delete from webhook_endpoints where name = ?1")
        .bind(name)
        .execute(executor)
        .await?;
    Ok(removed.rows_affected() > 0)
}
