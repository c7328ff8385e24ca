//! `GET /v1/worker`: what only this worker knows, because it is not in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError};
use crate::engine::{MinuteCounts, QueueDepth};

/// Minutes that are answered.
const MINUTES: u32 = 60;

/// What a worker has counted since it started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// The last 60 minutes, oldest first. The last one is not over.
    pub minutes: Vec<Minute>,
    /// The messages that wait in the queue of each lane. Empty: this worker is not connected to RabbitMQ.
    pub queues: BTreeMap<String, QueueDepth>,
}

/// The events that this worker ingested in one minute, by outcome, and the changes that it wrote.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
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
    fn of((from, counts): (DateTime<Utc>, MinuteCounts)) -> Self {
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

    /// Events with any outcome.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.applied + self.duplicate + self.refused + self.dead + self.deferred
    }
}

/// Show what this worker has counted
///
/// Events and changes of the last hour by minute, and the messages that wait in the queues of its lanes. Other workers on the same
/// store count their own; a worker that starts again begins at 0.
#[utoipa::path(
    get,
    path = "/v1/worker",
    operation_id = "get_worker",
    tag = "operations",
    responses(
        (status = 200, description = "What this worker has counted", body = Worker),
        QueryErrors,
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Json<Worker>, ApiError> {
    Params::of(query)?.finish()?;
    let engine = api.engine()?;
    Ok(Json(Worker {
        minutes: engine.activity(MINUTES, 1).into_iter().map(Minute::of).collect(),
        queues: engine.queue_depths(),
    }))
}
