//! Something that fails for a while: the log has one line for its beginning and one for its end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether something fails at present.
#[derive(Debug, Default)]
pub struct Incident {
    /// The incident ends with the first success that is at least this long after the last failure.
    calm: Duration,
    /// The last failure. None: nothing fails.
    failed: Mutex<Option<Instant>>,
}

impl Incident {
    /// `calm`: something that fails and succeeds by turns goes on failing until nothing has failed for this long.
    pub const fn with_calm(calm: Duration) -> Self {
        Self {
            calm,
            failed: Mutex::new(None),
        }
    }

    /// Notes a failure. True: the incident begins with it.
    pub fn fail(&self) -> bool {
        self.fail_at(Instant::now())
    }

    /// Notes a success. True: the incident ends with it.
    pub fn succeed(&self) -> bool {
        self.succeed_at(Instant::now())
    }

    fn fail_at(&self, now: Instant) -> bool {
        self.failed().replace(now).is_none()
    }

    fn succeed_at(&self, now: Instant) -> bool {
        let is_over = |failed: &mut Instant| now.duration_since(*failed) >= self.calm;
        self.failed().take_if(is_over).is_some()
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_begins_and_ends_once() {
        let incident = Incident::default();
        assert!(!incident.succeed());
        assert!(incident.fail() && !incident.fail());
        assert!(incident.succeed() && !incident.succeed());
        assert!(incident.fail());
    }

    #[test]
    fn failures_and_successes_by_turns_are_one_incident() {
        let calm = Duration::from_secs(10);
        let incident = Incident::with_calm(calm);
        let mut now = Instant::now();
        assert!(incident.fail_at(now));
        for _ in 0..100 {
            now += calm / 2;
            assert!(!incident.succeed_at(now) && !incident.fail_at(now));
        }
        now += calm;
        assert!(incident.succeed_at(now) && incident.fail_at(now));
    }
}
