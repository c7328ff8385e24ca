//! `/metrics` in Prometheus' text format. Counters are kept where things happen; what is counted in the
//! store is asked for when someone looks.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Mutex;

use super::Api;
use crate::store::Census;

/// How old figures from the store may be: several Prometheus servers ask no more of it than one.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long to wait for the store; after that the figures are those of before.
const PATIENCE: Duration = Duration::from_secs(3);
/// Counting takes longer the more there is to count. However much that is, it takes the store one part in so many of the
/// time.
const REST: u32 = 50;

pub(super) struct Metrics {
    handle: PrometheusHandle,
    asked: Mutex<Option<Instant>>,
    /// When to count again; held while somebody counts.
    count_at: Arc<Mutex<Option<Instant>>>,
    /// Facets and statuses shown so far: one that nobody is in any more is 0, not what it was.
    shown: Arc<std::sync::Mutex<BTreeSet<(&'static str, String)>>>,
    /// Whether anyone publishes the journal; without, its backlog means nothing.
    relayed: OnceLock<()>,
}

impl Metrics {
    pub(super) fn new(handle: PrometheusHandle) -> Self {
        Self {
            handle,
            asked: Mutex::default(),
            count_at: Arc::default(),
            shown: Arc::default(),
            relayed: OnceLock::new(),
        }
    }
}

impl Api {
    /// The journal is published: its backlog is a metric.
    pub fn watch_relay(&self) {
        let _ = self.metrics.relayed.set(());
    }

    /// Asks the store for its figures, unless that was just done.
    async fn refresh(&self) {
        let mut asked = self.metrics.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        let relayed = self.metrics.relayed.get().is_some();
        let answered = self.run_detached(move |engine| async move {
            if relayed {
                let backlog = engine.store().relay_backlog().await?;
                gauge("tenure_relay_backlog", backlog);
            }
            engine.probe().await;
            Ok(engine.cannot_write().is_none())
        });
        let up = matches!(tokio::time::timeout(PATIENCE, answered).await, Ok(Ok(true)));
        gauge("tenure_store_up", i64::from(up));
        if up {
            // A count that takes longer is shown when it is there.
            let _ = tokio::time::timeout(PATIENCE, self.count()).await;
        }
        *asked = Some(Instant::now());
    }

    /// Counts what is in the store, unless that was done not long ago or is being done.
    async fn count(&self) {
        let Ok(mut count_at) = self.metrics.count_at.clone().try_lock_owned() else {
            return;
        };
        let began = Instant::now();
        if count_at.is_some_and(|at| began < at) {
            return;
        }
        let shown = self.metrics.shown.clone();
        let counted = self.run_detached(move |engine| async move {
            let census = engine.store().census().await;
            *count_at = Some(Instant::now() + FRESH_FOR.max(began.elapsed() * REST));
            match census {
                Ok(census) => show_census(&census, &shown),
                // Told here: nobody may wait for it any more.
                Err(error) => {
                    tracing::warn!(%error, "what is in the store cannot be counted; its metrics stay as they were");
                }
            }
            Ok(())
        });
        let _ = counted.await;
    }
}

pub(super) async fn show(State(api): State<Arc<Api>>) -> impl IntoResponse {
    api.refresh().await;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, api.metrics.handle.render())
}

fn show_census(census: &Census, shown: &std::sync::Mutex<BTreeSet<(&'static str, String)>>) {
    let mut shown = shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let facets = [
        ("link", &census.link),
        ("service", &census.service),
        ("access", &census.access),
    ];
    for (facet, statuses) in facets {
        shown.extend(statuses.keys().map(|status| (facet, status.clone())));
        for (_, status) in shown.iter().filter(|(shown, _)| *shown == facet) {
            let clients = statuses.get(status).copied().unwrap_or(0);
            metrics::gauge!("tenure_clients", "facet" => facet, "status" => status.clone())
                .set(float(clients));
        }
    }
    gauge("tenure_log_events", census.events);
    gauge("tenure_journal_lines", census.journal);
    gauge("tenure_dead_letters_open", census.dead_letters_open);
}

fn gauge(name: &'static str, value: i64) {
    metrics::gauge!(name).set(float(value));
}

/// Exact up to 2^53, and there will never be more rows.
#[expect(clippy::cast_precision_loss, reason = "said above")]
fn float(count: i64) -> f64 {
    count as f64
}

/// Counts and times requests by route, not by path: ids would make a series each.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = known_method(request.method());
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    metrics::counter!(
        "tenure_http_requests_total",
        "method" => method, "route" => route.clone(), "status" => status
    )
    .increment(1);
    metrics::histogram!("tenure_http_request_duration_seconds", "route" => route).record(began.elapsed());
    response
}

/// A method may be any word that a stranger thinks of, and each would be a series.
fn known_method(method: &axum::http::Method) -> &'static str {
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}
