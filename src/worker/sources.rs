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
    let mut silent = BTreeSet::new();
    while interval.tick().await {
        if let Err(error) = look(&engine, &mut silent).await {
            tracing::debug!(%error, "the expected sources cannot be read");
        }
    }
}

/// Updates the metrics, and logs which sources have become silent and which have been heard of again.
async fn look(engine: &Engine, silent: &mut BTreeSet<String>) -> Result<(), StoreError> {
    let present = engine.clock().present();
    for source in engine.sources().await? {
        record(&source, present);
        match source.silent_since {
            Some(since) if silent.insert(source.source.clone()) => tracing::warn!(
                event.source = source.source,
                silent_since = rfc3339(since),
                expected_every = interval(source.every_seconds),
                "a source is silent: timers that are due later do not fire until it is heard of again"
            ),
            None if silent.remove(&source.source) => {
                tracing::info!(event.source = source.source, "the source is heard of again");
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
        (all, 0) => Health::good(format!("heard of all {all} that are expected")),
        (all, silent) => Health::good(format!(
            "{silent} of {all} that are expected are silent; timers hold back"
        ))
        .with_warnings(warnings),
    }
}

fn warning(source: &SourceStatus) -> Option<String> {
    let since = source.silent_since?;
    Some(format!(
        "{} is silent since {}; it is expected to be heard of every {}",
        source.source,
        rfc3339(since),
        interval(source.every_seconds)
    ))
}
