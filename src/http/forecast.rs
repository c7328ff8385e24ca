//! `GET /v1/forecast`: what timers will change if no event arrives.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::domain::policy::later;
use crate::engine::{ClientForecast, ForecastDay, ForecastDays, ForecastRequest};

/// How far a forecast reaches, unless the request says otherwise.
const REACH: TimeDelta = TimeDelta::days(30);

/// A page of the forecast, ordered by client.
#[derive(Serialize, ToSchema)]
pub struct ForecastPage {
    #[schema(value_type = Vec<schema::ClientForecast>)]
    clients: Vec<ClientForecast>,
    /// The changes of these clients, by day.
    #[schema(value_type = Vec<schema::ForecastDay>)]
    days: Vec<ForecastDay>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// Forecast what will change if no event arrives
///
/// Applies the rules to a copy of each client with a timer that is due by then, under the recorded policies. Overdue timers
/// count as fired now, and later ones as fired when they are due. Pauses, the breaker and the low watermark may delay the real
/// sweeps. A page examines a bounded number of clients, so it may be empty and not be the last.
#[utoipa::path(
    get,
    path = "/v1/forecast",
    operation_id = "get_forecast",
    tag = "sweeps",
    params(
        ("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner"),
        ("until" = Option<schema::Moment>, Query, description = "The end of the forecast, in RFC 3339; default in 30 days"),
        ("after" = Option<schema::Subject>, Query, description = "Only clients after this one: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000 clients; default 100"),
    ),
    responses(
        (status = 200, description = "A page of clients that will change", body = ForecastPage),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<ForecastPage>, ApiError> {
    let mut params = Params::of(query)?;
    let partner = params.partner()?;
    let until = params.moment("until")?;
    let after = params.client("after")?;
    let limit = page_size(&mut params)?;
    params.finish()?;
    let page = api
        .run_detached(move |engine| async move {
            let request = ForecastRequest {
                partner,
                until: until.unwrap_or_else(|| later(engine.now(), REACH)),
                after,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
            };
            engine.forecast(&request).await
        })
        .await?;
    let mut days = ForecastDays::default();
    for client in &page.clients {
        days.add(client);
    }
    Ok(Json(ForecastPage {
        clients: page.clients,
        days: days.into_days(),
        next: page.next.map(|key| key.to_string()),
    }))
}
