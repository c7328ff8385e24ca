//! `GET /v1/activity`: the events and changes of the last hour, per minute.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::store::MinuteCounts;

/// Events and changes by minute.
#[derive(Serialize, ToSchema)]
pub struct Activity {
    /// The last 60 minutes, oldest first. The last one is not over.
    minutes: Vec<Minute>,
}

/// The events that all workers ingested in one minute, by outcome, and the changes that they wrote.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Minute {
    /// Its beginning.
    pub from: DateTime<Utc>,
    #[schema(minimum = 0)]
    pub applied: u64,
    #[schema(minimum = 0)]
    pub duplicate: u64,
    #[schema(minimum = 0)]
    pub refused: u64,
    #[schema(minimum = 0)]
    pub dead: u64,
    #[schema(minimum = 0)]
    pub deferred: u64,
    #[schema(minimum = 0)]
    pub changes: u64,
}

impl Minute {
    pub(crate) fn of((from, counts): (DateTime<Utc>, MinuteCounts)) -> Self {
        let MinuteCounts {
            applied,
            duplicate,
            refused,
            dead,
            deferred,
            changes,
        } = counts;
        Self {
            from,
            applied,
            duplicate,
            refused,
            dead,
            deferred,
            changes: changes.total(),
        }
    }
}

/// Count the events and changes of the last hour by minute
///
/// Covers all workers that use the store. Each records its counts every two seconds, so the last seconds of another worker, or of one
/// that crashed, may be missing. Commands such as `tenure ingest` are not counted.
#[utoipa::path(
    get,
    path = "/v1/activity",
    operation_id = "get_activity",
    tag = "operations",
    responses(
        (status = 200, description = "The counts of the last hour", body = Activity),
        QueryErrors,
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Json<Activity>, ApiError> {
    Params::of(query)?.finish()?;
    let minutes = api
        .run_detached(|engine| async move { engine.last_hour().await })
        .await?;
    Ok(Json(Activity {
        minutes: minutes.into_iter().map(Minute::of).collect(),
    }))
}
