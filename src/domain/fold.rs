//! The fold of a history: the definition of a client's state. Every faster path must agree with it.

use chrono::{DateTime, Utc};

use super::client::Client;
use super::event::{Event, NameVerdict};
use super::policy::Policies;
use super::refusal::Refusal;

/// The state at a moment. Starting from nothing, for each event up to then in order of [`Event::position`], every timer that
/// is due at or before the event's time fires, then the event is applied. At the end, every timer that is due at or before
/// the moment fires. `events` may be in any order and contain duplicates.
#[must_use]
pub fn fold(events: &[Event], until: DateTime<Utc>, policies: &Policies) -> Client {
    // If a source gives two different events the same id, it is undefined which of them counts.
    let mut sorted: Vec<&Event> = events.iter().filter(|event| event.time <= until).collect();
    sorted.sort_by_cached_key(|event| event.position());
    sorted.dedup_by(|a, b| a.source == b.source && a.id == b.id);
    let mut client = Client::default();
    for event in sorted {
        client.advance(event.time, policies);
        // A refused event leaves the state unchanged.
        let _ = client.apply(event, policies);
    }
    client.advance(until, policies);
    client
}

/// Applies a sorted history to a client that has seen less, and returns the outcome of each event. It calls `is_taken` for
/// an event whose name is undecided and that is otherwise possible.
pub fn replay(
    client: &mut Client,
    sorted: &mut [Event],
    policies: &Policies,
    mut is_taken: impl FnMut(&Event) -> bool,
) -> Vec<Result<(), Refusal>> {
    sorted
        .iter_mut()
        .map(|event| {
            client.advance(event.time, policies);
            apply_deciding_name(client, event, policies, &mut is_taken)
        })
        .collect()
}

/// Applies one event, and decides about the name that it claims if that is undecided.
///
/// # Errors
/// The refusal.
pub fn apply_deciding_name(
    client: &mut Client,
    event: &mut Event,
    policies: &Policies,
    is_taken: impl FnOnce(&Event) -> bool,
) -> Result<(), Refusal> {
    if event.kind.claimed_name().is_some()
        && event.name_verdict == NameVerdict::Open
        && client.must_allow(event).is_ok()
    {
        event.name_verdict = if is_taken(event) {
            NameVerdict::Taken
        } else {
            NameVerdict::Granted
        };
    }
    client.apply(event, policies)
}
