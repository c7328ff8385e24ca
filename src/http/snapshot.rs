//! `GET /v1/snapshot`: every client, line by line, and the cursor from which the feed continues.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::connections::Indivisible;
use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::domain::ClientKey;
use crate::engine::{Engine, FeedStart, SnapshotLine, SnapshotPage};
use crate::store::FeedCursor;

/// Clients that are read at a time. Documents may be large.
const READ: u32 = 250;
/// Snapshots that are sent at a time.
pub(super) const AT_ONCE: usize = 4;
/// How often a page is read again after the store failed.
const ATTEMPTS: u32 = 5;
const RETRY: Duration = Duration::from_millis(500);
const CURSOR: HeaderName = HeaderName::from_static("tenure-cursor");

/// Get every client, to follow the changes from there
///
/// One JSON object per line: each client as the journal describes it, with the `id` of the last change that this includes, and at
/// the end `{"end":{"clients":…,"cursor":"…"}}`. If it cannot be completed, the last line is an error instead. Without the line `end`
/// the snapshot is incomplete: discard it. Continue with
/// `GET /v1/changes?after=` and the cursor, which is also in the header `tenure-cursor`. Clients are read while others change, so the
/// first of those changes are included already: skip a change whose `id` is not greater than the `last_change` of its client.
#[utoipa::path(
    get,
    path = "/v1/snapshot",
    operation_id = "get_snapshot",
    tag = "changes",
    params(("partner" = Option<schema::PartnerId>, Query, description = "Only clients of this partner")),
    responses(
        (
            status = 200, description = "Every client, in the order of partners and ids", body = schema::SnapshotLine,
            content_type = "application/x-ndjson",
            headers(("tenure-cursor" = String, description = "`after` for `GET /v1/changes`"))
        ),
        QueryErrors,
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, query: RawQuery) -> Result<Response, ApiError> {
    let mut params = Params::of(query)?;
    let partner = params.partner()?;
    params.finish()?;
    let permit = api
        .snapshots
        .clone()
        .try_acquire_owned()
        .map_err(|_| ApiError::Busy)?;
    // Before the first page: every change after it is in the feed, and every change before it in the pages.
    let end = |engine: Arc<Engine>| async move { engine.feed_place(FeedStart::Latest).await };
    let cursor = api.run_detached(end).await?;
    let snapshot = Snapshot {
        end: Instant::now() + api.snapshot_timeout,
        api,
        cursor,
        after: partner.as_deref().map(before_partner),
        partner,
        clients: 0,
        has_ended: false,
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (CURSOR, cursor.to_string()),
    ];
    let mut response = (headers, Body::from_stream(snapshot.pages())).into_response();
    response.extensions_mut().insert(Indivisible);
    Ok(response)
}

/// A snapshot while it is sent.
struct Snapshot {
    api: Arc<Api>,
    cursor: FeedCursor,
    /// When it must be complete.
    end: Instant,
    /// Only clients of this partner.
    partner: Option<String>,
    after: Option<ClientKey>,
    clients: u64,
    has_ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Snapshot {
    fn pages(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut snapshot| async move {
            if snapshot.has_ended {
                return None;
            }
            let page = snapshot.page().await;
            Some((Ok(page), snapshot))
        })
    }

    /// The next page as lines. After an error, its last line is the error, and the response ends with it.
    async fn page(&mut self) -> Bytes {
        let lines = match self.read().await {
            Ok(page) => self.lines(&page),
            Err(error) => Err(error),
        };
        lines.unwrap_or_else(|error| {
            tracing::warn!(%error, "a snapshot could not be sent completely");
            self.has_ended = true;
            let mut line = serde_json::to_vec(&error.body()).unwrap_or_default();
            line.push(b'\n');
            line.into()
        })
    }

    fn lines(&mut self, page: &SnapshotPage) -> Result<Bytes, ApiError> {
        if let Some(gap) = page.gap {
            return Err(ApiError::Gone(gap));
        }
        let is_of_another = |line: &SnapshotLine| {
            self.partner
                .as_ref()
                .is_some_and(|partner| line.client.partner != *partner)
        };
        // The next partner's clients follow.
        let end = page.lines.iter().position(is_of_another);
        let of_partner = &page.lines[..end.unwrap_or(page.lines.len())];
        let mut lines = Vec::new();
        for line in of_partner {
            serde_json::to_writer(&mut lines, line).map_err(|error| ApiError::Internal(error.into()))?;
            lines.push(b'\n');
        }
        self.clients += of_partner.len() as u64;
        self.after = page.next.clone().filter(|_| end.is_none());
        if self.after.is_none() {
            self.has_ended = true;
            let end = json!({"end": {"clients": self.clients, "cursor": self.cursor.to_string()}});
            lines.extend(format!("{end}\n").bytes());
        }
        Ok(lines.into())
    }

    async fn read(&self) -> Result<SnapshotPage, ApiError> {
        let mut attempts = ATTEMPTS;
        loop {
            if self.api.stopping.is_cancelled() {
                return Err(ApiError::Stopping);
            }
            if Instant::now() >= self.end {
                return Err(ApiError::SnapshotTimedOut);
            }
            let (cursor, after) = (self.cursor, self.after.clone());
            let read =
                |engine: Arc<Engine>| async move { engine.snapshot(&cursor, after.as_ref(), READ).await };
            attempts -= 1;
            match self.api.run_detached(read).await {
                Err(error) if error.is_temporary() && attempts > 0 => tokio::time::sleep(RETRY).await,
                read => return read,
            }
        }
    }
}

/// The position before the first client of a partner: no id is empty.
fn before_partner(partner: &str) -> ClientKey {
    ClientKey {
        partner: partner.into(),
        client: "".into(),
    }
}
