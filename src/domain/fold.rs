//! A history folded from nothing: the definition that everything faster is held against.

use chrono::{DateTime, Utc};

use super::client::Client;
use super::event::{Event, NameVerdict};
use super::policy::Policies;
use super::refusal::Refusal;

/// The state at a moment: from nothing, for each event up to then in order of [`Event::position`],
/// first every timer that is due at or before its time, then the event; at the end every timer
/// due at or before the moment. `events` may come in any order and hold duplicates.
#[must_use]
pub fn fold(events: &[Event], until: DateTime<Utc>, policies: &Policies) -> Client {
    // One id given to two different events is the source's fault; which of them counts is not defined.
    let mut sorted: Vec<&Event> = events.iter().filter(|event| event.time <= until).collect();
    sorted.sort_by_cached_key(|event| event.position());
    sorted.dedup_by(|a, b| a.source == b.source && a.id == b.id);
    let mut client = Client::default();
    for event in sorted {
        client.advance(event.time, policies);
        // What comes of a refusal is nothing, which is all that a state can say.
        let _ = client.apply(event, policies);
    }
    client.advance(until, policies);
    client
}

/// Applies a sorted history to a client that has seen less, and tells each event's outcome.
/// `is_taken` is asked for an event that could be applied but for a name whose verdict is open.
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

/// Applies one event, deciding about the name it claims if that is still open.
///
/// # Errors
/// The refusal.
pub fn apply_deciding_name(
    client: &mut Client,
    event: &mut Event,
    policies: &Policies,
    is_taken: impl FnOnce(&Event) -> bool,
) -> Result<(), Refusal> {
    if event.kind.claimed_name().is_none() || event.name_verdict != NameVerdict::Open {
        return client.apply(event, policies);
    }
    let before = client.clone();
    client.apply(event, policies)?;
    event.name_verdict = if is_taken(event) {
        NameVerdict::Taken
    } else {
        NameVerdict::Granted
    };
    if event.name_verdict == NameVerdict::Taken {
        *client = before;
        return client.apply(event, policies);
    }
    Ok(())
}
