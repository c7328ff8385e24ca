//! The clients that this worker cannot sweep: a line of the log when that begins, and one when this worker sweeps them again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{ClientKey, Sweep};

/// Once this many are tracked, every failure of a further client is logged.
const MOST: usize = 1_000;
/// A client that fails again after this time begins to fail: a rebuild may have repaired it meanwhile.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(48);

/// The clients of which the log says that they cannot be swept, each with its last failure.
#[derive(Debug, Default)]
pub(in crate::engine) struct FailingClients(Mutex<BTreeMap<(Sweep, ClientKey), Instant>>);

impl FailingClients {
    /// Notes a failure. True: the client begins to fail.
    pub fn fail(&self, sweep: Sweep, key: &ClientKey, now: Instant) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |last: &Instant| now.duration_since(*last) < FORGOTTEN_AFTER;
        failing.retain(|_, last| is_recent(last));
        let client = (sweep, key.clone());
        if failing.len() >= MOST && !failing.contains_key(&client) {
            return true;
        }
        failing.insert(client, now).is_none()
    }

    /// Those of these clients that fail. Usually none does, and nothing is copied.
    pub fn among<'k>(&self, sweep: Sweep, keys: impl Iterator<Item = &'k ClientKey>) -> Vec<ClientKey> {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_empty() {
            return Vec::new();
        }
        let fails = |key: &ClientKey| failing.contains_key(&(sweep, key.clone()));
        keys.filter(|key| fails(key)).cloned().collect()
    }

    /// Notes that a client was swept. True: it had failed.
    pub fn succeed(&self, sweep: Sweep, key: ClientKey) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.remove(&(sweep, key)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ClientKey {
        ClientKey::new("p", &format!("c{number}")).expect("a key")
    }

    #[test]
    fn a_client_starts_and_stops_failing_once_in_each_sweep() {
        let (failing, now) = (FailingClients::default(), Instant::now());
        assert!(failing.fail(Sweep::AccessExpiry, &key(1), now));
        assert!(!failing.fail(Sweep::AccessExpiry, &key(1), now));
        assert!(failing.fail(Sweep::RequestLapse, &key(1), now));
        let keys = [key(0), key(1)];
        assert_eq!(failing.among(Sweep::AccessExpiry, keys.iter()), [key(1)]);
        assert!(failing.succeed(Sweep::AccessExpiry, key(1)));
        assert!(!failing.succeed(Sweep::AccessExpiry, key(1)));
        assert!(failing.among(Sweep::AccessExpiry, keys.iter()).is_empty());
        assert!(failing.fail(Sweep::AccessExpiry, &key(1), now));
        assert!(failing.fail(Sweep::AccessExpiry, &key(1), now + FORGOTTEN_AFTER));
    }

    #[test]
    fn memory_is_bounded_and_no_failure_is_lost() {
        let (failing, now) = (FailingClients::default(), Instant::now());
        for number in 0..2 * MOST {
            assert!(failing.fail(Sweep::AccessExpiry, &key(number), now), "{number}");
        }
        assert_eq!(failing.0.lock().expect("no panic").len(), MOST);
    }
}
