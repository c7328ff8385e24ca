//! `GET /v1/worker`: the queue depths that this worker knows, which are not in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::engine::QueueDepth;

/// The queue depths that a worker knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// The messages that wait in the queue of each lane. Empty: this worker is not connected to RabbitMQ.
    pub queues: BTreeMap<String, QueueDepth>,
}

/// Show the queue depths that this worker knows
///
/// The messages that wait in the queue of each lane, as RabbitMQ last reported them to this worker.
#[utoipa::path(
    get,
    path = "/v1/worker",
    operation_id = "get_worker",
    tag = "operations",
    responses(
        (status = 200, description = "The queue depths", body = Worker),
        QueryErrors,
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Json<Worker>, ApiError> {
    Params::of(query)?.finish()?;
    let engine = api.engine()?;
    Ok(Json(Worker {
        queues: engine.queue_depths(),
    }))
}
