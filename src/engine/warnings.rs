//! Reports mistakes of sources: unknown fields, and ids that a source used twice. In a metric by source, and unknown fields from
//! time to time in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Engine;
use crate::domain::Event;
use crate::domain::id::clip;
use crate::store::DeadLetter;
use crate::wire::Decoded;

/// Maximum number of sources that are counted and logged by name. A sender may make up sources, and each would be a time
/// series and an entry in memory for as long as the worker runs.
const MOST_SOURCES: usize = 50;
/// Stands for all other sources.
pub(super) const OTHER: &str = "other";
/// The time between two lines in the log about one source.
const LOG_EVERY: Duration = Duration::from_mins(10);

/// The sources that made a mistake, and when the log last said so, by [`crate::clock::Clock::elapsed`].
#[derive(Debug, Default)]
pub(super) struct WarnedSources(Mutex<HashMap<Arc<str>, Duration>>);

impl WarnedSources {
    /// The name to count a source under, and whether it is time for a line in the log.
    fn note(&self, source: &Arc<str>, elapsed: Duration) -> (String, bool) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = sources.len() < MOST_SOURCES || sources.contains_key(source);
        let name = if is_named { source.clone() } else { OTHER.into() };
        let shown = clip(&name);
        let is_logged = sources
            .get(&name)
            .is_none_or(|last| elapsed.saturating_sub(*last) >= LOG_EVERY);
        if is_logged {
            sources.insert(name, elapsed);
        }
        (shown, is_logged)
    }
}

impl Engine {
    /// Counts a decoded event that has warnings, and logs the first one of its source and one every ten minutes after that.
    pub fn report_warnings(&self, read: &Result<Decoded, DeadLetter>) {
        let Ok(Decoded { event, warnings }) = read else {
            return;
        };
        if warnings.is_empty() {
            return;
        }
        let (source, is_logged) = self.warned.note(&event.source, self.watch.elapsed());
        metrics::counter!("tenure_event_warnings_total", "source" => source).increment(1);
        if is_logged {
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            tracing::warn!(
                event.source = &*event.source,
                event.id = &*event.id,
                event.kind = event.kind.type_name(),
                warnings = warnings.join("; "),
                "the data of an event has unknown fields, which are ignored; `tenure_event_warnings_total` counts such events"
            );
        }
    }

    /// Counts an event that became a dead letter because its source gave it the id of another event.
    pub(super) fn count_reused_id(&self, event: &Event) {
        let (source, _) = self.careless.note(&event.source, self.watch.elapsed());
        metrics::counter!("tenure_reused_ids_total", "source" => source).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_logged_every_ten_minutes_and_only_the_first_have_names() {
        let sources = WarnedSources::default();
        let note = |source: &str, minutes| sources.note(&source.into(), Duration::from_mins(minutes));
        let named = |source: &str, is_logged| (source.to_owned(), is_logged);
        assert_eq!(note("/a", 0), named("/a", true));
        assert_eq!(note("/a", 9), named("/a", false));
        assert_eq!(note("/a", 10), named("/a", true));
        for n in 1..MOST_SOURCES {
            assert_eq!(note(&format!("/{n}"), 10), named(&format!("/{n}"), true));
        }
        assert_eq!(note("/x", 10), named(OTHER, true));
        assert_eq!(note("/y", 19), named(OTHER, false));
        assert_eq!(note("/a", 19), named("/a", false), "it keeps its name");
        assert_eq!(note("/z", 20), named(OTHER, true));
        assert!(sources.0.lock().unwrap().len() <= MOST_SOURCES + 1);
    }
}
