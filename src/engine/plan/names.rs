//! Unique names within a partner: the first claim wins. The only rule that involves two clients.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{Change, ClientKey, Event, Name, Refusal};
use crate::store::{Logged, NameClaim, Stored};

/// The holders of the names that this batch claims.
#[derive(Debug, Default)]
pub struct Names {
    holders: HashMap<NameClaim, ClientKey>,
    /// The clients that held names when events were refused for them, by the source and id of the event.
    conflicts: HashMap<(Arc<str>, Arc<str>), Arc<str>>,
}

impl Names {
    pub fn new(holders: HashMap<NameClaim, ClientKey>) -> Self {
        Self {
            holders,
            conflicts: HashMap::new(),
        }
    }

    /// Whether another client holds the name that an event claims.
    pub fn is_taken(&self, event: &Event) -> bool {
        self.other_holder(event).is_some()
    }

    /// The same, and notes which client that is: later it may release the name.
    pub fn refuses(&mut self, event: &Event) -> bool {
        let Some(holder) = self.other_holder(event) else {
            return false;
        };
        let holder = holder.client.clone();
        self.conflicts
            .insert((event.source.clone(), event.id.clone()), holder);
        true
    }

    /// The client that held the name when an event was refused for it.
    pub fn conflict(&self, event: &Event) -> Option<Arc<str>> {
        let noted = self.conflicts.get(&(event.source.clone(), event.id.clone()));
        let holds = || self.other_holder(event).map(|holder| &holder.client);
        noted.or_else(holds).cloned()
    }

    /// The change that reports a refused event.
    pub fn refused(&self, event: &Event, refusal: Refusal) -> Change {
        let is_for_a_name = refusal == Refusal::NameTaken;
        Change::EventRefused {
            refusal,
            conflicts_with: is_for_a_name.then(|| self.conflict(event)).flatten(),
        }
    }

    fn other_holder(&self, event: &Event) -> Option<&ClientKey> {
        let claim = claim(&event.key, event.kind.claimed_name()?);
        self.holders.get(&claim).filter(|holder| **holder != event.key)
    }

    /// Whether a client other than this one holds a name.
    pub fn is_held_by_another(&self, claim: &NameClaim, key: &ClientKey) -> bool {
        self.holders.get(claim).is_some_and(|holder| holder != key)
    }

    /// Releases the name that a client had, and lets it hold its new one. False: another client holds the new name. A client
    /// that a late event brings back may find that its name was given to another client; it then has the name without holding
    /// it.
    pub fn decide(&mut self, key: &ClientKey, before: Option<&Name>, after: Option<&Name>) -> bool {
        if let Some(before) = before {
            let claim = claim(key, before);
            if self.holders.get(&claim) == Some(key) {
                self.holders.remove(&claim);
            }
        }
        after.is_some_and(|name| {
            let holder = self
                .holders
                .entry(claim(key, name))
                .or_insert_with(|| key.clone());
            holder == key
        })
    }
}

pub fn claim(key: &ClientKey, name: &Name) -> NameClaim {
    NameClaim {
        partner: key.partner.clone(),
        name_key: name.key(),
    }
}

/// The names that events and replayed histories claim, and those that clients have without holding them.
pub fn claims<'a>(
    events: impl Iterator<Item = &'a Event>,
    histories: impl Iterator<Item = &'a Logged>,
    clients: &[Stored],
) -> HashSet<NameClaim> {
    let conflicted = clients
        .iter()
        .filter(|stored| stored.document.name_conflicted)
        .filter_map(|stored| Some(claim(&stored.key, stored.document.client.current_name()?)));
    events
        .chain(histories.map(|logged| &logged.event))
        .filter_map(|event| event.kind.claimed_name().map(|name| claim(&event.key, name)))
        .chain(conflicted)
        .collect()
}

/// The names that clients hold.
pub fn names_held(clients: &[Stored]) -> impl Iterator<Item = NameClaim> {
    clients
        .iter()
        .filter_map(|stored| Some(claim(&stored.key, stored.document.held_name()?)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::active;
    use super::*;

    #[test]
    fn a_client_releases_only_a_name_that_it_holds() {
        let key = |client| ClientKey::new("acme", client).unwrap();
        let (one, other) = (key("one"), key("other"));
        let bakery = Name::try_from("Bakery".to_owned()).unwrap();
        let bikes = Name::try_from("Bikes".to_owned()).unwrap();
        let held = claim(&other, &bakery);
        let mut names = Names::new(HashMap::from([(held.clone(), other.clone())]));
        assert!(!names.decide(&one, None, Some(&bakery)));
        assert!(names.decide(&one, Some(&bakery), Some(&bikes)));
        assert!(names.is_held_by_another(&held, &one));
        assert!(!names.decide(&other, Some(&bakery), None));
        assert!(!names.is_held_by_another(&held, &one));
    }

    #[test]
    fn a_client_that_conflicts_or_has_no_name_holds_none() {
        let mut conflicting = active("b");
        conflicting.document.name_conflicted = true;
        let absent = Stored::absent(ClientKey::new("acme", "c").unwrap());
        let clients = [active("a"), conflicting, absent];
        let held: Vec<_> = names_held(&clients).collect();
        let expected = NameClaim {
            partner: "acme".into(),
            name_key: "a".into(),
        };
        assert_eq!(held, [expected]);
    }
}
