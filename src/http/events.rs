//! `POST /v1/events`: the CloudEvents HTTP binding, structured, binary and batch.
//!
//! A single event that was taken, was known already or is refused is answered with 200: it is kept, and
//! sending it again would change nothing. One that cannot be an event is 422: it is kept as a dead letter; so is a batch that comes to nothing but one dead letter. A single event that is ahead of
//! the clock here is 202: it is kept, and ingested when its time has come. Any other batch is 200, with the outcome
//! of each of its events.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ErrorBody;
use super::{Api, ApiError, schema};
use crate::domain::Event;
use crate::domain::id::clip;
use crate::engine::{Incoming, Outcome};
use crate::store::DeadLetter;
use crate::wire::{BATCH, Decoder, Message, Pairs, STRUCTURED, is_plain_encoding};

/// Events in one transaction at most: a body may hold more than a transaction should.
const CHUNK: usize = 1_000;

/// What came of the events, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcomes {
    outcomes: Vec<EventOutcome>,
}

/// What came of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventOutcome {
    /// With `id`, the event's name. Absent when what was sent is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<Arc<str>>,
    outcome: OutcomeKind,
    /// Why an event was refused, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Why an event was refused, is a dead letter or is deferred, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It has changed the client, or at least its history.
    Applied,
    /// It was known already; nothing changed.
    Duplicate,
    /// It is not possible at its place in the client's history; kept, and looked at again when an
    /// earlier event comes late.
    Refused,
    /// It cannot be an event; kept as a dead letter.
    Dead,
    /// Its time is ahead of the clock of the worker: kept, and ingested by itself when its time has come.
    Deferred,
}

/// Take events.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "events",
    request_body(
        description = "A CloudEvents 1.0 event (structured), its data alone with the attributes in `ce-` headers \
                       (binary), or an array of events (batch)",
        content(
            (schema::CloudEvent = "application/cloudevents+json"),
            (Vec<schema::CloudEvent> = "application/cloudevents-batch+json"),
            (Object = "application/json"),
        )
    ),
    responses(
        (status = 200, description = "Kept; what came of each event, in order", body = Outcomes),
        (status = 202, description = "The only event is ahead of the clock here; kept, and ingested by itself when its time has \
                                      come", body = Outcomes),
        (status = 401, description = "The token is missing or another", body = ErrorBody),
        (status = 400, description = "A header is given twice", body = ErrorBody),
        (status = 403, description = "Sent by a web page of a host that is not in `http.hosts`", body = ErrorBody),
        (status = 413, description = "The body is longer than `http.body_limit`, or the batch has more events than \
                                      `http.max_events`; nothing of it is kept", body = ErrorBody),
        (status = 415, description = "The content type is none of the three modes, or the body is compressed", body = ErrorBody),
        (status = 421, description = "The request names a host that is not in `http.hosts`", body = ErrorBody),
        (status = 422, description = "The only event cannot be one; kept as a dead letter", body = Outcomes),
        (status = 503, description = "The store cannot be reached: send it again", body = ErrorBody),
    )
)]
pub(super) async fn ingest(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Outcomes>), ApiError> {
    let content_type = only(&headers, &header::CONTENT_TYPE)?;
    check_mode(content_type, &headers)?;
    if let Some(encoding) = only(&headers, &header::CONTENT_ENCODING)?
        && !is_plain_encoding(encoding)
    {
        return Err(ApiError::ContentEncoding(clip(encoding)));
    }
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge {
            limit: api.body_limit,
        },
        _ => ApiError::Body(error.body_text()),
    })?;
    let now = api.engine()?.now();
    let decoder = Decoder::new(api.limits, now).with_max_events(api.max_events);
    let read = decoder.events(Message {
        origin: "http",
        content_type,
        headers: &Pairs::of_http(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        ),
        body: &body,
    })?;
    drop(body);
    let outcomes = ingest_all(&api, read).await?;
    let status = match outcomes.as_slice() {
        [only] if only.outcome == OutcomeKind::Dead => StatusCode::UNPROCESSABLE_ENTITY,
        [only] if only.outcome == OutcomeKind::Deferred => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    Ok((status, Json(Outcomes { outcomes })))
}

/// The value of a header that may be there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (value, another) = (values.next(), values.next());
    if another.is_some() {
        return Err(ApiError::header(name.as_str(), "it is given twice; send it once"));
    }
    value
        .map(|value| {
            value
                .to_str()
                .map_err(|_| ApiError::header(name.as_str(), "it has characters beyond ASCII"))
        })
        .transpose()
}

/// What is none of the three modes is nobody's event, and not kept.
fn check_mode(content_type: Option<&str>, headers: &HeaderMap) -> Result<(), ApiError> {
    let bare = content_type
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_ascii_lowercase())
        .unwrap_or_default();
    match bare.as_str() {
        STRUCTURED | BATCH => Ok(()),
        // Another format of CloudEvents, which we do not read.
        other if other.starts_with("application/cloudevents") => Err(ApiError::MediaType),
        _ if headers.keys().any(|name| name.as_str().starts_with("ce-")) => Ok(()),
        _ => Err(ApiError::MediaType),
    }
}

async fn ingest_all(
    api: &Api,
    decoded: Vec<Result<Event, DeadLetter>>,
) -> Result<Vec<EventOutcome>, ApiError> {
    let names: Vec<_> = decoded
        .iter()
        .map(|one| {
            one.as_ref()
                .ok()
                .map(|event| (event.source.clone(), event.id.clone()))
        })
        .collect();
    let mut outcomes = Vec::with_capacity(decoded.len());
    let mut incoming = decoded
        .into_iter()
        .map(|one| one.map_or_else(Incoming::Dead, Incoming::Event));
    loop {
        let chunk: Vec<Incoming> = incoming.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        let taken = api
            .run_detached(|engine| async move { engine.ingest(chunk).await })
            .await?;
        outcomes.extend(taken);
    }
    Ok(names
        .into_iter()
        .zip(outcomes)
        .map(|(name, outcome)| EventOutcome::of(name, outcome))
        .collect())
}

impl EventOutcome {
    fn of(name: Option<(Arc<str>, Arc<str>)>, outcome: Outcome) -> Self {
        let (outcome, code, reason) = match outcome {
            Outcome::Applied => (OutcomeKind::Applied, None, None),
            Outcome::Duplicate => (OutcomeKind::Duplicate, None, None),
            Outcome::Refused(refusal) => (
                OutcomeKind::Refused,
                Some(refusal.code()),
                Some(refusal.words().to_owned()),
            ),
            Outcome::Dead(reason) => (OutcomeKind::Dead, None, Some(reason)),
            Outcome::Deferred { reason, .. } => (OutcomeKind::Deferred, None, Some(reason)),
        };
        let (source, id) = name.unzip();
        Self {
            source,
            id,
            outcome,
            code,
            reason,
        }
    }
}
