//! `POST /v1/events`: ingestion by the CloudEvents HTTP binding, in structured, binary and batch mode.
//!
//! A single event gets 200 if it is applied, a duplicate or refused: it is stored, and sending it again changes nothing. It
//! gets 422 if it is stored as a dead letter, and 202 if it is ahead of the clock and deferred. A batch gets 200 with the
//! outcome of each event, except that a batch whose only outcome is one dead letter gets 422.

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

/// Maximum number of events in one transaction; a body may hold more.
const CHUNK: usize = 1_000;

/// The outcomes of the events, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcomes {
    outcomes: Vec<EventOutcome>,
}

/// The outcome of one event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventOutcome {
    /// Identifies the event together with `id`. Absent for a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<Arc<str>>,
    outcome: OutcomeKind,
    /// Why the event was refused, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Why the event was refused, dead-lettered or deferred, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The event changed the client, or at least its history.
    Applied,
    /// The event was stored before; nothing changed.
    Duplicate,
    /// The event is not possible at its position in the client's history. It is stored, and evaluated again when an earlier
    /// event arrives late.
    Refused,
    /// The message is not a valid event. It is stored as a dead letter.
    Dead,
    /// The time of the event is ahead of the worker's clock. It is stored, and ingested when its time comes.
    Deferred,
}

/// Ingest events
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
        (status = 200, description = "Stored; the outcome of each event, in order", body = Outcomes),
        (status = 202, description = "The only event is ahead of the worker's clock; stored, and ingested when its time \
                                      comes", body = Outcomes),
        (status = 401, description = "Missing or wrong token", body = ErrorBody),
        (status = 400, description = "Invalid header", body = ErrorBody),
        (status = 403, description = "The host of the web page that sent the request is not in `http.hosts`", body = ErrorBody),
        (status = 413, description = "The body exceeds `http.body_limit`, or the batch exceeds `http.max_events`; \
                                      nothing is stored", body = ErrorBody),
        (status = 415, description = "The content type is not one of the three modes, or the body is compressed", body = ErrorBody),
        (status = 421, description = "The host of the request is not in `http.hosts`", body = ErrorBody),
        (status = 422, description = "The only message is not a valid event; stored as a dead letter", body = Outcomes),
        (status = 503, description = "The store is unavailable; send the request again", body = ErrorBody),
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
    let now = api.engine()?.clock().present();
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

/// The value of a header that may occur once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (value, another) = (values.next(), values.next());
    if another.is_some() {
        return Err(ApiError::header(name.as_str(), "it occurs twice; send it once"));
    }
    value
        .map(|value| {
            value.to_str().map_err(|_| {
                ApiError::header(name.as_str(), "it contains characters other than visible ASCII")
            })
        })
        .transpose()
}

/// A message in none of the three modes is rejected and not stored.
fn check_mode(content_type: Option<&str>, headers: &HeaderMap) -> Result<(), ApiError> {
    let bare = content_type
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_ascii_lowercase())
        .unwrap_or_default();
    match bare.as_str() {
        STRUCTURED | BATCH => Ok(()),
        // Another CloudEvents format, such as Avro.
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
        let ingested = api
            .run_detached(|engine| async move { engine.ingest(chunk).await })
            .await?;
        outcomes.extend(ingested);
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
