//! `POST /v1/events`: ingestion by the CloudEvents HTTP binding, in structured, binary and batch mode.
//!
//! A single event gets 200 if it is applied, a duplicate or refused: it is stored, and sending it again changes nothing. It
//! gets 422 if it is stored as a dead letter, and 202 if it is ahead of the clock and deferred. A batch gets 200 with the
//! outcome of each event, except that a batch whose only outcome is one dead letter gets 422. With `dry_run=true` the response is the
//! same, and nothing is stored.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ErrorBody;
use super::memory::{self, CHUNK, Share};
use super::params::{Params, RawQuery};
use super::traces::{self, RequestSpan};
use super::{Api, ApiError, Principal, body, schema};
use crate::config::Partners;
use crate::domain::id::clip;
use crate::engine::{DryRun, Incoming, Outcome};
use crate::store::DeadLetter;
use crate::wire::{
    BATCH, Decoded, Decoder, Members, Message, Pairs, STRUCTURED, TraceContext, dead_event, is_plain_encoding,
};

/// The origin of dead letters.
const ORIGIN: &str = "http";

/// The outcomes of the events, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcomes {
    /// True: nothing was stored, and these are the outcomes that the events would have. Absent: they have them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    outcomes: Vec<EventOutcome>,
}

/// The outcome of one event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventOutcome {
    /// Identifies the event together with `id`. Absent when the message is not a valid event.
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
    #[schema(value_type = Option<String>)]
    reason: Option<Arc<str>>,
    /// The client of the same partner that has the name, if the event was refused for a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    conflicts_with: Option<Arc<str>>,
    /// Fields in `data` that are not known. They are ignored; the outcome is the same without them. Absent: there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["`chanel` is not known; `channel` is"]))]
    warnings: Vec<Arc<str>>,
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
    /// The message is not a valid event, or its source gave it the id of another event. It is stored as a dead letter.
    Dead,
    /// The time of the event is ahead of the worker's clock. It is stored, and ingested when its time comes.
    Deferred,
}

/// Ingest events, or find out what would become of them
///
/// With `dry_run=true` nothing is stored, and the response is the one that the same request would get without it: for each event the
/// outcome, as if the events before it had been ingested.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "ingest_events",
    tag = "events",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: store nothing; by default `false`"),
    ),
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
        (status = 400, description = "Invalid header or parameter", body = ErrorBody),
        (status = 403, description = "The token lacks the scope, or an event is not one of its partners; nothing is stored. Or the host \
                                      of the web page that sent the request is not in `http.hosts`", body = ErrorBody),
        (status = 413, description = "The body exceeds `http.body_limit`, or the batch exceeds `http.max_events`; \
                                      nothing is stored", body = ErrorBody),
        (status = 415, description = "The content type is not one of the three modes, or the body is compressed", body = ErrorBody),
        (status = 421, description = "The host of the request is not in `http.hosts`", body = ErrorBody),
        (status = 422, description = "The only message is not a valid event, or has the id of another event; stored as a dead \
                                      letter", body = Outcomes),
        (status = 503, description = "The store is unavailable, or requests in progress use the whole memory budget; \
                                      send the request again", body = ErrorBody),
    )
)]
pub(super) async fn ingest(
    State(api): State<Arc<Api>>,
    principal: Principal,
    span: Option<Extension<RequestSpan>>,
    headers: HeaderMap,
    query: RawQuery,
    body: Body,
) -> Result<Response, ApiError> {
    let is_dry_run = is_dry_run(query)?;
    let content_type = only(&headers, &header::CONTENT_TYPE)?;
    check_mode(content_type, &headers)?;
    if let Some(encoding) = only(&headers, &header::CONTENT_ENCODING)?
        && !is_plain_encoding(encoding)
    {
        return Err(ApiError::ContentEncoding(clip(encoding)));
    }
    let mut share = api.memory.share();
    let body = body::receive(body, api.body_limit, &mut share).await?;
    let now = api.engine()?.clock().present();
    let pairs = headers.iter();
    let sent = Arc::new(Sent {
        content_type: content_type.map(str::to_owned),
        headers: Pairs::of_http(pairs.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body,
        trace: span.map_or_else(|| traces::sender(&headers), |Extension(span)| Some(span.0)),
    });
    let decoder = Decoder::new(api.limits, now).with_max_events(api.max_events);
    let members = decoder.members(sent.message())?;
    share.set(memory::of_events(sent.body.capacity(), members.count()))?;
    check_partners(&principal, &members)?;
    let share = Arc::new(share);
    let outcomes = if is_dry_run {
        examine_all(&api, &members, &sent, &share).await?
    } else {
        ingest_all(&api, &members, &sent, &share, None).await?
    };
    let status = match outcomes.as_slice() {
        [only] if only.outcome == OutcomeKind::Dead => StatusCode::UNPROCESSABLE_ENTITY,
        [only] if only.outcome == OutcomeKind::Deferred => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let answer = serde_json::to_vec(&Outcomes {
        dry_run: is_dry_run,
        outcomes,
    });
    drop(members);
    drop(sent);
    let answer = Bytes::from(answer.map_err(|error| ApiError::Internal(error.into()))?);
    let mut share = Arc::into_inner(share).unwrap_or_else(|| api.memory.share());
    // The events are ingested, so the answer is sent whatever its size.
    let _ = share.set(answer.len());
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((status, json, Body::from(share.with(answer))).into_response())
}

fn is_dry_run(query: RawQuery) -> Result<bool, ApiError> {
    let mut params = Params::of(query)?;
    let is_dry_run = params.choice("dry_run", [("true", true), ("false", false)])?;
    // A misspelt `dry_run` must not ingest.
    params.finish()?;
    Ok(is_dry_run.unwrap_or_default())
}

/// A request. Those of its events that become dead letters are stored as they were sent.
struct Sent {
    content_type: Option<String>,
    headers: Pairs,
    body: Vec<u8>,
    /// Its span, or that of its sender.
    trace: Option<TraceContext>,
}

impl Sent {
    fn message(&self) -> Message<'_, Pairs> {
        Message {
            origin: ORIGIN,
            content_type: self.content_type.as_deref(),
            headers: &self.headers,
            body: &self.body,
        }
    }

    /// An event of the request as a dead letter. `range`: where it stands in a batch.
    fn dead(&self, range: Option<&Range<usize>>, reason: &str) -> DeadLetter {
        match range {
            Some(range) => dead_event(ORIGIN, &self.body[range.clone()], reason),
            None => self.message().dead(reason),
        }
    }
}

/// Rejects the request if an event belongs to a partner that the principal is not for. A message that is not a valid event may
/// belong to any partner: an operator may redrive it later.
fn check_partners(principal: &Principal, members: &Members<'_, Pairs>) -> Result<(), ApiError> {
    if principal.partners == Partners::All {
        return Ok(());
    }
    for member in 0..members.count() {
        let of_event = |reason: String| ApiError::EventOfOther {
            number: member + 1,
            reason,
        };
        let Decoded { event, .. } = match members.decode(member) {
            Ok(decoded) => decoded,
            Err(dead) => members
                .decoder()
                .early(&dead)
                .ok_or_else(|| of_event(format!("its partner is unknown ({})", dead.reason)))?,
        };
        principal
            .require_partner(&event.key.partner)
            .map_err(|error| of_event(error.to_string()))?;
    }
    Ok(())
}

/// The value of a header that may occur once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
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

/// As [`ingest_all`], in a dry run.
async fn examine_all(
    api: &Api,
    members: &Members<'_, Pairs>,
    sent: &Arc<Sent>,
    share: &Arc<Share>,
) -> Result<Vec<EventOutcome>, ApiError> {
    let _permit = api.dry_runs.try_acquire().map_err(|_| ApiError::Busy)?;
    let dry_run = Arc::new(api.run_detached(DryRun::over).await?);
    let examined = ingest_all(api, members, sent, share, Some(&dry_run)).await;
    if let Some(dry_run) = Arc::into_inner(dry_run) {
        api.tasks.spawn(dry_run.close());
    }
    examined
}

/// Decodes and ingests the events in chunks of one transaction each. Identical members that are not events become one dead
/// letter.
async fn ingest_all(
    api: &Api,
    members: &Members<'_, Pairs>,
    sent: &Arc<Sent>,
    share: &Arc<Share>,
    dry_run: Option<&Arc<DryRun>>,
) -> Result<Vec<EventOutcome>, ApiError> {
    let count = members.count();
    let mut outcomes: Vec<Option<EventOutcome>> = vec![None; count];
    let mut firsts: HashMap<&[u8], usize> = HashMap::new();
    let mut texts = Texts::default();
    let engine = api.engine()?;
    for start in (0..count).step_by(CHUNK) {
        let mut senders = Vec::new();
        let mut incoming = Vec::new();
        let mut ranges = Vec::new();
        for member in start..count.min(start + CHUNK) {
            let text = members.text(member);
            if firsts.contains_key(text) {
                continue;
            }
            let read = members.decode(member);
            if dry_run.is_none() {
                engine.report_warnings(&read, || members.dead(member, ""), sent.trace.as_ref());
            }
            let sender = match &read {
                Ok(decoded) => Sender::of(decoded, &mut texts),
                Err(dead) => {
                    firsts.insert(text, member);
                    let early = members.decoder().early(dead);
                    early.map_or_else(Sender::default, |decoded| Sender::of(&decoded, &mut texts))
                }
            };
            senders.push((member, sender));
            incoming.push(Incoming::from(read));
            ranges.push(members.range(member));
        }
        if incoming.is_empty() {
            continue;
        }
        let (sent, share, dry_run) = (sent.clone(), share.clone(), dry_run.cloned());
        let ingested = api
            .run_detached(|engine| async move {
                let dead = |place: usize, reason: &str| sent.dead(ranges[place].as_ref(), reason);
                let done = match &dry_run {
                    Some(dry_run) => dry_run.examine(incoming).await,
                    None => engine.ingest_request(incoming, &dead, sent.trace.as_ref()).await,
                };
                // Only now, because the caller may have hung up.
                drop((sent, share));
                done
            })
            .await?;
        for ((member, sender), outcome) in senders.into_iter().zip(ingested) {
            outcomes[member] = Some(EventOutcome::of(sender, outcome, &mut texts));
        }
    }
    repeat_outcomes(&mut outcomes, members, &firsts);
    let outcomes: Option<Vec<_>> = outcomes.into_iter().collect();
    outcomes.ok_or_else(|| ApiError::Internal("an event has no outcome".into()))
}

/// Gives a member that is identical to an earlier one the outcome of the first.
fn repeat_outcomes(
    outcomes: &mut [Option<EventOutcome>],
    members: &Members<'_, Pairs>,
    firsts: &HashMap<&[u8], usize>,
) {
    for member in 0..outcomes.len() {
        if outcomes[member].is_none()
            && let Some(&first) = firsts.get(members.text(member))
        {
            let same = outcomes[first].clone();
            outcomes[member] = same;
        }
    }
}

/// What an outcome repeats of its event.
#[derive(Default)]
struct Sender {
    /// Source and id. None: it is no valid event.
    name: Option<(Arc<str>, Arc<str>)>,
    warnings: Vec<Arc<str>>,
}

impl Sender {
    fn of(Decoded { event, warnings }: &Decoded, texts: &mut Texts) -> Self {
        Self {
            name: Some((event.source.clone(), event.id.clone())),
            warnings: warnings
                .iter()
                .map(|warning| texts.shared(&warning.to_string()))
                .collect(),
        }
    }
}

/// The texts that outcomes share.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(text) {
            return shared.clone();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(shared.clone());
        shared
    }
}

impl EventOutcome {
    fn of(sender: Sender, outcome: Outcome, texts: &mut Texts) -> Self {
        let mut shared = |reason: &str| Some(texts.shared(reason));
        let mut conflicts_with = None;
        let (outcome, code, reason) = match outcome {
            Outcome::Applied => (OutcomeKind::Applied, None, None),
            Outcome::Duplicate => (OutcomeKind::Duplicate, None, None),
            Outcome::Refused {
                refusal,
                conflicts_with: client,
            } => {
                conflicts_with = client;
                let (code, words) = (refusal.code(), refusal.words());
                (OutcomeKind::Refused, Some(code), shared(words))
            }
            Outcome::Dead(reason) => (OutcomeKind::Dead, None, shared(&reason)),
            Outcome::Deferred { reason, .. } => (OutcomeKind::Deferred, None, shared(&reason)),
        };
        let (source, id) = sender.name.unzip();
        Self {
            source,
            id,
            outcome,
            code,
            reason,
            conflicts_with,
            warnings: sender.warnings,
        }
    }
}
