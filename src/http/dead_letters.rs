//! `GET /v1/dead-letters`: what could not be an event, without its bytes. `tenure dead` shows those, and
//! redrives.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::ErrorBody;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::domain::time::rfc3339;
use crate::store::{DeadLetterFilter, DeadLetterStatus, DeadLetterSummary};

/// A page of dead letters, oldest first.
#[derive(Serialize, ToSchema)]
pub struct DeadLettersPage {
    dead_letters: Vec<DeadLetterLine>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// A dead letter without its bytes.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterLine {
    id: i64,
    #[schema(value_type = schema::DeadStatusName)]
    status: DeadLetterStatus,
    /// Where it came from.
    #[schema(example = "amqp:tenure.events.0")]
    origin: String,
    /// Why it cannot be an event.
    reason: String,
    content_type: Option<String>,
    /// Length of its body, in bytes.
    bytes: i64,
    times_seen: i64,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// When it was last redriven.
    #[schema(format = DateTime)]
    redriven_at: Option<String>,
    /// What came of that.
    redrive_outcome: Option<String>,
    /// When it is read again by itself, as long as it is open: its event is ahead of the clock.
    #[schema(format = DateTime)]
    retry_at: Option<String>,
}

impl From<DeadLetterSummary> for DeadLetterLine {
    fn from(line: DeadLetterSummary) -> Self {
        Self {
            id: line.id,
            status: line.status,
            origin: line.origin,
            reason: line.reason,
            content_type: line.content_type,
            bytes: line.bytes,
            times_seen: line.times_seen,
            first_seen_at: rfc3339(line.first_seen_at),
            last_seen_at: rfc3339(line.last_seen_at),
            redriven_at: line.redriven_at.map(rfc3339),
            redrive_outcome: line.redrive_outcome,
            retry_at: line.retry_at.map(rfc3339),
        }
    }
}

/// What could not be an event.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "events",
    params(
        ("status" = Option<schema::DeadStatusName>, Query, description = "Only dead letters with this status"),
        ("after" = Option<schema::Number>, Query, description = "Dead letters after this id"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of dead letters", body = DeadLettersPage),
        (status = 400, description = "Invalid parameter", body = ErrorBody),
        (status = 401, description = "Missing or wrong token", body = ErrorBody),
        (status = 421, description = "The host of the request is not in `http.hosts`", body = ErrorBody),
        (status = 503, description = "The store is unavailable; retry", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<DeadLettersPage>, ApiError> {
    let mut params = Params::of(query)?;
    let statuses = [
        DeadLetterStatus::Open,
        DeadLetterStatus::Redriven,
        DeadLetterStatus::Discarded,
    ];
    let filter = DeadLetterFilter {
        status: params.choice("status", statuses.map(|status| (status.as_str(), status)))?,
    };
    let after = params.number("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = page_size(&mut params)?;
    params.finish()?;
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let mut records = api
        .run_detached(move |engine| async move { engine.store().dead_letters(&filter, after, wanted).await })
        .await?;
    let more = records.len() > limit;
    records.truncate(limit);
    Ok(Json(DeadLettersPage {
        next: records.last().filter(|_| more).map(|record| record.id),
        dead_letters: records.into_iter().map(DeadLetterLine::from).collect(),
    }))
}
