//! `/v1/schemas` and `/asyncapi.json`: the contracts of events and changes.
//!
//! They depend on the version and on `http.public_url` alone, so a worker makes them once. They need no token: they say nothing about
//! clients.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::error::ErrorBody;
use super::params::{Params, RawPath, RawQuery};
use super::{Api, ApiError, openapi, schema};
use crate::contracts;
use crate::domain::event::TYPES;
use crate::domain::{ChangeKind, nearest_name};
use crate::store::hex;
use crate::wire::{SCHEMAS_PATH, SchemaFamily, SchemaUris};

const ASYNCAPI_PATH: &str = "/asyncapi.json";
pub(super) const OPENAPI_PATH: &str = "/openapi.json";

/// For caches: a new version of Tenure may change a document.
const CACHE_CONTROL: &str = "public, max-age=300";

/// A document, ready to send.
pub(super) struct Document {
    media_type: &'static str,
    etag: String,
    body: Bytes,
}

impl Document {
    fn new(media_type: &'static str, value: &Value) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self {
            media_type,
            etag: format!("\"{}\"", hex(&Sha256::digest(&body)[..16])),
            body: body.into(),
        }
    }
}

/// All documents by path.
pub(super) type Documents = HashMap<String, Document>;

fn documents(uris: &SchemaUris) -> Documents {
    const JSON: &str = "application/json";
    let mut documents = Documents::new();
    for (place, schema) in contracts::all_schemas(uris) {
        let document = Document::new("application/schema+json", &schema);
        documents.insert(format!("{SCHEMAS_PATH}/{place}"), document);
    }
    let list = serde_json::to_value(SchemasList::of(uris)).unwrap_or_default();
    documents.insert(SCHEMAS_PATH.to_owned(), Document::new(JSON, &list));
    let asyncapi = contracts::asyncapi(uris);
    documents.insert(ASYNCAPI_PATH.to_owned(), Document::new(JSON, &asyncapi));
    documents.insert(OPENAPI_PATH.to_owned(), Document::new(JSON, &openapi()));
    documents
}

/// Answers with the document of a path, or 304 if the caller has it.
pub(super) fn answer(api: &Api, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let make = || documents(&SchemaUris::new(api.public_url.as_deref()));
    let Some(document) = api.contracts.get_or_init(make).get(path) else {
        return Err(ApiError::NoSuchPath);
    };
    let caching = [
        (header::ETAG, document.etag.as_str()),
        (header::CACHE_CONTROL, CACHE_CONTROL),
    ];
    if is_known(&document.etag, headers) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, document.media_type)];
    Ok((caching, content_type, document.body.clone()).into_response())
}

/// Whether `If-None-Match` names the document.
fn is_known(etag: &str, headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter();
    given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Where the schemas are.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemasList {
    events: Vec<SchemaLinks>,
    changes: Vec<SchemaLinks>,
    /// The AsyncAPI document.
    #[schema(example = "/asyncapi.json")]
    asyncapi: &'static str,
    /// The OpenAPI document.
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
}

/// The schemas of one type.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaLinks {
    #[schema(example = "client.added")]
    r#type: &'static str,
    /// The path of the schema of the whole CloudEvent.
    schema: String,
    /// The path of the schema of its `data`.
    data_schema: String,
    /// The URI of the schema of `data`, for the attribute `dataschema`.
    dataschema: String,
}

impl SchemasList {
    fn of(uris: &SchemaUris) -> Self {
        let links = |family: SchemaFamily, kind: &'static str| {
            let schema = format!("{SCHEMAS_PATH}/{}/{kind}", family.as_str());
            SchemaLinks {
                r#type: kind,
                data_schema: format!("{schema}/data"),
                schema,
                dataschema: uris.data(family, kind),
            }
        };
        let events = TYPES.iter().map(|kind| links(SchemaFamily::Events, kind));
        let changes = ChangeKind::ALL
            .iter()
            .map(|kind| links(SchemaFamily::Changes, kind.as_str()));
        Self {
            events: events.collect(),
            changes: changes.collect(),
            asyncapi: ASYNCAPI_PATH,
            openapi: OPENAPI_PATH,
        }
    }
}

/// The schema of the type in the path.
fn schema_of(
    api: &Api,
    family: SchemaFamily,
    path: RawPath<String>,
    query: RawQuery,
    headers: &HeaderMap,
    end: &str,
) -> Result<Response, ApiError> {
    Params::of(query)?.finish()?;
    let kind = path
        .map_err(|error| ApiError::parameter("type", error.body_text()))?
        .0;
    let known: Vec<&'static str> = match family {
        SchemaFamily::Events => TYPES.to_vec(),
        SchemaFamily::Changes => ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect(),
    };
    if !known.contains(&kind.as_str()) {
        let advice = match nearest_name(&kind, &known) {
            Some(nearest) => format!("there is no such type; `{nearest}` is one"),
            None => format!("there is no such type; GET {SCHEMAS_PATH} lists them"),
        };
        return Err(ApiError::parameter("type", advice));
    }
    answer(
        api,
        &format!("{SCHEMAS_PATH}/{}/{kind}{end}", family.as_str()),
        headers,
    )
}

/// Get the AsyncAPI document
#[utoipa::path(
    get,
    path = "/asyncapi.json",
    operation_id = "get_asyncapi",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "The AsyncAPI 3.0 document: exchanges, queues and messages", body = Object),
        (status = 304, description = "The caller has it, as `If-None-Match` says"),
        (status = 400, description = "Invalid parameter", body = ErrorBody),
    )
)]
pub(super) async fn asyncapi(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, ApiError> {
    Params::of(query)?.finish()?;
    answer(&api, ASYNCAPI_PATH, &headers)
}

/// List the schemas
#[utoipa::path(
    get,
    path = "/v1/schemas",
    operation_id = "list_schemas",
    tag = "contracts",
    security(()),
    responses(
        (status = 200, description = "Where the schemas of all events and changes are", body = SchemasList),
        (status = 304, description = "The caller has it, as `If-None-Match` says"),
        (status = 400, description = "Invalid parameter", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, ApiError> {
    Params::of(query)?.finish()?;
    answer(&api, SCHEMAS_PATH, &headers)
}

macro_rules! schema_endpoints {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $path:literal, $kind:ident, $family:ident, $end:literal;)*) => {
        $(
            $(#[$doc])*
            #[utoipa::path(
                get,
                path = $path,
                operation_id = $id,
                tag = "contracts",
                security(()),
                params(("type" = schema::$kind, Path)),
                responses(
                    (status = 200, description = "A JSON Schema (2020-12)", body = Object, content_type = "application/schema+json"),
                    (status = 304, description = "The caller has it, as `If-None-Match` says"),
                    (status = 400, description = "There is no such type", body = ErrorBody),
                )
            )]
            pub(super) async fn $name(
                State(api): State<Arc<Api>>,
                headers: HeaderMap,
                path: RawPath<String>,
                query: RawQuery,
            ) -> Result<Response, ApiError> {
                schema_of(&api, SchemaFamily::$family, path, query, &headers, $end)
            }
        )*
    };
}

schema_endpoints! {
    /// Get the schema of an event type: a whole CloudEvent in structured mode
    event, "get_event_schema", "/v1/schemas/events/{type}", EventType, Events, "";
    /// Get the schema of the data of an event type
    data_of_event, "get_event_data_schema", "/v1/schemas/events/{type}/data", EventType, Events, "/data";
    /// Get the schema of a change type: a whole CloudEvent
    change, "get_change_schema", "/v1/schemas/changes/{type}", ChangeType, Changes, "";
    /// Get the schema of the data of a change type
    data_of_change, "get_change_data_schema", "/v1/schemas/changes/{type}/data", ChangeType, Changes, "/data";
}
