//! Live figures as server-sent events.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};

use super::error::PageError;
use super::health::Summary;
use super::ui::number;
use super::view::View;

/// How often figures are sent.
const EVERY: Duration = Duration::from_secs(3);

/// The figures that change in place, by the name that the page gives them.
#[must_use]
pub fn figures(summary: &Summary) -> BTreeMap<&'static str, String> {
    let hour = summary.last_hour();
    BTreeMap::from([
        ("events", number(hour.events())),
        ("changes", number(hour.changes.total())),
        ("refused", number(hour.refused)),
        ("dead-letters", number(summary.dead_letters.total)),
        (
            "backlog",
            summary
                .relay
                .map_or_else(|| "–".to_owned(), |relay| number(relay.changes)),
        ),
        ("verdict", summary.tone().class().to_owned()),
    ])
}

/// Sends the figures until the reader or the worker goes.
pub async fn stream(view: View) -> Result<Response, PageError> {
    let permit = view.api.wait_permit("console")?;
    let first = view.console.summary.get(&view.api, &view.console).await?;
    let stopping = view.api.stopping();
    let later = stream::unfold((view, stopping, permit), |(view, stopping, permit)| async move {
        loop {
            stopping.run_until_cancelled(tokio::time::sleep(EVERY)).await?;
            // A store that fails is an issue that readiness reports; the stream goes on.
            if let Ok(summary) = view.console.summary.get(&view.api, &view.console).await {
                return Some((event(&summary), (view, stopping, permit)));
            }
        }
    });
    let events = stream::iter([event(&first)])
        .chain(later)
        .map(Ok::<_, Infallible>);
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

fn event(summary: &Summary) -> Event {
    let figures = figures(summary);
    Event::default().data(serde_json::to_string(&figures).unwrap_or_default())
}
