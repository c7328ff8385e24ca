//! `GET …/accesses` and `GET /v1/accesses`: who entered which account when, from the access log.

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
use crate::engine::{AccessLogPage, AccessView, Engine, interval};
use crate::store::{AccessFilter, EventPosition, StoreError};

/// A page of the access log, the latest entry first.
#[derive(Serialize, ToSchema)]
pub struct AccessesPage {
    #[schema(value_type = Vec<schema::AccessView>)]
    accesses: Vec<AccessView>,
    /// The value of `after` for the next page; null on the last page. Of a partner, a page may have fewer entries than `limit`, or
    /// none, although others follow: a request reads a bounded number of entries.
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
/// From the access log, which is off unless `access.log` is set. It has an entry for each event `account.accessed` that arrived
/// since then, refused ones included: somebody entered or tried to.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/accesses",
    operation_id = "list_accesses_of_client",
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
    let request = Request::of(query)?;
    let asked = key.clone();
    let (page, status) = api
        .run_detached(move |engine| async move {
            let Request { filter, after, limit } = request;
            let page = engine.accesses(&asked, &filter, after.as_ref(), limit).await?;
            Ok((page, Status::of(&engine).await?))
        })
        .await?;
    let page = page.ok_or(ApiError::UnknownClient(key))?;
    Ok(Json(AccessesPage::of(page, status)))
}

/// List who entered which account when
///
/// From the access log, for all clients or those of a partner, newest entry first.
#[utoipa::path(
    get,
    path = "/v1/accesses",
    operation_id = "list_accesses",
    tag = "lists",
    params(
        ("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner"),
        ("since" = Option<schema::Moment>, Query, description = "Only entries at or after this moment"),
        ("until" = Option<schema::Moment>, Query, description = "Only entries before this moment"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100"),
        ("after" = Option<schema::AccessPosition>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of the access log, the latest entry first", body = AccessesPage),
        QueryErrors,
    )
)]
pub(super) async fn all(
    State(api): State<Arc<Api>>,
    query: RawQuery,
) -> Result<Json<AccessesPage>, ApiError> {
    let mut params = Params::of(query)?;
    let partner = params.partner()?;
    let request = Request::read(params)?;
    let (page, status) = api
        .run_detached(move |engine| async move {
            let Request { filter, after, limit } = request;
            let page = engine.all_accesses(partner.as_deref(), &filter, after.as_ref(), limit);
            Ok((page.await?, Status::of(&engine).await?))
        })
        .await?;
    Ok(Json(AccessesPage::of(page, status)))
}

/// Which page of which entries.
struct Request {
    filter: AccessFilter,
    after: Option<EventPosition>,
    limit: u32,
}

impl Request {
    fn of(query: RawQuery) -> Result<Self, ApiError> {
        Self::read(Params::of(query)?)
    }

    /// Reads the rest of the parameters.
    fn read(mut params: Params) -> Result<Self, ApiError> {
        let filter = AccessFilter {
            since: params.moment("since")?,
            until: params.moment("until")?,
        };
        let limit = u32::try_from(page_size(&mut params)?).unwrap_or(u32::MAX);
        let after = params.text("after")?.map(|after| {
            let after = after.parse::<EventPosition>();
            after.map_err(|reason| ApiError::parameter("after", reason))
        });
        let after = after.transpose()?;
        params.finish()?;
        Ok(Self { filter, after, limit })
    }
}

/// Whether the access log is on.
struct Status {
    retention: Option<String>,
    on_since: Option<DateTime<Utc>>,
}

impl Status {
    async fn of(engine: &Engine) -> Result<Self, StoreError> {
        Ok(Self {
            retention: engine.access_log().map(|age| interval(age.num_seconds())),
            on_since: engine.access_log_since().await?,
        })
    }
}

impl AccessesPage {
    fn of(page: AccessLogPage, status: Status) -> Self {
        Self {
            accesses: page.accesses,
            next: page.next.map(|next| next.to_string()),
            retention: status.retention,
            on_since: status.on_since,
        }
    }
}
