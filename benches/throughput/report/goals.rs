//! What the figures should come to. They are ratios wherever there is something to compare with: a machine that is
//! twice as fast should not make a goal.

use crate::figures::Figures;

/// What a figure, or the ratio of two, should come to.
pub struct Goal {
    pub what: &'static str,
    of: &'static str,
    /// What it is divided by; nothing for a figure that stands alone.
    to: Option<&'static str>,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    Below(f64),
}

/// How a goal was met.
pub struct Reached {
    pub what: &'static str,
    pub value: f64,
    /// In words.
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

const fn below(what: &'static str, of: &'static str, bound: f64) -> Goal {
    Goal {
        what,
        of,
        to: None,
        bound: Bound::Below(bound),
    }
}

pub const GOALS: [Goal; 18] = [
    ratio("Tenure : publishing with confirms", "tenure", "publish", 1.0),
    ratio(
        "Tenure : a transaction a message, in order",
        "tenure",
        "in_order",
        40.0,
    ),
    ratio(
        "Tenure : a transaction a message, 30 at once",
        "tenure",
        "at_once",
        10.0,
    ),
    ratio(
        "Tenure : batches by hand without rules",
        "tenure",
        "bare_batch",
        1.0,
    ),
    ratio("Tenure, relay on : relay off", "relay", "tenure", 0.6),
    ratio(
        "Tenure on entries into accounts : a bare consumer",
        "accessed",
        "drain",
        0.7,
    ),
    ratio(
        "Tenure, relay on until all is published : relay off",
        "relay_published",
        "tenure",
        0.6,
    ),
    ratio("Tenure embedded : Tenure with servers", "embedded", "tenure", 1.0),
    ratio(
        "expiries, relay off : a transaction a message, in order",
        "expiries",
        "in_order",
        30.0,
    ),
    ratio(
        "expiries, relay on : a transaction a message, in order",
        "expiries_told",
        "in_order",
        30.0,
    ),
    below("event to change while a sweep runs, p99 (ms)", "sweep_p99", 250.0),
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
    below("event to change, p50 (ms)", "latency_p50", 10.0),
    below("event to change, p99 (ms)", "latency_p99", 50.0),
    below(
        "an event into the middle of a long history, median (ms)",
        "late_median",
        20.0,
    ),
    below("most memory with a long backlog (MB)", "memory_peak", 100.0),
];

impl Goal {
    /// None: not all of it was measured.
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
