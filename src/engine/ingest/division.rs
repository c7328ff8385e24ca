//! Divides a batch: clients with long histories get transactions of their own, and names are still claimed in order of arrival.

use std::collections::{HashMap, HashSet};

use crate::domain::{ClientKey, Event};

/// A batch without the events of clients with long histories.
#[derive(Debug)]
pub(super) struct Divided {
    /// The events before the first of [`Divided::next`].
    pub first: Vec<(usize, Event)>,
    /// Groups that come next, in this order.
    pub next: Vec<Vec<(usize, Event)>>,
    /// Groups that may come after everything else: one for each client.
    pub last: Vec<Vec<(usize, Event)>>,
}

/// Splits the events of clients with long histories off a batch, so that the other clients need not wait for them.
///
/// Only names make the order of the events of different clients matter. So the batch is cut at a link event of such a client if
/// another client of the partner has a link event after it.
pub(super) fn divide(mut events: Vec<(usize, Event)>, long: &[ClientKey]) -> Divided {
    let mut next = Vec::new();
    let mut rest = match contested(&events, long) {
        Some(place) => events.split_off(place),
        None => Vec::new(),
    };
    let mut last = Vec::new();
    for key in long {
        let mut group: Vec<_> = events.extract_if(.., |(_, event)| event.key == *key).collect();
        if rest.first().is_some_and(|(_, event)| event.key == *key) {
            let own = rest.iter().take_while(|(_, event)| event.key == *key).count();
            group.extend(rest.drain(..own));
            next.push(group);
            next.push(std::mem::take(&mut rest));
        } else if !group.is_empty() {
            last.push(group);
        }
    }
    Divided {
        first: events,
        next,
        last,
    }
}

/// The place of the first link event of one of these clients that is before a link event of another client of its partner.
fn contested(events: &[(usize, Event)], long: &[ClientKey]) -> Option<usize> {
    let mut later: HashMap<&str, HashSet<&ClientKey>> = HashMap::new();
    let mut first = None;
    for (place, (_, event)) in events.iter().enumerate().rev() {
        if !event.kind.is_link_event() {
            continue;
        }
        let clients = later.entry(&event.key.partner).or_default();
        if long.contains(&event.key) && clients.iter().any(|key| **key != event.key) {
            first = Some(place);
        }
        clients.insert(&event.key);
    }
    first
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::event::NameVerdict;
    use crate::domain::{Actor, EventKind, Name};

    /// `a` of `p` claims a name, `a-` has another event.
    fn events(text: &str) -> Vec<(usize, Event)> {
        let event = |(place, word): (usize, &str)| {
            let (partner, client) = word.trim_end_matches('-').split_at(1);
            let name = Name::try_from("Bakery".to_owned()).unwrap();
            let event = Event {
                source: "app".into(),
                id: place.to_string().into(),
                key: ClientKey::new(partner, client).unwrap(),
                time: DateTime::UNIX_EPOCH,
                sequence: None,
                actor: Actor::default(),
                kind: if word.ends_with('-') {
                    EventKind::AccessEnabled {}
                } else {
                    EventKind::ClientRenamed { name }
                },
                name_verdict: NameVerdict::Open,
            };
            (place, event)
        };
        text.split_whitespace().enumerate().map(event).collect()
    }

    fn places(groups: &[Vec<(usize, Event)>]) -> Vec<Vec<usize>> {
        let places = |group: &Vec<(usize, Event)>| group.iter().map(|(place, _)| *place).collect();
        groups.iter().map(places).collect()
    }

    #[test]
    fn a_batch_is_cut_where_the_order_of_names_matters() {
        let none: [&[usize]; 0] = [];
        let long = ["a", "b"].map(|client| ClientKey::new("p", client).unwrap());
        let case = |text: &str, first: &[usize], next: &[&[usize]], last: &[&[usize]]| {
            let divided = divide(events(text), &long);
            assert_eq!(places(&[divided.first]), [first], "{text}: first");
            assert_eq!(places(&divided.next), next, "{text}: next");
            assert_eq!(places(&divided.last), last, "{text}: last");
        };
        case("pc pa- pd pa- pb-", &[0, 2], &none, &[&[1, 3], &[4]]);
        // No other client claims a name afterwards.
        case("pc pd pa pc- pa-", &[0, 1, 3], &none, &[&[2, 4]]);
        case("pa qc", &[1], &none, &[&[0]]);
        case("pa pa", &[], &none, &[&[0, 1]]);
        // One does.
        case("pa pc", &[], &[&[0], &[1]], &none);
        case("pc pa- pa pa- pc- pd pa", &[0], &[&[1, 2, 3], &[4, 5, 6]], &none);
        case("pb- pa pb pc", &[], &[&[1], &[2, 3]], &[&[0]]);
        case("pa- pc pb pa", &[1], &[&[2], &[3]], &[&[0]]);
    }
}
