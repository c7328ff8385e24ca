//! `GET …/why`: why a client's answers are as they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::error::{ErrorBody, QueryErrors};
use super::params::{Params, RawPath, RawQuery, client_key};
use super::{Api, ApiError, schema};
use crate::domain::why::{Answer, UnknownAnswer};
use crate::engine::Why;

/// Explain an answer about a client, or all answers
///
/// For each answer: its value, the events, timers and policies that it rests on, and what would change it, as sentences and as
/// data. Without any one of the causes the answer would be different; without any one of the other events it would be the same.
/// The request reads the whole history of the client.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/why",
    operation_id = "explain_client",
    tag = "clients",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("answer" = Option<schema::AnswerName>, Query, description = "`link`, `service`, `access`, `billable`, `commission`, \
                                                                      `status_credit`, `connected`, `visible`, `retrieving`, `on_client_list`, \
                                                                      `tab`, `view_as_client`, or `subscription:ID`; default all of them, with \
                                                                      at most 100 subscriptions"),
        ("at" = Option<schema::Moment>, Query, description = "The moment, past or future, in RFC 3339; default now"),
    ),
    responses(
        (status = 200, description = "The explanations", body = schema::Why),
        (status = 404, description = "The client does not exist", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<Why>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let answer = params
        .text("answer")?
        .map(|name| name.parse::<Answer>())
        .transpose()
        .map_err(|error: UnknownAnswer| ApiError::parameter("answer", error))?;
    let at = params.moment("at")?;
    params.finish()?;
    let asked = key.clone();
    api.run_detached(move |engine| async move { engine.why(&asked, answer, at).await })
        .await?
        .map(Json)
        .ok_or(ApiError::UnknownClient(key))
}
