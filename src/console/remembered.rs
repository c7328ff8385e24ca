//! What takes long to count, and is remembered for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// How long a page waits for a count. A longer one goes on, for the next page.
const PATIENCE: Duration = Duration::from_millis(40);
/// How long nobody counts again what could not be counted.
const FAILED_FOR: Duration = Duration::from_mins(1);
/// Counts that are remembered at most, of each kind.
const MOST: usize = 64;

/// Counts by what was counted, as they were last counted.
pub struct Remembered<K, V>(Arc<Mutex<HashMap<K, Known<V>>>>);

struct Known<V> {
    counted: Option<(Instant, V)>,
    /// When the last attempt failed.
    failed: Option<Instant>,
    /// A task is counting. One is enough, however many readers wait.
    is_running: bool,
}

/// Whether somebody must count.
enum Begun<V> {
    /// No: the count is fresh, or a task is counting, or has just failed.
    Known(Option<V>),
    /// Yes. With the count from before.
    Now(Option<V>),
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Remembered<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What was counted within `fresh_for`. Otherwise counts in a task of its own, unless that has failed within a minute. None: it
    /// has not ended yet, or has failed, and nothing was counted before.
    pub async fn get(
        &self,
        key: K,
        fresh_for: Duration,
        count: impl Future<Output = Option<V>> + Send + 'static,
    ) -> Option<V> {
        let before = match self.begin(&key, fresh_for).await {
            Begun::Known(value) => return value,
            Begun::Now(before) => before,
        };
        let all = self.0.clone();
        let counting = tokio::spawn(async move {
            // In another task, so that a panic does not leave it running for ever.
            let counted = tokio::spawn(count).await.ok().flatten();
            Self(all).end(&key, counted.clone()).await;
            counted
        });
        let counted = tokio::time::timeout(PATIENCE, counting).await;
        counted.ok().and_then(Result::ok).flatten().or(before)
    }

    async fn begin(&self, key: &K, fresh_for: Duration) -> Begun<V> {
        let mut all = self.0.lock().await;
        if all.len() >= MOST {
            all.retain(|_, known| known.is_running);
        }
        let known = all.entry(key.clone()).or_insert(Known {
            counted: None,
            failed: None,
            is_running: false,
        });
        let before = known.counted.as_ref().map(|(_, value)| value.clone());
        let at = known.counted.as_ref().map(|(at, _)| at);
        let is_fresh = at.is_some_and(|at| at.elapsed() < fresh_for);
        let has_failed = known.failed.is_some_and(|at| at.elapsed() < FAILED_FOR);
        if known.is_running || is_fresh || has_failed {
            return Begun::Known(before);
        }
        known.is_running = true;
        Begun::Now(before)
    }

    async fn end(&self, key: &K, counted: Option<V>) {
        let mut all = self.0.lock().await;
        if let Some(known) = all.get_mut(key) {
            known.is_running = false;
            known.failed = counted.is_none().then(Instant::now);
            if let Some(value) = counted {
                known.counted = Some((Instant::now(), value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_could_not_be_counted_is_not_counted_again_at_once() {
        let (remembered, attempts) = (Remembered::<(), u64>::default(), Arc::new(AtomicU32::new(0)));
        for _ in 0..3 {
            let attempts = attempts.clone();
            let failing = async move {
                attempts.fetch_add(1, Ordering::Relaxed);
                None
            };
            assert_eq!(remembered.get((), Duration::from_secs(1), failing).await, None);
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
    }
}
