//! What every transaction needs to know, and what changes seldom: read from the store once a second at most.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::StoreError;

/// How long a worker may go on with what it has read.
pub(super) const LOOK: TimeDelta = TimeDelta::seconds(1);

/// How old what is read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Read less than [`LOOK`] ago: as good as now for whoever is done soon.
    AMoment,
    /// Read now.
    Now,
}

/// Something as it was last read, and when.
#[derive(Debug)]
pub(super) struct Page<T>(Mutex<Option<(DateTime<Utc>, Arc<T>)>>);

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Page<T> {
    /// What was read before, if it may be as old as that, or is read now.
    pub async fn read(
        &self,
        age: Age,
        now: DateTime<Utc>,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<Arc<T>, StoreError> {
        if age == Age::AMoment {
            let page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read_at, value)) = page.as_ref()
                // A clock that was set back must not make it last.
                && (TimeDelta::zero()..LOOK).contains(&(now - *read_at))
            {
                return Ok(value.clone());
            }
        }
        let value = Arc::new(read.await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, value.clone()));
        Ok(value)
    }

    /// Has it read again next time.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
