//! Every metric with its description, and the recorder.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use ::metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;

/// From a millisecond, for batches, to a minute, for sweeps.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// From milliseconds to a day: events may wait in a queue, and sources may send them late.
const AGES: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0,
];

/// Messages in a batch.
const MESSAGES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// The metrics recorder of this process. The first call installs it.
///
/// # Errors
/// When the process has another recorder already.
pub fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = handle.as_ref() {
        return Ok(handle.clone());
    }
    let installed = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_messages".into()), &MESSAGES)?
        .set_buckets_for_metric(Matcher::Prefix("tenure_event_to_".into()), &AGES)?
        .install_recorder()?;
    describe();
    ::metrics::gauge!("tenure_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    *handle = Some(installed.clone());
    Ok(installed)
}

/// Reads the metrics of the process, which change without its doing.
pub fn read_process() {
    metrics_process::Collector::default().collect();
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// A metric: its kind, name, unit, and its description with the labels in parentheses.
type Metric = (Kind, &'static str, Unit, &'static str);

/// Every metric. A test compares this with the code.
const METRICS: &[Metric] = &[
    // engine
    (
        Counter,
        "tenure_events_total",
        Unit::Count,
        "Events by outcome: applied, duplicate, refused, deferred or dead (outcome)",
    ),
    (
        Counter,
        "tenure_refusals_total",
        Unit::Count,
        "Refused events by reason (code)",
    ),
    (
        Counter,
        "tenure_event_warnings_total",
        Unit::Count,
        "Events with unknown fields in `data` (source: the first 50 that sent events, and the first 50 others that made a mistake; all others as `other`)",
    ),
    (
        Counter,
        "tenure_reused_ids_total",
        Unit::Count,
        "Events that became dead letters because they have the id of another event (source: as for tenure_event_warnings_total)",
    ),
    (
        Counter,
        "tenure_batch_conflicts_total",
        Unit::Count,
        "Transactions that conflicted with another and were retried",
    ),
    (
        Counter,
        "tenure_histories_replayed_total",
        Unit::Count,
        "Histories replayed because of a late event",
    ),
    (
        Counter,
        "tenure_checkpoints_used_total",
        Unit::Count,
        "Replays that started from a checkpoint of a long history",
    ),
    (
        Gauge,
        "tenure_policy_held_back",
        Unit::Count,
        "1 while the policy in this worker's settings waits for `tenure policy apply` or until the clock is right, else 0",
    ),
    (
        Gauge,
        "tenure_workers",
        Unit::Count,
        "Workers that share the store: running, or gone because they were not seen for a minute (state)",
    ),
    (
        Gauge,
        "tenure_source_silent",
        Unit::Count,
        "1 while an expected source is silent, so that timers do not fire, else 0 (source)",
    ),
    (
        Gauge,
        "tenure_source_lag_seconds",
        Unit::Seconds,
        "Age of the latest event of an expected source, or the time since it has been expected if none arrived (source)",
    ),
    (
        Counter,
        "tenure_access_decisions_total",
        Unit::Count,
        "Access decisions by reason; access_enabled allows, all others deny (reason)",
    ),
    (
        Counter,
        BY_SOURCE,
        Unit::Count,
        "Events by source, whatever their outcome: the 20 busiest sources, all others as `other`. A source counts from the moment at which it becomes one of the 20 (source)",
    ),
    (
        Histogram,
        "tenure_event_to_commit_seconds",
        Unit::Seconds,
        "Time from when an event happened, as its source says, to the commit of its outcome: applied or refused",
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
        "Messages stored as dead letters because their properties are not valid AMQP (queue)",
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
        "Time from the first message of a batch to its acknowledgement (queue)",
    ),
    (
        Counter,
        "tenure_broker_quarantined_total",
        Unit::Count,
        "Messages that the store rejected and that were quarantined (queue)",
    ),
    (
        Gauge,
        "tenure_broker_queue_messages",
        Unit::Count,
        "Messages that wait in a queue and are not delivered yet (queue)",
    ),
    (
        Gauge,
        "tenure_lane_lag_seconds",
        Unit::Seconds,
        "Age of the last heartbeat that arrived through a lane; 0 while heartbeats arrive on time (lane)",
    ),
    (
        Gauge,
        "tenure_broker_connected",
        Unit::Count,
        "1 while connected to RabbitMQ, else 0 (connection)",
    ),
    (
        Counter,
        "tenure_broker_connections_lost_total",
        Unit::Count,
        "Lost connections to RabbitMQ (connection)",
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
        "Messages that RabbitMQ rejected and that were published again (exchange)",
    ),
    (
        Gauge,
        "tenure_relay_lag_seconds",
        Unit::Seconds,
        "Age of the oldest unpublished change; 0 if there is none",
    ),
    (
        Histogram,
        "tenure_event_to_publish_seconds",
        Unit::Seconds,
        "Time from when an event happened, as its source says, to the confirmed publication of a change that it caused; without corrections",
    ),
    // webhooks
    (
        Counter,
        "tenure_webhook_deliveries_total",
        Unit::Count,
        "Attempts to deliver a change to an endpoint: delivered, rejected, timed_out, unreachable or not_allowed (endpoint, outcome)",
    ),
    (
        Gauge,
        "tenure_webhook_lag_seconds",
        Unit::Seconds,
        "Age of the oldest change that is being delivered to an endpoint; 0 if none waits (endpoint)",
    ),
    (
        Gauge,
        "tenure_webhook_endpoint_disabled",
        Unit::Count,
        "1 while an endpoint is disabled, until `tenure webhook resume`, else 0 (endpoint)",
    ),
    // scheduler
    (
        Counter,
        "tenure_pruned_total",
        Unit::Count,
        "Expired rows removed by retention (table)",
    ),
    (
        Gauge,
        "tenure_retention_failing",
        Unit::Count,
        "1 if the last tick of retention failed on this worker, so that expired rows may stay, else 0",
    ),
    (
        Counter,
        "tenure_sweep_ticks_total",
        Unit::Count,
        "Ticks of sweeps by outcome: ran, held_back, already_done, halted, clock_ahead or failed (sweep, outcome)",
    ),
    (
        Counter,
        "tenure_sweep_runs_total",
        Unit::Count,
        "Runs of a sweep on this worker by status: done, failed, held_back, stopped or tripped (sweep, status)",
    ),
    (
        Gauge,
        "tenure_sweep_halted",
        Unit::Count,
        "1 while a sweep is halted: paused by a person, or tripped by the breaker (sweep, why)",
    ),
    (
        Gauge,
        "tenure_sweep_held_back_seconds",
        Unit::Seconds,
        "Lag of the lane or the silent source that held back the last run of a sweep; 0 if none did, or while the sweep is halted (sweep)",
    ),
    (
        Histogram,
        "tenure_sweep_duration_seconds",
        Unit::Seconds,
        "Duration of a run of a sweep (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_examined_total",
        Unit::Count,
        "Clients that a sweep examined (sweep)",
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
        "Clients that a sweep failed to process (sweep)",
    ),
    (
        Counter,
        "tenure_sweep_changes_total",
        Unit::Count,
        "Changes that a sweep wrote to the journal (sweep)",
    ),
    (
        Gauge,
        "tenure_sweep_success_age_seconds",
        Unit::Seconds,
        "Time since a worker last finished a run of a sweep that left nothing undone; if there is none, time since this worker started. It grows while the store cannot be read (sweep: those that are enabled)",
    ),
    // clock
    (
        Gauge,
        "tenure_clock_skew_seconds",
        Unit::Seconds,
        "How far this clock is ahead of a reference, negative if it is behind (reference: database, broker, elapsed)",
    ),
    // http
    (
        Counter,
        "tenure_http_requests_total",
        Unit::Count,
        "HTTP requests (method, route, status)",
    ),
    (
        Histogram,
        "tenure_http_request_duration_seconds",
        Unit::Seconds,
        "Duration of HTTP requests, without waiting for changes (route)",
    ),
    (
        Gauge,
        "tenure_feed_readers",
        Unit::Count,
        "Requests that wait for changes (kind: poll, stream)",
    ),
    // store, read on each scrape
    (
        Gauge,
        "tenure_store_up",
        Unit::Count,
        "1 if the store was writable at the last scrape, else 0",
    ),
    (
        Gauge,
        "tenure_store_connections",
        Unit::Count,
        "Connections to the store that are open (state: in_use, idle)",
    ),
    (
        Gauge,
        "tenure_store_connections_max",
        Unit::Count,
        "The most connections to the store that the pool opens",
    ),
    (Gauge, "tenure_clients", Unit::Count, "Clients (facet, status)"),
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
        "Open dead letters, which a person must redrive or discard; deferred events do not count",
    ),
    (
        Gauge,
        "tenure_relay_backlog",
        Unit::Count,
        "Changes in the journal that RabbitMQ has not confirmed yet",
    ),
    // traces
    (
        Counter,
        "tenure_trace_spans_total",
        Unit::Count,
        "Spans by outcome: exported, failed (the endpoint did not accept them) or dropped (the queue was full) (outcome)",
    ),
    // process
    (
        Gauge,
        "tenure_build_info",
        Unit::Count,
        "1; the version of this program (version)",
    ),
    (
        Counter,
        "process_cpu_seconds_total",
        Unit::Seconds,
        "CPU time of the process, in whole seconds",
    ),
    (
        Gauge,
        "process_open_fds",
        Unit::Count,
        "Open file descriptors of the process",
    ),
    (
        Gauge,
        "process_max_fds",
        Unit::Count,
        "The most file descriptors that the process may open",
    ),
    (
        Gauge,
        "process_resident_memory_bytes",
        Unit::Bytes,
        "Memory of the process that is in RAM",
    ),
    (
        Gauge,
        "process_virtual_memory_bytes",
        Unit::Bytes,
        "Addresses that the process has reserved",
    ),
    (
        Gauge,
        "process_virtual_memory_max_bytes",
        Unit::Bytes,
        "The most addresses that the process may reserve",
    ),
    (
        Gauge,
        "process_start_time_seconds",
        Unit::Seconds,
        "Unix time when the process started",
    ),
    (Gauge, "process_threads", Unit::Count, "Threads of the process"),
];

/// Events by source. `/metrics` writes it itself: its series come and go.
const BY_SOURCE: &str = "tenure_source_events_total";

/// Events by source in the Prometheus text format.
#[must_use]
pub fn render_events_by_source(counts: impl IntoIterator<Item = (String, u64)>) -> String {
    let meaning = METRICS.iter().find(|(_, name, ..)| *name == BY_SOURCE);
    let meaning = meaning.map_or("", |(_, _, _, meaning)| *meaning);
    let mut text = format!("# HELP {BY_SOURCE} {meaning}\n# TYPE {BY_SOURCE} counter\n");
    for (source, events) in counts {
        let source = source
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        let _ = writeln!(text, "{BY_SOURCE}{{source=\"{source}\"}} {events}");
    }
    text
}

/// Every metric as a Markdown table, for `docs/operations.md`.
#[must_use]
pub fn metrics_table() -> String {
    let mut table = String::from("| metric | type | meaning (labels) |\n|---|---|---|\n");
    for (kind, name, _, meaning) in METRICS {
        let kind = match kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        };
        let _ = writeln!(table, "| `{name}` | {kind} | {meaning} |");
    }
    table
}

fn describe() {
    for (kind, name, unit, meaning) in METRICS {
        match kind {
            Counter => ::metrics::describe_counter!(*name, *unit, *meaning),
            Gauge => ::metrics::describe_gauge!(*name, *unit, *meaning),
            Histogram => ::metrics::describe_histogram!(*name, *unit, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sources;
    use super::{BY_SOURCE, METRICS};

    /// The names of metrics in a source file: every string that looks like one.
    fn used(text: &str) -> impl Iterator<Item = String> {
        text.split("\"tenure_").skip(1).filter_map(|rest| {
            let name = rest.split('"').next()?;
            (!name.is_empty()).then(|| format!("tenure_{name}"))
        })
    }

    #[test]
    fn the_descriptions_match_the_metrics_in_the_code() {
        let mut names = BTreeSet::new();
        sources::each("telemetry/metrics.rs", &mut |text| names.extend(used(text)));
        // The metrics of the process come from a library, and this file itself has these two.
        let is_elsewhere =
            |name: &str| name.starts_with("process_") || [BY_SOURCE, "tenure_build_info"].contains(&name);
        let described: BTreeSet<_> = METRICS.iter().map(|(_, name, ..)| (*name).to_owned()).collect();
        assert_eq!(described.len(), METRICS.len(), "a metric has two descriptions");
        let expected: BTreeSet<_> = described.into_iter().filter(|name| !is_elsewhere(name)).collect();
        assert_eq!(names, expected);
    }
}
