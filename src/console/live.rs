//! Live figures as server-sent events.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::error::PageError;
use super::health::Summary;
use super::overview;
use super::ui::{ago, duration, number};
use super::view::View;
use crate::engine::{ExpiryCounts, Unpublished};

/// How often figures are sent.
const EVERY: Duration = Duration::from_secs(3);

/// The texts that change in place, by the name that the page gives them in `data-live`.
#[must_use]
pub fn figures(summary: &Summary) -> BTreeMap<&'static str, String> {
    let hour = summary.last_hour();
    BTreeMap::from([
        ("events", number(hour.events())),
        ("changes", number(hour.changes.total())),
        ("refused", number(hour.refused)),
        (
            "dead-letters",
            at_least(summary.dead_letters.total, summary.dead_letters.complete),
        ),
        ("dead-letters-note", dead_letters_note(summary)),
        (
            "backlog",
            summary
                .relay
                .map_or_else(|| "–".to_owned(), |relay| number(relay.changes)),
        ),
        ("backlog-note", backlog_note(summary)),
    ])
}

/// How many accesses expire. `expiries`: None while they are counted for the first time.
pub fn expiring(expiries: Option<&ExpiryCounts>) -> String {
    expiries.map_or_else(
        || "…".to_owned(),
        |counted| at_least(counted.total(), counted.complete),
    )
}

/// A number, with a mark if not all were counted.
fn at_least(count: u64, is_complete: bool) -> String {
    format!("{}{}", number(count), if is_complete { "" } else { "+" })
}

/// By the store, as the number above it: other workers reject messages too.
fn dead_letters_note(summary: &Summary) -> String {
    let open = &summary.dead_letters;
    match open.groups.iter().map(|group| group.last_seen).max() {
        None => "none to resolve".into(),
        Some(at) if open.complete => format!("last seen {}", ago(summary.now, at)),
        Some(_) => "the oldest are counted".into(),
    }
}

/// How long the oldest change has not been published.
pub fn backlog_note(summary: &Summary) -> String {
    match summary.relay {
        None => "no broker: read over HTTP".into(),
        Some(Unpublished { oldest: None, .. }) => "all changes are published".into(),
        Some(Unpublished { oldest: Some(at), .. }) => {
            format!("the oldest has waited {}", duration(summary.now - at))
        }
    }
}

/// Sends the figures until the reader or the worker goes. Only a page that shows the accesses that expire asks for their number,
/// which takes long to count.
pub async fn stream(mut view: View) -> Result<Response, PageError> {
    let permit = view.api.wait_permit("console")?;
    let has_expiries = view.params.choice("expiring", [("true", true)])?.unwrap_or(false);
    let summary = view.console.summary.get(&view.api, &view.console).await?;
    let first = event(&view, &summary, has_expiries).await;
    let stopping = view.api.stopping();
    let later = stream::unfold(
        (view, stopping, permit),
        move |(view, stopping, permit)| async move {
            loop {
                stopping.run_until_cancelled(tokio::time::sleep(EVERY)).await?;
                // A store that fails is an issue that readiness reports; the stream goes on.
                if let Ok(summary) = view.console.summary.get(&view.api, &view.console).await {
                    let event = event(&view, &summary, has_expiries).await;
                    return Some((event, (view, stopping, permit)));
                }
            }
        },
    );
    let events = stream::iter([first]).chain(later).map(Ok::<_, Infallible>);
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

async fn event(view: &View, summary: &Summary, has_expiries: bool) -> Event {
    let mut figures = figures(summary);
    if has_expiries {
        figures.insert("expiring", expiring(overview::expiries(view).await.as_ref()));
    }
    let sent = json!({"figures": figures, "issues": summary.issues_digest()});
    Event::default().data(sent.to_string())
}
