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
/// These are the sources that the settings expect to hear from regularly. Nothing is expected of others, and they are not listed.
#[utoipa::path(
    get,
    path = "/v1/sources",
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
