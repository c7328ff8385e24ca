//! Expected sources: a source that has fallen silent looks like partners who stay away, so timers hold back while it is.
//! See `docs/decisions/0015-a-silent-source-is-a-slow-lane.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::cached::Staleness;
use super::{ClockWatch, Engine, Incoming};
use crate::store::{ExpectedSource, Heard, StoreError};

/// How much later than the recorded time an event of a source must be for its time to be recorded: no write for each event.
const RESOLUTION: TimeDelta = TimeDelta::seconds(10);

/// The events of each expected source that have arrived since they were last written to the store. If that transaction fails, they
/// are not counted.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<BTreeMap<String, i64>>);

impl Arrivals {
    fn add(&self, source: &str, events: usize) {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match arrivals.get_mut(source) {
            Some(count) => *count = count.saturating_add(events),
            None => drop(arrivals.insert(source.to_owned(), events)),
        }
    }

    fn take(&self, source: &str) -> i64 {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.remove(source).unwrap_or_default()
    }
}

/// An expected source, and whether it is silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Source)]
pub struct SourceStatus {
    /// As in the attribute `source` of its events.
    #[schema(example = "/account-app")]
    pub source: String,
    /// At least one event is expected in this number of seconds.
    pub every_seconds: i64,
    /// When it was first expected.
    pub expected_since: DateTime<Utc>,
    /// The latest time of an event that has arrived from it, to within ten seconds.
    #[schema(required)]
    pub last_heard: Option<DateTime<Utc>>,
    /// The number of its events that arrived in the last hour, refused and repeated ones included. An estimate: those of the clock
    /// hour before count as if they had arrived evenly, and a worker that dies may lose some.
    pub events_per_hour: i64,
    /// While it is silent: the moment up to which its events are known to have arrived. No timer that is due later fires.
    #[schema(required)]
    pub silent_since: Option<DateTime<Utc>>,
}

/// A source that has not been heard from for longer than its interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilentSource {
    pub source: String,
    /// The moment up to which its events are known to have arrived.
    pub silent_since: DateTime<Utc>,
    /// Its interval.
    pub every_seconds: i64,
}

impl SilentSource {
    /// None: the source is not silent.
    pub(super) fn of(source: &ExpectedSource, clock: &ClockWatch) -> Option<Self> {
        let present = clock.present();
        // A time in the future was written by a wrong clock, and is ignored.
        let last_heard = source.last_heard.filter(|at| !clock.is_in_the_future(*at));
        let silent_since = last_heard.map_or(source.expected_since, |at| at.max(source.expected_since));
        (present - silent_since > TimeDelta::seconds(source.every_seconds)).then(|| Self {
            source: source.source.clone(),
            silent_since,
            every_seconds: source.every_seconds,
        })
    }
}

impl fmt::Display for SilentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is silent: no event from after {} has arrived from it, and one is expected every {}",
            self.source,
            crate::domain::time::rfc3339(self.silent_since),
            interval(self.every_seconds)
        )
    }
}

/// An interval as people write it in the settings: `1d 12h`.
#[must_use]
pub fn interval(seconds: i64) -> String {
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    parts.join(" ")
}

impl Engine {
    /// Expects these sources, each to be heard from at least once in its interval, and no others.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn expect_sources(&self, sources: &BTreeMap<String, TimeDelta>) -> Result<(), StoreError> {
        self.store.expect_sources(sources, self.watch.present()).await?;
        self.sources.invalidate();
        Ok(())
    }

    /// The expected sources, by name.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn sources(&self) -> Result<Vec<SourceStatus>, StoreError> {
        let sources = self.store.sources().await?;
        let status = |source: ExpectedSource| SourceStatus {
            silent_since: SilentSource::of(&source, &self.watch).map(|silent| silent.silent_since),
            source: source.source,
            every_seconds: source.every_seconds,
            expected_since: source.expected_since,
            last_heard: source.last_heard,
            events_per_hour: source.counted.per_hour(self.watch.present()),
        };
        Ok(sources.into_iter().map(status).collect())
    }

    /// The source whose silence makes answers about a moment uncertain: its events from before that moment may be missing. Of
    /// several, the one that has been silent for longest.
    pub(super) async fn silent_before(
        &self,
        moment: DateTime<Utc>,
    ) -> Result<Option<SilentSource>, StoreError> {
        let expected = self.expected_sources().await?;
        let silent = expected
            .iter()
            .filter_map(|source| SilentSource::of(source, &self.watch));
        Ok(silent
            .filter(|silent| silent.silent_since < moment)
            .min_by_key(|silent| silent.silent_since))
    }

    /// When the next source becomes silent if no event arrives. None: nothing is expected.
    pub(super) async fn next_silence(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let expected = self.expected_sources().await?;
        let begins = |source: &ExpectedSource| {
            let heard = source.last_heard.max(Some(source.expected_since))?;
            heard.checked_add_signed(TimeDelta::seconds(source.every_seconds))
        };
        Ok(expected.iter().filter_map(begins).min())
    }

    /// What these messages say about expected sources that the store does not know yet. A repeated event counts: it is as
    /// old as before.
    pub(super) async fn newly_heard(&self, incoming: &[Incoming]) -> Result<Vec<Heard>, StoreError> {
        if !incoming.iter().any(|one| matches!(one, Incoming::Event(_))) {
            return Ok(Vec::new());
        }
        let expected = self.expected_sources().await?;
        let newly = |source: &ExpectedSource| {
            let of_source = incoming.iter().filter_map(|one| match one {
                Incoming::Event(event) if *event.source == *source.source => Some(event.time),
                _ => None,
            });
            self.arrivals.add(&source.source, of_source.clone().count());
            // The time of an event may be a little ahead of the clock.
            let at = of_source.max()?.min(self.watch.present());
            let recorded = source.last_heard.filter(|at| !self.watch.is_in_the_future(*at));
            recorded
                .is_none_or(|recorded| recorded + RESOLUTION <= at)
                .then(|| Heard {
                    source: source.source.clone(),
                    at,
                    events: self.arrivals.take(&source.source),
                })
        };
        Ok(expected.iter().filter_map(newly).collect())
    }

    async fn expected_sources(&self) -> Result<Arc<Vec<ExpectedSource>>, StoreError> {
        let read = self.store.sources();
        self.sources.read(Staleness::Bounded, self.now(), read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_written_as_in_the_settings() {
        for (seconds, text) in [
            (60, "1m"),
            (21_600, "6h"),
            (129_600, "1d 12h"),
            (86_400 * 400 + 61, "400d 1m 1s"),
        ] {
            assert_eq!(interval(seconds), text);
        }
    }
}
