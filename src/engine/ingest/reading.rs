//! What a transaction reads before it plans: which events are in the log already, and the histories of clients with late events.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::Incoming;
use crate::domain::{ClientKey, Event, Namesake, Policies};
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

/// Reads the histories of clients with late events, each from the last checkpoint before them, those in `whole` from the
/// beginning. Unless the client is alone in the transaction, a long history is left out.
pub(super) async fn read_histories(
    batch: &mut dyn Batch,
    late: &BTreeMap<ClientKey, DateTime<Utc>>,
    clients: &ClientsByKey<'_>,
    policies: &Policies,
    alone: bool,
    whole: &BTreeSet<ClientKey>,
) -> Result<HashMap<ClientKey, History>, StoreError> {
    if late.is_empty() {
        return Ok(HashMap::new());
    }
    let mut checkpoints = read_checkpoints(batch, late, clients).await?;
    let mut histories: HashMap<ClientKey, History> = late
        .keys()
        .map(|key| {
            let mut checkpoints = checkpoints.remove(key).unwrap_or_default();
            if whole.contains(key) {
                checkpoints.nearest = None;
            }
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

/// Whether an earlier message of the batch has the source and id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    No,
    /// The message at this place, which is the same event.
    Of(usize),
    /// Other events only.
    OfOthers,
}

/// The repetition of each message.
pub(super) fn repetitions(incoming: &[Incoming]) -> Vec<Repetition> {
    let mut firsts: HashMap<(&str, &str), (usize, &Event)> = HashMap::with_capacity(incoming.len());
    // By content: a sender may give one id to all of its events, and comparing each with each would take too long.
    let mut others: HashMap<String, usize> = HashMap::new();
    let mut repetitions = Vec::with_capacity(incoming.len());
    for (place, incoming) in incoming.iter().enumerate() {
        let Incoming::Event(event) = incoming else {
            repetitions.push(Repetition::No);
            continue;
        };
        repetitions.push(match firsts.entry((&*event.source, &*event.id)) {
            Entry::Vacant(first) => {
                first.insert((place, event));
                Repetition::No
            }
            Entry::Occupied(first) if first.get().1.is_repeated_by(event) => Repetition::Of(first.get().0),
            Entry::Occupied(_) => match others.entry(content(event)) {
                Entry::Vacant(first) => {
                    first.insert(place);
                    Repetition::OfOthers
                }
                Entry::Occupied(first) => Repetition::Of(*first.get()),
            },
        });
    }
    repetitions
}

/// A text that only the same event has: its source and id, and what [`Event::is_repeated_by`] compares.
fn content(event: &Event) -> String {
    let kind = serde_json::to_string(&event.kind).unwrap_or_default();
    let Event {
        source,
        id,
        key,
        time,
        ..
    } = event;
    format!("{source:?} {id:?} {key} {} {kind}", time.timestamp_micros())
}

/// The events of a part that are not planned: those that are in the log already, and those whose source gave their id to another
/// event first. By their places in the part.
#[derive(Default)]
pub(super) struct Known {
    pub duplicates: HashSet<usize>,
    /// With the reasons.
    pub mistakes: BTreeMap<usize, String>,
}

/// Compares the events of a part that are in the event log, at the places `duplicates`, with what is there. `has_namesakes`: the part may
/// have two events with one source and id.
pub(super) async fn read_known(
    batch: &mut dyn Batch,
    part: &[(usize, Event)],
    duplicates: HashSet<usize>,
    has_namesakes: bool,
) -> Result<Known, StoreError> {
    let places: Vec<usize> = (0..part.len())
        .filter(|place| duplicates.contains(place))
        .collect();
    let events: Vec<&Event> = places.iter().map(|place| &part[*place].1).collect();
    let namesakes = batch.namesakes(&events).await?;
    let conflict = |(n, namesake): (usize, Namesake)| {
        let reason = namesake.conflict_with(events.get(n)?)?;
        Some((*places.get(n)?, reason))
    };
    let mut mistakes: BTreeMap<usize, String> = namesakes.into_iter().filter_map(conflict).collect();
    if has_namesakes {
        mistakes.extend(mistakes_among(part, &duplicates));
    }
    Ok(Known { duplicates, mistakes })
}

/// Of the events that are not in the log, those whose source and id an earlier one has.
fn mistakes_among(part: &[(usize, Event)], duplicates: &HashSet<usize>) -> Vec<(usize, String)> {
    let mut firsts: HashMap<(&str, &str), &Event> = HashMap::new();
    let mut mistakes = Vec::new();
    for (place, (_, event)) in part.iter().enumerate() {
        if duplicates.contains(&place) {
            continue;
        }
        match firsts.entry((&*event.source, &*event.id)) {
            Entry::Vacant(first) => drop(first.insert(event)),
            Entry::Occupied(first) => {
                let reason = Namesake::from(*first.get()).conflict_with(event);
                mistakes.extend(reason.map(|reason| (place, reason)));
            }
        }
    }
    mistakes
}

/// The stored clients of these events.
pub(super) fn retain_clients_of(stored: Vec<Stored>, events: &[Event]) -> Vec<Stored> {
    let keys: HashSet<&ClientKey> = events.iter().map(|event| &event.key).collect();
    stored
        .into_iter()
        .filter(|stored| keys.contains(&stored.key))
        .collect()
}
