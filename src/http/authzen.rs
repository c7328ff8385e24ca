//! Access decisions by the Authorization API 1.0 of OpenID AuthZEN: `/access/v1/evaluation`, `/access/v1/evaluations` and
//! `/.well-known/authzen-configuration`.
//!
//! The subject is a partner. The resource is one of its clients, by the client's id, or an account, by its id in the account app.
//! The action is that of an access decision; `enter` asks whether the partner may enter. `context.at` selects another moment.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{MAX_QUESTIONS, moment};
use super::error::{BodyErrors, ErrorBody, QueryErrors};
use super::json_body::AtMost;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, Principal, json_body, schema};
use crate::domain::id::{check_id, clip};
use crate::domain::time::serialize_optional;
use crate::domain::{ClientKey, Id};
use crate::engine::{Answer, Engine, Question, Resource};

/// The action that asks for access itself.
const ENTER: &str = "enter";
/// The number of evaluations that are decided at a time. A list that stops early decides fewer than this many unnecessarily.
const CHUNK: usize = 100;

/// A request for an access decision. In a list, an absent member has the value of the list's default.
#[derive(Deserialize, ToSchema)]
pub struct EvaluationRequest {
    #[serde(default, deserialize_with = "json_body::object")]
    subject: Option<Entity>,
    #[serde(default, deserialize_with = "json_body::object")]
    action: Option<NamedAction>,
    #[serde(default, deserialize_with = "json_body::object")]
    resource: Option<Entity>,
    #[serde(default, deserialize_with = "json_body::object")]
    context: Option<Context>,
}

/// A list of requests with default members, or a single request without `evaluations`.
#[derive(Deserialize, ToSchema)]
pub struct EvaluationsRequest {
    #[serde(default, deserialize_with = "json_body::object")]
    subject: Option<Entity>,
    #[serde(default, deserialize_with = "json_body::object")]
    action: Option<NamedAction>,
    #[serde(default, deserialize_with = "json_body::object")]
    resource: Option<Entity>,
    #[serde(default, deserialize_with = "json_body::object")]
    context: Option<Context>,
    #[schema(value_type = Option<Vec<EvaluationRequest>>, max_items = 1000)]
    evaluations: Option<AtMost<EvaluationRequest, MAX_QUESTIONS>>,
    #[serde(default, deserialize_with = "json_body::object")]
    options: Option<EvaluationsOptions>,
}

/// A subject (type `partner`), or a resource (type `client` or `account`). `properties` are ignored.
#[derive(Deserialize, ToSchema)]
pub struct Entity {
    r#type: Option<String>,
    id: Option<String>,
}

/// The intended action. `enter` asks whether the partner may enter. `properties` are ignored.
#[derive(Deserialize, ToSchema)]
pub struct NamedAction {
    name: Option<String>,
}

/// Other members are ignored.
#[derive(Deserialize, ToSchema)]
pub struct Context {
    /// The moment of the decision, past or future, in RFC 3339. Absent: now.
    at: Option<String>,
}

/// Other options are ignored.
#[derive(Deserialize, ToSchema)]
pub struct EvaluationsOptions {
    evaluations_semantic: Option<String>,
}

/// An access decision.
#[derive(Serialize, ToSchema)]
pub struct Evaluation {
    decision: bool,
    context: EvaluationContext,
}

/// The decisions for a list, in order, or the members of a single decision.
#[expect(clippy::struct_field_names, reason = "the standard names it")]
#[derive(Serialize, ToSchema)]
pub struct Evaluations {
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluations: Option<Vec<Evaluation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<EvaluationContext>,
}

/// Why, and how long the decision holds. Absent members have no value.
#[derive(Default, Serialize, ToSchema)]
pub struct EvaluationContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::EvaluationReason>)]
    reason: Option<&'static str>,
    /// The client that the decision is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// The actions that the role does not include.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    forbidden: Vec<&'static str>,
    #[serde(
        serialize_with = "serialize_optional",
        skip_serializing_if = "Option::is_none"
    )]
    expires_at: Option<DateTime<Utc>>,
    /// When the decision becomes different without a new event, at the earliest.
    #[serde(
        serialize_with = "serialize_optional",
        skip_serializing_if = "Option::is_none"
    )]
    holds_until: Option<DateTime<Utc>>,
    #[serde(
        serialize_with = "serialize_optional",
        skip_serializing_if = "Option::is_none"
    )]
    decided_at: Option<DateTime<Utc>>,
    /// False while an expected source is silent: the decision may depend on events that have not arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    assured: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_source: Option<String>,
    /// Why there is no answer; the decision is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<EvaluationError>,
}

/// An error of one evaluation.
#[derive(Serialize, ToSchema)]
pub struct EvaluationError {
    /// 400: the request is malformed. 403: the token is not for this partner. 404: the subject or the resource cannot exist
    /// here.
    status: u16,
    message: String,
}

/// Where the endpoints are.
#[derive(Serialize, ToSchema)]
pub struct PdpMetadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

/// Evaluate one access request (OpenID AuthZEN)
#[utoipa::path(
    post,
    path = "/access/v1/evaluation",
    operation_id = "evaluate_access",
    tag = "access",
    request_body = EvaluationRequest,
    responses(
        (status = 200, description = "The decision", body = Evaluation),
        BodyErrors,
        QueryErrors,
    )
)]
pub(super) async fn evaluation(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Evaluation>, ApiError> {
    let (request, _share) = json_body::read::<EvaluationRequest>(&api, &headers, body).await?;
    evaluate_one(&api, &principal, &request.members()).await.map(Json)
}

/// Evaluate several access requests (OpenID AuthZEN)
///
/// With `options.evaluations_semantic`, the list ends after the first denial (`deny_on_first_deny`) or the first permission
/// (`permit_on_first_permit`). An error of one evaluation is a denial with `context.error`.
#[utoipa::path(
    post,
    path = "/access/v1/evaluations",
    operation_id = "evaluate_accesses",
    tag = "access",
    request_body = EvaluationsRequest,
    responses(
        (status = 200, description = "The decisions, in order", body = Evaluations),
        BodyErrors,
        QueryErrors,
    )
)]
pub(super) async fn evaluations(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Evaluations>, ApiError> {
    let (request, _share) = json_body::read::<EvaluationsRequest>(&api, &headers, body).await?;
    let semantic = Semantic::of(request.options.as_ref())?;
    let defaults = Members {
        subject: request.subject.as_ref(),
        action: request.action.as_ref(),
        resource: request.resource.as_ref(),
        context: request.context.as_ref(),
    };
    let list = request.evaluations.as_ref().map_or(&[][..], |list| &list.0);
    if list.is_empty() {
        let Evaluation { decision, context } = evaluate_one(&api, &principal, &defaults).await?;
        return Ok(Json(Evaluations {
            evaluations: None,
            decision: Some(decision),
            context: Some(context),
        }));
    }
    let engine = api.engine()?;
    let read: Vec<Read> = list
        .iter()
        .map(|item| item.members().or(defaults).read(&engine, &principal))
        .collect();
    Ok(Json(Evaluations {
        evaluations: Some(evaluate(&api, &read, semantic).await?),
        decision: None,
        context: None,
    }))
}

/// Get the URLs of the endpoints of OpenID AuthZEN
#[utoipa::path(
    get,
    path = "/.well-known/authzen-configuration",
    operation_id = "get_authzen_configuration",
    tag = "access",
    security(()),
    responses(
        (status = 200, description = "The endpoints", body = PdpMetadata),
        (status = 400, description = "Invalid parameter", body = ErrorBody),
        (status = 421, description = "The host of the request is not in `http.hosts`", body = ErrorBody),
    )
)]
pub(super) async fn configuration(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Json<PdpMetadata>, ApiError> {
    Params::of(query)?.finish()?;
    let base = if let Some(url) = &api.public_url {
        url.clone()
    } else {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or_else(|| ApiError::header("host", "it is missing; or set `http.public_url`"))?;
        format!("http://{host}")
    };
    Ok(Json(PdpMetadata {
        access_evaluation_endpoint: format!("{base}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{base}/access/v1/evaluations"),
        policy_decision_point: base,
    }))
}

/// Which evaluations of a list are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn of(options: Option<&EvaluationsOptions>) -> Result<Self, ApiError> {
        match options.and_then(|options| options.evaluations_semantic.as_deref()) {
            None | Some("execute_all") => Ok(Self::ExecuteAll),
            Some("deny_on_first_deny") => Ok(Self::DenyOnFirstDeny),
            Some("permit_on_first_permit") => Ok(Self::PermitOnFirstPermit),
            Some(other) => Err(ApiError::parameter(
                "options.evaluations_semantic",
                format!(
                    "invalid value \"{}\": expected one of execute_all, deny_on_first_deny, permit_on_first_permit",
                    clip(other)
                ),
            )),
        }
    }

    fn ends_after(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// The members of a request, its own or defaults.
#[derive(Clone, Copy)]
struct Members<'a> {
    subject: Option<&'a Entity>,
    action: Option<&'a NamedAction>,
    resource: Option<&'a Entity>,
    context: Option<&'a Context>,
}

/// A request as read: a question, or why there is none.
type Read = Result<Question, EvaluationError>;

impl EvaluationRequest {
    fn members(&self) -> Members<'_> {
        Members {
            subject: self.subject.as_ref(),
            action: self.action.as_ref(),
            resource: self.resource.as_ref(),
            context: self.context.as_ref(),
        }
    }
}

impl<'a> Members<'a> {
    fn or(self, defaults: Members<'a>) -> Self {
        Self {
            subject: self.subject.or(defaults.subject),
            action: self.action.or(defaults.action),
            resource: self.resource.or(defaults.resource),
            context: self.context.or(defaults.context),
        }
    }

    fn read(&self, engine: &Engine, principal: &Principal) -> Read {
        let (subject_type, partner) = entity("subject", self.subject)?;
        let (resource_type, id) = entity("resource", self.resource)?;
        let action = self.action.and_then(|action| action.name.as_deref());
        let action = action.ok_or_else(|| malformed("`action.name` is missing"))?;
        let action = match action {
            ENTER => None,
            name => Some(engine.action(name).map_err(malformed)?),
        };
        let at = self.context.and_then(|context| context.at.as_deref());
        let at = at.map(moment).transpose();
        let at = at.map_err(|reason| malformed(format!("`context.at`: {reason}")))?;
        if subject_type != "partner" {
            let given = clip(subject_type);
            return Err(unknown(format!(
                "unknown subject type `{given}`; expected `partner`"
            )));
        }
        check_id("partner", partner).map_err(unknown)?;
        principal
            .require_partner(partner)
            .map_err(|error| EvaluationError {
                status: 403,
                message: error.to_string(),
            })?;
        Ok(Question {
            resource: resource(partner, resource_type, id)?,
            action,
            at,
        })
    }
}

/// The type and the id of a subject or a resource.
fn entity<'a>(name: &str, entity: Option<&'a Entity>) -> Result<(&'a str, &'a str), EvaluationError> {
    let member = |value: Option<&'a String>, member: &str| {
        value
            .map(String::as_str)
            .ok_or_else(|| malformed(format!("`{name}.{member}` is missing")))
    };
    let kind = member(entity.and_then(|entity| entity.r#type.as_ref()), "type")?;
    let id = member(entity.and_then(|entity| entity.id.as_ref()), "id")?;
    Ok((kind, id))
}

fn resource(partner: &str, kind: &str, id: &str) -> Result<Resource, EvaluationError> {
    match kind {
        // `c-1`, or `acme/c-1` as elsewhere.
        "client" => match id.split_once('/') {
            Some((other, _)) if other != partner => Err(unknown(format!(
                "`{}` is no client of the partner `{partner}`",
                clip(id)
            ))),
            Some((_, client)) => client_of(partner, client),
            None => client_of(partner, id),
        },
        "account" => {
            let account = Id::try_from(id.to_owned()).map_err(unknown)?;
            let partner = partner.to_owned();
            Ok(Resource::Account { partner, account })
        }
        other => Err(unknown(format!(
            "unknown resource type `{}`; expected `client` or `account`",
            clip(other)
        ))),
    }
}

fn client_of(partner: &str, client: &str) -> Result<Resource, EvaluationError> {
    ClientKey::new(partner, client)
        .map(Resource::Client)
        .map_err(unknown)
}

fn malformed(reason: impl Display) -> EvaluationError {
    EvaluationError {
        status: 400,
        message: reason.to_string(),
    }
}

fn unknown(reason: impl Display) -> EvaluationError {
    EvaluationError {
        status: 404,
        message: reason.to_string(),
    }
}

/// A single request that is malformed, or about another partner, is an error of the whole request.
async fn evaluate_one(
    api: &Api,
    principal: &Principal,
    request: &Members<'_>,
) -> Result<Evaluation, ApiError> {
    let read = request.read(&*api.engine()?, principal);
    match &read {
        Err(error) if error.status == 400 => return Err(ApiError::Body(error.message.clone())),
        Err(error) if error.status == 403 => {
            let name = principal.name.clone();
            return Err(ApiError::OtherPartner { name });
        }
        _ => {}
    }
    let mut evaluations = evaluate(api, &[read], Semantic::ExecuteAll).await?;
    evaluations
        .pop()
        .ok_or_else(|| ApiError::Internal("an access request has no decision".into()))
}

async fn evaluate(api: &Api, requests: &[Read], semantic: Semantic) -> Result<Vec<Evaluation>, ApiError> {
    let mut evaluations = Vec::with_capacity(requests.len());
    for requests in requests.chunks(CHUNK) {
        let questions: Vec<Question> = requests
            .iter()
            .filter_map(|request| request.as_ref().ok().cloned())
            .collect();
        let answers = api
            .run_detached(move |engine| async move { engine.decide_all(&questions).await })
            .await?;
        let mut answers = answers.into_iter();
        for request in requests {
            let evaluation = match request {
                Ok(_) => answers.next().map(Evaluation::from),
                Err(error) => Some(Evaluation::denied(error)),
            };
            let Some(evaluation) = evaluation else {
                return Err(ApiError::Internal("a question about access has no answer".into()));
            };
            let ends = semantic.ends_after(evaluation.decision);
            evaluations.push(evaluation);
            if ends {
                return Ok(evaluations);
            }
        }
    }
    Ok(evaluations)
}

impl From<Answer> for Evaluation {
    fn from(answer: Answer) -> Self {
        let decision = answer.decision;
        Self {
            decision: decision.allowed,
            context: EvaluationContext {
                reason: Some(decision.reason),
                client: answer.client.map(|key| key.client.to_string()),
                role: decision.role,
                forbidden: decision.forbidden,
                expires_at: decision.expires_at,
                holds_until: decision.holds_until,
                decided_at: Some(decision.decided_at),
                assured: Some(decision.assured),
                silent_source: decision.silent_source,
                error: None,
            },
        }
    }
}

impl Evaluation {
    fn denied(error: &EvaluationError) -> Self {
        Self {
            decision: false,
            context: EvaluationContext {
                error: Some(EvaluationError {
                    status: error.status,
                    message: error.message.clone(),
                }),
                ..EvaluationContext::default()
            },
        }
    }
}
