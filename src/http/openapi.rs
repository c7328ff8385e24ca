//! `/openapi.json`: the OpenAPI document of all routes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::principal::SESSION_COOKIE;
use super::{Api, ApiError, contracts, openapi_schemas, params, routes, schema};
use crate::domain::Sweep;
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::store::DeadLetterStatus;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure",
        description = "Tracks which partner is linked to which client, the status of each client's service, and who may \
                       access whose account."
    ),
    // utoipa does not collect the schemas that only parameters refer to.
    components(schemas(
        schema::PartnerId,
        schema::ClientId,
        schema::ActionName,
        schema::Moment,
        schema::PageSize,
        schema::Number,
        schema::RunNumber,
        schema::Subject,
        schema::JournalPlace,
        schema::HistoryPlace,
        schema::AnswerName,
        schema::PolicySetting,
        Sweep,
        schema::IdPrefix,
        schema::NamePart,
        schema::HoldingId,
        schema::SourceName,
        schema::ListPosition,
        schema::RefusalPosition,
        schema::AccessPosition,
        schema::OpenRequest,
        schema::YesOrNo,
        schema::MonthText,
        schema::CloserName,
        schema::ReasonText,
        schema::OperatorName,
        schema::AuditAction,
        schema::RefusalCode,
        schema::EventType,
        schema::ChangeType,
        schema::ChangesCursor,
        schema::ChangePatterns,
        schema::Wait,
        LinkStatus,
        schema::ServiceFilter,
        AccessStatus,
        schema::Tab,
        DeadLetterStatus,
    )),
    modifiers(&Schemes)
)]
struct Document;

/// Adds the security schemes, which apply if there are tokens. The roles of an operation are the scopes that it requires.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of `http.tokens` or `http.token`, if there are any. Its scopes are `read` (queries and access \
                 decisions), `publish` (events) and `operate` (what operators do); each operation lists the one that it requires",
            ))
            .build();
        let cookie = ApiKeyValue::with_description(
            SESSION_COOKIE,
            "The session of a browser that has signed in with a token. It has the scopes of the token. Requests that change \
             something also need the header `x-csrf-token`",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// The OpenAPI document.
///
/// # Panics
/// Never: the document serializes to JSON.
#[must_use]
pub fn document() -> Value {
    let mut document = Document::openapi();
    document.merge(
        routes::open()
            .merge(routes::queries().into_routes())
            .merge(routes::others().into_routes())
            .into_openapi(),
    );
    let mut document = serde_json::to_value(document).expect("the document has only string keys");
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        openapi_schemas::add(schemas);
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        openapi_schemas::add_errors(paths);
    }
    document["webhooks"] = openapi_schemas::webhooks();
    document
}

/// Get this OpenAPI document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "The OpenAPI document", body = Object),
        (status = 304, description = "The caller has it, as `If-None-Match` says"),
        (status = 400, description = "Invalid parameter", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: params::RawQuery,
) -> Result<Response, ApiError> {
    params::Params::of(query)?.finish()?;
    contracts::answer(&api, contracts::OPENAPI_PATH, &headers)
}
