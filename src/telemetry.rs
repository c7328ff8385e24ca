//! Logs and metrics: where they go, and what every metric means.

use std::fmt::{self, Debug, Write as _};
use std::sync::{Mutex, PoisonError};

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::config::{LogFormat, LogLevelError, LogSettings, log_directives};
use crate::escape;

/// Libraries that tell more at `info` than an operator wants to know; `log.level` may ask for them by name.
const QUIET: &str = "lapin=off,sqlx=warn,tokio_cron_scheduler=warn,hyper=warn,h2=warn,rustls=warn";

/// From a millisecond to a minute: batches at one end, sweeps at the other.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Messages of a batch.
const MESSAGES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "RUST_LOG cannot be \"{directives}\": {reason}; it is {}, and wins over `log.level`",
        LogLevelError::EXPECTED
    )]
    Filter {
        directives: String,
        reason: LogLevelError,
    },
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends logs to standard error from now on. A second call, and one after a test's own, changes nothing.
///
/// # Errors
/// When `RUST_LOG` is set to what is no filter.
pub fn start_logs(settings: &LogSettings) -> Result<(), TelemetryError> {
    let directives = match std::env::var("RUST_LOG") {
        Ok(given) if !given.trim().is_empty() => {
            log_directives(&given).map_err(|reason| TelemetryError::Filter {
                directives: given,
                reason,
            })?
        }
        _ => settings.level.clone(),
    };
    // Each directive has been looked at.
    let filter = EnvFilter::new(format!("{QUIET},{directives}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    // An error means that there is a subscriber already.
    let _ = match settings.format {
        LogFormat::Human => lines
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .fmt_fields(debug_fn(field).delimited(" "))
            .try_init(),
        LogFormat::Json => lines
            .with_writer(|| escape::JsonLines(std::io::stderr()))
            .json()
            .flatten_event(true)
            .try_init(),
    };
    Ok(())
}

/// Writes a field for people. Its value may be text of others.
fn field(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if line.has_ansi_escapes() => write!(line, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
        name => write!(line, "{name}=")?,
    }
    write!(escape::Visible(line.by_ref()), "{value:?}")
}

/// Collects metrics from now on. There is one recorder in a process, and this hands it out.
///
/// # Errors
/// When something else collects them already.
pub fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = handle.as_ref() {
        return Ok(handle.clone());
    }
    let installed = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_messages".into()), &MESSAGES)?
        .install_recorder()?;
    describe();
    *handle = Some(installed.clone());
    Ok(installed)
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// A metric: its kind, name, unit, labels and meaning.
type Metric = (Kind, &'static str, Unit, &'static str);

/// Every metric there is. A test holds this against the code.
const METRICS: &[Metric] = &[
    // engine
    (
        Counter,
        "tenure_events_total",
        Unit::Count,
        "Events by what came of them: applied, duplicate, refused or dead (outcome)",
    ),
    (
        Counter,
        "tenure_refusals_total",
        Unit::Count,
        "Refused events by reason (code)",
    ),
    (
        Counter,
        "tenure_batch_conflicts_total",
        Unit::Count,
        "Batches that another transaction was faster than, and that were tried again",
    ),
    (
        Counter,
        "tenure_histories_folded_total",
        Unit::Count,
        "Clients whose history was folded anew because an event came late",
    ),
    // broker
    (
        Counter,
        "tenure_broker_received_total",
        Unit::Count,
        "Messages received (queue)",
    ),
    (
        Counter,
        "tenure_broker_redelivered_total",
        Unit::Count,
        "Messages received that had been delivered before (queue)",
    ),
    (
        Counter,
        "tenure_broker_unreadable_total",
        Unit::Count,
        "Messages whose properties are not valid AMQP, and that became dead letters (queue)",
    ),
    (
        Counter,
        "tenure_broker_retried_total",
        Unit::Count,
        "Messages of the dead queue that were ingested as events (queue)",
    ),
    (
        Histogram,
        "tenure_broker_batch_messages",
        Unit::Count,
        "Messages in a batch (queue)",
    ),
    (
        Histogram,
        "tenure_broker_batch_seconds",
        Unit::Seconds,
        "From a batch's first message to its acknowledgement (queue)",
    ),
    (
        Counter,
        "tenure_broker_quarantined_total",
        Unit::Count,
        "Messages that the store refused and that were quarantined (queue)",
    ),
    (
        Gauge,
        "tenure_lane_lag_seconds",
        Unit::Seconds,
        "How far a lane is behind the clock, by the last heartbeat that came through it (lane)",
    ),
    (
        Gauge,
        "tenure_broker_connected",
        Unit::Count,
        "1 when connected to RabbitMQ, else 0 (connection)",
    ),
    (
        Counter,
        "tenure_broker_connections_lost_total",
        Unit::Count,
        "Connections to RabbitMQ that were lost (connection)",
    ),
    (
        Counter,
        "tenure_publish_confirmed_total",
        Unit::Count,
        "Messages that RabbitMQ confirmed (exchange)",
    ),
    (
        Counter,
        "tenure_publish_nacked_total",
        Unit::Count,
        "Messages that RabbitMQ did not take and that were published again (exchange)",
    ),
    (
        Gauge,
        "tenure_relay_lag_seconds",
        Unit::Seconds,
        "Age of the oldest change that is being published; 0 when none waits",
    ),
    // scheduler
    (
        Counter,
        "tenure_pruned_total",
        Unit::Count,
        "Rows removed because they had grown too old (table)",
    ),
    (
        Counter,
        "tenure_sweep_runs_total",
        Unit::Count,
        "Runs of a sweep on this worker by how they ended: done, failed, stopped or tripped (sweep, status)",
    ),
    (
        Gauge,
        "tenure_sweep_halted",
        Unit::Count,
        "1 while a sweep is kept from running: paused by a person, or tripped by the breaker (sweep, why)",
    ),
    (
        Gauge,
        "tenure_sweep_held_back_seconds",
        Unit::Seconds,
        "How far the last run of a sweep stayed behind the clock with something due, because events wait; else 0 (sweep)",
    ),
    (
        Histogram,
        "tenure_sweep_duration_seconds",
        Unit::Seconds,
        "How long a run of a sweep took (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_examined_total",
        Unit::Count,
        "Clients that a sweep looked at (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_changed_total",
        Unit::Count,
        "Clients for which a sweep fired a timer (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_failed_total",
        Unit::Count,
        "Clients that could not be swept (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_changes_total",
        Unit::Count,
        "Lines that a sweep wrote to the journal (sweep)",
    ),
    (
        Gauge,
        "tenure_sweep_finished_timestamp_seconds",
        Unit::Seconds,
        "When this worker last finished a run of a sweep, in Unix time (sweep)",
    ),
    // clock
    (
        Gauge,
        "tenure_clock_skew_seconds",
        Unit::Seconds,
        "How far this clock is ahead of another, negative when it is behind (reference: database, broker, elapsed)",
    ),
    // http
    (
        Counter,
        "tenure_http_requests_total",
        Unit::Count,
        "Requests by method, route and status",
    ),
    (
        Histogram,
        "tenure_http_request_duration_seconds",
        Unit::Seconds,
        "How long requests took to be answered (route)",
    ),
    // store, asked for when someone looks
    (
        Gauge,
        "tenure_store_up",
        Unit::Count,
        "1 when the store could be written the last time its figures were asked for, else 0",
    ),
    (
        Gauge,
        "tenure_clients",
        Unit::Count,
        "Clients by facet and status",
    ),
    (Gauge, "tenure_log_events", Unit::Count, "Events in the log"),
    (
        Gauge,
        "tenure_journal_lines",
        Unit::Count,
        "Changes in the journal",
    ),
    (
        Gauge,
        "tenure_dead_letters_open",
        Unit::Count,
        "Dead letters that nobody has redriven or discarded, without those that are read again by themselves",
    ),
    (
        Gauge,
        "tenure_relay_backlog",
        Unit::Count,
        "Changes in the journal that the broker has not confirmed yet",
    ),
];

fn describe() {
    for (kind, name, unit, meaning) in METRICS {
        match kind {
            Counter => metrics::describe_counter!(*name, *unit, *meaning),
            Gauge => metrics::describe_gauge!(*name, *unit, *meaning),
            Histogram => metrics::describe_histogram!(*name, *unit, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::METRICS;

    /// Names of metrics in the sources: every string that looks like one.
    fn used(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, names);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("telemetry.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split("\"tenure_").skip(1).filter_map(|rest| {
                    let name = rest.split('"').next()?;
                    (!name.is_empty()).then(|| format!("tenure_{name}"))
                });
                names.extend(found);
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_every_description_is_of_one() {
        let mut names = BTreeSet::new();
        used(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        let described: BTreeSet<_> = METRICS.iter().map(|(_, name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, described);
        assert_eq!(described.len(), METRICS.len(), "a metric is described twice");
    }
}
