//! `/v1/statements`: the days of each client in a month, and the closings of months.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, month, reason};
use super::{Api, ApiError, Principal, schema};
use crate::config::Partners;
use crate::domain::Month;
use crate::domain::statement::Closer;
use crate::domain::time::{serialize, serialize_optional};
use crate::engine::{ClientStatement, CloseRequest, PartnerSum, PartnerSums, StatementRequest};
use crate::store::{Closing, ClosingStatus};

/// The most clients that one request closes.
const CLOSED_AT_A_TIME: u64 = 2_000;

/// The closings of months, in order.
#[derive(Serialize, ToSchema)]
pub struct ClosingsList {
    #[schema(value_type = Vec<schema::Closing>)]
    closings: Vec<VisibleClosing>,
}

/// A page of a statement, ordered by client.
#[derive(Serialize, ToSchema)]
pub struct StatementPage {
    #[schema(value_type = String, example = "2026-10")]
    month: Month,
    /// Null: nobody has begun to close the month.
    #[schema(required, value_type = Option<schema::Closing>)]
    closing: Option<VisibleClosing>,
    #[schema(value_type = Vec<schema::ClientStatement>)]
    clients: Vec<ClientStatement>,
    /// The sums of these clients, by partner. A partner may continue on the next page: add up the sums of all pages.
    #[schema(value_type = Vec<schema::PartnerSum>)]
    partners: Vec<PartnerSum>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// A closing as a principal may see it. Its numbers are those of all partners.
#[derive(Serialize)]
struct VisibleClosing {
    month: Month,
    status: ClosingStatus,
    closed_by: String,
    #[serde(serialize_with = "serialize")]
    started_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_optional")]
    closed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statements: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjustments: Option<i64>,
}

impl VisibleClosing {
    fn of(closing: Closing, principal: &Principal) -> Self {
        let is_counted = principal.partners == Partners::All;
        Self {
            month: closing.month,
            status: closing.status,
            closed_by: closing.closed_by,
            started_at: closing.started_at,
            closed_at: closing.closed_at,
            statements: Some(closing.statements).filter(|_| is_counted),
            adjustments: Some(closing.adjustments).filter(|_| is_counted),
        }
    }
}

/// List the months that were closed
///
/// In order, each with the person who closed it and the time. Only the last one can be in progress.
#[utoipa::path(
    get,
    path = "/v1/statements",
    operation_id = "list_statements",
    tag = "statements",
    responses(
        (status = 200, description = "The closings", body = ClosingsList),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    principal: Principal,
    query: RawQuery,
) -> Result<Json<ClosingsList>, ApiError> {
    Params::of(query)?.finish()?;
    let closings = api
        .run_detached(|engine| async move { engine.closings().await })
        .await?;
    let closings = closings
        .into_iter()
        .map(|closing| VisibleClosing::of(closing, &principal))
        .collect();
    Ok(Json(ClosingsList { closings }))
}

/// Get the statement of a month
///
/// For a closed month: the statement as it was closed, with the adjustments of earlier months. For any other month: the days as
/// computed now. A page examines a bounded number of clients and omits those without a day and without an adjustment, so a page
/// may be empty and not be the last. Compare `closing.status` on all pages: if it differs, a closing began or ended in between.
/// The pages are then inconsistent: read them again.
#[utoipa::path(
    get,
    path = "/v1/statements/{month}",
    operation_id = "get_statement",
    tag = "statements",
    params(
        ("month" = schema::MonthText, Path),
        ("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner"),
        ("recompute" = Option<schema::YesOrNo>, Query, description = "Recompute a closed month from all events that have arrived"),
        ("after" = Option<schema::Subject>, Query, description = "Only clients after this one: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000 clients; default 100"),
    ),
    responses(
        (status = 200, description = "A page of the statement", body = StatementPage),
        (status = 404, description = "The month has not begun", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Json<StatementPage>, ApiError> {
    let month = month(path)?;
    let mut params = Params::of(query)?;
    let partner = params.partner()?;
    let recompute = params.choice("recompute", [("true", true), ("false", false)])?;
    let after = params.client("after")?;
    let limit = page_size(&mut params)?;
    params.finish()?;
    let request = StatementRequest {
        month,
        partner,
        recompute: recompute.unwrap_or(false),
        after,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let page = api
        .run_detached(move |engine| async move { Ok(engine.statement(&request).await) })
        .await??;
    let mut sums = PartnerSums::default();
    for client in &page.clients {
        sums.add(client);
    }
    Ok(Json(StatementPage {
        month,
        closing: page
            .closing
            .map(|closing| VisibleClosing::of(closing, &principal)),
        clients: page.clients,
        partners: sums.into_sums(),
        next: page.next.map(|key| key.to_string()),
    }))
}

/// Close a month
///
/// Months are closed in order, once, for all partners. A request closes at most 2,000 clients. While the response is 202, or if a
/// request was interrupted, send the request again, and the closing continues.
#[utoipa::path(
    post,
    path = "/v1/statements/{month}/close",
    operation_id = "close_statement",
    tag = "statements",
    params(
        ("month" = schema::MonthText, Path),
        ("by" = Option<schema::CloserName>, Query, description = "Who closes the month; default the name of the token"),
        ("reason" = Option<schema::ReasonText>, Query, description = "Why, for the audit log"),
        ("confirm" = Option<schema::YesOrNo>, Query, description = "Close the month even if its events may still arrive, \
                                                                        or if it is the first to be closed and ended before the first event"),
    ),
    responses(
        (status = 200, description = "The month is closed", body = schema::Closing),
        (status = 202, description = "More clients are left: send the request again", body = schema::Closing),
        (status = 409, description = "The month is closed already, has not ended, is not the next to be closed, may still get events, \
                                      would be the first to be closed and ended before the first event, or is being closed by \
                                      another process",
         body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn close(
    State(api): State<Arc<Api>>,
    principal: Principal,
    path: RawPath<String>,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let month = month(path)?;
    let mut params = Params::of(query)?;
    let by = params.text("by")?.unwrap_or_else(|| principal.name.to_string());
    let reason = reason(&mut params)?;
    let by: Closer = by.parse().map_err(|error| ApiError::parameter("by", error))?;
    let confirmed = params.choice("confirm", [("true", true), ("false", false)])?;
    params.finish()?;
    let request = CloseRequest {
        month,
        by,
        confirmed: confirmed.unwrap_or(false),
        most: Some(CLOSED_AT_A_TIME),
    };
    let authority = principal.authority(reason);
    let closing = api
        .run_detached(move |engine| async move {
            Ok(engine.operator(&authority).close_month(&request, |_, _| {}).await)
        })
        .await??;
    let status = match closing.status {
        ClosingStatus::Closed => StatusCode::OK,
        ClosingStatus::InProgress => StatusCode::ACCEPTED,
    };
    Ok((status, Json(closing)).into_response())
}
