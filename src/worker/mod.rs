//! The worker: connects the entry points to the engine, waits for the store, and stops in order.

mod clock;
mod error;
mod health;
mod policy;
mod presence;
mod sources;
mod store;
mod supervise;
mod systemd;
mod traces;
mod webhooks;

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use error::WorkerError;
pub use policy::{backfill_everywhere, notice};
pub use store::{join, open_store};

use crate::broker::{self, BrokerState};
use crate::config::{Settings, TelemetrySettings};
use crate::console;
use crate::engine::{Engine, declare_counters};
use crate::http::{self, Api};
use crate::interval::Interval;
use crate::scheduler::{Retention, Scheduler};
use crate::signals;
use crate::store::Store;
use crate::telemetry;
use crate::traces::{Traces, declare_counters as declare_trace_counters};
use presence::Presence;
use supervise::Supervisor;

/// How long the store's connections may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// The interval at which histograms are drained, so that they do not grow while nobody scrapes them.
const UPKEEP: Duration = Duration::from_secs(10);

/// Runs a worker until SIGTERM or SIGINT, then finishes the work in progress; a second signal exits at once.
///
/// # Errors
/// When it cannot start, when a task fails for good, or when it cannot finish in time.
pub async fn run(settings: Settings) -> Result<(), WorkerError> {
    telemetry::start_logs(&settings.log)?;
    for variable in settings.service_links() {
        tracing::debug!(
            variable,
            "ignored: Kubernetes or Docker set it for another service"
        );
    }
    until_signal(|stop| run_until(settings, stop)).await
}

/// Serves HTTP on a store until a signal, without a broker, and runs its sweeps. Calls `announce` with the address when it
/// answers requests, unless HTTP is off.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    settings: Settings,
    store: Arc<dyn Store>,
    announce: impl FnOnce(SocketAddr, Arc<Engine>),
) -> Result<(), WorkerError> {
    telemetry::start_logs(&settings.log)?;
    until_signal(|stop| async move {
        let mut worker = Worker::start(settings, &stop).await?;
        if let Some(engine) = worker.wait_for_engine(store).await? {
            worker.start_scheduler(&engine, worker_name());
            worker.probe(&engine);
            worker.record(&engine, &worker_name());
            worker.api.open(engine.clone());
            if let Some(address) = worker.address {
                announce(address, engine);
            }
        }
        worker.finish().await
    })
    .await
}

/// Runs a worker until `stop` is cancelled, then finishes the work in progress.
///
/// # Errors
/// As [`run`].
pub async fn run_until(settings: Settings, stop: CancellationToken) -> Result<(), WorkerError> {
    let store = open_store(&settings.store).map_err(|source| WorkerError::Store {
        url: settings.store.url.to_string(),
        source,
    })?;
    let mut worker = Worker::start(settings, &stop).await?;
    let engine = worker.wait_for_engine(store.clone()).await?;
    if let Some(engine) = engine.clone() {
        worker.open(engine);
    }
    let done = worker.finish().await;
    if let Some(engine) = engine {
        // Only now: work that was in progress may refuse events to its end.
        engine.end_refusal_log();
        store::note_end(&engine).await;
    }
    let done = done.and(store::check_files(&*store).await);
    // A server that does not answer must not delay the end: everything that matters is committed.
    let _ = tokio::time::timeout(CLOSING, store.close()).await;
    done
}

/// Runs work until the first signal asks it to stop; a second signal abandons it.
async fn until_signal<F>(work: impl FnOnce(CancellationToken) -> F) -> Result<(), WorkerError>
where
    F: Future<Output = Result<(), WorkerError>>,
{
    let signals = signals::listen(|| {
        // This line promises that no new work begins: the token is cancelled already.
        tracing::info!("stopping: finishing the work in progress; a second signal exits at once");
    })
    .map_err(WorkerError::Signals)?;
    tokio::select! {
        done = work(signals.first.clone()) => done,
        () = signals.second.cancelled() => Err(WorkerError::Interrupted),
    }
}

/// The tasks of a worker and the API that reports on them.
struct Worker {
    settings: Settings,
    api: Arc<Api>,
    supervisor: Supervisor,
    /// Where it listens. None: no HTTP.
    address: Option<SocketAddr>,
    /// None: traces are off.
    tracing: Option<Tracing>,
    /// None: the store is not open yet.
    presence: Option<Presence>,
}

/// Traces, and the task that sends them. It outlives all others, which make spans to their end.
struct Tracing {
    traces: Arc<Traces>,
    stop: CancellationToken,
    exporting: JoinHandle<()>,
}

impl Tracing {
    fn start(settings: &TelemetrySettings) -> Result<Option<Self>, WorkerError> {
        let Some((traces, export)) = Traces::start(settings)? else {
            return Ok(None);
        };
        let stop = CancellationToken::new();
        let exporting = tokio::spawn(export.run(stop.clone()));
        Ok(Some(Self {
            traces,
            stop,
            exporting,
        }))
    }

    /// Sends the last spans, within a few seconds.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.exporting.await {
            tracing::error!(%error, "the export of traces failed; this is a bug: report it with the log");
        }
    }
}

impl Worker {
    /// Listens at once, so that `/readyz` can answer that the worker waits for the store.
    async fn start(settings: Settings, stop: &CancellationToken) -> Result<Self, WorkerError> {
        let metrics = telemetry::metrics()?;
        declare_counters();
        declare_trace_counters();
        ::metrics::gauge!("tenure_policy_held_back").set(0);
        let api = Api::new(&settings.http, settings.events, metrics.clone());
        if settings.http.console {
            api.mount(console::pages(&settings));
        }
        let tracing = Tracing::start(&settings.telemetry)?;
        let mut worker = Self {
            api,
            supervisor: Supervisor::new(stop),
            settings,
            address: None,
            tracing,
            presence: None,
        };
        if let Some(address) = worker.settings.http.listen {
            let listener = http::bind(address).await?;
            worker.listen(listener);
        }
        worker.maintain_metrics(metrics);
        Ok(worker)
    }

    fn listen(&mut self, listener: TcpListener) {
        self.address = listener.local_addr().ok();
        if let Some(address) = self.address {
            tracing::info!(http.address = %address, "listening");
        }
        let api = self.api.clone();
        self.supervisor.spawn("http", |stop| async move {
            http::serve(listener, api, stop).await.map_err(WorkerError::Http)
        });
    }

    fn maintain_metrics(&mut self, metrics: PrometheusHandle) {
        self.supervisor.spawn("metrics", |stop| async move {
            let mut interval = Interval::new(UPKEEP, &stop);
            while interval.tick().await {
                metrics.run_upkeep();
            }
            Ok(())
        });
    }

    async fn wait_for_engine(&self, store: Arc<dyn Store>) -> Result<Option<Arc<Engine>>, WorkerError> {
        let traces = self.tracing.as_ref().map(|tracing| tracing.traces.clone());
        store::wait_for_engine(store, &self.settings, &self.api, traces, self.supervisor.stop()).await
    }

    /// Opens every entry point and starts every task.
    fn open(&mut self, engine: Arc<Engine>) {
        let name = worker_name();
        self.start_scheduler(&engine, name.clone());
        self.start_broker(&engine);
        self.start_policy(&engine);
        self.start_clock(&engine);
        self.watch_sources(&engine);
        self.prune_traces(&engine);
        self.end_refusal_minutes(&engine);
        self.start_webhooks(&engine);
        self.probe(&engine);
        self.record(&engine, &name);
        let watched = engine.clone();
        self.supervisor
            .spawn("store", |stop| store::watch_writer(watched, stop));
        self.api.open(engine);
        self.supervisor.spawn("systemd", |stop| async move {
            systemd::report(stop).await;
            Ok(())
        });
        tracing::info!(worker = name, "ready");
    }

    /// Logs how many refusals were left out.
    fn end_refusal_minutes(&mut self, engine: &Arc<Engine>) {
        if !engine.has_refusal_log() {
            return;
        }
        let engine = engine.clone();
        self.supervisor.spawn("refusals", |stop| async move {
            let mut interval = Interval::new(UPKEEP, &stop);
            while interval.tick().await {
                engine.end_refusal_minute();
            }
            Ok(())
        });
    }

    fn probe(&mut self, engine: &Arc<Engine>) {
        let engine = engine.clone();
        let has_lanes = self.settings.broker.url.is_some();
        self.supervisor.spawn("probe", move |stop| async move {
            store::probe_regularly(engine, has_lanes, stop).await;
            Ok(())
        });
    }

    fn record(&mut self, engine: &Arc<Engine>, host: &str) {
        self.presence = Some(Presence::begin(engine.clone(), host, &self.settings.broker));
    }

    fn start_scheduler(&mut self, engine: &Arc<Engine>, name: String) {
        let all = self.settings.sweeps.schedules.iter();
        let enabled = all.filter(|(_, schedule)| schedule.enabled);
        self.api.watch_sweeps(enabled.map(|(sweep, _)| *sweep).collect());
        let scheduler = Scheduler::new(engine.clone(), &self.settings.sweeps, name);
        let watched = scheduler.clone();
        self.api.watch(
            "scheduler",
            Arc::new(move || Box::pin(health::scheduler(watched.clone()))),
        );
        self.supervisor
            .spawn("scheduler", |stop| async move { Ok(scheduler.run(stop).await?) });
        let retention = Retention::new(engine.clone(), self.settings.retention.clone());
        self.supervisor.spawn("retention", |stop| async move {
            retention.run(stop).await;
            Ok(())
        });
    }

    fn start_broker(&mut self, engine: &Arc<Engine>) {
        let engine = engine.clone();
        let (settings, limits) = (self.settings.broker.clone(), self.settings.events);
        if settings.url.is_none() {
            self.api.watch(
                "broker",
                Arc::new(move || Box::pin(health::no_broker(engine.clone()))),
            );
            return;
        }
        let state = BrokerState::default();
        let watched = state.clone();
        self.api.watch(
            "broker",
            Arc::new(move || Box::pin(ready(health::broker(watched.status())))),
        );
        self.api.watch_relay();
        let writers_ended = self.supervisor.writers_ended().clone();
        self.supervisor.spawn("broker", |stop| async move {
            Ok(Box::pin(broker::run(settings, limits, engine, state, stop, writers_ended)).await?)
        });
    }

    /// Introduces the policy of the settings. Until it takes effect, the worker uses the previous one.
    fn start_policy(&mut self, engine: &Arc<Engine>) {
        let introduction = policy::Introduction::new(engine.clone(), &self.settings);
        let watched = introduction.clone();
        self.api.watch(
            "policy",
            Arc::new(move || Box::pin(health::policy(watched.clone()))),
        );
        self.supervisor.spawn("policy", |stop| async move {
            introduction.run(&stop).await;
            Ok(())
        });
    }

    fn start_clock(&mut self, engine: &Arc<Engine>) {
        let keeper = clock::ClockKeeper::new(engine.clone());
        let watched = keeper.clone();
        self.api
            .watch("clock", Arc::new(move || Box::pin(ready(watched.health()))));
        let (redriver, limits) = (keeper.clone(), self.settings.events);
        self.supervisor.spawn("clock", |stop| async move {
            keeper.run(&stop).await;
            Ok(())
        });
        self.supervisor.spawn("deferred", |stop| async move {
            redriver.redrive(limits, &stop).await;
            Ok(())
        });
    }

    fn start_webhooks(&mut self, engine: &Arc<Engine>) {
        let settings = self.settings.webhooks.clone();
        let (asked, known) = (engine.clone(), Arc::new(settings.clone()));
        self.api.watch(
            "webhooks",
            Arc::new(move || Box::pin(webhooks::health(asked.clone(), known.clone()))),
        );
        let engine = engine.clone();
        self.supervisor.spawn("webhooks", |stop| async move {
            Ok(crate::webhooks::run(settings, engine, stop).await?)
        });
    }

    fn watch_sources(&mut self, engine: &Arc<Engine>) {
        let asked = engine.clone();
        self.api.watch(
            "sources",
            Arc::new(move || Box::pin(sources::health(asked.clone()))),
        );
        let watched = engine.clone();
        self.supervisor.spawn("sources", |stop| async move {
            sources::watch(watched, stop).await;
            Ok(())
        });
    }

    /// While traces are off, retention removes what is left of them.
    fn prune_traces(&mut self, engine: &Arc<Engine>) {
        if self.tracing.is_none() {
            return;
        }
        let (engine, chunk) = (engine.clone(), self.settings.retention.chunk);
        self.supervisor.spawn("traces", move |stop| async move {
            traces::prune(engine, chunk, stop).await;
            Ok(())
        });
    }

    /// Waits until the worker is stopped or a task fails, then for the work in progress.
    async fn finish(self) -> Result<(), WorkerError> {
        let finished = self.supervisor.finish(self.settings.shutdown.timeout).await;
        if let Some(presence) = self.presence {
            // Somebody has stopped a worker that could not finish, and one that must not write has a successor.
            let is_missed = !matches!(
                finished,
                Ok(()) | Err(WorkerError::Unfinished { .. } | WorkerError::MayNotWrite(_))
            );
            presence.end(is_missed).await;
        }
        if let Some(tracing) = self.tracing {
            tracing.end().await;
        }
        finished
    }
}

/// The name of this worker in the records of runs. It is the same after a restart: the store treats a worker that returns
/// under its name as one that was interrupted, and lets it continue its run.
fn worker_name() -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_default();
    match host.trim() {
        "" => "worker".to_owned(),
        host => host.to_owned(),
    }
}
