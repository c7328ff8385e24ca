//! The targets of the figures. They are ratios where possible, so that a faster machine alone does not meet them.

use crate::figures::Figures;

/// The target of a figure, or of the ratio of two figures.
pub struct Goal {
    pub what: &'static str,
    of: &'static str,
    /// The divisor; none for a figure without a ratio.
    to: Option<&'static str>,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    Below(f64),
}

/// A measured value and its target.
pub struct Reached {
    pub what: &'static str,
    pub value: f64,
    /// The target as text.
    pub target: String,
    pub met: bool,
}

const fn ratio(what: &'static str, of: &'static str, to: &'static str, at_least: f64) -> Goal {
    Goal {
        what,
        of,
        to: Some(to),
        bound: Bound::AtLeast(at_least),
    }
}

const fn at_least(what: &'static str, of: &'static str, bound: f64) -> Goal {
    Goal {
        what,
        of,
        to: None,
        bound: Bound::AtLeast(bound),
    }
}

const fn below(what: &'static str, of: &'static str, bound: f64) -> Goal {
    Goal {
        what,
        of,
        to: None,
        bound: Bound::Below(bound),
    }
}

pub const GOALS: [Goal; 32] = [
    ratio(
        "Tenure : simple batches without rules",
        "tenure",
        "bare_batch",
        1.25,
    ),
    ratio("Tenure : publishing with confirms", "tenure", "publish", 1.4),
    ratio(
        "Tenure : one transaction per message, sequential",
        "tenure",
        "in_order",
        40.0,
    ),
    ratio(
        "Tenure : one transaction per message, 30 concurrent",
        "tenure",
        "at_once",
        10.0,
    ),
    ratio("Tenure, relay on : relay off", "relay", "tenure", 0.7),
    ratio(
        "Tenure, touches only : acknowledge-only consumer",
        "accessed",
        "drain",
        0.55,
    ),
    ratio("Tenure embedded : Tenure with servers", "embedded", "tenure", 1.0),
    ratio(
        "expiries, relay off : one transaction per message, sequential",
        "expiries",
        "in_order",
        40.0,
    ),
    below("event to change during a sweep, p99 (ms)", "sweep_p99", 100.0),
    below("a sweep that finds nothing, fewest deadlines (ms)", "idle_1", 5.0),
    below(
        "a sweep that finds nothing, ten times as many (ms)",
        "idle_2",
        5.0,
    ),
    below(
        "a sweep that finds nothing, a hundred times as many (ms)",
        "idle_3",
        5.0,
    ),
    below("event to change, p50 (ms)", "latency_p50", 6.7),
    below("event to change, p99 (ms)", "latency_p99", 13.0),
    below("late event in a long history, median (ms)", "late_median", 8.8),
    below(
        "event two hours late in a very long history, median (ms)",
        "hours_late_median",
        15.0,
    ),
    below(
        "event a day late in a very long history, median (ms)",
        "day_late_median",
        15.0,
    ),
    // A late event in the middle of a very long history has none: what it adds is part of every later state, so half the
    // history is replayed.
    at_least("verify on PostgreSQL (clients/s)", "verify_postgres", 10_000.0),
    at_least("rebuild on PostgreSQL (clients/s)", "rebuild_postgres", 10_000.0),
    at_least("verify on SQLite (clients/s)", "verify_sqlite", 10_000.0),
    at_least("rebuild on SQLite (clients/s)", "rebuild_sqlite", 10_000.0),
    // An import is linear if a larger one has the same rate. The rest is for larger tables and indexes.
    ratio(
        "four times as many claims : as many, PostgreSQL",
        "claims_postgres_larger",
        "claims_postgres",
        0.7,
    ),
    ratio(
        "four times as many claims : as many, SQLite",
        "claims_sqlite_larger",
        "claims_sqlite",
        0.7,
    ),
    ratio(
        "histories four times as long : as long, PostgreSQL",
        "histories_postgres_larger",
        "histories_postgres",
        0.7,
    ),
    ratio(
        "histories four times as long : as long, SQLite",
        "histories_sqlite_larger",
        "histories_sqlite",
        0.7,
    ),
    ratio(
        "one history four times as long : as long, PostgreSQL",
        "single_history_postgres_larger",
        "single_history_postgres",
        0.7,
    ),
    ratio(
        "one history four times as long : as long, SQLite",
        "single_history_sqlite_larger",
        "single_history_sqlite",
        0.7,
    ),
    // Each batch reads and writes the client's whole document (decision 14). With batches of 1,000, that is 5 holdings for each
    // event on the average while 10,000 are added, and 1.25 while 2,500 are. This goal lets one holding cost two fifths of an
    // event. Were the client copied for each event, the ratio would be about a quarter.
    ratio(
        "four times as many holdings of one client : as many, PostgreSQL",
        "holdings_postgres_larger",
        "holdings_postgres",
        0.5,
    ),
    ratio(
        "four times as many holdings of one client : as many, SQLite",
        "holdings_sqlite_larger",
        "holdings_sqlite",
        0.5,
    ),
    below("peak memory with a long backlog (MB)", "memory_peak", 100.0),
    below(
        "an event with its lines, log and journal (bytes)",
        "event_bytes",
        450.0,
    ),
    // 55 % of what the tables took that had the client's two ids in every row and index.
    below("WAL of an event, pages warm (bytes)", "wal_bytes", 895.0),
];

impl Goal {
    /// None if a figure was not measured.
    pub fn reached(&self, figures: &Figures) -> Option<Reached> {
        let value = figures.median(self.of)? / self.to.map_or(Some(1.0), |to| figures.median(to))?;
        let (target, met) = match self.bound {
            Bound::AtLeast(bound) => (format!("at least {bound}"), value >= bound),
            Bound::Below(bound) => (format!("below {bound}"), value < bound),
        };
        Some(Reached {
            what: self.what,
            value,
            target,
            met,
        })
    }
}
