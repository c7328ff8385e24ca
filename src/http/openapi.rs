//! `/openapi.json`: the HTTP side, for programs and people who write them.

use axum::Json;
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{clients, dead_letters, event_schema, events, health, schema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure",
        description = "Which partner is linked to which client, what that client's service is, and who may enter \
                       whose account at this very moment."
    ),
    paths(
        events::ingest,
        clients::list,
        clients::show,
        clients::journal,
        clients::access,
        dead_letters::list,
        health::live,
        health::ready,
    ),
    // What only parameters refer to is not found by itself.
    components(schemas(
        schema::PartnerId,
        schema::ClientId,
        schema::ActionName,
        schema::Moment,
        schema::PageSize,
        schema::Number,
        schema::LinkName,
        schema::ServiceFilterName,
        schema::AccessName,
        schema::TabName,
        schema::DeadStatusName,
    )),
    security(("token" = []), ()),
    modifiers(&Token)
)]
struct Document;

/// The token is asked for when `http.token` is set.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of `http.token`, when that is set"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI document.
///
/// # Panics
/// Never: the document can be written as JSON.
#[must_use]
pub fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).expect("names and lists can be written");
    document["components"]["schemas"]["CloudEvent"] = event_schema::cloud_event();
    document
}

pub(super) async fn show() -> Json<Value> {
    Json(document())
}
