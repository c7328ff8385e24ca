//! What can go wrong with a request, as an answer: `{"error":{"code","message"}}`.

use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ClientKey;
use crate::store::StoreError;
use crate::wire::TooManyEvents;

/// When to come again, in seconds, where waiting helps.
const RETRY_AFTER_SECONDS: &str = "2";

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the parameter `{name}` cannot be used: {reason}")]
    Parameter { name: String, reason: String },
    #[error("the body of the request cannot be read: {0}")]
    Body(String),
    #[error("the header `{name}` cannot be used: {reason}")]
    Header { name: String, reason: String },
    #[error(
        "this worker does not answer requests for the host `{0}`, so that no web page can reach it under a name of its \
         own; add the host to `http.hosts` if it is meant"
    )]
    UnknownHost(String),
    #[error(
        "web pages of `{0}` may not change anything here; add its host to `http.hosts` if they are meant to"
    )]
    ForeignOrigin(String),
    #[error("this needs the token of `http.token`, sent as `Authorization: Bearer …`")]
    Unauthorized,
    #[error("the client {0} was never added")]
    UnknownClient(ClientKey),
    #[error("there is nothing here; /openapi.json lists what there is")]
    NoSuchPath,
    #[error("this path does not know that method; /openapi.json lists those it does")]
    NoSuchMethod,
    #[error("the body is longer than `http.body_limit`, {limit} bytes; send fewer events at once")]
    TooLarge { limit: usize },
    #[error("{events}; `http.max_events` is the limit, and nothing of it was kept")]
    TooMany { events: TooManyEvents },
    #[error("the body has the content encoding `{0}`, which is not decoded here; send it without one")]
    ContentEncoding(String),
    #[error(
        "events are sent as application/cloudevents+json, as application/cloudevents-batch+json, or with their \
         attributes in ce- headers"
    )]
    MediaType,
    #[error("this took longer than `http.timeout`; what was begun is seen through, so ask or send again")]
    TimedOut,
    #[error("too many requests are under way; try again, or raise `http.max_connections`")]
    Busy,
    #[error("the worker is starting and waits for its store{}; try again", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Starting {
        /// Why it still waits, once that is known.
        why: Option<String>,
    },
    #[error("{0}; try again")]
    Unavailable(StoreError),
    /// The reason goes to the log, not to the caller.
    #[error("something went wrong here; the log of the worker says what")]
    Internal(String),
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// For programs.
    #[schema(example = "unknown_client")]
    code: &'static str,
    /// For people.
    message: String,
}

impl ApiError {
    pub(super) fn parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::Parameter {
            name: crate::domain::id::clip(name),
            reason: reason.into(),
        }
    }

    pub(super) fn header(name: &str, reason: impl Into<String>) -> Self {
        Self::Header {
            name: crate::domain::id::clip(name),
            reason: reason.into(),
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Parameter { .. } => (StatusCode::BAD_REQUEST, "bad_parameter"),
            Self::Header { .. } => (StatusCode::BAD_REQUEST, "bad_header"),
            Self::UnknownHost(_) => (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::UnknownClient(_) => (StatusCode::NOT_FOUND, "unknown_client"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no_such_path"),
            Self::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, "no_such_method"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events"),
            Self::ContentEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed_out"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Starting { .. } => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<TooManyEvents> for ApiError {
    fn from(events: TooManyEvents) -> Self {
        Self::TooMany { events }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            Self::Unavailable(error)
        } else {
            Self::Internal(error.to_string())
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if let Self::Internal(reason) = &self {
            tracing::error!(reason, "a request failed");
        }
        let body = Json(ErrorBody {
            error: ErrorDetail {
                code,
                message: self.to_string(),
            },
        });
        let extra: Option<(HeaderName, &str)> = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE if code == "unsupported_content_encoding" => {
                Some((header::ACCEPT_ENCODING, "identity"))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        match extra {
            Some(header) => (status, [header], body).into_response(),
            None => (status, body).into_response(),
        }
    }
}
