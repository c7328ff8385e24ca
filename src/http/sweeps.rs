//! `GET /v1/sweeps/runs`: the runs of sweeps, and what each of them changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, number_in_path};
use super::{Api, ApiError, schema};
use crate::domain::Sweep;
use crate::engine::JournalLine;
use crate::store::{Cursor, SweepRun};

/// A page of runs, newest first.
#[derive(Serialize, ToSchema)]
pub struct SweepRunsPage {
    #[schema(value_type = Vec<schema::SweepRun>)]
    runs: Vec<SweepRun>,
    /// The value of `before` for the next page; null on the last page.
    next: Option<i64>,
}

/// A run, and a page of its changes.
#[derive(Serialize, ToSchema)]
pub struct SweepRunPage {
    #[schema(value_type = schema::SweepRun)]
    run: SweepRun,
    /// In the order of the journal. The changes of a client follow each other.
    #[schema(value_type = Vec<schema::JournalLine>)]
    changes: Vec<JournalLine>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// List the runs of sweeps
#[utoipa::path(
    get,
    path = "/v1/sweeps/runs",
    operation_id = "list_sweep_runs",
    tag = "sweeps",
    params(
        ("sweep" = Option<Sweep>, Query, description = "Only runs of this sweep"),
        ("before" = Option<schema::Number>, Query, description = "Only runs with a smaller number: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of runs, newest first", body = SweepRunsPage),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<SweepRunsPage>, ApiError> {
    let mut params = Params::of(query)?;
    let sweep = params.choice("sweep", Sweep::ALL.map(|sweep| (sweep.as_str(), sweep)))?;
    let before = params.number("before", 0, i64::MAX)?.unwrap_or(i64::MAX);
    let limit = page_size(&mut params)?;
    params.finish()?;
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let mut runs = api
        .run_detached(move |engine| async move { engine.store().runs_before(sweep, before, wanted).await })
        .await?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    let next = runs.last().filter(|_| more).map(|run| run.id);
    Ok(Json(SweepRunsPage { runs, next }))
}

/// Get a run of a sweep: each client that it changed, and how
///
/// Changes whose journal lines retention has removed are missing.
#[utoipa::path(
    get,
    path = "/v1/sweeps/runs/{run}",
    operation_id = "get_sweep_run",
    tag = "sweeps",
    params(
        ("run" = schema::RunNumber, Path),
        ("after" = Option<schema::JournalPlace>, Query, description = "Only changes after this place: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "The run, and a page of its changes", body = SweepRunPage),
        (status = 404, description = "There is no such run, or retention has removed it", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Json<SweepRunPage>, ApiError> {
    let id = number_in_path("run", path)?;
    let mut params = Params::of(query)?;
    let after = params
        .text("after")?
        .map(|place| {
            read_place(&place).ok_or_else(|| {
                ApiError::parameter("after", "expected `next` of the previous page, such as 12-345")
            })
        })
        .transpose()?
        .unwrap_or_default();
    let limit = page_size(&mut params)?;
    params.finish()?;
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let (run, mut changes) = api
        .run_detached(move |engine| async move {
            let store = engine.store();
            Ok((store.run(id).await?, store.run_changes(id, after, wanted).await?))
        })
        .await?;
    let run = run.ok_or(ApiError::UnknownRun(id))?;
    let more = changes.len() > limit;
    changes.truncate(limit);
    let next = changes.last().filter(|_| more).map(|line| place(line.cursor));
    let changes = changes.into_iter().map(JournalLine::from).collect();
    Ok(Json(SweepRunPage { run, changes, next }))
}

/// A place in the journal: `{transaction}-{sequence}`.
pub(crate) fn place(cursor: Cursor) -> String {
    format!("{}-{}", cursor.transaction, cursor.sequence)
}

pub(crate) fn read_place(place: &str) -> Option<Cursor> {
    let number = |digits: &str| {
        let is_number = (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let (transaction, sequence) = place.split_once('-')?;
    Some(Cursor {
        transaction: number(transaction)?,
        sequence: number(sequence)?,
    })
}
