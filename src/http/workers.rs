//! `GET /v1/workers`: the workers that use the store, and which of them are gone.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::engine::WorkerStatus;

/// The workers, in the order in which they started.
#[derive(Serialize, ToSchema)]
pub struct WorkersList {
    workers: Vec<WorkerStatus>,
}

/// List the workers that use the store
///
/// Each worker records itself every ten seconds, and removes its record when it stops. One that was not seen for a minute is gone.
#[utoipa::path(
    get,
    path = "/v1/workers",
    operation_id = "list_workers",
    tag = "operations",
    responses(
        (status = 200, description = "The workers", body = WorkersList),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<WorkersList>, ApiError> {
    Params::of(query)?.finish()?;
    let workers = api
        .run_detached(|engine| async move { engine.workers().await })
        .await?;
    Ok(Json(WorkersList { workers }))
}
