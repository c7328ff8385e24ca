//! What a transaction reads before it plans: which events are in the log already, and the histories of clients with late events.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::Incoming;
use crate::domain::{ClientKey, Event, Policies};
use crate::engine::plan::{self, History};
use crate::store::{Batch, Checkpoints, HistoryRange, StoreError, Stored};

/// The longest history, in events, that is read in a transaction with events of other clients. It counts from the checkpoint where
/// the replay starts. A client with a longer one gets a transaction of its own: such a history may take minutes to read, and the
/// others should neither wait for it nor be repeated when it fails. To find out that a history is long, the transaction reads no
/// more of it than this.
const LONGEST_SHARED: usize = 1_000;

/// The stored clients of a part.
pub(super) type ClientsByKey<'a> = HashMap<&'a ClientKey, &'a Stored>;

/// The clients with an event so late that their history must be replayed, each with the time of its first event of the batch.
pub(super) fn late_clients(
    events: &[Event],
    clients: &ClientsByKey<'_>,
) -> BTreeMap<ClientKey, DateTime<Utc>> {
    let mut late: BTreeMap<ClientKey, DateTime<Utc>> = events
        .iter()
        .filter(|event| plan::needs_history(clients.get(&event.key).copied(), event))
        .map(|event| (event.key.clone(), event.time))
        .collect();
    if !late.is_empty() {
        for event in events {
            if let Some(first) = late.get_mut(&event.key) {
                *first = event.time.min(*first);
            }
        }
    }
    late
}

/// Reads the histories of clients with late events, each from the last checkpoint before them. Unless the client is alone in the
/// transaction, a long history is left out.
pub(super) async fn read_histories(
    batch: &mut dyn Batch,
    late: &BTreeMap<ClientKey, DateTime<Utc>>,
    clients: &ClientsByKey<'_>,
    policies: &Policies,
    alone: bool,
) -> Result<HashMap<ClientKey, History>, StoreError> {
    if late.is_empty() {
        return Ok(HashMap::new());
    }
    let mut checkpoints = read_checkpoints(batch, late, clients).await?;
    let mut histories: HashMap<ClientKey, History> = late
        .keys()
        .map(|key| {
            let checkpoints = checkpoints.remove(key).unwrap_or_default();
            (key.clone(), History::starting_from(checkpoints, policies))
        })
        .collect();
    let ranges: Vec<HistoryRange> = late
        .keys()
        .map(|key| HistoryRange {
            key: key.clone(),
            after: histories.get(key).and_then(History::after),
        })
        .collect();
    let longest = if alone { None } else { Some(LONGEST_SHARED) };
    let mut events = batch.histories(&ranges, longest).await?;
    histories.retain(|key, history| {
        let read = events.remove(key);
        let is_read = read.is_some();
        history.events = read.unwrap_or_default();
        is_read
    });
    let from_checkpoints = histories.values().filter(|history| history.after().is_some());
    metrics::counter!("tenure_checkpoints_used_total").increment(from_checkpoints.count() as u64);
    metrics::counter!("tenure_histories_replayed_total").increment(histories.len() as u64);
    Ok(histories)
}

/// The checkpoints of those clients that have any. Few have.
async fn read_checkpoints(
    batch: &mut dyn Batch,
    late: &BTreeMap<ClientKey, DateTime<Utc>>,
    clients: &ClientsByKey<'_>,
) -> Result<HashMap<ClientKey, Checkpoints>, StoreError> {
    let has_checkpoints = |key: &ClientKey| {
        clients
            .get(key)
            .is_some_and(|stored| stored.document.checkpointed_until.is_some())
    };
    let before: Vec<(ClientKey, DateTime<Utc>)> = late
        .iter()
        .filter(|(key, _)| has_checkpoints(key))
        .map(|(key, first)| (key.clone(), *first))
        .collect();
    if before.is_empty() {
        return Ok(HashMap::new());
    }
    batch.checkpoints(&before).await
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
