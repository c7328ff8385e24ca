//! `GET …/accesses`: who entered a client's account when, from the access log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, client_key};
use super::{Api, ApiError, schema};
use crate::domain::time::serialize_optional;
use crate::engine::{AccessView, interval};
use crate::store::{AccessFilter, AccessPosition};

/// A page of the access log of a client, the latest entry first.
#[derive(Serialize, ToSchema)]
pub struct AccessesPage {
    #[schema(value_type = Vec<schema::AccessView>)]
    accesses: Vec<AccessView>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
    /// For how long entries are stored. Null: the access log is off, and nothing is added.
    #[schema(example = "90d")]
    retention: Option<String>,
    /// Since when a worker has had it on. Null: the access log is off.
    #[serde(serialize_with = "serialize_optional")]
    on_since: Option<DateTime<Utc>>,
}

/// List who entered a client's account when
///
/// From the access log, which is off unless `access.log` is set. It has an entry for each event `account.accessed` since then, also
/// for those that are refused: somebody entered or tried to.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/accesses",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("since" = Option<schema::Moment>, Query, description = "Only entries at or after this moment"),
        ("until" = Option<schema::Moment>, Query, description = "Only entries before this moment"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::AccessPosition>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of the access log, the latest entry first", body = AccessesPage),
        (status = 404, description = "The client does not exist", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<AccessesPage>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let filter = AccessFilter {
        since: params.moment("since")?,
        until: params.moment("until")?,
    };
    let limit = u32::try_from(page_size(&mut params)?).unwrap_or(u32::MAX);
    let after = params.text("after")?.map(|after| {
        let after = after.parse::<AccessPosition>();
        after.map_err(|reason| ApiError::parameter("after", reason))
    });
    let after = after.transpose()?;
    params.finish()?;
    let asked = key.clone();
    let (page, retention, on_since) = api
        .run_detached(move |engine| async move {
            let page = engine.accesses(&asked, &filter, after.as_ref(), limit).await?;
            let on_since = engine.access_log_since().await?;
            Ok((page, engine.access_log(), on_since))
        })
        .await?;
    let page = page.ok_or(ApiError::UnknownClient(key))?;
    Ok(Json(AccessesPage {
        accesses: page.accesses,
        next: page.next.map(|next| next.to_string()),
        retention: retention.map(|age| interval(age.num_seconds())),
        on_since,
    }))
}
