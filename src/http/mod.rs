//! The HTTP adapter: ingestion, queries, access decisions, health checks and metrics.

mod access;
mod accesses;
mod activity;
mod audit;
mod auth;
mod authzen;
mod body;
mod changes;
mod clients;
mod connections;
mod contracts;
mod cross_site;
mod dead_letters;
mod error;
mod events;
mod forecast;
mod guard;
mod health;
mod history;
mod hosts;
mod json_body;
mod lists;
mod memory;
mod metrics;
mod openapi;
mod openapi_schemas;
mod params;
mod possible;
mod principal;
mod routes;
mod schema;
mod server;
mod sessions;
mod sign_in;
mod snapshot;
mod sources;
mod statements;
mod sweeps;
mod tail;
mod throttle;
mod traces;
mod webhooks;
mod what_if;
mod why;
mod worker;
mod workers;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use activity::Minute;
pub(crate) use audit::audit_action;
pub(crate) use clients::services;
pub use error::{ApiError, ErrorCode, Said};
pub use guard::{Needs, Pages, Reach};
pub(crate) use health::checks;
pub use health::{Health, Probe};
pub(crate) use lists::{list_position, search_request};
pub use openapi::document as openapi;
pub(crate) use params::{Params, RawPath, client_key, client_of, in_path, month, number_in_path};
pub use principal::{How, Principal};
pub use server::{BindError, bind, serve};
pub use sign_in::{SIGN_IN, SIGN_OUT, SIGN_OUT_EVERYWHERE};
pub(crate) use sweeps::{place, read_place};
pub(crate) use worker::Worker;

use crate::config::HttpSettings;
use crate::engine::Engine;
use crate::store::StoreError;
use crate::wire::{Decoder, Limits};

/// Requests that read changes from the store at a time. They use as many connections of its pool at most.
const FEED_READS: usize = 2;

/// Dry runs at a time.
const DRY_RUNS: usize = 4;

/// What each guarded route requires, by method and path: `GET /v1/clients`.
#[must_use]
pub fn requirements() -> Vec<(String, Needs)> {
    routes::table()
}

/// The permit of a request that waits for changes, released on drop.
pub(crate) struct WaitPermit {
    /// The number of such requests.
    readers: ::metrics::Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        self.readers.decrement(1);
    }
}

/// The state that handlers share. It serves before the store is open: until [`Api::open`] it reports that it is alive, and
/// why it is not ready.
pub struct Api {
    engine: OnceLock<Arc<Engine>>,
    /// Why the store is not open yet.
    waits: RwLock<Option<String>>,
    probes: RwLock<Vec<(&'static str, Probe)>>,
    tokens: auth::Tokens,
    /// The CSRF token of pages without sessions.
    csrf: Arc<str>,
    throttle: Arc<throttle::Throttle>,
    /// See [`HttpSettings::session`].
    session: TimeDelta,
    session_idle: TimeDelta,
    pages: OnceLock<Pages>,
    limits: Limits,
    hosts: hosts::Hosts,
    /// See [`HttpSettings::public_url`].
    public_url: Option<String>,
    /// Made at the first request for one of them.
    contracts: OnceLock<contracts::Documents>,
    body_limit: usize,
    max_events: usize,
    max_connections: usize,
    memory: memory::Memory,
    /// Limits requests in progress, whose connections cannot be closed for others, to half of all connections.
    working: Arc<Semaphore>,
    /// Limits requests that wait for changes, streams included, to a quarter of all connections.
    waiting: Arc<Semaphore>,
    /// Limits the requests that read changes from the store at a time.
    feed_reads: Semaphore,
    snapshots: Arc<Semaphore>,
    /// Limits dry runs at a time: each has a temporary file.
    dry_runs: Semaphore,
    tail: tail::Tail,
    /// Cancelled when the server stops: requests that wait for changes end.
    stopping: CancellationToken,
    timeout: Duration,
    /// See [`HttpSettings::snapshot_timeout`].
    snapshot_timeout: Duration,
    metrics: metrics::Metrics,
    /// Work that may outlive its request.
    tasks: TaskTracker,
}

/// Replaces the error that a browser gets by a page, unless it asked for a path of the API.
async fn error_pages(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let of_api = ["/v1/", "/access/"];
    let is_of_api = of_api.iter().any(|path| request.uri().path().starts_with(path));
    let accepted = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accepted| accepted.to_str().ok());
    let wants_page = !is_of_api && accepted.is_some_and(|accepted| accepted.contains("text/html"));
    let Some(page) = api.pages.get().and_then(Pages::errors).filter(|_| wants_page) else {
        return next.run(request).await;
    };
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let Some(said) = response.extensions_mut().remove::<error::Said>() else {
        return response;
    };
    let reader = match response.extensions_mut().remove::<Principal>() {
        // No page was found, so nobody asked who the reader is. If the server fails, another question may fail too.
        None if response.status().is_client_error() => auth::principal(&api, &headers).await.ok(),
        reader => reader,
    };
    let mut shown = page(response.status(), &said, reader.as_ref());
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            shown.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    shown
}

impl Api {
    #[must_use]
    pub fn new(settings: &HttpSettings, limits: Limits, handle: PrometheusHandle) -> Arc<Self> {
        let max_connections = server::connection_limit(settings.max_connections);
        metrics::declare_once();
        Arc::new(Self {
            engine: OnceLock::new(),
            waits: RwLock::default(),
            probes: RwLock::default(),
            tokens: auth::Tokens::of(&settings.tokens),
            csrf: sessions::process_secret(),
            throttle: Arc::new(throttle::Throttle::new(Instant::now())),
            session: settings.session,
            session_idle: settings.session_idle,
            pages: OnceLock::new(),
            limits,
            hosts: hosts::Hosts::of(settings),
            public_url: settings.public_url.clone(),
            contracts: OnceLock::new(),
            body_limit: settings.body_limit,
            max_events: settings.max_events,
            max_connections,
            memory: memory::Memory::new(settings),
            working: Arc::new(Semaphore::new((max_connections / 2).max(1))),
            waiting: Arc::new(Semaphore::new((max_connections / 4).max(1))),
            feed_reads: Semaphore::new(FEED_READS),
            snapshots: Arc::new(Semaphore::new(snapshot::AT_ONCE)),
            dry_runs: Semaphore::new(DRY_RUNS),
            tail: tail::Tail::default(),
            stopping: CancellationToken::new(),
            timeout: settings.timeout,
            snapshot_timeout: settings.snapshot_timeout,
            metrics: metrics::Metrics::new(handle),
            tasks: TaskTracker::new(),
        })
    }

    /// Starts to serve events and queries.
    pub fn open(&self, engine: Arc<Engine>) {
        // A second engine would be a bug; the first one stays.
        let _ = self.engine.set(engine);
    }

    /// Records why the store is not open yet, for requests before [`Api::open`].
    pub fn waits(&self, why: &StoreError) {
        *self.waits.write().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }

    /// Adds the pages of the console. Without effect once the server runs.
    pub fn mount(&self, pages: Pages) {
        metrics::declare_pages(&pages);
        // A second mount would be a bug; the first one stays.
        let _ = self.pages.set(pages);
    }

    /// Adds a check to `/readyz` under this name.
    pub fn watch(&self, name: &'static str, probe: Probe) {
        self.probes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, probe));
    }

    /// The router, with authentication, limits and metrics.
    pub fn router(self: &Arc<Self>) -> Router {
        let queries = routes::queries()
            .into_routes()
            .route_layer(from_fn_with_state(self.clone(), memory::hold_answer));
        let (open, _) = routes::open().split_for_parts();
        let (guarded, _) = queries.merge(routes::others().into_routes()).split_for_parts();
        // The later layer comes first: a caller without a token makes no spans.
        let guarded = guarded
            .route_layer(from_fn_with_state(self.clone(), traces::trace))
            .route_layer(from_fn_with_state(self.clone(), auth::check));
        open.merge(guarded)
            .merge(self.pages())
            .fallback(server::no_such_path)
            .method_not_allowed_fallback(server::no_such_method)
            .layer(from_fn_with_state(self.clone(), error_pages))
            .layer(from_fn_with_state(self.clone(), hosts::check))
            .layer(from_fn_with_state(self.clone(), server::time_limit))
            .layer(from_fn(metrics::measure))
            .layer(from_fn(server::echo_request_id))
            .with_state(self.clone())
    }

    /// The pages of the console, if it is mounted, with the sign-in.
    fn pages(self: &Arc<Self>) -> Router<Arc<Self>> {
        let Some(pages) = self.pages.get() else {
            return Router::new();
        };
        let guarded = pages.guarded().merge(sign_in::signed_in());
        let guarded = guarded.route_layer(from_fn_with_state(self.clone(), auth::check_page));
        let open = pages.open().merge(sign_in::open());
        open.merge(guarded).route_layer(from_fn(sign_in::protect))
    }

    /// # Errors
    /// The store is not open yet.
    pub fn engine(&self) -> Result<Arc<Engine>, ApiError> {
        self.engine.get().cloned().ok_or_else(|| ApiError::Starting {
            why: self.waits.read().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    /// Cancelled when the server stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// A decoder for messages that are read at this moment.
    pub(crate) fn decoder(&self, now: DateTime<Utc>) -> Decoder {
        Decoder::new(self.limits, now).with_max_events(self.max_events)
    }

    /// Admits a request that waits for changes. `kind`: how it waits, for the metric.
    pub(crate) fn wait_permit(&self, kind: &'static str) -> Result<WaitPermit, ApiError> {
        let permit = self.waiting.clone().try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::Busy)?;
        let readers = ::metrics::gauge!("tenure_feed_readers", "kind" => kind);
        readers.increment(1);
        Ok(WaitPermit {
            readers,
            _permit: permit,
        })
    }

    /// Runs work with the engine in a task of its own, so that neither a disconnect nor the timeout cancels a transaction.
    ///
    /// # Errors
    /// The store is not open yet or fails, or too many requests are in progress.
    pub async fn run_detached<T, F>(&self, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let engine = self.engine()?;
        // Fails instead of waiting: a waiting request would hold a connection, and probes need connections.
        let permit = self
            .working
            .clone()
            .try_acquire_owned()
            .map_err(|_| ApiError::Busy)?;
        let work = work(engine);
        let detached = async move {
            let done = work.await;
            drop(permit);
            done
        };
        match self.tasks.spawn(detached).await {
            Ok(done) => done.map_err(ApiError::from),
            Err(panic) => Err(ApiError::Internal(panic.into())),
        }
    }
}
