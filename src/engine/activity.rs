//! How many events and changes each of the last minutes brought, as this process has seen them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::Outcome;
use crate::domain::{Cause, Entry};

/// For how long minutes are kept.
const KEPT: TimeDelta = TimeDelta::days(1);
const MINUTE: i64 = 60;

/// What one minute brought to this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    pub applied: u64,
    pub duplicate: u64,
    pub refused: u64,
    pub dead: u64,
    pub deferred: u64,
    pub changes: ChangeCounts,
}

/// The lines of the journal that one minute brought, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    pub by_event: u64,
    pub by_timer: u64,
    /// Corrections, whatever they correct.
    pub corrections: u64,
}

impl ChangeCounts {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_event + self.by_timer + self.corrections
    }

    /// The numbers of lines.
    pub(super) fn of(journal: &[Entry]) -> Self {
        let mut counts = Self::default();
        for entry in journal {
            let count = match &entry.cause {
                Cause::Event { .. } if !entry.is_correction() => &mut counts.by_event,
                Cause::Timer { .. } if !entry.is_correction() => &mut counts.by_timer,
                _ => &mut counts.corrections,
            };
            *count += 1;
        }
        counts
    }
}

impl std::ops::AddAssign for ChangeCounts {
    fn add_assign(&mut self, other: Self) {
        self.by_event += other.by_event;
        self.by_timer += other.by_timer;
        self.corrections += other.corrections;
    }
}

impl MinuteCounts {
    /// Events with any outcome.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.applied + self.duplicate + self.refused + self.dead + self.deferred
    }

    /// The numbers of outcomes.
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            *counts.of_outcome(outcome) += 1;
        }
        counts
    }

    fn of_outcome(&mut self, outcome: &Outcome) -> &mut u64 {
        match outcome {
            Outcome::Applied => &mut self.applied,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::Dead(_) => &mut self.dead,
            Outcome::Deferred { .. } => &mut self.deferred,
        }
    }
}

impl std::ops::AddAssign for MinuteCounts {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.duplicate += other.duplicate;
        self.refused += other.refused;
        self.dead += other.dead;
        self.deferred += other.deferred;
        self.changes += other.changes;
    }
}

/// Counts by minute, in memory: a worker that starts again begins with none. At most one entry for each minute of [`KEPT`].
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<BTreeMap<i64, MinuteCounts>>);

impl Activity {
    pub fn add(&self, now: DateTime<Utc>, counts: MinuteCounts) {
        let minute = now.timestamp().div_euclid(MINUTE);
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *minutes.entry(minute).or_default() += counts;
        let oldest = minute - KEPT.num_minutes();
        while minutes
            .first_key_value()
            .is_some_and(|(first, _)| *first < oldest)
        {
            minutes.pop_first();
        }
    }

    pub fn add_changes(&self, now: DateTime<Utc>, changes: ChangeCounts) {
        self.add(
            now,
            MinuteCounts {
                changes,
                ..MinuteCounts::default()
            },
        );
    }

    /// The sums of `steps` steps of `minutes` each, the last of which has the present minute. Oldest first.
    pub fn steps(&self, now: DateTime<Utc>, steps: u32, minutes: u32) -> Vec<(DateTime<Utc>, MinuteCounts)> {
        let length = i64::from(minutes.max(1));
        let last = now.timestamp().div_euclid(MINUTE * length);
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (0..i64::from(steps))
            .rev()
            .map(|back| {
                let first = (last - back) * length;
                let mut sum = MinuteCounts::default();
                for (_, counts) in counted.range(first..first + length) {
                    sum += *counts;
                }
                (
                    DateTime::from_timestamp(first * MINUTE, 0).unwrap_or_default(),
                    sum,
                )
            })
            .collect()
    }
}

impl super::Engine {
    /// How many events and changes this process has ingested and written in each of the last `steps` steps of `minutes` minutes,
    /// oldest first. The last one is not over. A process remembers one day, and nothing from before its start.
    #[must_use]
    pub fn activity(&self, steps: u32, minutes: u32) -> Vec<(DateTime<Utc>, MinuteCounts)> {
        self.activity.steps(self.now(), steps, minutes)
    }

    /// When this process began to count events and changes.
    #[must_use]
    pub fn counts_since(&self) -> DateTime<Utc> {
        self.watch.moment_of(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn minutes_are_summed_and_forgotten_after_a_day() {
        let activity = Activity::default();
        activity.add(
            at("2026-03-01T10:00:10Z"),
            MinuteCounts::of(&[Outcome::Applied, Outcome::Duplicate]),
        );
        activity.add(
            at("2026-03-01T10:04:59Z"),
            MinuteCounts::of(&[Outcome::Dead("x".into())]),
        );
        let changes = ChangeCounts {
            by_event: 4,
            by_timer: 2,
            corrections: 1,
        };
        activity.add_changes(at("2026-03-01T10:05:00Z"), changes);
        let steps = activity.steps(at("2026-03-01T10:06:00Z"), 2, 5);
        let counted = |place: usize| {
            let counts: &MinuteCounts = &steps[place].1;
            (
                counts.events(),
                counts.applied,
                counts.dead,
                counts.changes.total(),
            )
        };
        assert_eq!(steps[0].0, at("2026-03-01T10:00:00Z"));
        assert_eq!((counted(0), counted(1)), ((3, 1, 1, 0), (0, 0, 0, 7)));
        assert_eq!(steps[1].1.changes, changes);
        activity.add_changes(at("2026-03-02T10:05:00Z"), changes);
        let minutes = activity.0.lock().unwrap();
        assert_eq!(minutes.len(), 2, "10:05 of both days");
    }
}
