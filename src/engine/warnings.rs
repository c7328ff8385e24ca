//! Reports mistakes of sources: unknown fields, and ids that a source used twice. In a metric by source, and unknown fields from
//! time to time in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ingest::Origin;
use super::{Engine, Incoming};
use crate::domain::Event;
use crate::domain::id::clip;
use crate::store::DeadLetter;
use crate::wire::{Decoded, TraceContext};

/// How many sources are counted and logged by name because they sent events first, and as many more because they made mistakes
/// first. A sender may make up sources, and each would be a time series and an entry in memory for as long as the worker runs.
const MOST_SOURCES: usize = 50;
/// Stands for all other sources.
pub(super) const OTHER: &str = "other";
/// The time between two lines in the log about one source.
const LOG_EVERY: Duration = Duration::from_mins(10);

const WARNINGS: &str = "tenure_event_warnings_total";
const REUSED_IDS: &str = "tenure_reused_ids_total";
/// The counters of mistakes, by source.
pub(super) const MISTAKES: [&str; 2] = [WARNINGS, REUSED_IDS];

/// The sources that are counted by name.
#[derive(Debug, Default)]
pub(super) struct KnownSources(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the log last said that a source with this name sent unknown fields, by [`crate::clock::Clock::elapsed`].
    logged: HashMap<Arc<str>, Option<Duration>>,
    /// How many have a name because they sent events first.
    met: usize,
    /// How many have one because they made mistakes first.
    mistaken: usize,
}

impl Known {
    /// Gives a source a name, and declares its counters.
    fn add(&mut self, source: &Arc<str>) {
        self.logged.insert(source.clone(), None);
        for counter in MISTAKES {
            metrics::counter!(counter, "source" => clip(source)).increment(0);
        }
    }
}

impl KnownSources {
    /// Declares the counters of sources that send their first events: a counter that appears with the first mistake hides
    /// that mistake from `increase`.
    pub fn meet<'a>(&self, sources: impl Iterator<Item = &'a Arc<str>>) {
        let mut known = self.known();
        for source in sources {
            if known.met < MOST_SOURCES && !known.logged.contains_key(source) {
                known.met += 1;
                known.add(source);
            }
        }
    }

    /// The name to count a mistake of a source under.
    fn name(&self, source: &Arc<str>) -> Arc<str> {
        self.meet(std::iter::once(source));
        let mut known = self.known();
        if !known.logged.contains_key(source) {
            if known.mistaken == MOST_SOURCES {
                return OTHER.into();
            }
            known.mistaken += 1;
            known.add(source);
        }
        source.clone()
    }

    /// Whether it is time for a line in the log about the sources with this name.
    fn is_logged(&self, name: Arc<str>, elapsed: Duration) -> bool {
        let mut known = self.known();
        let last = known.logged.entry(name).or_default();
        let is_logged = last.is_none_or(|last| elapsed.saturating_sub(last) >= LOG_EVERY);
        if is_logged {
            *last = Some(elapsed);
        }
        is_logged
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Counts a decoded event that has warnings, and logs the first one of its source and one every ten minutes after that.
    /// `message` is the message of the event, and `request` the span of the request that sent it.
    pub fn report_warnings(
        &self,
        read: &Result<Decoded, DeadLetter>,
        message: impl FnOnce() -> DeadLetter,
        request: Option<&TraceContext>,
    ) {
        let Ok(Decoded { event, warnings }) = read else {
            return;
        };
        if warnings.is_empty() {
            return;
        }
        let name = self.known_sources.name(&event.source);
        metrics::counter!(WARNINGS, "source" => clip(&name)).increment(1);
        if self.known_sources.is_logged(name, self.watch.elapsed()) {
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            let origin = Origin {
                request,
                ..Origin::default()
            };
            tracing::warn!(
                event.source = &*event.source,
                event.id = &*event.id,
                event.kind = event.kind.type_name(),
                trace.id = origin.trace_id(&message()),
                warnings = warnings.join("; "),
                "the data of an event has unknown fields, which are ignored; `tenure_event_warnings_total` counts such events"
            );
        }
    }

    /// What a message without a request was read as, after its warnings were reported: [`Engine::report_warnings`].
    #[must_use]
    pub fn incoming(
        &self,
        read: Result<Decoded, DeadLetter>,
        message: impl FnOnce() -> DeadLetter,
    ) -> Incoming {
        self.report_warnings(&read, message, None);
        Incoming::from(read)
    }

    /// Counts an event that became a dead letter because its source gave it the id of another event.
    pub(super) fn count_reused_id(&self, event: &Event) {
        let name = self.known_sources.name(&event.source);
        metrics::counter!(REUSED_IDS, "source" => clip(&name)).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_logged_every_ten_minutes_and_only_the_first_have_names() {
        let sources = KnownSources::default();
        let note = |source: &str, minutes| {
            let name = sources.name(&source.into());
            let is_logged = sources.is_logged(name.clone(), Duration::from_mins(minutes));
            (name.to_string(), is_logged)
        };
        let named = |source: &str, is_logged| (source.to_owned(), is_logged);
        assert_eq!(note("/a", 0), named("/a", true));
        assert_eq!(note("/a", 9), named("/a", false));
        assert_eq!(note("/a", 10), named("/a", true));
        let correct: Vec<Arc<str>> = (1..2 * MOST_SOURCES)
            .map(|n| format!("/correct/{n}").into())
            .collect();
        sources.meet(correct.iter());
        // Sources without mistakes leave names to those that make some, and have their own.
        for n in 1..=MOST_SOURCES {
            assert_eq!(note(&format!("/{n}"), 10), named(&format!("/{n}"), true));
        }
        assert_eq!(note("/correct/1", 10), named("/correct/1", true));
        assert_eq!(note("/x", 10), named(OTHER, true));
        assert_eq!(note("/y", 19), named(OTHER, false));
        assert_eq!(note("/a", 19), named("/a", false), "it keeps its name");
        assert_eq!(note("/z", 20), named(OTHER, true));
        assert!(sources.known().logged.len() <= 2 * MOST_SOURCES + 1);
    }
}
