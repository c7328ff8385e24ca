//! What a transaction reads before it plans: which events are in the log already, and the histories of clients with late events.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Incoming;
use crate::domain::{ClientKey, Event};
use crate::engine::plan;
use crate::store::{Batch, Logged, StoreError, Stored};

/// The longest history, in events, that is read in a transaction with events of other clients. A client with a longer one gets a
/// transaction of its own: such a history may take minutes to read, and the others should neither wait for it nor be repeated when
/// it fails. To find out that a history is long, the transaction reads no more of it than this.
const LONGEST_SHARED: usize = 1_000;

/// The stored clients of a part.
pub(super) type ClientsByKey<'a> = HashMap<&'a ClientKey, &'a Stored>;

/// The clients with an event so late that their history must be replayed, in the order of their keys.
pub(super) fn late_clients(events: &[Event], clients: &ClientsByKey<'_>) -> Vec<ClientKey> {
    let late: BTreeSet<&ClientKey> = events
        .iter()
        .filter(|event| plan::needs_history(clients.get(&event.key).copied(), event))
        .map(|event| &event.key)
        .collect();
    late.into_iter().cloned().collect()
}

/// Reads the histories of clients with late events. Unless the client is alone in the transaction, a long history is left out.
pub(super) async fn read_histories(
    batch: &mut dyn Batch,
    late: &[ClientKey],
    alone: bool,
) -> Result<HashMap<ClientKey, Vec<Logged>>, StoreError> {
    if late.is_empty() {
        return Ok(HashMap::new());
    }
    let longest = if alone { None } else { Some(LONGEST_SHARED) };
    let histories = batch.histories(late, longest).await?;
    metrics::counter!("tenure_histories_replayed_total").increment(histories.len() as u64);
    Ok(histories)
}

/// For each message, whether an earlier one of the batch is the same event.
pub(super) fn repeated(incoming: &[Incoming]) -> Vec<bool> {
    let mut ids = HashSet::with_capacity(incoming.len());
    incoming
        .iter()
        .map(|incoming| match incoming {
            Incoming::Event(event) => !ids.insert((&*event.source, &*event.id)),
            Incoming::Dead(_) => false,
        })
        .collect()
}

/// The places of the events that are in the log already. Each one is looked up: a source may give one id to two events, also of
/// different clients.
pub(super) async fn read_known(
    batch: &mut dyn Batch,
    part: &[(usize, Event)],
) -> Result<HashSet<usize>, StoreError> {
    let ids: Vec<(&str, &str)> = part
        .iter()
        .map(|(_, event)| (&*event.source, &*event.id))
        .collect();
    let known = batch.duplicates(&ids).await?;
    Ok(ids
        .into_iter()
        .enumerate()
        .filter(|(_, (source, id))| known.contains(&((*source).to_owned(), (*id).to_owned())))
        .map(|(place, _)| place)
        .collect())
}

/// The stored clients of these events.
pub(super) fn retain_clients_of(stored: Vec<Stored>, events: &[Event]) -> Vec<Stored> {
    let keys: HashSet<&ClientKey> = events.iter().map(|event| &event.key).collect();
    stored
        .into_iter()
        .filter(|stored| keys.contains(&stored.key))
        .collect()
}
