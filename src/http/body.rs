//! Receives the body of a request, within its own limit and the limit of all requests.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;

use super::ApiError;
use super::memory::Share;

/// Initial capacity for a body, in bytes.
const FIRST: usize = 4 << 10;
/// How long to discard the rest of a body that exceeds the memory. Most clients read the answer after they have sent everything.
const DISCARD_WITHIN: Duration = Duration::from_secs(1);

/// Receives the whole body.
///
/// # Errors
/// When it exceeds `limit` bytes, the sender disconnects, or requests use all the memory.
pub(super) async fn receive(body: Body, limit: usize, share: &mut Share) -> Result<Vec<u8>, ApiError> {
    let mut parts = body.into_data_stream();
    let mut received = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| ApiError::Body(error.to_string()))?;
        let length = received.len() + part.len();
        if length > limit {
            return Err(ApiError::TooLarge { limit });
        }
        if length > received.capacity() {
            let room = length
                .max(received.capacity() * 2)
                .max(FIRST)
                .min(limit.max(length));
            if let Err(error) = share.set(room) {
                drop(received);
                discard(parts, limit).await;
                return Err(error);
            }
            received.reserve_exact(room - received.len());
        }
        received.extend_from_slice(&part);
    }
    Ok(received)
}

/// Discards the rest: closing a connection with unread data may lose the answer.
async fn discard(mut parts: BodyDataStream, limit: usize) {
    let mut rest = limit;
    let discarding = async {
        while let Some(Ok(part)) = parts.next().await {
            rest = rest.saturating_sub(part.len());
            if rest == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_WITHIN, discarding).await;
}
