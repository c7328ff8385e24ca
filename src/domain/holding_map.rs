//! The holdings of one kind. They record what an event writes, so that finding its changes takes time in proportion to what it
//! wrote, not to all that the client holds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::Id;
use super::refusal::Refusal;

/// Holdings by id. They are read as a map.
///
/// The record of writes is no part of the state: it is neither stored nor compared nor copied.
pub struct HoldingMap<V> {
    held: BTreeMap<Id, V>,
    /// While writes are recorded: of every id that was written, the value before the first write.
    recorded: Option<BTreeMap<Id, Option<V>>>,
}

/// Holdings that are nothing but ids.
pub type HoldingSet = HoldingMap<()>;

/// An id, its value before, and its value after.
pub(super) type Difference<'a, V> = (&'a Id, Option<&'a V>, Option<&'a V>);

/// The values before the writes that were recorded.
pub(super) struct Writes<V>(BTreeMap<Id, Option<V>>);

impl<V> HoldingMap<V> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl<V: Clone + PartialEq> HoldingMap<V> {
    /// # Errors
    /// If there is a holding with this id.
    pub(super) fn add(&mut self, id: &Id, value: V) -> Result<(), Refusal> {
        if self.held.contains_key(id) {
            return Err(Refusal::DuplicateId);
        }
        self.record(id, None);
        self.held.insert(id.clone(), value);
        Ok(())
    }

    /// # Errors
    /// If there is no holding with this id.
    pub(super) fn remove(&mut self, id: &Id) -> Result<(), Refusal> {
        let old = self.held.remove(id).ok_or(Refusal::UnknownId)?;
        self.record(id, Some(old));
        Ok(())
    }

    /// Changes the holding with this id, if there is one.
    pub(super) fn update<R>(&mut self, id: &Id, act: impl FnOnce(&mut V) -> R) -> Option<R> {
        let old = self.held.get(id)?;
        if self.recorded.is_some() {
            let old = old.clone();
            self.record(id, Some(old));
        }
        self.held.get_mut(id).map(act)
    }

    pub(super) fn clear(&mut self) {
        for (id, old) in std::mem::take(&mut self.held) {
            self.record(&id, Some(old));
        }
    }

    fn record(&mut self, id: &Id, old: Option<V>) {
        if let Some(recorded) = &mut self.recorded
            && !recorded.contains_key(id)
        {
            recorded.insert(id.clone(), old);
        }
    }

    pub(super) fn start_recording(&mut self) {
        self.recorded = Some(BTreeMap::new());
    }

    /// The writes since [`HoldingMap::start_recording`].
    pub(super) fn stop_recording(&mut self) -> Writes<V> {
        Writes(self.recorded.take().unwrap_or_default())
    }

    /// What differs from an earlier state: holdings that are here, then holdings that are gone, each by id.
    pub(super) fn differences_from<'a>(&'a self, before: &'a Self) -> Vec<Difference<'a, V>> {
        if self == before {
            return Vec::new();
        }
        let here = self.iter().map(|(id, new)| (id, before.get(id), Some(new)));
        let gone = before.iter().filter(|(id, _)| !self.contains_key(*id));
        here.filter(|(_, old, new)| old != new)
            .chain(gone.map(|(id, old)| (id, Some(old), None)))
            .collect()
    }
}

impl<V> Writes<V> {
    /// As [`HoldingMap::differences_from`], for the holdings after the writes. A value may be the same before and after.
    pub(super) fn differences<'a>(&'a self, after: &'a HoldingMap<V>) -> Vec<Difference<'a, V>> {
        let mut differences: Vec<_> = self
            .0
            .iter()
            .map(|(id, old)| (id, old.as_ref(), after.get(id)))
            .collect();
        differences.sort_by_key(|(_, _, new)| new.is_none());
        differences
    }
}

impl<V> Deref for HoldingMap<V> {
    type Target = BTreeMap<Id, V>;

    fn deref(&self) -> &Self::Target {
        &self.held
    }
}

impl<V> From<BTreeMap<Id, V>> for HoldingMap<V> {
    fn from(held: BTreeMap<Id, V>) -> Self {
        let recorded = None;
        Self { held, recorded }
    }
}

impl<V> FromIterator<(Id, V)> for HoldingMap<V> {
    fn from_iter<I: IntoIterator<Item = (Id, V)>>(held: I) -> Self {
        BTreeMap::from_iter(held).into()
    }
}

impl<V> Default for HoldingMap<V> {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

impl<V: Clone> Clone for HoldingMap<V> {
    fn clone(&self) -> Self {
        self.held.clone().into()
    }
}

impl<V: PartialEq> PartialEq for HoldingMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.held == other.held
    }
}

impl<V: Eq> Eq for HoldingMap<V> {}

impl<V: fmt::Debug> fmt::Debug for HoldingMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}

impl<V: Serialize> Serialize for HoldingMap<V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.held.serialize(to)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for HoldingMap<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(from).map(Into::into)
    }
}

/// A [`HoldingSet`] as a list of ids.
pub(super) mod ids {
    use std::collections::BTreeSet;

    use super::{Deserialize, Deserializer, HoldingSet, Id, Serializer};

    pub fn serialize<S: Serializer>(set: &HoldingSet, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(set.keys())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HoldingSet, D::Error> {
        let ids = BTreeSet::<Id>::deserialize(from)?;
        Ok(ids.into_iter().map(|id| (id, ())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn the_record_has_the_first_value_of_each_written_id() {
        let mut held = HoldingMap::default();
        for (name, value) in [("changed", 1), ("removed", 2), ("replaced", 3), ("same", 4)] {
            held.add(&id(name), value).unwrap();
        }
        let before = held.clone();
        held.start_recording();
        for value in [10, 11] {
            held.update(&id("changed"), |held| *held = value).unwrap();
        }
        held.remove(&id("removed")).unwrap();
        held.remove(&id("replaced")).unwrap();
        held.add(&id("replaced"), 30).unwrap();
        held.add(&id("added"), 5).unwrap();
        held.add(&id("passing"), 6).unwrap();
        held.remove(&id("passing")).unwrap();
        assert_eq!(held.add(&id("same"), 40), Err(Refusal::DuplicateId));
        assert_eq!(held.remove(&id("unknown")), Err(Refusal::UnknownId));
        assert_eq!(held.update(&id("unknown"), |_| ()), None);
        let expected = [
            (&id("added"), None, Some(&5)),
            (&id("changed"), Some(&1), Some(&11)),
            (&id("replaced"), Some(&3), Some(&30)),
            (&id("removed"), Some(&2), None),
        ];
        assert_eq!(held.differences_from(&before), expected);
        let writes = held.stop_recording();
        let mut differences = writes.differences(&held);
        differences.retain(|(_, old, new)| old != new);
        assert_eq!(differences, expected);
        held.clear();
        assert!(held.stop_recording().differences(&held).is_empty());
        held = before.clone();
        held.start_recording();
        held.clear();
        assert_eq!(held.stop_recording().differences(&held).len(), 4);
    }

    #[test]
    fn the_record_is_no_part_of_the_state() {
        let mut recording = HoldingSet::default();
        recording.start_recording();
        recording.add(&id("a"), ()).unwrap();
        let read: HoldingMap<()> = serde_json::from_str(&serde_json::to_string(&recording).unwrap()).unwrap();
        assert_eq!(read, recording);
        let mut copy = recording.clone();
        assert_eq!(copy, recording);
        assert!(copy.stop_recording().differences(&copy).is_empty());
        assert_eq!(recording.stop_recording().differences(&recording).len(), 1);
    }
}
