//! `GET /v1/sources`: the expected sources, and which of them are silent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::engine::SourceStatus;

/// The expected sources, by name.
#[derive(Serialize, ToSchema)]
pub struct SourcesList {
    sources: Vec<SourceStatus>,
}

/// List the expected sources
///
/// The sources in the setting `sources`, which must send events regularly. Other sources are not listed.
#[utoipa::path(
    get,
    path = "/v1/sources",
    operation_id = "list_sources",
    tag = "events",
    responses(
        (status = 200, description = "The expected sources", body = SourcesList),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<SourcesList>, ApiError> {
    Params::of(query)?.finish()?;
    let sources = api
        .run_detached(|engine| async move { engine.sources().await })
        .await?;
    Ok(Json(SourcesList { sources }))
}
