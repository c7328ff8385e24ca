//! `GET /v1/webhooks`: the endpoints of webhooks, and how far each has received the changes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::engine::EndpointView;

/// The endpoints, by name.
#[derive(Serialize, ToSchema)]
pub struct WebhookEndpoints {
    endpoints: Vec<EndpointView>,
}

/// List the endpoints of webhooks
///
/// Those of the settings and those that `tenure webhook add` added, with how far each has received the changes. Secrets are not shown.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    operation_id = "list_webhook_endpoints",
    tag = "changes",
    responses(
        (status = 200, description = "The endpoints", body = WebhookEndpoints),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<WebhookEndpoints>, ApiError> {
    Params::of(query)?.finish()?;
    let endpoints = api
        .run_detached(|engine| async move { engine.endpoints().await })
        .await?;
    Ok(Json(WebhookEndpoints { endpoints }))
}
