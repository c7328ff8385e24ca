//! What every transaction needs to know, and what changes seldom: read from the store once a second at most.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::StoreError;

/// How long a worker may go on with what it has read.
pub(super) const MAX_STALENESS: TimeDelta = TimeDelta::seconds(1);

/// How old what is read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    /// Read less than [`MAX_STALENESS`] ago: as good as now for whoever is done soon.
    Bounded,
    /// Read now.
    None,
}

/// Something as it was last read, and when.
#[derive(Debug)]
pub(super) struct Cached<T>(Mutex<Option<(DateTime<Utc>, Arc<T>)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    /// What was read before, if it may be as old as that, or is read now.
    pub async fn read(
        &self,
        staleness: Staleness,
        now: DateTime<Utc>,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<Arc<T>, StoreError> {
        if staleness == Staleness::Bounded {
            let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read_at, value)) = cached.as_ref()
                // A clock that was set back must not make it last.
                && (TimeDelta::zero()..MAX_STALENESS).contains(&(now - *read_at))
            {
                return Ok(value.clone());
            }
        }
        let value = Arc::new(read.await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, value.clone()));
        Ok(value)
    }

    /// Has it read again next time.
    pub fn invalidate(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
