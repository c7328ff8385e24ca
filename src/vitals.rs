//! What the parts of a worker last did. Readiness follows from this: a part that only could do its work proves nothing.
//!
//! Moments are monotonic, and handed in: a clock that is set must not make an old success young.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The small write that a worker makes when it has written nothing else for a while.
pub const PROBE: &str = "probe";
/// Batches of events, from every entry point.
pub const EVENTS: &str = "events";

/// How long a failure counts when nothing was attempted since. Whoever has work tries again sooner.
const FAILURE_COUNTS: Duration = Duration::from_mins(1);

/// A record of the last success, the last failure and the attempts under way of each part; clones are the same record.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    by_name: BTreeMap<String, Part>,
    attempts: u64,
}

#[derive(Debug, Default)]
struct Part {
    succeeded: Option<Instant>,
    failure: Option<Failure>,
    under_way: BTreeMap<u64, Instant>,
}

#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    why: String,
}

/// What a part last did, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vital {
    /// How long ago it last succeeded. None: never.
    pub succeeded: Option<Duration>,
    /// Why it fails, if it has failed since its last success and not too long ago.
    pub failing: Option<String>,
    /// For how long the oldest attempt has been under way.
    pub under_way: Option<Duration>,
}

impl Vitals {
    /// Begins an attempt. Dropped without a result it counts for nothing.
    #[must_use]
    pub fn begin(&self, part: &str, at: Instant) -> Attempt {
        let mut parts = self.parts();
        parts.attempts += 1;
        let number = parts.attempts;
        let entry = parts.by_name.entry(part.to_owned()).or_default();
        entry.under_way.insert(number, at);
        Attempt {
            vitals: self.clone(),
            part: part.to_owned(),
            number,
        }
    }

    pub fn succeeded(&self, part: &str, at: Instant) {
        let mut parts = self.parts();
        let part = parts.by_name.entry(part.to_owned()).or_default();
        part.succeeded = Some(at);
        part.failure = None;
    }

    pub fn failed(&self, part: &str, why: impl Into<String>, at: Instant) {
        let mut parts = self.parts();
        let part = parts.by_name.entry(part.to_owned()).or_default();
        let why = why.into();
        part.failure = Some(Failure { at, why });
    }

    /// What a part last did.
    #[must_use]
    pub fn of(&self, part: &str, at: Instant) -> Vital {
        let parts = self.parts();
        let Some(part) = parts.by_name.get(part) else {
            return Vital::default();
        };
        let ago = |then: Instant| at.saturating_duration_since(then);
        Vital {
            succeeded: part.succeeded.map(ago),
            failing: part
                .failure
                .as_ref()
                .filter(|failure| ago(failure.at) <= FAILURE_COUNTS)
                .map(|failure| failure.why.clone()),
            under_way: part.under_way.values().next().copied().map(ago),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that is under way.
#[derive(Debug)]
pub struct Attempt {
    vitals: Vitals,
    part: String,
    number: u64,
}

impl Attempt {
    pub fn succeeded(self, at: Instant) {
        self.vitals.succeeded(&self.part, at);
    }

    pub fn failed(self, why: impl Into<String>, at: Instant) {
        self.vitals.failed(&self.part, why, at);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(part) = self.vitals.parts().by_name.get_mut(&self.part) {
            part.under_way.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_until_a_success_or_for_a_minute() {
        let (vitals, start) = (Vitals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(vitals.of("x", at(0)), Vital::default());
        vitals.failed("x", "no", at(0));
        assert_eq!(vitals.of("x", at(60)).failing.as_deref(), Some("no"));
        assert_eq!(vitals.of("x", at(61)).failing, None);
        vitals.failed("x", "no", at(70));
        vitals.succeeded("x", at(71));
        assert_eq!(vitals.of("x", at(73)).failing, None);
        assert_eq!(vitals.of("x", at(73)).succeeded, Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_oldest_attempt_is_the_one_that_counts() {
        let (vitals, start) = (Vitals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = vitals.begin("x", at(0));
        let second = vitals.begin("x", at(5));
        let under_way = |seconds| vitals.of("x", at(seconds)).under_way;
        assert_eq!(under_way(7), Some(Duration::from_secs(7)));
        first.succeeded(at(7));
        assert_eq!(under_way(7), Some(Duration::from_secs(2)));
        // It broke off: nothing is known of its result.
        drop(second);
        assert_eq!(under_way(7), None);
        assert_eq!(vitals.of("x", at(7)).failing, None);
    }
}
