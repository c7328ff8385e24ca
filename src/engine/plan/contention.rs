//! Who gets a name: the first claim to arrive. The names of a batch are decided before its events are planned, because a plan
//! applies the events of a client sorted by time, and one client after the other.
//!
//! Only link events matter here. No other event and no timer adds, renames or deletes a client, or decides whether such an
//! event is possible. So the links of the clients are computed alone, without holdings and access.
//!
//! A late link event replays the links of its client up to the first event that finds the same state as before. In the worst
//! case, each late event replays all link events of its client. Clients are not expected to have tens of thousands of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::checkpoints::History;
use super::names::Names;
use crate::domain::event::NameVerdict;
use crate::domain::fold::apply_deciding_name;
use crate::domain::link::Link;
use crate::domain::{Client, ClientKey, Event, Name, Policies, Position};
use crate::store::{Logged, Stored};

/// The name of a client, and whether it has it without holding it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NameState {
    pub name: Option<Name>,
    pub conflicted: bool,
}

impl NameState {
    pub fn of(stored: &Stored) -> Self {
        Self {
            name: stored.document.client.current_name().cloned(),
            conflicted: stored.document.name_conflicted,
        }
    }

    /// Releases the name that the client had, and lets it hold the one that it has now, if no other client does.
    pub fn change(&mut self, key: &ClientKey, name: Option<&Name>, names: &mut Names) {
        let holds = names.decide(key, self.name.as_ref(), name);
        self.conflicted = name.is_some() && !holds;
        self.name = name.cloned();
    }
}

/// Decides the names that these events claim, as if each event had arrived alone, in this order. A late event can make a claim of
/// the history possible, which is then decided too. Returns the names of the clients with link events, after all events.
pub fn decide_names(
    events: &mut [Event],
    histories: &mut HashMap<ClientKey, History>,
    stored: &HashMap<ClientKey, Stored>,
    names: &mut Names,
    policies: &Policies,
) -> HashMap<ClientKey, NameState> {
    let mut histories: HashMap<&ClientKey, &mut History> = histories.iter_mut().collect();
    let mut clients: HashMap<ClientKey, LinkHistory<'_>> = HashMap::new();
    for arrived in 0..events.len() {
        let event = &events[arrived];
        if !event.kind.is_link_event() {
            continue;
        }
        let client = match clients.entry(event.key.clone()) {
            Entry::Occupied(client) => client.into_mut(),
            Entry::Vacant(place) => {
                let history = histories.remove(place.key());
                let client = LinkHistory::of(stored.get(place.key()), history, names, policies);
                place.insert(client)
            }
        };
        let key = event.key.clone();
        client.insert(arrived, events, names, policies);
        let name = client.latest.name();
        // A conflicting client holds its name once the other client has released it.
        if client.name.conflicted || client.name.name.as_ref() != name {
            client.name.change(&key, name, names);
        }
    }
    clients
        .into_iter()
        .map(|(key, client)| (key, client.name))
        .collect()
}

/// The link events of a client: those of its history, if that was read, and those of the batch that have arrived.
struct LinkHistory<'a> {
    history: &'a mut [Logged],
    steps: BTreeMap<Position, Step>,
    /// After all steps.
    latest: LinkState,
    /// As of the last event that arrived.
    name: NameState,
}

struct Step {
    event: Place,
    before: LinkState,
}

#[derive(Clone, Copy)]
enum Place {
    History(usize),
    Batch(usize),
}

/// The part of a client that decides who may claim a name.
#[derive(Clone, Default, PartialEq)]
struct LinkState {
    link: Link,
    name: Option<Name>,
}

impl<'a> LinkHistory<'a> {
    /// Without its history, a client starts at its stored state: then all events of the batch come later.
    fn of(
        stored: Option<&Stored>,
        history: Option<&'a mut History>,
        names: &mut Names,
        policies: &Policies,
    ) -> Self {
        let (mut latest, history): (LinkState, &mut [Logged]) = if let Some(history) = history {
            (LinkState::of(&history.start), &mut history.events)
        } else {
            let stored = stored.map(|stored| LinkState::of(&stored.document.client));
            (stored.unwrap_or_default(), &mut [])
        };
        let mut steps = BTreeMap::new();
        for (place, Logged { event, .. }) in history.iter_mut().enumerate() {
            if event.kind.is_link_event() {
                let step = Step {
                    event: Place::History(place),
                    before: latest.clone(),
                };
                steps.insert(event.position(), step);
                latest.apply(event, names, policies);
            }
        }
        Self {
            history,
            steps,
            latest,
            name: stored.map(NameState::of).unwrap_or_default(),
        }
    }

    /// Applies an event of the batch at its position, and those after it again, up to the one that finds the same state as before.
    fn insert(&mut self, arrived: usize, events: &mut [Event], names: &mut Names, policies: &Policies) {
        let position = events[arrived].position();
        let next = self.steps.range(&position..).next();
        let mut state = next.map_or(&self.latest, |(_, step)| &step.before).clone();
        let step = Step {
            event: Place::Batch(arrived),
            before: state.clone(),
        };
        self.steps.insert(position.clone(), step);
        for (at, step) in self.steps.range_mut(&position..) {
            if *at != position {
                if step.before == state {
                    return;
                }
                step.before.clone_from(&state);
            }
            let event = match step.event {
                Place::History(place) => &mut self.history[place].event,
                Place::Batch(place) => &mut events[place],
            };
            state.apply(event, names, policies);
        }
        self.latest = state;
    }
}

impl LinkState {
    fn of(client: &Client) -> Self {
        Self {
            link: client.link.clone(),
            name: client.name.clone(),
        }
    }

    fn apply(&mut self, event: &mut Event, names: &mut Names, policies: &Policies) {
        let mut client = Client {
            link: std::mem::take(&mut self.link),
            name: self.name.take(),
            ..Client::default()
        };
        let result = apply_deciding_name(&mut client, event, policies, |event| names.refuses(event));
        // As in the log, which has no verdict of an event that is refused for another reason.
        if result.is_err() && event.name_verdict == NameVerdict::Granted {
            event.name_verdict = NameVerdict::Open;
        }
        self.link = client.link;
        self.name = client.name;
    }

    fn name(&self) -> Option<&Name> {
        self.name.as_ref().filter(|_| self.link.exists())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{day, event, name, present};
    use super::super::{CheckpointSpacing, Plan, Situation, plan};
    use super::*;
    use crate::domain::event::{Channel, Steps};
    use crate::domain::{EventKind, Refusal};
    use crate::store::RecordedOutcome;

    const APPLIED: RecordedOutcome = RecordedOutcome::Applied;
    const TAKEN: RecordedOutcome = RecordedOutcome::Refused(Refusal::NameTaken);
    const UNKNOWN: RecordedOutcome = RecordedOutcome::Refused(Refusal::UnknownClient);
    const LINKED: RecordedOutcome = RecordedOutcome::Refused(Refusal::StillLinked);

    fn added(client: &str, time: i64, text: &str) -> Event {
        let kind = EventKind::ClientAdded {
            name: name(text),
            imported: false,
        };
        event(client, day(time), kind)
    }

    fn renamed(client: &str, time: i64, text: &str) -> Event {
        event(client, day(time), EventKind::ClientRenamed { name: name(text) })
    }

    fn deleted(client: &str, time: i64) -> Event {
        event(client, day(time), EventKind::ClientDeleted {})
    }

    fn invited(client: &str, time: i64) -> Event {
        let kind = EventKind::ClientInvited {
            channel: Channel::Standard,
            steps: Steps::default(),
            commission_eligible: true,
        };
        event(client, day(time), kind)
    }

    /// Each client's name, and whether it holds it.
    type Names = [(&'static str, Option<(&'static str, bool)>)];

    fn expect(sentence: &str, arrivals: Vec<(Event, RecordedOutcome)>, names: &Names) {
        let (events, expected): (Vec<_>, Vec<_>) = arrivals.into_iter().unzip();
        let situation = Situation {
            present: present(),
            low_watermark: None,
            policies: &Policies::default(),
            stored: Vec::new(),
            histories: HashMap::new(),
            spacing: CheckpointSpacing::default(),
            holders: HashMap::new(),
        };
        let Plan { commit, outcomes, .. } = plan(situation, events.clone());
        assert_eq!(outcomes, expected, "{sentence}");
        for (event, outcome) in events.iter().zip(outcomes) {
            let logged = commit
                .events
                .iter()
                .find(|write| write.event.id == event.id && write.event.key == event.key);
            assert_eq!(
                logged.map(|write| write.outcome),
                Some(outcome),
                "{sentence}: {event:?}"
            );
        }
        let found: Vec<_> = commit
            .clients
            .iter()
            .map(|write| {
                let has = write.document.client.current_name();
                let holds = write.name_key.is_some();
                (&*write.key.client, has.map(|name| (name.as_str(), holds)))
            })
            .collect();
        assert_eq!(found, names, "{sentence}");
    }

    #[test]
    fn names_are_decided_in_order_of_arrival() {
        expect(
            "the first claim to arrive wins, whatever its time",
            vec![
                (added("a", 2, "Bakery"), APPLIED),
                (added("b", 1, "BAKERY"), TAKEN),
            ],
            &[("a", Some(("Bakery", true))), ("b", None)],
        );
        expect(
            "a name passes on and back within a batch",
            vec![
                (added("a", 1, "Bakery"), APPLIED),
                (added("b", 2, "Bakery"), TAKEN),
                (renamed("a", 3, "Bikes"), APPLIED),
                (added("c", 4, "Bakery"), APPLIED),
                (deleted("c", 5), APPLIED),
                (renamed("a", 6, "Bakery"), APPLIED),
            ],
            &[("a", Some(("Bakery", true))), ("b", None), ("c", None)],
        );
        expect(
            "two clients swap their names",
            vec![
                (added("a", 1, "One"), APPLIED),
                (added("b", 1, "Two"), APPLIED),
                (renamed("a", 2, "Three"), APPLIED),
                (renamed("b", 2, "One"), APPLIED),
                (renamed("a", 3, "Two"), APPLIED),
            ],
            &[("a", Some(("Two", true))), ("b", Some(("One", true)))],
        );
        expect(
            "a name that a client had only in between is free again",
            vec![
                (added("a", 1, "Bakery"), APPLIED),
                (renamed("a", 5, "Cafe"), APPLIED),
                (added("b", 6, "Cafe"), TAKEN),
                (renamed("a", 7, "Bikes"), APPLIED),
                (added("c", 8, "Cafe"), APPLIED),
            ],
            &[
                ("a", Some(("Bikes", true))),
                ("b", None),
                ("c", Some(("Cafe", true))),
            ],
        );
    }

    #[test]
    fn late_events_of_a_batch_change_what_came_before_them() {
        expect(
            "an event that was applied is refused by an earlier one that arrives later, and its name is free",
            vec![
                (added("a", 1, "Bikes"), APPLIED),
                (renamed("a", 5, "Bakery"), UNKNOWN),
                (added("c", 6, "Bakery"), TAKEN),
                (deleted("a", 3), APPLIED),
                (added("b", 6, "Bakery"), APPLIED),
            ],
            &[("a", None), ("b", Some(("Bakery", true))), ("c", None)],
        );
        expect(
            "a claim is decided when it becomes possible",
            vec![
                (renamed("a", 5, "Bakery"), TAKEN),
                (added("b", 6, "Bakery"), APPLIED),
                (added("a", 1, "Bikes"), APPLIED),
                (renamed("b", 7, "Cafe"), APPLIED),
            ],
            &[("a", Some(("Bikes", true))), ("b", Some(("Cafe", true)))],
        );
        expect(
            "a name that was taken stays taken, also of an event that becomes impossible",
            vec![
                (added("b", 1, "Bakery"), APPLIED),
                (added("a", 1, "Bikes"), APPLIED),
                (renamed("a", 5, "Bakery"), TAKEN),
                (deleted("a", 3), APPLIED),
            ],
            &[("a", None), ("b", Some(("Bakery", true)))],
        );
    }

    #[test]
    fn a_late_event_of_a_batch_brings_a_client_back_in_conflict() {
        expect(
            "a client that comes back conflicts with the new holder of its name, until that releases it",
            vec![
                (added("a", 1, "Bakery"), APPLIED),
                (deleted("a", 5), LINKED),
                (added("b", 6, "Bakery"), APPLIED),
                (invited("a", 3), APPLIED),
                (added("c", 6, "Bakery"), TAKEN),
            ],
            &[
                ("a", Some(("Bakery", false))),
                ("b", Some(("Bakery", true))),
                ("c", None),
            ],
        );
        expect(
            "the conflicting client holds the name with its next link event",
            vec![
                (added("a", 1, "Bakery"), APPLIED),
                (deleted("a", 5), LINKED),
                (added("b", 6, "Bakery"), APPLIED),
                (invited("a", 3), APPLIED),
                (renamed("b", 7, "Cafe"), APPLIED),
                (invited("a", 8), APPLIED),
                (added("c", 6, "Bakery"), TAKEN),
            ],
            &[
                ("a", Some(("Bakery", true))),
                ("b", Some(("Cafe", true))),
                ("c", None),
            ],
        );
    }

    #[test]
    fn events_in_reverse_order_leave_the_state_before_each_right() {
        let mut events: Vec<Event> = (0..50)
            .rev()
            .map(|n| renamed("a", 100 + n, &format!("{n}")))
            .collect();
        events.insert(0, added("a", 1, "Bakery"));
        let mut names = super::Names::default();
        let policies = Policies::default();
        let mut client = LinkHistory::of(None, None, &mut names, &policies);
        for arrived in 0..events.len() {
            client.insert(arrived, &mut events, &mut names, &policies);
        }
        assert_eq!(client.latest.name(), Some(&name("49")));
        let states = client.steps.values().map(|step| step.before.name.clone());
        let expected = [None, Some(name("Bakery"))]
            .into_iter()
            .chain((0..49).map(|n| Some(name(&n.to_string()))));
        assert!(states.eq(expected));
        client.name.change(&events[0].key, Some(&name("49")), &mut names);
        assert_eq!(
            client.name,
            NameState {
                name: Some(name("49")),
                conflicted: false
            }
        );
    }
}
