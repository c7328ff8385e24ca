//! The worker: wires the doors to the engine, waits for the store, and ends in good order.

mod clock;
mod policy;

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use policy::{backfill_everywhere, notice};

use crate::broker::{self, BrokerError, BrokerSettings, BrokerState, BrokerStatus, Severity};
use crate::clock::SystemClock;
use crate::config::{Settings, StoreSettings, StoreUrl};
use crate::engine::{Engine, PROBE_EVERY};
use crate::http::{self, Api, Health};
use crate::scheduler::{self, Freshness, Scheduler, TickerError, prune_on_ticks};
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, TelemetryError};
use crate::wire::Limits;

/// How long to wait before asking again for a store that is away: doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// How long connections may take to be closed in good order.
const CLOSING: Duration = Duration::from_secs(5);

/// The parts that write to the journal, beside the broker.
const WRITERS: [&str; 4] = ["http", "scheduler", "clock", "deferred"];

/// How often figures that nobody asks for are put together, so that they do not pile up.
const UPKEEP: Duration = Duration::from_secs(10);

/// How often a worker asks whether it may still write: until then each transaction is refused.
const VERSION_CHECK: Duration = Duration::from_secs(2);

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("signals cannot be listened for: {0}")]
    Signals(std::io::Error),
    /// A server that is away is waited for; this is another matter.
    #[error("the store {url} cannot be opened: {reason}")]
    Store { url: String, reason: StoreError },
    #[error("this worker may not write any more: {0}")]
    MayNotWrite(StoreError),
    #[error(transparent)]
    Bind(#[from] http::BindError),
    #[error("HTTP has failed: {0}")]
    Http(std::io::Error),
    #[error(transparent)]
    Scheduler(#[from] TickerError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("a part of the worker broke off: {0}; this is a bug")]
    Panic(JoinError),
    #[error(
        "stopped with work in hand after {} s (shutdown.timeout): {parts}. Nothing is lost: what was not committed is \
         done again",
        timeout.as_secs()
    )]
    Unfinished { parts: String, timeout: Duration },
    #[error("ended at once by a second signal; nothing is lost: what was not committed is done again")]
    Interrupted,
}

impl WorkerError {
    /// Whether other settings are what helps.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Telemetry(TelemetryError::Filter { .. }) | Self::Broker(BrokerError::Settings(_)) => true,
            Self::Store { reason, .. } => reason.is_of_settings(),
            _ => false,
        }
    }
}

/// The store of the settings, as it is: a server is not asked for yet, a file not made.
///
/// # Errors
/// [`StoreError::Url`], also where the file could never be made.
pub fn open_store(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &settings.url {
        StoreUrl::Sqlite(path) => {
            // A server that is away comes back; a folder that is not there was misspelt.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                return Err(StoreError::Url(format!(
                    "there is no folder {}; make it, or name another",
                    folder.display()
                )));
            }
            Arc::new(SqliteStore::open(path))
        }
        StoreUrl::Postgres(url) => Arc::new(PostgresStore::connect(
            url.reveal(),
            &PostgresOptions {
                max_connections: settings.max_connections,
                statement_timeout: settings.statement_timeout,
                lock_timeout: settings.lock_timeout,
                ..PostgresOptions::default()
            },
        )?),
    })
}

/// An engine on a migrated store, under the policies that are recorded; that of the settings is recorded if it is the
/// first.
///
/// # Errors
/// When the store cannot be reached.
pub async fn join(store: Arc<dyn Store>, settings: &Settings) -> Result<Engine, StoreError> {
    let engine = Engine::join(store, Arc::new(SystemClock), &settings.policy())
        .await?
        .bounded(
            scheduler::breaker(&settings.sweeps),
            settings.clock.max_difference,
        );
    // Before the first timer fires.
    engine.compare_clock().await?;
    if engine.clock().ahead().is_none() {
        engine.note_now().await?;
    }
    Ok(engine)
}

/// Works until SIGTERM or SIGINT, then finishes what is in hand; a second signal ends it at once.
///
/// # Errors
/// When it cannot begin, a part of it fails for good, or it could not finish in time.
pub async fn run(settings: Settings) -> Result<(), WorkerError> {
    telemetry::start_logs(&settings.log)?;
    for variable in settings.service_links() {
        tracing::debug!(
            variable,
            "ignored: Kubernetes or Docker set it for a service beside this container"
        );
    }
    until_signal(|stop| run_until(settings, stop)).await
}

/// Answers over HTTP about a store that is there, until a signal: no broker, no sweeps.
///
/// # Errors
/// As [`run`].
pub async fn serve(settings: Settings, store: Arc<dyn Store>) -> Result<(), WorkerError> {
    telemetry::start_logs(&settings.log)?;
    until_signal(|stop| async move {
        let mut worker = Worker::start(settings, stop).await?;
        if let Some(engine) = worker.engine(store).await? {
            worker.probe(&engine);
            worker.api.open(engine);
        }
        worker.finish().await
    })
    .await
}

/// Works until it is told to stop, then finishes what is in hand.
///
/// # Errors
/// As [`run`].
pub async fn run_until(settings: Settings, stop: CancellationToken) -> Result<(), WorkerError> {
    let unusable = |settings: &Settings, reason| WorkerError::Store {
        url: settings.store.url.to_string(),
        reason,
    };
    let store = open_store(&settings.store).map_err(|reason| unusable(&settings, reason))?;
    let mut worker = Worker::start(settings, stop).await?;
    if let Some(engine) = worker.engine(store.clone()).await? {
        worker.open(engine);
    }
    let done = worker.finish().await;
    // A server that has gone silent must not keep us: what is not committed is done again.
    let _ = tokio::time::timeout(CLOSING, store.close()).await;
    done
}

/// What runs, and how it is stopped.
struct Worker {
    settings: Settings,
    api: Arc<Api>,
    stop: CancellationToken,
    /// Nobody writes to the journal any more but the broker's consumers.
    written: CancellationToken,
    parts: JoinSet<Result<(), WorkerError>>,
    names: BTreeMap<Id, &'static str>,
}

impl Worker {
    /// Listens at once: that the store is waited for is worth knowing, too.
    async fn start(settings: Settings, stop: CancellationToken) -> Result<Self, WorkerError> {
        let metrics = telemetry::metrics()?;
        let limits = Limits {
            max_event_bytes: settings.events.max_bytes,
            max_clock_skew: settings.events.max_clock_skew,
        };
        let api = Api::new(&settings.http, limits, metrics.clone());
        let mut worker = Self {
            api,
            // Stopped from without, or by a part of its own that fails.
            stop: stop.child_token(),
            written: CancellationToken::new(),
            settings,
            parts: JoinSet::new(),
            names: BTreeMap::new(),
        };
        if let Some(address) = worker.settings.http.listen {
            let listener = http::bind(address).await?;
            worker.listen(listener);
        }
        worker.add("metrics", |stop| async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(UPKEEP))
                .await
                .is_some()
            {
                metrics.run_upkeep();
            }
            Ok(())
        });
        Ok(worker)
    }

    fn add<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), WorkerError>> + Send + 'static,
    {
        let handle = self.parts.spawn(part(self.stop.clone()));
        self.names.insert(handle.id(), name);
    }

    fn listen(&mut self, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(http.address = %address, "listening");
        }
        let api = self.api.clone();
        self.add("http", |stop| async move {
            http::serve(listener, api, stop).await.map_err(WorkerError::Http)
        });
    }

    /// An engine on the store, once that is there. None: told to stop before.
    async fn engine(&self, store: Arc<dyn Store>) -> Result<Option<Arc<Engine>>, WorkerError> {
        let url = self.settings.store.url.to_string();
        let mut retry = FIRST_RETRY;
        loop {
            let (store, settings) = (store.clone(), self.settings.clone());
            // In a task of its own: a server that does not answer must not keep us from stopping.
            let opening = tokio::spawn(async move {
                store.migrate().await?;
                let engine = join(store, &settings).await?;
                expect_lanes(&engine, &settings).await?;
                Ok::<_, StoreError>(engine)
            });
            let Some(opened) = self.stop.run_until_cancelled(opening).await else {
                return Ok(None);
            };
            match opened.map_err(WorkerError::Panic)? {
                Ok(engine) => {
                    tracing::info!(store.url = url, "the store is open");
                    return Ok(Some(Arc::new(engine)));
                }
                Err(error) if error.is_transient() => {
                    self.api.waits(&error);
                    if retry == FIRST_RETRY {
                        tracing::warn!(store.url = url, %error, "waiting for the store");
                    }
                    let pause = tokio::time::sleep(retry);
                    retry = (retry * 2).min(LONGEST_RETRY);
                    if self.stop.run_until_cancelled(pause).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(reason) => return Err(WorkerError::Store { url, reason }),
            }
        }
    }

    /// Writes regularly: what cannot be written is known before somebody has to write it.
    fn probe(&mut self, engine: &Arc<Engine>) {
        let engine = engine.clone();
        self.add("probe", |stop| async move {
            loop {
                // In a task of its own: a store that does not answer must not keep us from stopping.
                let prober = engine.clone();
                let probe = tokio::spawn(async move { prober.probe().await });
                let pause = async {
                    let _ = probe.await;
                    tokio::time::sleep(PROBE_EVERY).await;
                };
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Ok(());
                }
            }
        });
    }

    /// Opens every door.
    fn open(&mut self, engine: Arc<Engine>) {
        let name = worker_name();
        let scheduler = Scheduler::new(engine.clone(), &self.settings.sweeps, name.clone());
        let watched = scheduler.clone();
        self.api.watch(
            "scheduler",
            Arc::new(move || Box::pin(scheduler_health(watched.clone()))),
        );
        self.add("scheduler", |stop| async move { Ok(scheduler.run(stop).await?) });
        let (pruner, retention) = (engine.clone(), self.settings.retention.clone());
        self.add("retention", |stop| async move {
            prune_on_ticks(pruner, retention, stop).await;
            Ok(())
        });
        self.open_broker(&engine);
        self.open_policy(&engine);
        self.open_clock(&engine);
        self.probe(&engine);
        self.watch_store(&engine);
        self.api.open(engine);
        tracing::info!(worker = name, "at work");
    }

    /// Ends the worker when it may not write any more: a newer version has migrated the store, or its file was replaced. Its
    /// lanes go to another worker.
    fn watch_store(&mut self, engine: &Arc<Engine>) {
        let engine = engine.clone();
        self.add("store", |stop| async move {
            loop {
                let checked = engine.store().check_writer().await;
                if let Err(error @ (StoreError::Outdated { .. } | StoreError::Replaced(_))) = checked {
                    return Err(WorkerError::MayNotWrite(error));
                }
                let pause = tokio::time::sleep(VERSION_CHECK);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Ok(());
                }
            }
        });
    }

    fn open_broker(&mut self, engine: &Arc<Engine>) {
        let Some(settings) = BrokerSettings::of(&self.settings) else {
            let engine = engine.clone();
            self.api.watch(
                "broker",
                Arc::new(move || Box::pin(no_broker_health(engine.clone()))),
            );
            return;
        };
        let state = BrokerState::default();
        let watched = state.clone();
        self.api.watch(
            "broker",
            Arc::new(move || Box::pin(ready(broker_health(watched.status())))),
        );
        self.api.watch_relay();
        let engine = engine.clone();
        let written = self.written.clone();
        self.add("broker", |stop| async move {
            Ok(Box::pin(broker::run(settings, engine, state, stop, written)).await?)
        });
    }

    /// Puts the policy of the settings into force, beside the work that goes on under the one before it.
    fn open_policy(&mut self, engine: &Arc<Engine>) {
        let introduction = policy::Introduction::new(engine.clone(), &self.settings);
        let watched = introduction.clone();
        self.api.watch(
            "policy",
            Arc::new(move || Box::pin(policy_health(watched.clone()))),
        );
        self.add("policy", |stop| async move {
            introduction.run(&stop).await;
            Ok(())
        });
    }

    fn open_clock(&mut self, engine: &Arc<Engine>) {
        let keeper = clock::ClockKeeper::new(engine.clone());
        let watched = keeper.clone();
        self.api
            .watch("clock", Arc::new(move || Box::pin(ready(watched.health()))));
        let (redriver, limits) = (keeper.clone(), self.limits());
        self.add("clock", |stop| async move {
            keeper.run(&stop).await;
            Ok(())
        });
        self.add("deferred", |stop| async move {
            redriver.redrive(limits, &stop).await;
            Ok(())
        });
    }

    fn limits(&self) -> Limits {
        Limits {
            max_event_bytes: self.settings.events.max_bytes,
            max_clock_skew: self.settings.events.max_clock_skew,
        }
    }

    /// Waits until it is told to stop, or a part fails; then for what is in hand.
    async fn finish(mut self) -> Result<(), WorkerError> {
        let failed = tokio::select! {
            () = self.stop.cancelled() => None,
            failure = first_failure(&mut self.parts, &mut self.names) => Some(failure),
        };
        self.stop.cancel();
        let timeout = self.settings.shutdown.timeout;
        let rest = tokio::time::timeout(timeout, async {
            let mut failure = None;
            while !self.parts.is_empty() {
                if self.names.values().all(|part| !WRITERS.contains(part)) {
                    self.written.cancel();
                }
                failure = failure.or(next_failure(&mut self.parts, &mut self.names).await);
            }
            failure
        })
        .await;
        match (failed, rest) {
            (Some(failure), _) | (None, Ok(Some(failure))) => Err(failure),
            (None, Ok(None)) => {
                tracing::info!("stopped; all that was in hand is done");
                Ok(())
            }
            (None, Err(_)) => {
                let parts: Vec<&str> = self.names.values().copied().collect();
                Err(WorkerError::Unfinished {
                    parts: parts.join(", "),
                    timeout,
                })
            }
        }
    }
}

/// Parts end when they are told to: one that ends by itself has failed, even if it does not say so.
async fn first_failure(
    parts: &mut JoinSet<Result<(), WorkerError>>,
    names: &mut BTreeMap<Id, &'static str>,
) -> WorkerError {
    loop {
        if parts.is_empty() {
            std::future::pending::<()>().await;
        }
        if let Some(failure) = next_failure(parts, names).await {
            return failure;
        }
    }
}

async fn next_failure(
    parts: &mut JoinSet<Result<(), WorkerError>>,
    names: &mut BTreeMap<Id, &'static str>,
) -> Option<WorkerError> {
    let ended = parts.join_next_with_id().await?;
    let id = match &ended {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    names.remove(&id);
    match ended {
        Ok((_, done)) => done.err(),
        Err(error) => Some(WorkerError::Panic(error)),
    }
}

/// Lets work be stopped by signals: softly by the first, at once by the second.
async fn until_signal<F>(work: impl FnOnce(CancellationToken) -> F) -> Result<(), WorkerError>
where
    F: Future<Output = Result<(), WorkerError>>,
{
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkerError::Signals)?;
    let stop = CancellationToken::new();
    let signalled = async {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                stop.cancel();
                // Whoever reads this knows that nothing more is begun.
                tracing::info!("stopping: finishing what is in hand; a second signal ends it at once");
            }
        }
    };
    tokio::select! {
        done = work(stop.clone()) => done,
        () = signalled => Err(WorkerError::Interrupted),
    }
}

/// Before the first sweep of a store that has not heard of the broker yet: what waits there counts.
async fn expect_lanes(engine: &Engine, settings: &Settings) -> Result<(), StoreError> {
    if settings.broker.url.is_some() && engine.store().lanes().await?.is_empty() {
        let lanes: Vec<String> = (0..settings.broker.lanes.into())
            .map(broker::topology::lane)
            .collect();
        engine.keep_lanes(&lanes).await?;
    }
    Ok(())
}

/// Timers wait for lanes, whether or not anybody reads them.
async fn no_broker_health(engine: Arc<Engine>) -> Health {
    match engine.store().lanes().await {
        Ok(lanes) if lanes.is_empty() => Health::good("not configured"),
        Ok(_) => Health::bad(
            "not configured, but timers wait for lanes of RabbitMQ that were read before; if nobody reads them any \
             more, run `tenure lanes --forget`",
        ),
        Err(error) => Health::bad(error.to_string()),
    }
}

fn broker_health(status: BrokerStatus) -> Health {
    let notes = |wanted| -> Vec<String> {
        let of_this = status
            .notes
            .iter()
            .filter(|(_, (severity, _))| *severity == wanted);
        of_this.map(|(name, (_, why))| format!("{name}: {why}")).collect()
    };
    let warnings = notes(Severity::Warning);
    let failures = notes(Severity::Failure);
    let failure = (!failures.is_empty()).then(|| failures.join("; "));
    Health::unless(status.reason.or(failure), "connected").with_warnings(warnings)
}

async fn policy_health(introduction: policy::Introduction) -> Health {
    introduction
        .held()
        .await
        .map_or_else(|| Health::good("in order"), Health::bad)
}

async fn scheduler_health(scheduler: Arc<Scheduler>) -> Health {
    let health = |freshness: Freshness| Health {
        ok: freshness.is_well(),
        ..Health::good(freshness.to_string())
    };
    match scheduler.freshness().await {
        Ok(sweeps) => Health::of_parts(
            sweeps
                .into_iter()
                .map(|(sweep, freshness)| (sweep.to_string(), health(freshness)))
                .collect(),
        ),
        Err(error) => Health::bad(error.to_string()),
    }
}

/// Which worker this is, for the records. The same after a restart: the store takes a worker that comes again by
/// its name for one that was interrupted, and lets it go on with its run.
fn worker_name() -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_default();
    match host.trim() {
        "" => "worker".to_owned(),
        host => host.to_owned(),
    }
}
