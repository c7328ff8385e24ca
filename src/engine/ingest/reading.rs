//! What a transaction reads before it plans: which events are there already, and the histories of late ones.

use std::collections::{HashMap, HashSet};

use super::Incoming;
use crate::domain::{ClientKey, Event};
use crate::engine::plan;
use crate::store::{Batch, Logged, StoreError, Stored};

/// The longest history, in events, that is read in a transaction with events of other clients. A late event of a client
/// with a longer one waits until the others are committed, and gets a transaction of its own: such a history may take
/// minutes to read, and the others must neither wait for that nor be read again with it when it fails. So they wait for
/// a long history once at most, and only for as much of it as shows that it is long.
const LONGEST_SHARED: usize = 1_000;

/// Takes the events of these clients out of a batch: for each client its own, in their order.
pub(super) fn set_apart(events: &mut Vec<(usize, Event)>, keys: &[ClientKey]) -> Vec<Vec<(usize, Event)>> {
    keys.iter()
        .map(|key| events.extract_if(.., |(_, event)| event.key == *key).collect())
        .collect()
}

/// The histories of clients with late events. Beside other clients, one that is too long is left out.
pub(super) async fn histories(
    batch: &mut dyn Batch,
    late: &[ClientKey],
    alone: bool,
) -> Result<HashMap<ClientKey, Vec<Logged>>, StoreError> {
    if late.is_empty() {
        return Ok(HashMap::new());
    }
    let longest = if alone { None } else { Some(LONGEST_SHARED) };
    let histories = batch.histories(late, longest).await?;
    metrics::counter!("tenure_histories_folded_total").increment(histories.len() as u64);
    Ok(histories)
}

/// Of each, whether it is an event that is there before it.
pub(super) fn again(incoming: &[Incoming]) -> Vec<bool> {
    let mut names = HashSet::with_capacity(incoming.len());
    incoming
        .iter()
        .map(|incoming| match incoming {
            Incoming::Event(event) => !names.insert((&*event.source, &*event.id)),
            Incoming::Dead(_) => false,
        })
        .collect()
}

/// The places of the events that are in the log already. One that comes after all that its client has
/// seen cannot be, unless its source gave one id to two events: then the insert fails, and the next
/// attempt looks all of them up.
pub(super) async fn known<'c>(
    batch: &mut dyn Batch,
    part: &[(usize, Event)],
    suspicious: bool,
    client: impl Fn(&Event) -> Option<&'c Stored>,
) -> Result<HashSet<usize>, StoreError> {
    let asked: Vec<(usize, &Event)> = part
        .iter()
        .map(|(_, event)| event)
        .enumerate()
        .filter(|(_, event)| suspicious || !plan::is_in_order(client(event), event))
        .collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<(&str, &str)> = asked
        .iter()
        .map(|(_, event)| (&*event.source, &*event.id))
        .collect();
    let known = batch.duplicates(&ids).await?;
    Ok(asked
        .into_iter()
        .filter(|(_, event)| known.contains(&(event.source.to_string(), event.id.to_string())))
        .map(|(place, _)| place)
        .collect())
}

pub(super) fn of_these(stored: Vec<Stored>, events: &[Event]) -> Vec<Stored> {
    let keys: HashSet<&ClientKey> = events.iter().map(|event| &event.key).collect();
    stored
        .into_iter()
        .filter(|stored| keys.contains(&stored.key))
        .collect()
}
