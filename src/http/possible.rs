//! `GET …/possible`: which events a client would accept.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::error::QueryErrors;
use super::params::{Params, RawPath, RawQuery, client_key};
use super::{Api, ApiError, schema};
use crate::engine::PossibleEvents;

/// List every event type, and whether the client would accept it
///
/// Applies an event of each type to a copy of the client, with representative data: a free name, a new id for a holding that
/// is added, and the id of an existing holding for one that is changed or removed. A client that does not exist can only be
/// added.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/possible",
    operation_id = "list_possible_events",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("at" = Option<schema::Moment>, Query, description = "The moment, past or future, in RFC 3339; default now"),
    ),
    responses(
        (status = 200, description = "Every event type, in the order of the rules", body = schema::PossibleEvents),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<PossibleEvents>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let at = params.moment("at")?;
    params.finish()?;
    api.run_detached(move |engine| async move { engine.possible(&key, at).await })
        .await
        .map(Json)
}
