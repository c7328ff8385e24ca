//! `GET …/history`: a client's events, timers and changes as one story.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, client_key};
use super::{Api, ApiError, schema};
use crate::engine::{HistoryEntry, HistoryPlace, HistoryRequest};

/// A page of a client's history, in order of time.
#[derive(Serialize, ToSchema)]
pub struct HistoryPage {
    #[schema(value_type = Vec<schema::HistoryEntry>)]
    history: Vec<HistoryEntry>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// Get a client's history: events, timers and changes as one story
///
/// In order of time: the past and, with `until`, the forecast. Each event has its outcome and, if a late event changed the
/// outcome, the one that was published before. Corrections name the lines that they correct. Consecutive touches are one
/// entry. Each page reads the whole history and journal of the client.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/history",
    operation_id = "get_history",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("until" = Option<schema::Moment>, Query, description = "Also what timers will change up to this moment, in RFC 3339, if \
                                                                 no event arrives"),
        ("after" = Option<schema::HistoryPlace>, Query, description = "Only what comes after this place: `next` of the previous page"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
    ),
    responses(
        (status = 200, description = "A page of the history, oldest first", body = HistoryPage),
        (status = 404, description = "The client does not exist", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<HistoryPage>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let until = params.moment("until")?;
    let after = params
        .text("after")?
        .map(|place| {
            read_place(&place).ok_or_else(|| {
                ApiError::parameter(
                    "after",
                    "expected `next` of the previous page, such as 1767225600000000_1",
                )
            })
        })
        .transpose()?;
    let request = HistoryRequest {
        until,
        after,
        limit: Some(page_size(&mut params)?),
    };
    params.finish()?;
    let asked = key.clone();
    let history = api
        .run_detached(move |engine| async move { engine.history(&asked, &request).await })
        .await?
        .ok_or(ApiError::UnknownClient(key))?;
    Ok(Json(HistoryPage {
        history: history.entries,
        next: history.next.map(place),
    }))
}

/// A place in a history: `{microseconds since 1970}_{number of entries with this time}`.
fn place(place: HistoryPlace) -> String {
    format!("{}_{}", place.time.timestamp_micros(), place.number)
}

fn read_place(text: &str) -> Option<HistoryPlace> {
    let are_digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (micros, number) = text.split_once('_')?;
    if !are_digits(micros.strip_prefix('-').unwrap_or(micros), 18) || !are_digits(number, 9) {
        return None;
    }
    Some(HistoryPlace {
        time: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
        number: number.parse().ok()?,
    })
}
