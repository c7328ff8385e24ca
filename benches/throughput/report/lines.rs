//! The label and the unit of every figure.

/// The label and the unit of a figure.
pub struct Line {
    pub key: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
}

const fn line(key: &'static str, what: &'static str, unit: &'static str) -> Line {
    Line { key, what, unit }
}

pub const LINES: [Line; 54] = [
    line("drain", "acknowledge-only consumer", "messages/s"),
    line("publish", "publishing with confirms", "messages/s"),
    line("in_order", "one transaction per message, sequential", "events/s"),
    line(
        "at_once",
        "one transaction per message, 30 concurrent",
        "events/s",
    ),
    line("bare_batch", "simple batches of 1,000, no rules", "events/s"),
    line("tenure", "Tenure, relay off", "events/s"),
    line("relay", "Tenure, relay on", "events/s"),
    line(
        "relay_published",
        "Tenure, relay on, until all is published",
        "events/s",
    ),
    line("accessed", "Tenure, touches only", "events/s"),
    line("embedded", "Tenure embedded (ingest into SQLite)", "events/s"),
    line("latency_p50", "event to change at a steady rate, p50", "ms"),
    line("latency_p99", "event to change at a steady rate, p99", "ms"),
    line("latency_p999", "event to change at a steady rate, p99.9", "ms"),
    line("late_median", "late event in a long history, median", "ms"),
    line("late_most", "late event in a long history, slowest", "ms"),
    line(
        "very_late_median",
        "late event in the middle of a very long history, median",
        "ms",
    ),
    line(
        "very_late_most",
        "late event in the middle of a very long history, slowest",
        "ms",
    ),
    line(
        "hours_late_median",
        "event two hours late in a very long history, median",
        "ms",
    ),
    line(
        "hours_late_most",
        "event two hours late in a very long history, slowest",
        "ms",
    ),
    line(
        "day_late_median",
        "event a day late in a very long history, median",
        "ms",
    ),
    line(
        "day_late_most",
        "event a day late in a very long history, slowest",
        "ms",
    ),
    line("expiries", "expiries by a sweep, relay off", "clients/s"),
    line("expiries_published", "expiries by a sweep, relay on", "clients/s"),
    line("sweep_p50", "event to change during that sweep, p50", "ms"),
    line("sweep_p99", "event to change during that sweep, p99", "ms"),
    line("idle_1", "a sweep that finds nothing, fewest deadlines", "ms"),
    line("idle_2", "a sweep that finds nothing, ten times as many", "ms"),
    line(
        "idle_3",
        "a sweep that finds nothing, a hundred times as many",
        "ms",
    ),
    line(
        "verify_postgres",
        "verify on PostgreSQL, clients of 5 events",
        "clients/s",
    ),
    line(
        "rebuild_postgres",
        "rebuild on PostgreSQL, without drift",
        "clients/s",
    ),
    line(
        "verify_sqlite",
        "verify on SQLite, clients of 5 events",
        "clients/s",
    ),
    line("rebuild_sqlite", "rebuild on SQLite, without drift", "clients/s"),
    line(
        "claims_postgres",
        "claims of 50 names in one batch, PostgreSQL",
        "events/s",
    ),
    line(
        "claims_postgres_larger",
        "four times as many claims in one batch, PostgreSQL",
        "events/s",
    ),
    line(
        "claims_sqlite",
        "claims of 50 names in one batch, SQLite",
        "events/s",
    ),
    line(
        "claims_sqlite_larger",
        "four times as many claims in one batch, SQLite",
        "events/s",
    ),
    line(
        "holdings_postgres",
        "holdings of one client, PostgreSQL",
        "events/s",
    ),
    line(
        "holdings_postgres_larger",
        "four times as many holdings of one client, PostgreSQL",
        "events/s",
    ),
    line("holdings_sqlite", "holdings of one client, SQLite", "events/s"),
    line(
        "holdings_sqlite_larger",
        "four times as many holdings of one client, SQLite",
        "events/s",
    ),
    line(
        "histories_postgres",
        "long histories, a tenth of the events late, PostgreSQL",
        "events/s",
    ),
    line(
        "histories_postgres_larger",
        "histories four times as long, PostgreSQL",
        "events/s",
    ),
    line(
        "histories_sqlite",
        "long histories, a tenth of the events late, SQLite",
        "events/s",
    ),
    line(
        "histories_sqlite_larger",
        "histories four times as long, SQLite",
        "events/s",
    ),
    line(
        "single_history_postgres",
        "one very long history, a tenth of the events late, PostgreSQL",
        "events/s",
    ),
    line(
        "single_history_postgres_larger",
        "one history four times as long, PostgreSQL",
        "events/s",
    ),
    line(
        "single_history_sqlite",
        "one very long history, a tenth of the events late, SQLite",
        "events/s",
    ),
    line(
        "single_history_sqlite_larger",
        "one history four times as long, SQLite",
        "events/s",
    ),
    line("memory_peak", "peak memory with a long backlog", "MB"),
    line("first_commit", "start to first commit", "ms"),
    line(
        "event_bytes",
        "an event with its lines, log and journal with indexes",
        "bytes",
    ),
    line("log_bytes", "an event in the log, with indexes", "bytes"),
    line("line_bytes", "a line of the journal, with indexes", "bytes"),
    line("wal_bytes", "WAL of an event, all tables, pages warm", "bytes"),
];
