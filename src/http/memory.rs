//! Limits the memory that all requests use together: bodies, decoded events and unsent answers.
//!
//! The limits on connections and on the size of a body are not enough: a few hundred slow senders or large batches would
//! use gigabytes.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, ApiError};
use crate::config::HttpSettings;

/// Bytes of one permit.
const UNIT: usize = 1024;
/// Bytes of each request that are not counted, so that single events are accepted while large requests use everything.
const FREE: usize = 16 << 10;
/// The limit in bytes, unless two requests of the largest size need more.
const LEAST: usize = 128 << 20;

/// Maximum number of events decoded at a time, and written in one transaction.
pub(super) const CHUNK: usize = 1_000;
/// Bytes of an outcome in memory and in the answer, without the text of the event.
const OUTCOME: usize = 256;
/// Bytes of a decoded event or a dead letter, without its text.
const DECODED: usize = 1024;

/// The memory that all requests share.
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub fn new(settings: &HttpSettings) -> Self {
        let largest = of_events(settings.body_limit, settings.max_events);
        let units = largest.saturating_mul(2).max(LEAST) / UNIT;
        Self(Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))))
    }

    /// The share of one request, empty at first.
    pub fn share(&self) -> Share {
        Share {
            room: self.0.clone(),
            held: None,
        }
    }
}

/// Bytes that a request uses while its events are ingested.
pub(super) fn of_events(body: usize, events: usize) -> usize {
    // The body, and its text once more decoded and once more in the answer.
    body.saturating_mul(3)
        .saturating_add(events.saturating_mul(OUTCOME))
        .saturating_add(events.min(CHUNK) * DECODED)
}

/// The memory of one request, returned on drop.
pub(super) struct Share {
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Sets the number of bytes that the request uses.
    ///
    /// # Errors
    /// When other requests use the rest.
    pub fn set(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted < held {
            drop(
                self.held
                    .as_mut()
                    .and_then(|held_now| held_now.split(held - wanted)),
            );
        } else if wanted > held {
            let more = u32::try_from(wanted - held).map_err(|_| ApiError::NoRoom)?;
            // No waiting: a request that waits keeps its memory.
            let more = self.room.clone().try_acquire_many_owned(more);
            let more = more.map_err(|_| ApiError::NoRoom)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        }
        Ok(())
    }

    /// The bytes of an answer, which use this memory until they are sent.
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Counts answers until they are sent, because a client may read slowly.
pub(super) async fn hold_answer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let size = answer.body().size_hint().exact();
    let Some(size) = size.and_then(|size| usize::try_from(size).ok()) else {
        return answer;
    };
    if size <= FREE {
        return answer;
    }
    let mut share = api.memory.share();
    if let Err(error) = share.set(size) {
        return error.into_response();
    }
    let (head, body) = answer.into_parts();
    match axum::body::to_bytes(body, size).await {
        Ok(bytes) => Response::from_parts(head, Body::from(share.with(bytes))),
        Err(error) => ApiError::Internal(error.into()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(units: usize) -> Memory {
        Memory(Arc::new(Semaphore::new(units)))
    }

    #[test]
    fn a_share_grows_shrinks_and_is_returned() {
        let memory = memory(100);
        let (mut one, mut other) = (memory.share(), memory.share());
        one.set(FREE + 60 * UNIT).unwrap();
        assert!(other.set(FREE + 41 * UNIT).is_err(), "100 units are there");
        other.set(FREE).unwrap();
        one.set(FREE + 30 * UNIT).unwrap();
        other.set(FREE + 70 * UNIT).unwrap();
        assert!(memory.share().set(FREE + 1).is_err());
        drop(one);
        other.set(FREE + 100 * UNIT).unwrap();
        drop(other);
        assert_eq!(memory.0.available_permits(), 100);
    }

    #[test]
    fn a_response_holds_its_memory_until_it_is_sent() {
        let memory = memory(100);
        let mut share = memory.share();
        share.set(FREE + 100 * UNIT).unwrap();
        let answer = share.with(Bytes::from_static(b"{}"));
        let part = answer.slice(1..);
        drop(answer);
        assert_eq!((memory.0.available_permits(), &part[..]), (0, &b"}"[..]));
        drop(part);
        assert_eq!(memory.0.available_permits(), 100);
    }
}
