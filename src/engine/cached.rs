//! Data that every transaction needs and that rarely changes: read from the store at most once a second.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::StoreError;

/// How long a cached value may be used.
pub(super) const MAX_STALENESS: TimeDelta = TimeDelta::seconds(1);

/// How stale a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    /// Read less than [`MAX_STALENESS`] ago: good enough for a short transaction.
    Bounded,
    /// Read now.
    None,
}

/// The last value read from the store, and when.
#[derive(Debug)]
pub(super) struct Cached<T>(Mutex<Option<(DateTime<Utc>, Arc<T>)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    /// The cached value if it is fresh enough, else a new one from `read`.
    pub async fn read(
        &self,
        staleness: Staleness,
        now: DateTime<Utc>,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<Arc<T>, StoreError> {
        if staleness == Staleness::Bounded {
            let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read_at, value)) = cached.as_ref()
                // A clock that was set back must not prolong it.
                && (TimeDelta::zero()..MAX_STALENESS).contains(&(now - *read_at))
            {
                return Ok(value.clone());
            }
        }
        let value = Arc::new(read.await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, value.clone()));
        Ok(value)
    }

    /// Makes the next read go to the store.
    pub fn invalidate(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
