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
use crate::engine::{RemoveWorkerError, StatementError};
use crate::store::{FeedGap, StoreError};
use crate::wire::TooManyEvents;

/// The value of `Retry-After`, in seconds.
const RETRY_AFTER_SECONDS: &str = "2";
/// The same for an action beyond the limit of [`super::throttle`].
const ACTION_RETRY_AFTER_SECONDS: &str = "1";

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
    #[error(
        "too many wrong tokens came from this address, so it may do one action per second; nothing was changed: wait a second and \
         send it again"
    )]
    TooManyActions,
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
    #[error(transparent)]
    Worker(RemoveWorkerError),
    #[error("{error}{advice}")]
    Statement {
        #[source]
        error: StatementError,
        advice: &'static str,
    },
    #[error("{0}; begin with a snapshot (GET /v1/snapshot) and continue from its cursor")]
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
    code: ErrorCode,
    /// For people.
    message: String,
}

/// Why a request failed, for programs. Later versions may add codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadParameter,
    BadHeader,
    UnknownHost,
    ForeignOrigin,
    BadBody,
    Unauthorized,
    MissingScope,
    WrongCsrfToken,
    TooManyActions,
    OtherPartner,
    UnknownClient,
    UnknownRun,
    UnknownDeadLetter,
    UnknownWorker,
    WorkerRuns,
    CursorGone,
    NoSuchPath,
    NoSuchMethod,
    BodyTooLarge,
    TooManyEvents,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    TimedOut,
    Busy,
    Starting,
    Stopping,
    StoreUnavailable,
    Internal,
    MonthNotBegun,
    MonthNotEnded,
    MonthClosed,
    MonthOutOfOrder,
    ClosingInProgress,
    EventsMayArrive,
    MonthBeforeFirstEvent,
    StatementChanged,
    ClockWrong,
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

/// The errors of an action of an operator.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the type only describes responses")]
pub(super) enum ActionErrors {
    /// Too many wrong tokens came from this address, so it may do one action per second; wait a second and retry
    #[response(status = 429)]
    TooManyActions(ErrorBody),
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

    fn status_and_code(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Parameter { .. } | Self::UnknownParameter { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::BadParameter)
            }
            Self::Header { .. } => (StatusCode::BAD_REQUEST, ErrorCode::BadHeader),
            Self::UnknownHost(_) => (StatusCode::MISDIRECTED_REQUEST, ErrorCode::UnknownHost),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, ErrorCode::ForeignOrigin),
            Self::Body(_) => (StatusCode::BAD_REQUEST, ErrorCode::BadBody),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, ErrorCode::MissingScope),
            Self::Csrf => (StatusCode::FORBIDDEN, ErrorCode::WrongCsrfToken),
            Self::TooManyActions => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyActions),
            Self::OtherPartner { .. } | Self::AllPartners { .. } | Self::EventOfOther { .. } => {
                (StatusCode::FORBIDDEN, ErrorCode::OtherPartner)
            }
            Self::UnknownClient(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownClient),
            Self::UnknownRun(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownRun),
            Self::UnknownDeadLetter(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownDeadLetter),
            Self::Worker(error) => of_worker(error),
            Self::Statement { error, .. } => of_statement(error),
            Self::Gone(_) => (StatusCode::GONE, ErrorCode::CursorGone),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, ErrorCode::NoSuchPath),
            Self::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::NoSuchMethod),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BodyTooLarge),
            Self::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooManyEvents),
            Self::ContentEncoding(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedContentEncoding,
            ),
            Self::MediaType | Self::JsonExpected => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedMediaType,
            ),
            Self::TimedOut | Self::SnapshotTimedOut => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TimedOut),
            Self::Busy | Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy),
            Self::Starting { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Starting),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Stopping),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::StoreUnavailable),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
        }
    }
}

fn of_worker(error: &RemoveWorkerError) -> (StatusCode, ErrorCode) {
    match error {
        RemoveWorkerError::Unknown(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownWorker),
        RemoveWorkerError::Runs { .. } => (StatusCode::CONFLICT, ErrorCode::WorkerRuns),
        RemoveWorkerError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
    }
}

fn of_statement(error: &StatementError) -> (StatusCode, ErrorCode) {
    match error {
        StatementError::NotBegun(_) => (StatusCode::NOT_FOUND, ErrorCode::MonthNotBegun),
        StatementError::NotEnded { .. } => (StatusCode::CONFLICT, ErrorCode::MonthNotEnded),
        StatementError::Closed { .. } => (StatusCode::CONFLICT, ErrorCode::MonthClosed),
        StatementError::OutOfOrder { .. } => (StatusCode::CONFLICT, ErrorCode::MonthOutOfOrder),
        StatementError::InProgress { .. } => (StatusCode::CONFLICT, ErrorCode::ClosingInProgress),
        StatementError::EventsMayArrive { .. } => (StatusCode::CONFLICT, ErrorCode::EventsMayArrive),
        StatementError::BeforeFirstEvent { .. } => (StatusCode::CONFLICT, ErrorCode::MonthBeforeFirstEvent),
        StatementError::Changed(_) => (StatusCode::CONFLICT, ErrorCode::StatementChanged),
        StatementError::Clock(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ClockWrong),
        StatementError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
    }
}

impl From<RemoveWorkerError> for ApiError {
    fn from(error: RemoveWorkerError) -> Self {
        match error {
            RemoveWorkerError::Store(error) => error.into(),
            _ => Self::Worker(error),
        }
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

/// What an error says, in the extensions of its response: pages show it to people.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: ErrorCode,
    pub message: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if let Self::Internal(error) = &self {
            tracing::error!(%error, "request failed");
        }
        let said = Said {
            code,
            message: self.to_string(),
        };
        let body = Json(self.body());
        let extra: Option<(HeaderName, &str)> = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE if code == ErrorCode::UnsupportedContentEncoding => {
                Some((header::ACCEPT_ENCODING, "identity"))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, ACTION_RETRY_AFTER_SECONDS)),
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
