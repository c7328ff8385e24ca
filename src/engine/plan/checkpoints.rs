//! Checkpoints of long histories: from which one a replay starts, and where it makes new ones.
//!
//! A replay costs what comes after its start. So checkpoints stand at distances from the end of the history that double: the last
//! one before an event is at most about twice as far from the end as the event itself.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::domain::{Client, ClientKey, Policies};
use crate::store::{Checkpoint, CheckpointPlace, CheckpointWrite, Checkpoints, Logged};

/// The most checkpoints of a client.
const MOST: usize = 16;

/// Which histories have checkpoints, and how far from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSpacing {
    /// The shortest history with checkpoints, in events.
    pub shortest: usize,
    /// The distance of the last checkpoint from the end of the history, in events.
    pub nearest: usize,
}

impl Default for CheckpointSpacing {
    fn default() -> Self {
        Self {
            shortest: 1_000,
            nearest: 64,
        }
    }
}

impl CheckpointSpacing {
    /// After how many events of a history there should be a checkpoint. A client with many holdings has fewer: each checkpoint
    /// has them all.
    fn targets(self, events: usize, holdings: usize) -> Vec<usize> {
        if events < self.shortest {
            return Vec::new();
        }
        let nearest = self.nearest.max(holdings).max(1);
        (0..MOST)
            .filter_map(|n| events.checked_sub(nearest.checked_mul(1 << n)?))
            .filter(|target| *target > 0)
            .collect()
    }
}

/// The part of a client's history that a replay goes through.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The client before these events.
    pub start: Client,
    /// The events, from the one after the start on.
    pub events: Vec<Logged>,
    /// The checkpoint from which the replay starts. None: it starts from the beginning.
    checkpoint: Option<CheckpointPlace>,
    /// All checkpoints of the client.
    places: Vec<CheckpointPlace>,
}

impl History {
    /// A replay that starts from the nearest checkpoint, if the policies before it are still the same.
    #[must_use]
    pub fn starting_from(checkpoints: Checkpoints, policies: &Policies) -> Self {
        let Checkpoints { nearest, places } = checkpoints;
        let nearest = nearest.filter(|nearest| nearest.policies == digest(policies, nearest.time));
        let start = nearest.and_then(|nearest| {
            let (time, events) = (nearest.time, nearest.events);
            Some((nearest.client?, CheckpointPlace { time, events }))
        });
        let (start, checkpoint) = start.unzip();
        Self {
            start: start.unwrap_or_default(),
            events: Vec::new(),
            checkpoint,
            places,
        }
    }

    /// The moment after which its events are to be read. None: from the beginning.
    #[must_use]
    pub fn after(&self) -> Option<DateTime<Utc>> {
        self.checkpoint.map(|place| place.time)
    }
}

/// A digest of the policies in force up to a moment. They determine, with the events, the state at that moment.
pub fn digest(policies: &Policies, until: DateTime<Utc>) -> i64 {
    let mut digest = Sha256::new();
    for (from, policy) in policies.until(until) {
        digest.update(from.timestamp_micros().to_be_bytes());
        // Plain data, so that this cannot fail.
        digest.update(serde_json::to_vec(policy).unwrap_or_default());
        digest.update([0]);
    }
    let bytes = digest.finalize();
    bytes.first_chunk().map_or(0, |first| i64::from_be_bytes(*first))
}

/// Makes the checkpoints of one replay.
pub struct Checkpointing<'a> {
    policies: &'a Policies,
    /// The number of events before the replay.
    before: usize,
    /// After how many events of the replay a checkpoint is made.
    cuts: BTreeSet<usize>,
    seen: usize,
    write: CheckpointWrite,
    /// The last one that stays.
    last: Option<DateTime<Utc>>,
}

impl<'a> Checkpointing<'a> {
    /// `times` are those of the events of the replay, in order, the late ones included. `stored` is the client before the replay.
    pub fn of(
        key: &ClientKey,
        history: &History,
        times: &[DateTime<Utc>],
        stored: &Client,
        spacing: CheckpointSpacing,
        policies: &'a Policies,
    ) -> Self {
        let before = history.checkpoint.map_or(0, |place| number(place.events));
        let targets = spacing.targets(before.saturating_add(times.len()), stored.holdings());
        let cuts = targets
            .iter()
            .filter_map(|target| times.get(target.checked_sub(before)?))
            // Before all events of one moment: a history is read from a moment on.
            .map(|time| times.partition_point(|other| other < time))
            .filter(|cut| *cut > 0)
            .collect();
        let unchanged = history
            .places
            .iter()
            .filter(|place| Some(place.time) <= history.after());
        let kept = nearest_to(
            targets.iter().filter(|target| **target <= before),
            &unchanged.copied().collect::<Vec<_>>(),
        );
        let places = history.places.iter().map(|place| place.time);
        Self {
            policies,
            before,
            cuts,
            seen: 0,
            write: CheckpointWrite {
                key: key.clone(),
                removed: places.filter(|time| !kept.contains(time)).collect(),
                added: Vec::new(),
            },
            last: kept.last().copied(),
        }
    }

    /// The replay has applied one more event.
    pub fn pass(&mut self, client: &Client) {
        self.seen += 1;
        if self.cuts.contains(&self.seen)
            && let Some(seen) = &client.seen
        {
            self.last = Some(seen.time);
            self.write.added.push(Checkpoint {
                time: seen.time,
                events: i64::try_from(self.before.saturating_add(self.seen)).unwrap_or(i64::MAX),
                policies: digest(self.policies, seen.time),
                client: Some(client.clone()),
            });
        }
    }

    /// What to write, if anything, and the time of the last checkpoint after that.
    pub fn end(self) -> (Option<CheckpointWrite>, Option<DateTime<Utc>>) {
        let is_needed = !self.write.removed.is_empty() || !self.write.added.is_empty();
        (is_needed.then_some(self.write), self.last)
    }
}

/// The times of the places that are nearest to the targets, at most one for each.
fn nearest_to<'a>(
    targets: impl Iterator<Item = &'a usize>,
    places: &[CheckpointPlace],
) -> BTreeSet<DateTime<Utc>> {
    let nearest = |target: &usize| {
        let place = places
            .iter()
            .min_by_key(|place| number(place.events).abs_diff(*target))?;
        Some(place.time)
    };
    targets.filter_map(nearest).collect()
}

fn number(events: i64) -> usize {
    usize::try_from(events).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{Policy, Position};

    fn key() -> ClientKey {
        ClientKey::new("acme", "a").unwrap()
    }

    fn at(seconds: usize) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(seconds).unwrap())
    }

    /// A client that has seen nothing but the moment.
    fn client(time: DateTime<Utc>) -> Client {
        Client {
            seen: Some(Position {
                time,
                sequence: None,
                rank: 0,
                source: "app".into(),
                id: "1".into(),
            }),
            ..Client::default()
        }
    }

    /// Replays events of these times after a checkpoint, and returns what is to be written.
    fn replay(history: &History, times: &[DateTime<Utc>], spacing: CheckpointSpacing) -> CheckpointWrite {
        let policies = Policies::default();
        let mut checkpoints =
            Checkpointing::of(&key(), history, times, &Client::default(), spacing, &policies);
        for time in times {
            checkpoints.pass(&client(*time));
        }
        let (write, last) = checkpoints.end();
        let write = write.unwrap_or_else(|| CheckpointWrite {
            key: key(),
            removed: Vec::new(),
            added: Vec::new(),
        });
        if let Some(added) = write.added.last() {
            assert_eq!(last, Some(added.time));
        }
        write
    }

    #[test]
    fn checkpoints_stand_at_doubling_distances_from_the_end() {
        let spacing = CheckpointSpacing::default();
        assert_eq!(spacing.targets(999, 0), [0; 0]);
        assert_eq!(spacing.targets(1_000, 0), [936, 872, 744, 488]);
        assert_eq!(spacing.targets(1_000, 300), [700, 400], "with many holdings");
        assert_eq!(spacing.targets(10_000_000, 0).len(), MOST);
    }

    #[test]
    fn a_checkpoint_has_all_events_of_its_moment() {
        let spacing = CheckpointSpacing {
            shortest: 1,
            nearest: 1,
        };
        // Targets after 4, 3 and 1 of 5 events.
        for (seconds, expected) in [
            ([1, 2, 3, 4, 5], vec![(1, 1), (3, 3), (4, 4)]),
            ([1, 2, 3, 4, 4], vec![(1, 1), (3, 3)]),
            ([1, 1, 3, 3, 5], vec![(1, 2), (3, 4)]),
            ([1, 1, 1, 1, 1], vec![]),
        ] {
            let write = replay(&History::default(), &seconds.map(at), spacing);
            let added: Vec<_> = write.added.iter().map(|one| (one.time, one.events)).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(time, events)| (at(time), events))
                .collect();
            assert_eq!(added, expected, "{seconds:?}");
        }
    }

    #[test]
    fn a_long_history_has_few_checkpoints_and_one_near_each_late_event() {
        let spacing = CheckpointSpacing::default();
        let mut places: Vec<CheckpointPlace> = Vec::new();
        let mut events: usize = 900;
        let (mut replayed, mut needed) = (0, 0);
        for distance in [1, 70, 500, 30, 3_000, 5, 200, 10_000]
            .into_iter()
            .cycle()
            .take(300)
        {
            events += 100;
            let late = events.saturating_sub(distance);
            let checkpoint = places.iter().copied().rfind(|place| place.time < at(late));
            let history = History {
                checkpoint,
                places: places.clone(),
                ..History::default()
            };
            let start = checkpoint.map_or(0, |place| number(place.events));
            let times: Vec<_> = (start..events).map(at).collect();
            let write = replay(&history, &times, spacing);
            assert!(write.added.iter().all(|one| one.time >= at(start)));
            places.retain(|place| !write.removed.contains(&place.time));
            places.extend(write.added.iter().map(|one| CheckpointPlace {
                time: one.time,
                events: one.events,
            }));
            places.sort_by_key(|place| place.time);
            assert!(places.len() <= MOST, "{}", places.len());
            replayed += times.len();
            needed += distance.min(events).max(spacing.nearest);
        }
        assert!(
            replayed < 3 * needed,
            "{replayed} events were replayed, {needed} are after the late ones"
        );
    }

    #[test]
    fn a_checkpoint_is_used_only_under_the_policies_of_its_past() {
        let day = |n: usize| at(n * 86_400);
        let idle = |days| Policy {
            access_idle: TimeDelta::days(days),
            ..Policy::default()
        };
        let eras =
            |last| Policies::recorded(vec![(day(0), idle(1)), (day(10), idle(2)), (day(20), last)]).unwrap();
        let (before, after) = (eras(idle(3)), eras(idle(4)));
        for (moment, is_used) in [(9, true), (19, true), (20, false), (21, false)] {
            let nearest = Checkpoint {
                time: day(moment),
                events: 7,
                policies: digest(&before, day(moment)),
                client: Some(client(day(moment))),
            };
            let checkpoints = |nearest: &Checkpoint| Checkpoints {
                nearest: Some(nearest.clone()),
                places: Vec::new(),
            };
            let history = History::starting_from(checkpoints(&nearest), &before);
            assert_eq!(history.after(), Some(day(moment)));
            assert_eq!(history.start, client(day(moment)));
            let history = History::starting_from(checkpoints(&nearest), &after);
            assert_eq!(history.after().is_some(), is_used, "day {moment}");
            assert_eq!(history.start == Client::default(), !is_used);
            let unreadable = Checkpoint {
                client: None,
                ..nearest
            };
            assert_eq!(
                History::starting_from(checkpoints(&unreadable), &before).after(),
                None
            );
        }
    }
}
