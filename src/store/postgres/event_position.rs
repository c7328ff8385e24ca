//! Positions of events as the columns have them.

use super::event_ref::event_ref;
use crate::store::EventPosition;

/// The number of the client, `client`.
pub(super) fn client_number(position: &EventPosition) -> i32 {
    i32::try_from(position.client).unwrap_or(i32::MAX)
}

/// The name of the event, `ref`. Empty: before every event.
pub(super) fn reference(position: &EventPosition) -> Vec<u8> {
    if position.id.is_empty() {
        return Vec::new();
    }
    event_ref(i32::try_from(position.source).unwrap_or(i32::MAX), &position.id)
}
