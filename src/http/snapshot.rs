//! `GET /v1/snapshot`: every client, line by line, and the cursor from which the feed continues.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::error::QueryErrors;
use super::params::{Params, RawQuery};
use super::{Api, ApiError, schema};
use crate::domain::ClientKey;
use crate::engine::{Engine, FeedStart, SnapshotLine};
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
/// the end `{"end":{"clients":…,"cursor":"…"}}`. Without that line the snapshot is incomplete. Continue with
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
        api,
        cursor,
        after: partner.as_deref().map(before_partner),
        partner,
        clients: 0,
        is_complete: false,
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (CURSOR, cursor.to_string()),
    ];
    Ok((headers, Body::from_stream(snapshot.pages())).into_response())
}

/// A snapshot while it is sent.
struct Snapshot {
    api: Arc<Api>,
    cursor: FeedCursor,
    /// Only clients of this partner.
    partner: Option<String>,
    after: Option<ClientKey>,
    clients: u64,
    is_complete: bool,
    _permit: OwnedSemaphorePermit,
}

impl Snapshot {
    fn pages(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, |mut snapshot| async move {
            if snapshot.is_complete {
                return Ok(None);
            }
            let page = snapshot.page().await?;
            Ok(Some((page, snapshot)))
        })
    }

    /// The next page as lines. An error ends the response before its end, which HTTP shows to the client.
    async fn page(&mut self) -> io::Result<Bytes> {
        let mut lines = self.read().await.map_err(|error| {
            tracing::warn!(%error, "a snapshot could not be sent completely");
            io::Error::other(error)
        })?;
        if let Some(partner) = &self.partner {
            // The next partner's clients follow.
            let end = lines.iter().position(|line| line.client.partner != *partner);
            lines.truncate(end.unwrap_or(lines.len()));
        }
        let mut page = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut page, line)?;
            page.push(b'\n');
        }
        self.clients += lines.len() as u64;
        match lines.last() {
            Some(last) if lines.len() == READ as usize => {
                let client = &last.client;
                self.after = Some(ClientKey {
                    partner: client.partner.as_str().into(),
                    client: client.client.as_str().into(),
                });
            }
            _ => {
                self.is_complete = true;
                let end = json!({"end": {"clients": self.clients, "cursor": self.cursor.to_string()}});
                page.extend(format!("{end}\n").bytes());
            }
        }
        Ok(page.into())
    }

    async fn read(&self) -> Result<Vec<SnapshotLine>, ApiError> {
        let mut attempts = ATTEMPTS;
        loop {
            if self.api.stopping.is_cancelled() {
                return Err(ApiError::Stopping);
            }
            let after = self.after.clone();
            let read = |engine: Arc<Engine>| async move { engine.snapshot(after.as_ref(), READ).await };
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
