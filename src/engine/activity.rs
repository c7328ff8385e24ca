//! The events and changes of the last minutes, of all workers.
//!
//! Minutes are those of the deciding clock, as for all that workers share: a worker whose own clock is wrong must not remove the
//! counts of the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Outcome;
use crate::domain::{Cause, Entry};
use crate::store::{ChangeCounts, MinuteCounts, StoreError};

/// For how long minutes are kept.
const KEPT: TimeDelta = TimeDelta::days(1);
const MINUTE: i64 = 60;
/// How often a worker records what it has counted.
pub const RECORD_COUNTS_EVERY: Duration = Duration::from_secs(2);

impl ChangeCounts {
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

impl MinuteCounts {
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

/// What this process has counted, by minute, for at most [`KEPT`].
#[derive(Debug)]
pub(super) struct Activity {
    /// A random number, by which the store tells the workers apart.
    worker: i64,
    minutes: Mutex<BTreeMap<i64, Counted>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    counts: MinuteCounts,
    /// Those that the store has.
    recorded: MinuteCounts,
}

impl Activity {
    pub fn new() -> Self {
        Self {
            worker: rand::random(),
            minutes: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<i64, Counted>) -> T) -> T {
        work(&mut self.minutes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn add(&self, now: DateTime<Utc>, counts: MinuteCounts) {
        let minute = number(now);
        let oldest = minute - KEPT.num_minutes();
        self.with(|minutes| {
            minutes.entry(minute).or_default().counts += counts;
            while minutes
                .first_key_value()
                .is_some_and(|(first, _)| *first < oldest)
            {
                minutes.pop_first();
            }
        });
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

    /// The minutes of which the store does not have the present counts.
    fn unrecorded(&self) -> Vec<(DateTime<Utc>, MinuteCounts)> {
        self.with(|minutes| {
            let unrecorded = minutes
                .iter()
                .filter(|(_, counted)| counted.counts != counted.recorded);
            unrecorded
                .map(|(minute, counted)| (beginning(*minute), counted.counts))
                .collect()
        })
    }

    /// Notes that the store has these counts.
    fn note_recorded(&self, recorded: &[(DateTime<Utc>, MinuteCounts)]) {
        self.with(|minutes| {
            for (minute, counts) in recorded {
                if let Some(counted) = minutes.get_mut(&number(*minute)) {
                    counted.recorded = *counts;
                }
            }
        });
    }

    /// The sums of steps of so many minutes each, as this process and the others have counted them. Oldest first.
    fn sums(
        &self,
        steps: &Steps,
        others: &[(DateTime<Utc>, MinuteCounts)],
    ) -> Vec<(DateTime<Utc>, MinuteCounts)> {
        let mut sums: Vec<(DateTime<Utc>, MinuteCounts)> = steps
            .firsts()
            .map(|first| (beginning(first), MinuteCounts::default()))
            .collect();
        let mut add = |minute: i64, counts: MinuteCounts| {
            if let Some((_, sum)) = steps.place(minute).and_then(|place| sums.get_mut(place)) {
                *sum += counts;
            }
        };
        for (minute, counts) in others {
            add(number(*minute), *counts);
        }
        self.with(|minutes| {
            for (minute, counted) in minutes.iter() {
                add(*minute, counted.counts);
            }
        });
        sums
    }
}

/// Steps of equal length, the last of which has the present minute.
struct Steps {
    /// The minute with which the first one begins.
    first: i64,
    count: u32,
    /// In minutes.
    length: i64,
}

impl Steps {
    fn until(now: DateTime<Utc>, count: u32, minutes: u32) -> Self {
        let length = i64::from(minutes.max(1));
        let last = number(now).div_euclid(length) * length;
        Self {
            first: last - (i64::from(count) - 1) * length,
            count,
            length,
        }
    }

    fn firsts(&self) -> impl Iterator<Item = i64> {
        (0..i64::from(self.count)).map(|step| self.first + step * self.length)
    }

    /// The step that a minute is in, from 0. None: it is before the first one.
    fn place(&self, minute: i64) -> Option<usize> {
        usize::try_from((minute - self.first).div_euclid(self.length)).ok()
    }
}

/// The number of a moment's minute.
fn number(moment: DateTime<Utc>) -> i64 {
    moment.timestamp().div_euclid(MINUTE)
}

fn beginning(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * MINUTE, 0).unwrap_or_default()
}

impl super::Engine {
    /// How many events and changes all workers have ingested and written in each of the last `steps` steps of `minutes` minutes,
    /// oldest first. The last one is not over. They are kept for one day. Those of other workers are about two seconds old.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn activity(
        &self,
        steps: u32,
        minutes: u32,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>, StoreError> {
        let now = self.watch.present();
        let steps = Steps::until(now, steps, minutes);
        let others = self
            .store
            .activity(beginning(steps.first), now, self.activity.worker)
            .await?;
        Ok(self.activity.sums(&steps, &others))
    }

    /// [`Self::activity`] of the last hour, by minute.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn last_hour(&self) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>, StoreError> {
        self.activity(60, 1).await
    }

    /// Records what this process has counted since it last did so, for other workers and for those that come later.
    ///
    /// # Errors
    /// When the store cannot be written. The counts are recorded the next time.
    pub async fn record_activity(&self) -> Result<(), StoreError> {
        let counted = self.activity.unrecorded();
        if counted.is_empty() {
            return Ok(());
        }
        self.store
            .record_activity(self.activity.worker, &counted, self.watch.present() - KEPT)
            .await?;
        self.activity.note_recorded(&counted);
        Ok(())
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
        let activity = Activity::new();
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
        let of_another = MinuteCounts {
            refused: 9,
            ..MinuteCounts::default()
        };
        let others = [
            (at("2026-03-01T09:59:00Z"), of_another),
            (at("2026-03-01T10:09:00Z"), of_another),
        ];
        let steps = Steps::until(at("2026-03-01T10:06:00Z"), 2, 5);
        let steps = activity.sums(&steps, &others);
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
        assert_eq!((counted(0), counted(1)), ((3, 1, 1, 0), (9, 0, 0, 7)));
        assert_eq!(steps[1].1.changes, changes);
        activity.add_changes(at("2026-03-02T10:05:00Z"), changes);
        let minutes = activity.with(|minutes| minutes.len());
        assert_eq!(minutes, 2, "10:05 of both days");
    }

    #[test]
    fn what_is_counted_while_counts_are_recorded_is_recorded_next() {
        let (activity, now) = (Activity::new(), at("2026-03-01T10:00:10Z"));
        let applied = |number| vec![Outcome::Applied; number];
        activity.add(now, MinuteCounts::of(&applied(2)));
        let recorded = activity.unrecorded();
        assert_eq!(
            recorded,
            [(at("2026-03-01T10:00:00Z"), MinuteCounts::of(&applied(2)))]
        );
        activity.add(now, MinuteCounts::of(&applied(1)));
        activity.note_recorded(&recorded);
        let recorded = activity.unrecorded();
        assert_eq!(recorded[0].1.applied, 3, "the whole minute");
        activity.note_recorded(&recorded);
        assert_eq!(activity.unrecorded(), []);
    }
}
