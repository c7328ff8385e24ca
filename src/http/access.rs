//! Endpoints that decide about access: one question, or many at once. `authzen` asks the same in a standard form.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{BodyErrors, QueryErrors};
use super::json_body::AtMost;
use super::params::{Params, RawPath, RawQuery, client_key};
use super::{Api, ApiError, Principal, json_body, schema};
use crate::domain::access::Decision;
use crate::domain::action::ActionError;
use crate::domain::id::{IdError, clip};
use crate::domain::{ClientKey, Event};
use crate::engine::{Engine, Question, Resource};

/// Maximum number of questions in one request.
pub(super) const MAX_QUESTIONS: usize = 1_000;

/// Questions about access, at most 1000.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessQuestions {
    #[schema(value_type = Vec<AccessQuestion>, max_items = 1000)]
    questions: AtMost<AccessQuestion, MAX_QUESTIONS>,
}

/// A question about access.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessQuestion {
    #[schema(value_type = schema::PartnerId)]
    partner: String,
    #[schema(value_type = schema::ClientId)]
    client: String,
    /// The intended action. Absent: whether the partner may enter.
    #[schema(value_type = Option<schema::ActionName>)]
    action: Option<String>,
    /// The moment, past or future. Absent: now.
    #[schema(value_type = Option<schema::Moment>)]
    at: Option<String>,
}

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error(transparent)]
    Client(#[from] IdError),
    #[error(transparent)]
    Action(#[from] ActionError),
    #[error(transparent)]
    Moment(#[from] MomentError),
}

/// Text that is not a moment.
#[derive(Debug, thiserror::Error)]
#[error("invalid value \"{}\": expected an RFC 3339 time such as 2026-03-01T12:00:00Z", clip(.0))]
pub(super) struct MomentError(String);

/// Access decisions, in the order of the questions.
#[derive(Serialize, ToSchema)]
pub struct AccessDecisions {
    #[schema(value_type = Vec<schema::Decision>)]
    decisions: Vec<Decision>,
}

/// Decide whether the partner may access the account, now or at any other moment
///
/// For an unknown client the decision is no. A decision is valid until `holds_until`, unless an event of the client or a new
/// policy arrives earlier.
#[utoipa::path(
    get,
    path = "/v1/partners/{partner}/clients/{client}/access",
    operation_id = "decide_access_of_client",
    tag = "access",
    params(
        ("partner" = schema::PartnerId, Path),
        ("client" = schema::ClientId, Path),
        ("action" = Option<schema::ActionName>, Query, description = "The intended action; a few actions are forbidden"),
        ("at" = Option<schema::Moment>, Query, description = "The moment, past or future, in RFC 3339; default now"),
    ),
    responses(
        (status = 200, description = "The decision", body = schema::Decision),
        QueryErrors,
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: RawPath<(String, String)>,
    query: RawQuery,
) -> Result<Json<Decision>, ApiError> {
    let key = client_key(path)?;
    let mut params = Params::of(query)?;
    let engine = api.engine()?;
    let action = params
        .text("action")?
        .map(|name| {
            engine
                .action(&name)
                .map_err(|reason| ApiError::parameter("action", reason))
        })
        .transpose()?;
    let at = params.moment("at")?;
    params.finish()?;
    api.run_detached(move |engine| async move { engine.decide(&key, action.as_ref(), at).await })
        .await
        .map(Json)
}

/// Decide whether partners may access many accounts at once
#[utoipa::path(
    post,
    path = "/v1/access",
    operation_id = "decide_access",
    tag = "access",
    request_body = AccessQuestions,
    responses(
        (status = 200, description = "The decisions, in the order of the questions", body = AccessDecisions),
        BodyErrors,
        QueryErrors,
    )
)]
pub(super) async fn decide(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AccessDecisions>, ApiError> {
    let (asked, _share) = json_body::read::<AccessQuestions>(&api, &headers, body).await?;
    for question in &asked.questions.0 {
        principal.require_partner(&question.partner)?;
    }
    let engine = api.engine()?;
    let questions = (1..).zip(&asked.questions.0).map(|(number, question)| {
        let of_question =
            |reason: QuestionError| ApiError::parameter("questions", format!("question {number}: {reason}"));
        question.read(&engine).map_err(of_question)
    });
    let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
    let answers = api
        .run_detached(move |engine| async move { engine.decide_all(&questions).await })
        .await?;
    Ok(Json(AccessDecisions {
        decisions: answers.into_iter().map(|answer| answer.decision).collect(),
    }))
}

impl AccessQuestion {
    fn read(&self, engine: &Engine) -> Result<Question, QuestionError> {
        let key = ClientKey::new(&self.partner, &self.client)?;
        let action = self.action.as_deref().map(|name| engine.action(name));
        Ok(Question {
            resource: Resource::Client(key),
            action: action.transpose()?,
            at: self.at.as_deref().map(moment).transpose()?,
        })
    }
}

/// A moment in RFC 3339, truncated to the resolution of stored times.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, MomentError> {
    DateTime::parse_from_rfc3339(text)
        .map(|moment| Event::truncate(moment.to_utc()))
        .map_err(|_| MomentError(text.to_owned()))
}
