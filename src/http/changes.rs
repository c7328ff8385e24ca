//! `GET /v1/changes`: the feed of changes, page by page, with a wait for the next change, or as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::clients::page_size;
use super::error::{ErrorBody, QueryErrors};
use super::metrics::Waited;
use super::params::{Params, RawQuery};
use super::tail::Live;
use super::{Api, ApiError, WaitPermit, schema};
use crate::domain::kinds_of_any;
use crate::engine::{Engine, FeedStart};
use crate::store::{FeedCursor, FeedFilter, FeedPage, Recorded};
use crate::wire::{self, SchemaUris};

/// How often a stream without changes sends a comment with its place. Proxies close connections that are silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream waits after the store failed.
const RETRY: Duration = Duration::from_secs(1);
/// Changes that a stream reads at a time.
const STREAM_PAGE: u32 = 100;
/// The longest `wait`, in seconds.
const LONGEST_WAIT: u64 = 60;
const EVENT_STREAM: &str = "text/event-stream";

/// A page of changes, in the order in which they are published.
#[derive(Serialize, ToSchema)]
pub struct ChangesPage {
    /// Each as it is published over RabbitMQ, as a CloudEvents message.
    #[schema(value_type = Vec<schema::PublishedChange>)]
    changes: Vec<Box<RawValue>>,
    /// The value of `after` for the next page, also when this page is empty.
    next: String,
    /// Whether the next page may have changes already. False: this page reached the end.
    more: bool,
}

/// Read changes, and wait for the next
///
/// In the order in which Tenure publishes them over RabbitMQ, and with the same content. Begin without `after`, with `after=latest`,
/// or with the cursor of `GET /v1/snapshot`; continue with `next`. A page may be empty although others follow, because a request
/// examines a bounded number of changes. With `Accept: text/event-stream` the response is a stream of server-sent events: `data` is a
/// change, and `id` is the cursor after it, with which the client reconnects in `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/v1/changes",
    operation_id = "read_changes",
    tag = "changes",
    params(
        ("after" = Option<schema::ChangesCursor>, Query, description = "Only changes after this place: `next` of the previous page, or \
                                                     `latest` for those to come; by default all"),
        ("partner" = Option<schema::PartnerId>, Query, description = "Only changes of this partner's clients"),
        ("client" = Option<schema::Subject>, Query, description = "Only changes of this client, `{partner}/{client}`"),
        ("type" = Option<schema::ChangePatterns>, Query, description = "Only changes of these types, separated by commas; `access.*` \
                                                     stands for all types that begin with `access.`"),
        ("limit" = Option<schema::PageSize>, Query, description = "1 to 1000; default 100. Not for a stream"),
        ("wait" = Option<schema::Wait>, Query, description = "How long to wait for a change if there is none, up to `60s`; at most four \
                                                     fifths of `http.timeout`. Not for a stream"),
    ),
    responses(
        (status = 200, description = "A page of changes, or a stream", content(
            (ChangesPage = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 410, description = "Changes after this place are no longer stored, or the store was restored from a backup: begin with \
                                      a snapshot", body = ErrorBody),
        QueryErrors,
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::of(query)?;
    let after = start(&mut params)?;
    let filter = filter(&mut params)?;
    let is_limited = params.has("limit");
    let limit = u32::try_from(page_size(&mut params)?).unwrap_or(u32::MAX);
    let wait = wait(&mut params)?;
    params.finish()?;
    if !wants_stream(&headers) {
        let mut reader = Reader::start(&api, after, filter, limit).await?;
        let page = reader.read().await?;
        return match wait {
            Some(wait) if page.lines.is_empty() && !wait.is_zero() => Ok(poll(reader, wait).await),
            _ => Ok(Json(ChangesPage::of(&page, api.engine()?.schemas())?).into_response()),
        };
    }
    for (name, is_given) in [("limit", is_limited), ("wait", wait.is_some())] {
        if is_given {
            return Err(ApiError::parameter(name, "a stream has no pages; omit it"));
        }
    }
    let after = last_event(&headers)?.unwrap_or(after);
    let reader = Reader::start(&api, after, filter, STREAM_PAGE).await?;
    reader.stream().await
}

/// Waits for changes. How long that took is no part of the duration of the request.
async fn poll(reader: Reader, wait: Duration) -> Response {
    let began = Instant::now();
    // Waiting takes no part of `http.timeout` that sending the page needs.
    let end = began + wait.min(reader.api.timeout * 4 / 5);
    let engine = reader.engine.clone();
    let page = reader
        .page_before(end)
        .await
        .and_then(|page| ChangesPage::of(&page, engine.schemas()));
    let mut response = page.map(Json).into_response();
    response.extensions_mut().insert(Waited(began.elapsed()));
    response
}

/// Reads the feed from a place on, for one request.
struct Reader {
    api: Arc<Api>,
    engine: Arc<Engine>,
    after: FeedCursor,
    filter: FeedFilter,
    limit: u32,
}

impl Reader {
    async fn start(
        api: &Arc<Api>,
        start: FeedStart,
        filter: FeedFilter,
        limit: u32,
    ) -> Result<Self, ApiError> {
        let place = |engine: Arc<Engine>| async move { engine.feed_place(start).await };
        Ok(Self {
            api: api.clone(),
            engine: api.engine()?,
            after: api.run_detached(place).await?,
            filter,
            limit,
        })
    }

    /// The next page of the store, and moves on. Few requests read at a time: ingestion needs the connections, too.
    async fn read(&mut self) -> Result<FeedPage, ApiError> {
        let turn = self.api.feed_reads.acquire().await;
        let (after, filter, limit) = (self.after, self.filter.clone(), self.limit);
        let read = move |engine: Arc<Engine>| async move { engine.feed(&after, &filter, limit).await };
        let page = self.api.run_detached(read).await?;
        drop(turn);
        if let Some(gap) = page.gap {
            return Err(ApiError::Gone(gap));
        }
        self.after = page.next;
        Ok(page)
    }

    /// The changes of a live page that are new and match, and moves on. None: changes before it are missing; read the store.
    fn join(&mut self, live: &Live) -> Option<FeedPage> {
        let page = live.continue_from(&self.after, &self.filter, self.limit)?;
        self.after = page.next;
        Some(page)
    }

    /// The first page with changes, or an empty one at a moment.
    async fn page_before(mut self, end: Instant) -> Result<FeedPage, ApiError> {
        let _permit = self.api.wait_permit("poll")?;
        let mut live = self.api.follow_feed(&self.engine);
        let mut is_at_end = false;
        loop {
            if !is_at_end {
                let page = self.read().await?;
                is_at_end = !page.more;
                if !page.lines.is_empty() {
                    return Ok(page);
                }
            }
            if Instant::now() >= end || self.api.stopping.is_cancelled() {
                return Ok(FeedPage {
                    more: !is_at_end,
                    ..FeedPage::empty(self.after)
                });
            }
            if is_at_end {
                let news = tokio::select! {
                    news = live.recv() => news,
                    () = tokio::time::sleep_until(end) => continue,
                    () = self.api.stopping.cancelled() => continue,
                };
                match news.ok().and_then(|live| self.join(&live)) {
                    Some(page) if !page.lines.is_empty() => return Ok(page),
                    joined => is_at_end = joined.is_some(),
                }
            }
        }
    }

    /// A stream of all changes from here on.
    async fn stream(mut self) -> Result<Response, ApiError> {
        // A response with its status: an error now is not one in the stream.
        let first = self.read().await?;
        let permit = self.api.wait_permit("stream")?;
        let events = Streamed {
            live: self.api.follow_feed(&self.engine),
            is_at_end: false,
            reader: self,
            sent: Instant::now(),
            ended: false,
            _permit: permit,
        };
        let begin = if first.lines.is_empty() {
            vec![events.heartbeat()]
        } else {
            changes(&first, events.reader.engine.schemas())
        };
        let events = stream::iter(begin).chain(events.events());
        let mut response = Sse::new(events.map(Ok::<_, Infallible>)).into_response();
        // nginx would collect the events.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        response
            .headers_mut()
            .insert(unbuffered, HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// A stream of server-sent events. The server writes only as fast as the client reads: a client that does not read is
/// disconnected after `http.timeout`.
struct Streamed {
    reader: Reader,
    live: broadcast::Receiver<Arc<Live>>,
    /// Whether the reader has read the store to its end, and the live pages since.
    is_at_end: bool,
    /// When the last event was sent.
    sent: Instant,
    ended: bool,
    _permit: WaitPermit,
}

impl Streamed {
    fn events(self) -> impl Stream<Item = Event> {
        stream::unfold(self, |mut stream| async move {
            let events = stream.next().await?;
            stream.sent = Instant::now();
            Some((stream::iter(events), stream))
        })
        .flatten()
    }

    /// The next events. None: the stream ends.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let stopping = self.reader.api.stopping.clone();
        while !self.ended && !stopping.is_cancelled() {
            let page = if self.is_at_end {
                self.next_live().await
            } else {
                match self.reader.read().await {
                    Ok(page) => {
                        self.is_at_end = !page.more;
                        Some(page)
                    }
                    Err(error @ ApiError::Gone(_)) => {
                        self.ended = true;
                        let body = serde_json::to_string(&error.body()).ok()?;
                        return Some(vec![Event::default().event("gone").data(body)]);
                    }
                    Err(error) if error.is_temporary() => {
                        let _ = stopping.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                        None
                    }
                    Err(error) => {
                        tracing::error!(%error, "a stream of changes ends");
                        return None;
                    }
                }
            };
            match page {
                Some(page) if !page.lines.is_empty() => {
                    return Some(changes(&page, self.reader.engine.schemas()));
                }
                _ if self.sent.elapsed() >= HEARTBEAT => return Some(vec![self.heartbeat()]),
                _ => {}
            }
        }
        None
    }

    /// What the next live page has. None: nothing came before the next heartbeat, or the store must be read.
    async fn next_live(&mut self) -> Option<FeedPage> {
        let news = tokio::select! {
            news = self.live.recv() => news,
            () = tokio::time::sleep_until(self.sent + HEARTBEAT) => return None,
            () = self.reader.api.stopping.cancelled() => return None,
        };
        let page = news.ok().and_then(|live| self.reader.join(&live));
        self.is_at_end = page.as_ref().is_some_and(|page| !page.more);
        page
    }

    /// A comment, with the place up to which changes were examined: a client that reconnects does not begin further back.
    fn heartbeat(&self) -> Event {
        Event::default().comment("").id(self.reader.after.to_string())
    }
}

fn changes(page: &FeedPage, schemas: &SchemaUris) -> Vec<Event> {
    let lines = page.lines.iter();
    let change = |line: &Recorded| {
        let change = wire::change(page.epoch, line, schemas);
        let cursor = FeedCursor(line.published(page.epoch));
        Event::default()
            .id(cursor.to_string())
            .data(String::from_utf8_lossy(&change))
    };
    lines.map(change).collect()
}

impl ChangesPage {
    fn of(page: &FeedPage, schemas: &SchemaUris) -> Result<Self, ApiError> {
        let raw = |line| serde_json::from_slice::<Box<RawValue>>(&wire::change(page.epoch, line, schemas));
        let changes = page.lines.iter().map(raw).collect::<Result<_, _>>();
        Ok(Self {
            changes: changes.map_err(|error| ApiError::Internal(error.into()))?,
            next: page.next.to_string(),
            more: page.more,
        })
    }
}

fn start(params: &mut Params) -> Result<FeedStart, ApiError> {
    match params.text("after")?.as_deref() {
        None => Ok(FeedStart::Beginning),
        Some("latest") => Ok(FeedStart::Latest),
        Some(cursor) => cursor.parse().map(FeedStart::After).map_err(|_| {
            let expected = "expected `next` of the previous page, the cursor of a snapshot, or `latest`";
            ApiError::parameter("after", expected)
        }),
    }
}

fn filter(params: &mut Params) -> Result<FeedFilter, ApiError> {
    let mut filter = FeedFilter {
        partner: params.partner()?,
        ..FeedFilter::default()
    };
    if let Some(key) = params.client("client")? {
        if filter
            .partner
            .as_ref()
            .is_some_and(|partner| **partner != *key.partner)
        {
            return Err(ApiError::parameter("client", "it is not a client of `partner`"));
        }
        filter.partner = Some(key.partner.to_string());
        filter.client = Some(key.client.to_string());
    }
    if let Some(patterns) = params.text("type")? {
        filter.kinds = kinds_of_any(patterns.split(',')).ok_or_else(|| {
            let expected =
                "expected types of changes such as `link.active` or `access.*`, separated by commas";
            ApiError::parameter("type", expected)
        })?;
    }
    Ok(filter)
}

fn wait(params: &mut Params) -> Result<Option<Duration>, ApiError> {
    let Some(given) = params.text("wait")? else {
        return Ok(None);
    };
    let digits = given.strip_suffix('s').filter(|digits| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain && !digits.is_empty() && digits.len() <= 2
    });
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(seconds) if seconds <= LONGEST_WAIT => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(ApiError::parameter("wait", "expected seconds from `0s` to `60s`")),
    }
}

/// Whether the client asks for a stream, and prefers no page to it.
fn wants_stream(headers: &HeaderMap) -> bool {
    let (mut stream, mut page) = (0.0_f32, 0.0_f32);
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    for range in accepted.flat_map(|accepted| accepted.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        match media_type.as_str() {
            EVENT_STREAM => stream = stream.max(weight),
            "application/json" => page = page.max(weight),
            _ => {}
        }
    }
    stream > 0.0 && stream >= page
}

/// The last event that a client that reconnects has seen.
fn last_event(headers: &HeaderMap) -> Result<Option<FeedStart>, ApiError> {
    const NAME: &str = "last-event-id";
    let Some(id) = headers.get(NAME).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let cursor = id.to_str().ok().and_then(|id| id.parse::<FeedCursor>().ok());
    cursor
        .map(|cursor| Some(FeedStart::After(cursor)))
        .ok_or_else(|| ApiError::header(NAME, "expected the `id` of an event of this stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_sent_only_to_a_client_that_asks_for_one() {
        for (accepted, expected) in [
            (&["text/event-stream"][..], true),
            (&["Text/Event-Stream; charset=utf-8"], true),
            (&["application/json, text/event-stream"], true),
            (&["application/json", "text/event-stream;q=0.5"], false),
            (&["text/event-stream, application/json;q=0.9"], true),
            (&["text/event-stream;q=0"], false),
            (&["text/event-stream; q=0.000"], false),
            (&["text/event-stream;q=x"], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["application/x-text/event-stream"], false),
            (&[], false),
        ] {
            let headers = accepted.iter().map(|value| {
                let value = HeaderValue::from_str(value).unwrap();
                (header::ACCEPT, value)
            });
            assert_eq!(wants_stream(&headers.collect()), expected, "{accepted:?}");
        }
    }
}
