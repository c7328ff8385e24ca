//! `/metrics` in the Prometheus text format. Gauges of the store are refreshed on request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tokio::sync::Mutex;

use super::error::ErrorBody;
use super::{Api, Pages, SIGN_IN, SIGN_OUT, SIGN_OUT_EVERYWHERE, openapi};
use crate::config::Scope;
use crate::domain::Sweep;
use crate::incident::Incident;
use crate::store::{Census, Connections};
use crate::telemetry;

/// How long gauges of the store are reused, so that several Prometheus servers cause no more load than one.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long to wait for the store before reporting the previous values.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two counts as a multiple of the time that a count takes, which bounds the load by large tables.
const COUNT_PAUSE_FACTOR: u32 = 50;

pub(super) struct Metrics {
    handle: PrometheusHandle,
    asked: Mutex<Option<Instant>>,
    /// When to count again; locked during a count.
    count_at: Arc<Mutex<Option<Instant>>>,
    count_failing: Arc<Incident>,
    /// Facets and statuses reported so far, to report 0 for one that no longer has clients.
    shown: Arc<std::sync::Mutex<BTreeSet<(&'static str, String)>>>,
    /// When this worker started.
    started: Instant,
    /// Set if a relay publishes the journal; otherwise its backlog means nothing.
    relayed: OnceLock<()>,
    /// The sweeps that this worker runs; it knows nothing about when others should run.
    sweeps: OnceLock<Vec<Sweep>>,
    /// The last success of each sweep, as far as the store has said. It stays known while the store cannot be read.
    successes: Arc<std::sync::Mutex<BTreeMap<Sweep, DateTime<Utc>>>>,
}

impl Metrics {
    pub(super) fn new(handle: PrometheusHandle) -> Self {
        Self {
            handle,
            asked: Mutex::default(),
            count_at: Arc::default(),
            count_failing: Arc::default(),
            shown: Arc::default(),
            started: Instant::now(),
            relayed: OnceLock::new(),
            sweeps: OnceLock::new(),
            successes: Arc::default(),
        }
    }
}

impl Api {
    /// Reports the backlog of the journal from now on.
    pub fn watch_relay(&self) {
        let _ = self.metrics.relayed.set(());
    }

    /// Reports the age of the last success of these sweeps from now on.
    pub fn watch_sweeps(&self, sweeps: Vec<Sweep>) {
        let _ = self.metrics.sweeps.set(sweeps);
    }

    /// Refreshes the gauges of the store, unless they are fresh.
    async fn refresh(&self) {
        let mut asked = self.metrics.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        let relayed = self.metrics.relayed.get().is_some();
        if let Ok(engine) = self.engine() {
            show_connections(engine.store().connections());
        }
        let sweeps = self.metrics.sweeps.get().cloned().unwrap_or_default();
        let successes = self.metrics.successes.clone();
        let answered = self.run_detached(move |engine| async move {
            for sweep in sweeps {
                if let Some(at) = engine.last_success(sweep).await? {
                    lock(&successes).insert(sweep, at);
                }
            }
            if relayed {
                let backlog = engine.store().count_unpublished().await?;
                gauge("tenure_relay_backlog", backlog);
            }
            engine.probe().await;
            Ok(engine.cannot_write().is_none())
        });
        let up = matches!(tokio::time::timeout(STORE_TIMEOUT, answered).await, Ok(Ok(true)));
        gauge("tenure_store_up", i64::from(up));
        if up {
            // A slower count is reported next time.
            let _ = tokio::time::timeout(STORE_TIMEOUT, self.count()).await;
        }
        *asked = Some(Instant::now());
    }

    /// Reports how long ago each sweep last succeeded, as of now: the age of a success grows while the store cannot be read.
    fn show_sweep_ages(&self) {
        let running_for = self.metrics.started.elapsed();
        let now = self.engine().ok().map(|engine| engine.now());
        let successes = lock(&self.metrics.successes);
        for sweep in self.metrics.sweeps.get().into_iter().flatten() {
            let age = now.zip(successes.get(sweep)).map(|(now, at)| now - *at);
            let age = age.map_or(running_for, |age| age.to_std().unwrap_or_default());
            metrics::gauge!("tenure_sweep_success_age_seconds", "sweep" => sweep.as_str())
                .set(age.as_secs_f64());
        }
    }

    /// Counts the store's rows, unless a count is recent or running.
    async fn count(&self) {
        let Ok(mut count_at) = self.metrics.count_at.clone().try_lock_owned() else {
            return;
        };
        let began = Instant::now();
        if count_at.is_some_and(|at| began < at) {
            return;
        }
        let (shown, failing) = (self.metrics.shown.clone(), self.metrics.count_failing.clone());
        let counted = self.run_detached(move |engine| async move {
            let census = engine.store().census().await;
            *count_at = Some(Instant::now() + FRESH_FOR.max(began.elapsed() * COUNT_PAUSE_FACTOR));
            // Logged here, because the request may be gone.
            match census {
                Ok(census) => {
                    show_census(&census, &shown);
                    if failing.succeed() {
                        tracing::info!("the rows of the store are counted again");
                    }
                }
                Err(error) if failing.fail() => {
                    tracing::warn!(%error, "cannot count the rows of the store; their metrics keep the previous values");
                }
                Err(error) => tracing::debug!(%error, "still cannot count the rows of the store"),
            }
            Ok(())
        });
        let _ = counted.await;
    }
}

/// Get metrics in the Prometheus text format
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "operations",
    responses(
        (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
        (status = 401, description = "Missing or wrong token", body = ErrorBody),
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>) -> impl IntoResponse {
    api.refresh().await;
    api.show_sweep_ages();
    telemetry::read_process();
    let mut text = api.metrics.handle.render();
    if let Ok(engine) = api.engine() {
        text.push_str(&telemetry::render_events_by_source(engine.events_by_source()));
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, text)
}

fn show_connections(connections: Connections) {
    for (state, open) in [("in_use", connections.in_use), ("idle", connections.idle)] {
        metrics::gauge!("tenure_store_connections", "state" => state).set(float(whole(open)));
    }
    gauge("tenure_store_connections_max", whole(connections.max));
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// As [`declare`], once for each process.
pub(super) fn declare_once() {
    static DECLARED: Once = Once::new();
    DECLARED.call_once(|| declare(&openapi::document()));
}

/// Declares the counters of requests for every response of every operation in the OpenAPI document.
fn declare(document: &Value) {
    let paths = document["paths"].as_object().into_iter().flatten();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let responses = operation["responses"].as_object().into_iter().flatten();
            let statuses = responses.map(|(status, _)| status.as_str());
            let statuses = statuses.filter(|status| status.parse::<u16>().is_ok());
            declare_requests(&method.to_uppercase(), path, statuses);
        }
    }
    for kind in ["poll", "stream"] {
        metrics::gauge!("tenure_feed_readers", "kind" => kind).increment(0);
    }
}

/// Declares the counters of requests for pages, for the responses that they usually give.
pub(super) fn declare_pages(pages: &Pages) {
    const GET: [&str; 7] = ["200", "303", "400", "403", "404", "421", "503"];
    const POST: [&str; 6] = ["303", "400", "403", "404", "421", "503"];
    for path in pages.files() {
        declare_requests("GET", path, ["200", "404"]);
    }
    for (path, needs) in pages.table() {
        declare_requests("GET", path, GET);
        // An action asks back before it acts.
        if needs.scope == Scope::Operate {
            declare_requests("POST", path, POST.into_iter().chain(["429"]));
        }
    }
    declare_requests("GET", SIGN_IN, GET);
    declare_requests("POST", SIGN_IN, POST.into_iter().chain(["401", "429"]));
    for path in [SIGN_OUT, SIGN_OUT_EVERYWHERE] {
        declare_requests("POST", path, POST);
    }
}

fn declare_requests<'a>(method: &str, path: &str, statuses: impl IntoIterator<Item = &'a str>) {
    let _ = metrics::histogram!("tenure_http_request_duration_seconds", "route" => path.to_owned());
    for status in statuses {
        metrics::counter!(
            "tenure_http_requests_total",
            "method" => method.to_owned(), "route" => path.to_owned(), "status" => status.to_owned()
        )
        .increment(0);
    }
}

fn show_census(census: &Census, shown: &std::sync::Mutex<BTreeSet<(&'static str, String)>>) {
    let mut shown = lock(shown);
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

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn gauge(name: &'static str, value: i64) {
    metrics::gauge!(name).set(float(value));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, more than any number of rows"
)]
fn float(count: i64) -> f64 {
    count as f64
}

/// How long a request has waited for changes. A response has it as an extension: this time is not that of any work.
#[derive(Clone, Copy)]
pub(super) struct Waited(pub Duration);

/// Counts and times requests by route. By path, each id would create a series.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = known_method(request.method());
    let response = next.run(request).await;
    let waited = response
        .extensions()
        .get()
        .map_or(Duration::ZERO, |Waited(waited)| *waited);
    let status = response.status().as_str().to_owned();
    metrics::counter!(
        "tenure_http_requests_total",
        "method" => method, "route" => route.clone(), "status" => status
    )
    .increment(1);
    metrics::histogram!("tenure_http_request_duration_seconds", "route" => route)
        .record(began.elapsed().saturating_sub(waited));
    response
}

/// Callers may invent methods, and each would create a series.
fn known_method(method: &axum::http::Method) -> &'static str {
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}
