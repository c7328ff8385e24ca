//! The last success and failure of each activity of a worker. Readiness depends on them: only completed
//! work proves that work is possible.
//!
//! Times are monotonic: setting the clock must not make an old success look recent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The small write of a worker that has not written anything else for a while.
pub const PROBE: &str = "probe";
/// Batches of events from every entry point.
pub const EVENTS: &str = "events";

/// How long a failure is reported without another attempt. While there is work, attempts are more frequent.
const FAILURE_VALID_FOR: Duration = Duration::from_mins(1);

/// The last success, the last failure and the current attempts of each activity; clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<Activities>>);

#[derive(Debug, Default)]
struct Activities {
    by_name: BTreeMap<String, Activity>,
    attempts: u64,
}

#[derive(Debug, Default)]
struct Activity {
    succeeded: Option<Instant>,
    failure: Option<Failure>,
    under_way: BTreeMap<u64, Instant>,
}

#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    why: String,
}

/// The state of an activity at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vital {
    /// Time since its last success. None: it never succeeded.
    pub succeeded: Option<Duration>,
    /// Why it fails. None: it has succeeded since the last failure, or that was long ago.
    pub failing: Option<String>,
    /// Duration of the oldest current attempt.
    pub under_way: Option<Duration>,
}

impl Vitals {
    /// Begins an attempt. An attempt that is dropped without a result has no effect.
    #[must_use]
    pub fn begin(&self, activity: &str, at: Instant) -> Attempt {
        let mut activities = self.activities();
        activities.attempts += 1;
        let number = activities.attempts;
        let entry = activities.by_name.entry(activity.to_owned()).or_default();
        entry.under_way.insert(number, at);
        Attempt {
            vitals: self.clone(),
            activity: activity.to_owned(),
            number,
        }
    }

    pub fn succeeded(&self, activity: &str, at: Instant) {
        let mut activities = self.activities();
        let activity = activities.by_name.entry(activity.to_owned()).or_default();
        activity.succeeded = Some(at);
        activity.failure = None;
    }

    pub fn failed(&self, activity: &str, why: impl Into<String>, at: Instant) {
        let mut activities = self.activities();
        let activity = activities.by_name.entry(activity.to_owned()).or_default();
        let why = why.into();
        activity.failure = Some(Failure { at, why });
    }

    /// The state of an activity.
    #[must_use]
    pub fn of(&self, activity: &str, at: Instant) -> Vital {
        let activities = self.activities();
        let Some(activity) = activities.by_name.get(activity) else {
            return Vital::default();
        };
        let ago = |then: Instant| at.saturating_duration_since(then);
        Vital {
            succeeded: activity.succeeded.map(ago),
            failing: activity
                .failure
                .as_ref()
                .filter(|failure| ago(failure.at) <= FAILURE_VALID_FOR)
                .map(|failure| failure.why.clone()),
            under_way: activity.under_way.values().next().copied().map(ago),
        }
    }

    fn activities(&self) -> MutexGuard<'_, Activities> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A current attempt.
#[derive(Debug)]
pub struct Attempt {
    vitals: Vitals,
    activity: String,
    number: u64,
}

impl Attempt {
    pub fn succeeded(self, at: Instant) {
        self.vitals.succeeded(&self.activity, at);
    }

    pub fn failed(self, why: impl Into<String>, at: Instant) {
        self.vitals.failed(&self.activity, why, at);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(activity) = self.vitals.activities().by_name.get_mut(&self.activity) {
            activity.under_way.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_until_a_success_or_for_a_minute() {
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
    fn the_oldest_attempt_is_reported() {
        let (vitals, start) = (Vitals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = vitals.begin("x", at(0));
        let second = vitals.begin("x", at(5));
        let under_way = |seconds| vitals.of("x", at(seconds)).under_way;
        assert_eq!(under_way(7), Some(Duration::from_secs(7)));
        first.succeeded(at(7));
        assert_eq!(under_way(7), Some(Duration::from_secs(2)));
        // The attempt was cancelled, so it has no result.
        drop(second);
        assert_eq!(under_way(7), None);
        assert_eq!(vitals.of("x", at(7)).failing, None);
    }
}
