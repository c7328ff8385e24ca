//! Every figure that there is.

/// A figure, as it is shown.
pub struct Line {
    pub key: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
}

const fn line(key: &'static str, what: &'static str, unit: &'static str) -> Line {
    Line { key, what, unit }
}

pub const LINES: [Line; 24] = [
    line("drain", "a bare consumer that only acknowledges", "messages/s"),
    line("publish", "publishing with confirms", "messages/s"),
    line("in_order", "a transaction a message, in order", "events/s"),
    line("at_once", "a transaction a message, 30 at once", "events/s"),
    line("bare_batch", "batches of 1,000 by hand, no rules", "events/s"),
    line("tenure", "Tenure, relay off", "events/s"),
    line("relay", "Tenure, relay on", "events/s"),
    line(
        "relay_published",
        "Tenure, relay on, until all is published",
        "events/s",
    ),
    line("accessed", "Tenure, entries into accounts only", "events/s"),
    line("embedded", "Tenure embedded (ingest into SQLite)", "events/s"),
    line("latency_p50", "event to change at a steady pace, p50", "ms"),
    line("latency_p99", "event to change at a steady pace, p99", "ms"),
    line("latency_p999", "event to change at a steady pace, p99.9", "ms"),
    line(
        "late_median",
        "an event into the middle of a long history, median",
        "ms",
    ),
    line(
        "late_most",
        "an event into the middle of a long history, slowest",
        "ms",
    ),
    line(
        "expiries",
        "accesses that expire by a sweep, relay off",
        "clients/s",
    ),
    line(
        "expiries_told",
        "accesses that expire by a sweep, relay on",
        "clients/s",
    ),
    line("sweep_p50", "event to change while that runs, p50", "ms"),
    line("sweep_p99", "event to change while that runs, p99", "ms"),
    line("idle_1", "a sweep that finds nothing, fewest deadlines", "ms"),
    line("idle_2", "a sweep that finds nothing, ten times as many", "ms"),
    line(
        "idle_3",
        "a sweep that finds nothing, a hundred times as many",
        "ms",
    ),
    line("memory_peak", "most memory with a long backlog", "MB"),
    line("first_commit", "from the start to the first commit", "ms"),
];
