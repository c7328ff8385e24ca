//! The worker's view of the expected sources: reports in the log, in metrics and in readiness when one is silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::domain::time::rfc3339;
use crate::engine::{Engine, SourceStatus, interval};
use crate::http::Health;
use crate::interval::Interval;
use crate::store::StoreError;

/// The interval at which the worker looks for silent sources.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks for silent sources until it is stopped.
pub(super) async fn watch(engine: Arc<Engine>, stop: CancellationToken) {
    let mut interval = Interval::new(LOOK_EVERY, &stop);
    let (mut expected, mut silent) = (BTreeSet::new(), BTreeSet::new());
    while interval.tick().await {
        if let Err(error) = look(&engine, &mut expected, &mut silent).await {
            tracing::debug!(%error, "the expected sources cannot be read");
        }
    }
}

/// Updates the metrics, and logs which sources have become silent and which are no longer silent.
async fn look(
    engine: &Engine,
    expected: &mut BTreeSet<String>,
    silent: &mut BTreeSet<String>,
) -> Result<(), StoreError> {
    let present = engine.clock().present();
    let sources = engine.sources().await?;
    for gone in expected
        .iter()
        .filter(|name| !sources.iter().any(|source| source.source == **name))
    {
        metrics::gauge!("tenure_source_lag_seconds", "source" => gone.clone()).set(0.0);
        metrics::gauge!("tenure_source_silent", "source" => gone.clone()).set(0.0);
        if silent.remove(gone) {
            tracing::info!(event.source = gone, "the source is no longer expected");
        }
    }
    *expected = sources.iter().map(|source| source.source.clone()).collect();
    for source in sources {
        record(&source, present);
        match source.silent_since {
            Some(since) if silent.insert(source.source.clone()) => tracing::warn!(
                event.source = source.source,
                silent_since = rfc3339(since),
                expected_every = interval(source.every_seconds),
                "a source is silent: timers that are due after its latest event do not fire until it sends events again"
            ),
            None if silent.remove(&source.source) => {
                tracing::info!(event.source = source.source, "the source is no longer silent");
            }
            _ => {}
        }
    }
    Ok(())
}

fn record(source: &SourceStatus, present: DateTime<Utc>) {
    let heard = source.last_heard.unwrap_or(source.expected_since);
    let lag = (present - heard).to_std().unwrap_or_default();
    metrics::gauge!("tenure_source_lag_seconds", "source" => source.source.clone()).set(lag.as_secs_f64());
    metrics::gauge!("tenure_source_silent", "source" => source.source.clone())
        .set(u8::from(source.silent_since.is_some()));
}

/// A silent source is only a warning: this worker does all its work, and so would any other.
pub(super) async fn health(engine: Arc<Engine>) -> Health {
    let sources = match engine.sources().await {
        Ok(sources) => sources,
        Err(error) => return Health::bad(error.to_string()),
    };
    let warnings: Vec<String> = sources.iter().filter_map(warning).collect();
    match (sources.len(), warnings.len()) {
        (0, _) => Health::good("none is expected"),
        (all, 0) => Health::good(format!("all {all} expected sources have sent events in time")),
        (all, silent) => Health::good(format!(
            "{silent} of {all} expected sources are silent; timers hold back"
        ))
        .with_warnings(warnings),
    }
}

fn warning(source: &SourceStatus) -> Option<String> {
    let since = source.silent_since?;
    Some(format!(
        "{} has been silent since {}; an event is expected every {}",
        source.source,
        rfc3339(since),
        interval(source.every_seconds)
    ))
}
