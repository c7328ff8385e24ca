//! Errors of requests and their responses: `{"error":{"code","message"}}`.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::config::Scope;
use crate::domain::ClientKey;
use crate::engine::StatementError;
use crate::store::{FeedGap, StoreError};
use crate::wire::TooManyEvents;

/// The value of `Retry-After`, in seconds.
const RETRY_AFTER_SECONDS: &str = "2";

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("invalid parameter `{name}`: {reason}")]
    Parameter { name: String, reason: String },
    #[error("unknown parameter `{name}`; this endpoint accepts {}", if known.is_empty() { "none".into() } else { known.join(", ") })]
    UnknownParameter { name: String, known: Vec<&'static str> },
    #[error("cannot read the request body: {0}")]
    Body(String),
    #[error("invalid header `{name}`: {reason}")]
    Header { name: String, reason: String },
    #[error(
        "unknown host `{0}`: this worker rejects requests for other hosts to prevent DNS rebinding; to accept this host, \
         add it to `http.hosts`"
    )]
    UnknownHost(String),
    #[error(
        "requests from web pages of `{0}` may not change anything; to accept them, add the host to `http.hosts`"
    )]
    ForeignOrigin(String),
    #[error(
        "missing or wrong token; send a token of `http.tokens` or `http.token` as `Authorization: Bearer …`"
    )]
    Unauthorized,
    #[error("the token `{name}` lacks the scope `{scope}`; use a token that has it in `http.tokens`")]
    Scope { name: Arc<str>, scope: Scope },
    #[error("the token `{name}` is for other partners only; use a token for this partner")]
    OtherPartner { name: Arc<str> },
    #[error("the CSRF token is missing or wrong; load the page again, and send the form from there")]
    Csrf,
    #[error("event {number} is rejected, and nothing was stored: {reason}")]
    EventOfOther {
        /// Its position in the request, from 1.
        number: usize,
        reason: String,
    },
    #[error(
        "the token `{name}` is for some partners only, and this endpoint is about all; use a token without `partners`"
    )]
    AllPartners { name: Arc<str> },
    #[error("unknown client {0}: no event has added it")]
    UnknownClient(ClientKey),
    #[error("there is no run {0} of a sweep, or retention has removed it; /v1/sweeps/runs lists the runs")]
    UnknownRun(i64),
    #[error("there is no dead letter {0}, or retention has removed it; `tenure dead list` lists them")]
    UnknownDeadLetter(i64),
    #[error("{error}{advice}")]
    Statement {
        #[source]
        error: StatementError,
        advice: &'static str,
    },
    #[error("{}; begin with a snapshot (GET /v1/snapshot) and continue from its cursor", gone(*.0))]
    Gone(FeedGap),
    #[error("unknown path; /openapi.json lists the endpoints")]
    NoSuchPath,
    #[error("this path does not support the method; /openapi.json lists the endpoints")]
    NoSuchMethod,
    #[error("the body exceeds `http.body_limit` ({limit} bytes); send less per request")]
    TooLarge { limit: usize },
    #[error("{events}, the limit of `http.max_events`; nothing was stored, send fewer events per request")]
    TooMany { events: TooManyEvents },
    #[error("unsupported content encoding `{0}`; send the body uncompressed")]
    ContentEncoding(String),
    #[error(
        "unsupported content type; expected application/cloudevents+json, application/cloudevents-batch+json, or the \
         attributes in ce- headers"
    )]
    MediaType,
    #[error("unsupported content type; expected application/json")]
    JsonExpected,
    #[error(
        "the request exceeded `http.timeout`; send it again, which is safe even while its events are still being stored"
    )]
    TimedOut,
    #[error(
        "the snapshot exceeded `http.snapshot_timeout`; begin again and read it faster, or raise the setting"
    )]
    SnapshotTimedOut,
    #[error("too many requests in progress; retry, or raise `http.max_connections`")]
    Busy,
    #[error("requests in progress use the whole memory budget; retry, or send fewer events at once")]
    NoRoom,
    #[error("the worker is stopping; send the request again")]
    Stopping,
    #[error("the worker is starting and waits for the store{}; retry", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Starting {
        /// Why the store is not open, if known.
        why: Option<String>,
    },
    #[error("{0}; retry")]
    Unavailable(#[source] StoreError),
    /// The cause is logged and not sent to the caller.
    #[error("internal error; see the log of the worker")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The body of every error response.
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

/// The errors of every query, for its `utoipa::path`.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the type only describes responses")]
pub(super) enum QueryErrors {
    /// Invalid parameter
    #[response(status = 400)]
    Parameter(ErrorBody),
    /// Missing or wrong token
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The token lacks the scope, or is for other partners
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The host of the request is not in `http.hosts`
    #[response(status = 421)]
    UnknownHost(ErrorBody),
    /// The store is unavailable; retry
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// The errors of a query in a JSON body, besides [`QueryErrors`].
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the type only describes responses")]
pub(super) enum BodyErrors {
    /// The body exceeds `http.body_limit`
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The content type is not application/json, or the body is compressed
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}

impl ApiError {
    pub(crate) fn parameter(name: &str, reason: impl Display) -> Self {
        Self::Parameter {
            name: crate::domain::id::clip(name),
            reason: reason.to_string(),
        }
    }

    pub(super) fn header(name: &str, reason: impl Into<String>) -> Self {
        Self::Header {
            name: crate::domain::id::clip(name),
            reason: reason.into(),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::NoRoom | Self::Unavailable(_))
    }

    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.status_and_code().1,
                message: self.to_string(),
            },
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Parameter { .. } | Self::UnknownParameter { .. } => {
                (StatusCode::BAD_REQUEST, "bad_parameter")
            }
            Self::Header { .. } => (StatusCode::BAD_REQUEST, "bad_header"),
            Self::UnknownHost(_) => (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, "missing_scope"),
            Self::Csrf => (StatusCode::FORBIDDEN, "wrong_csrf_token"),
            Self::OtherPartner { .. } | Self::AllPartners { .. } | Self::EventOfOther { .. } => {
                (StatusCode::FORBIDDEN, "other_partner")
            }
            Self::UnknownClient(_) => (StatusCode::NOT_FOUND, "unknown_client"),
            Self::UnknownRun(_) => (StatusCode::NOT_FOUND, "unknown_run"),
            Self::UnknownDeadLetter(_) => (StatusCode::NOT_FOUND, "unknown_dead_letter"),
            Self::Statement { error, .. } => of_statement(error),
            Self::Gone(_) => (StatusCode::GONE, "cursor_gone"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no_such_path"),
            Self::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, "no_such_method"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events"),
            Self::ContentEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding"),
            Self::MediaType | Self::JsonExpected => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::TimedOut | Self::SnapshotTimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed_out"),
            Self::Busy | Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Starting { .. } => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

fn of_statement(error: &StatementError) -> (StatusCode, &'static str) {
    match error {
        StatementError::NotBegun(_) => (StatusCode::NOT_FOUND, "month_not_begun"),
        StatementError::NotEnded { .. } => (StatusCode::CONFLICT, "month_not_ended"),
        StatementError::Closed { .. } => (StatusCode::CONFLICT, "month_closed"),
        StatementError::OutOfOrder { .. } => (StatusCode::CONFLICT, "month_out_of_order"),
        StatementError::InProgress { .. } => (StatusCode::CONFLICT, "closing_in_progress"),
        StatementError::EventsMayArrive { .. } => (StatusCode::CONFLICT, "events_may_arrive"),
        StatementError::BeforeFirstEvent { .. } => (StatusCode::CONFLICT, "month_before_first_event"),
        StatementError::Changed(_) => (StatusCode::CONFLICT, "statement_changed"),
        StatementError::Clock(_) => (StatusCode::SERVICE_UNAVAILABLE, "clock_wrong"),
        StatementError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl From<StatementError> for ApiError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Store(error) => error.into(),
            StatementError::EventsMayArrive { .. } | StatementError::BeforeFirstEvent { .. } => {
                Self::Statement {
                    error,
                    advice: ". To confirm, add confirm=true",
                }
            }
            _ => Self::Statement { error, advice: "" },
        }
    }
}

/// Why a reader cannot continue the feed.
fn gone(gap: FeedGap) -> &'static str {
    match gap {
        FeedGap::Pruned { .. } => "changes after this place are no longer stored (`retention.journal`)",
        FeedGap::Restored => {
            "the store has no such place: it was restored from a backup, or the cursor belongs to another store"
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
        // The store was open before, so an administrator has revoked the login or dropped the database since.
        if error.is_transient() || error.is_of_settings() {
            Self::Unavailable(error)
        } else {
            Self::Internal(error.into())
        }
    }
}

/// The message of an error, in the extensions of its response: pages show it to people.
#[derive(Clone, Debug)]
pub(super) struct Said(pub String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if let Self::Internal(error) = &self {
            tracing::error!(%error, "request failed");
        }
        let said = Said(self.to_string());
        let body = Json(self.body());
        let extra: Option<(HeaderName, &str)> = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE if code == "unsupported_content_encoding" => {
                Some((header::ACCEPT_ENCODING, "identity"))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        let mut response = match extra {
            Some(header) => (status, [header], body).into_response(),
            None => (status, body).into_response(),
        };
        response.extensions_mut().insert(said);
        response
    }
}
