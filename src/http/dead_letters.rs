//! `GET /v1/dead-letters`: lists dead letters. `tenure dead` shows their bodies and redrives them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::engine::DeadLetterView;
use crate::store::{DeadLetterFilter, DeadLetterStatus};

/// A page of dead letters, oldest first.
#[derive(Serialize, ToSchema)]
pub struct DeadLettersPage {
    dead_letters: Vec<DeadLetterView>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// List dead letters
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    operation_id = "list_dead_letters",
    tag = "events",
    params(
        ("status" = Option<DeadLetterStatus>, Query, description = "Only dead letters with this status"),
        ("after" = Option<schema::Number>, Query, description = "Dead letters after this id"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of dead letters", body = DeadLettersPage),
        QueryErrors,
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
        dead_letters: records.into_iter().map(DeadLetterView::from).collect(),
    }))
}
