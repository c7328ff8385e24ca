//! The worker and its store: which store the settings name, waiting until it can be opened, and watching that it can be
//! written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::WorkerError;
use crate::backoff::Backoff;
use crate::broker;
use crate::clock::SystemClock;
use crate::config::{Settings, StoreSettings, StoreUrl};
use crate::engine::{Engine, PROBE_EVERY};
use crate::http::Api;
use crate::interval::Interval;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::traces::Traces;
use crate::wire::SchemaUris;

/// The interval at which a worker checks that it may still write. Until it notices that it may not, the store refuses each
/// of its transactions.
const CHECK_WRITER_EVERY: Duration = Duration::from_secs(2);
/// How long the store may take to record the end of a worker.
const NOTE_END: Duration = Duration::from_secs(2);

/// The store that the settings name. This neither connects to a server nor creates a file.
///
/// # Errors
/// [`StoreError::Url`], also where the file could never be created.
pub fn open_store(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &settings.url {
        StoreUrl::Sqlite(path) => {
            // A server may come back; a folder that does not exist is a misspelt path.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                return Err(StoreError::Url(format!(
                    "the folder {} does not exist; create it, or use another one",
                    folder.display()
                )));
            }
            Arc::new(SqliteStore::open(path))
        }
        StoreUrl::Postgres(url) => Arc::new(PostgresStore::connect(url.reveal(), &settings.postgres)?),
    })
}

/// An engine on a migrated store, under the recorded policies. Records the policy of the settings if there is none yet.
///
/// # Errors
/// When the store cannot be reached.
pub async fn join(store: Arc<dyn Store>, settings: &Settings) -> Result<Engine, StoreError> {
    let engine = Engine::join(store, Arc::new(SystemClock), &settings.policy())
        .await?
        .bounded(settings.sweeps.breaker, settings.clock.max_difference)
        .on_silence(settings.sources.on_silence)
        .with_actions(settings.actions.clone())
        .with_schemas(SchemaUris::new(settings.http.public_url.as_deref()))
        .with_access_log(settings.access_log)
        .with_refusal_log(settings.log.refusals_per_minute);
    // Before the first timer fires.
    engine.compare_clock().await?;
    if engine.clock().ahead().is_none() {
        engine.record_now().await?;
    }
    Ok(engine)
}

/// Waits until the store can be opened, and returns an engine on it. None: `stop` was cancelled before.
pub(super) async fn wait_for_engine(
    store: Arc<dyn Store>,
    settings: &Settings,
    api: &Api,
    traces: Option<Arc<Traces>>,
    stop: &CancellationToken,
) -> Result<Option<Arc<Engine>>, WorkerError> {
    let url = settings.store.url.to_string();
    let mut backoff = Backoff::default();
    loop {
        let (store, settings, traces) = (store.clone(), settings.clone(), traces.clone());
        // In a task of its own: a server that does not answer must not delay a stop.
        let opening = tokio::spawn(async move {
            store.migrate().await?;
            let engine = join(store, &settings).await?.with_traces(traces);
            register_lanes(&engine, &settings).await?;
            engine.expect_sources(&settings.sources.expected).await?;
            engine.record_access_log().await?;
            Ok::<_, StoreError>(engine)
        });
        let Some(opened) = stop.run_until_cancelled(opening).await else {
            return Ok(None);
        };
        match opened.map_err(WorkerError::Panic)? {
            Ok(engine) => {
                tracing::info!(store.url = url, "the store is open");
                return Ok(Some(Arc::new(engine)));
            }
            Err(error @ StoreError::Replaced(_)) => return Err(WorkerError::MayNotWrite(error)),
            Err(error) if error.is_transient() => {
                api.waits(&error);
                if backoff.is_fresh() {
                    tracing::warn!(store.url = url, %error, "waiting for the store");
                }
                if !backoff.wait(stop).await {
                    return Ok(None);
                }
            }
            Err(source) => return Err(WorkerError::Store { url, source }),
        }
    }
}

/// Registers the broker's lanes before the first sweep of a store that knows none: events may wait in their queues.
async fn register_lanes(engine: &Engine, settings: &Settings) -> Result<(), StoreError> {
    if settings.broker.url.is_some() && engine.store().lanes().await?.is_empty() {
        let lanes: Vec<String> = (0..settings.broker.lanes).map(broker::topology::lane).collect();
        engine.set_lanes(&lanes).await?;
    }
    Ok(())
}

/// Writes to the store at an interval, so that readiness reports a store that cannot be written before an event has to be
/// written. Logs when the store stops and starts to accept writes, unless lanes do that.
pub(super) async fn probe_regularly(engine: Arc<Engine>, has_lanes: bool, stop: CancellationToken) {
    let mut interval = Interval::new(PROBE_EVERY, &stop);
    let mut away_since: Option<Instant> = None;
    while interval.tick().await {
        // In a task of its own: a store that does not answer must not delay a stop.
        let prober = engine.clone();
        let probe = tokio::spawn(async move { prober.probe().await });
        stop.run_until_cancelled(probe).await;
        match (engine.cannot_write(), away_since) {
            (Some(why), None) if !has_lanes => {
                away_since = Some(Instant::now());
                tracing::warn!(
                    why,
                    "the store accepts no writes; requests that need it get 503 until it does"
                );
            }
            (None, Some(since)) => {
                away_since = None;
                tracing::info!(
                    store.away_seconds = since.elapsed().as_secs(),
                    "the store accepts writes again"
                );
            }
            _ => {}
        }
    }
}

/// Fails when the worker may no longer write: a newer version has migrated the store, or the store's file was replaced.
/// The worker then ends, and another one consumes its lanes.
pub(super) async fn watch_writer(engine: Arc<Engine>, stop: CancellationToken) -> Result<(), WorkerError> {
    let mut interval = Interval::new(CHECK_WRITER_EVERY, &stop);
    while interval.tick().await {
        let checked = engine.store().check_writer().await;
        if let Err(error @ (StoreError::Outdated { .. } | StoreError::Incomplete | StoreError::Replaced(_))) =
            checked
        {
            return Err(WorkerError::MayNotWrite(error));
        }
    }
    Ok(())
}

/// Checks the files of a SQLite store a last time, after the work in progress was committed.
pub(super) async fn check_files(store: &dyn Store) -> Result<(), WorkerError> {
    if store.kind() != "sqlite" {
        return Ok(());
    }
    match store.check_writer().await {
        Err(error @ StoreError::Replaced(_)) => Err(WorkerError::MayNotWrite(error)),
        _ => Ok(()),
    }
}

/// Records at the end of a worker what others must know of it.
pub(super) async fn note_end(engine: &Engine) {
    let noted = tokio::time::timeout(NOTE_END, engine.record_end_without_access_log()).await;
    let why = match noted {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store did not answer".to_owned(),
    };
    tracing::warn!(
        why,
        "the access log may lack entries for events that this worker has ingested"
    );
}
