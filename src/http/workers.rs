//! `/v1/workers`: the workers that use the store, and which of them are gone.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, in_path, reason};
use super::principal::Principal;
use super::{Api, ApiError, schema};
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

/// Remove a worker that is gone
///
/// A worker is gone if it was not seen for a minute. One that will not come back need not be listed for a day. A worker that runs
/// removes itself when it stops.
#[utoipa::path(
    delete,
    path = "/v1/workers/{name}",
    operation_id = "remove_worker",
    tag = "operations",
    params(
        ("name" = String, Path, description = "The name of the worker"),
        ("reason" = Option<schema::ReasonText>, Query, description = "Why, for the audit log"),
    ),
    responses(
        (status = 200, description = "It is removed; the workers that are left", body = WorkersList),
        (status = 404, description = "No worker has this name", body = ErrorBody),
        (status = 409, description = "The worker was seen within the last minute; the message says from when on it can be removed",
         body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    principal: Principal,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Json<WorkersList>, ApiError> {
    let name = in_path(path)?;
    let mut params = Params::of(query)?;
    let reason = reason(&mut params)?;
    params.finish()?;
    let authority = principal.authority(reason);
    let workers = api
        .run_detached(move |engine| async move {
            match engine.operator(&authority).remove_worker(&name).await {
                Ok(()) => Ok(Ok(engine.workers().await?)),
                Err(error) => Ok(Err(error)),
            }
        })
        .await??;
    Ok(Json(WorkersList { workers }))
}
