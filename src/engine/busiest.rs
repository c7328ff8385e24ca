//! Counts events by source, for the sources that send most of them. A sender may make up sources, and each would be a time series,
//! so only the busiest have a count of their own. The console lists them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::id::clip;

/// How many sources have a count of their own.
const NAMED: usize = 20;
/// How many others are compared with them. Beyond this many sources at a time, all others are counted as one.
const CANDIDATES: usize = 1_000;
/// How often the busiest sources are chosen again.
const PERIOD: Duration = Duration::from_mins(10);
/// Stands for all other sources.
const OTHER: &str = "other";

/// Events by source. A source that becomes one of the busiest counts from zero, and the sum of all others never falls: each of
/// these counts only grows, as a counter must.
#[derive(Debug, Default)]
pub(super) struct BusiestSources(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    named: HashMap<Arc<str>, Count>,
    other: u64,
    /// Events that sources sent while they had counts of their own, which others have now. They are not among `other`: in the
    /// metric, they stay with their source.
    dropped: u64,
    candidates: HashMap<Arc<str>, Candidate>,
    /// When this period began, by [`crate::clock::Clock::elapsed`].
    since: Duration,
}

#[derive(Debug)]
struct Candidate {
    /// Events of this period.
    events: u64,
    /// When the last one was counted.
    last: Duration,
}

#[derive(Debug, Default)]
struct Count {
    total: u64,
    /// In this period.
    recent: u64,
    /// When counting began, by [`crate::clock::Clock::elapsed`].
    first: Duration,
    /// When the last event was counted.
    last: Duration,
}

/// One of the sources from which most events arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusySource {
    pub source: Arc<str>,
    /// Its events since it became one of them.
    pub events: u64,
    /// The mean since counting began. None: that was less than an hour ago.
    pub events_per_hour: Option<u64>,
    /// How long ago its last event arrived.
    pub heard_ago: TimeDelta,
}

impl BusySource {
    fn of(source: &Arc<str>, count: &Count, elapsed: Duration) -> Self {
        let ago = |at: Duration| TimeDelta::from_std(elapsed.saturating_sub(at)).unwrap_or(TimeDelta::MAX);
        let minutes = u64::try_from(ago(count.first).num_minutes()).unwrap_or_default();
        Self {
            source: source.clone(),
            events: count.total,
            events_per_hour: (minutes >= 60).then(|| count.total.saturating_mul(60) / minutes),
            heard_ago: ago(count.last),
        }
    }
}

impl BusiestSources {
    /// Counts one event of each of these sources.
    pub fn add<'a>(&self, sources: impl Iterator<Item = &'a Arc<str>>, elapsed: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if elapsed.saturating_sub(counts.since) >= PERIOD {
            counts.choose(elapsed);
            counts.since = elapsed;
        }
        for source in sources {
            counts.add(source, elapsed);
        }
    }

    /// The busiest sources, those with most events first, and the number of all other events.
    pub fn list(&self, elapsed: Duration) -> (Vec<BusySource>, u64) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = counts.named.iter();
        let mut sources: Vec<_> = named
            .map(|(source, count)| BusySource::of(source, count, elapsed))
            .collect();
        sources.sort_unstable_by(|a, b| b.events.cmp(&a.events).then_with(|| a.source.cmp(&b.source)));
        (sources, counts.other + counts.dropped)
    }

    /// The count of each of the busiest sources, by name, and that of all others. Names that look alike when they are
    /// shortened share a count.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_name = BTreeMap::from([(OTHER.to_owned(), counts.other)]);
        for (source, count) in &counts.named {
            *by_name.entry(clip(source)).or_default() += count.total;
        }
        by_name
    }
}

impl Counts {
    fn add(&mut self, source: &Arc<str>, elapsed: Duration) {
        if let Some(count) = self.named.get_mut(source) {
            count.total += 1;
            count.recent += 1;
            count.last = elapsed;
        } else if self.named.len() < NAMED {
            let count = Count {
                total: 1,
                recent: 1,
                first: elapsed,
                last: elapsed,
            };
            self.named.insert(source.clone(), count);
        } else {
            self.other += 1;
            if let Some(count) = self.candidates.get_mut(source) {
                count.events += 1;
                count.last = elapsed;
            } else if self.candidates.len() < CANDIDATES {
                let new = Candidate {
                    events: 1,
                    last: elapsed,
                };
                self.candidates.insert(source.clone(), new);
            }
        }
    }

    /// Gives the counts of the quietest sources to others that were busier in this period.
    fn choose(&mut self, elapsed: Duration) {
        let mut candidates: Vec<(Arc<str>, Candidate)> = self.candidates.drain().collect();
        candidates
            .sort_unstable_by(|(a, more), (b, less)| less.events.cmp(&more.events).then_with(|| a.cmp(b)));
        for (busier, Candidate { events, last }) in candidates {
            let quietest = self
                .named
                .iter()
                .min_by_key(|(source, count)| (count.recent, *source));
            let Some(quietest) = quietest.filter(|(_, count)| count.recent < events) else {
                break;
            };
            let quietest = quietest.0.clone();
            self.dropped += self.named.remove(&quietest).map_or(0, |count| count.total);
            // Not to be replaced by the next candidate, which is no busier.
            let new = Count {
                total: 0,
                recent: events,
                first: elapsed,
                last,
            };
            self.named.insert(busier, new);
        }
        for count in self.named.values_mut() {
            count.recent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sources: &BusiestSources, source: &str, events: usize, minutes: u64) {
        let source: Arc<str> = source.into();
        sources.add(std::iter::repeat_n(&source, events), Duration::from_mins(minutes));
    }

    #[test]
    fn a_source_that_becomes_busy_takes_the_place_of_the_quietest() {
        let sources = BusiestSources::default();
        for n in 1..=NAMED {
            add(&sources, &format!("/{n}"), n, 0);
        }
        add(&sources, "/new", 5, 1);
        add(&sources, "/rare", 1, 1);
        let counts = sources.counts();
        assert_eq!(counts.len(), NAMED + 1);
        assert_eq!((counts["/1"], counts[OTHER]), (1, 6));
        // `/new` had five events, more than `/1` had; `/rare` had one, no more than `/2`.
        add(&sources, "/new", 3, 10);
        add(&sources, "/rare", 1, 10);
        add(&sources, "/1", 1, 10);
        let counts = sources.counts();
        assert_eq!(counts.len(), NAMED + 1);
        assert_eq!((counts["/new"], counts["/2"]), (3, 2));
        assert_eq!(counts[OTHER], 8, "the count of the others never falls");
        assert!(!counts.contains_key("/1") && !counts.contains_key("/rare"));
        // The list accounts for every event, also for the one of `/1` that was counted by name.
        let (listed, rest) = sources.list(Duration::from_mins(10));
        let named: u64 = listed.iter().map(|one| one.events).sum();
        assert_eq!((named + rest, rest), (221, 9));
    }

    #[test]
    fn sources_are_listed_with_their_rate_and_when_they_were_heard() {
        let sources = BusiestSources::default();
        add(&sources, "/b", 60, 0);
        add(&sources, "/a", 60, 5);
        add(&sources, "/c", 61, 30);
        let (listed, other) = sources.list(Duration::from_hours(1));
        let listed: Vec<_> = listed
            .iter()
            .map(|one| (&*one.source, one.events, one.events_per_hour, one.heard_ago))
            .collect();
        let ago = TimeDelta::minutes;
        assert_eq!(
            listed,
            [
                ("/c", 61, None, ago(30)),
                ("/a", 60, None, ago(55)),
                ("/b", 60, Some(60), ago(60)),
            ]
        );
        assert_eq!(other, 0);
    }

    #[test]
    fn a_source_that_becomes_busy_was_heard_before() {
        let sources = BusiestSources::default();
        for n in 1..=NAMED {
            add(&sources, &format!("/{n}"), 1, 0);
        }
        add(&sources, "/new", 2, 4);
        add(&sources, "/1", 1, 10);
        let (listed, _) = sources.list(Duration::from_mins(10));
        let new = listed.iter().find(|one| &*one.source == "/new").expect("listed");
        assert_eq!((new.events, new.heard_ago), (0, TimeDelta::minutes(6)));
    }

    #[test]
    fn many_sources_take_bounded_memory() {
        let sources = BusiestSources::default();
        for n in 0..10 * CANDIDATES {
            add(&sources, &format!("/{n}"), 1, 0);
        }
        assert_eq!(sources.counts().values().sum::<u64>(), 10 * CANDIDATES as u64);
        assert_eq!(sources.counts().len(), NAMED + 1);
        assert_eq!(sources.0.lock().unwrap().candidates.len(), CANDIDATES);
    }
}
