//! What would change an answer: the next timer or policy that changes it, and the events that would.

use chrono::{DateTime, Utc};

use super::answer::Value;
use super::course::{Course, are_alike};
use crate::domain::{Client, Event, Timer};

/// Most events that are tried one after the other: a client that rejected its invitation is deleted, added, invited, and takes
/// three steps.
const MOST_EVENTS: usize = 6;

/// Most clients that events are tried on.
const MOST_CLIENTS: usize = 256;

/// The answer changes without an event.
#[derive(Clone, Debug)]
pub(super) struct ByItself {
    pub at: DateTime<Utc>,
    /// None: another policy takes effect.
    pub timer: Option<Timer>,
    pub to: Value,
}

/// Events that change the answer, one after the other.
#[derive(Clone, Debug)]
pub(super) struct ByEvents<'a> {
    pub events: Vec<&'a Event>,
    pub to: Value,
}

impl Course<'_> {
    /// When the answer next changes without an event.
    pub(super) fn by_itself(&self) -> Option<ByItself> {
        let (mut client, mut moment) = (self.client.clone(), self.at);
        while let Some(at) = client.holds_until(moment, self.policies) {
            let timer = client.next_due(at, self.policies).map(|due| due.timer);
            client.advance(at, self.policies);
            let to = self.answer.value(&client, self.policies.at(at));
            if to != self.value {
                return Some(ByItself { at, timer, to });
            }
            moment = at;
        }
        None
    }

    /// The ways in which these events change the answer at its moment. First each of them alone; then, in the order in which they
    /// have to come, those that change its status together, if none of them is superfluous.
    pub(super) fn by_events<'a>(&self, events: &'a [Event]) -> Vec<ByEvents<'a>> {
        let relevant: Vec<&Event> = events
            .iter()
            .filter(|event| self.answer.depends_on(&event.kind))
            .collect();
        let mut turns = Vec::new();
        let mut seen = vec![self.client.clone()];
        let mut clients = vec![(self.client.clone(), Vec::new())];
        for count in 1..=MOST_EVENTS {
            let mut next = Vec::new();
            for (client, before) in &clients {
                for event in &relevant {
                    let Some((after, to)) = self.after(client, event) else {
                        continue;
                    };
                    let events: Vec<&Event> = before.iter().chain([event]).copied().collect();
                    let is_turned = to.status != self.value.status;
                    if !is_turned
                        && !seen.iter().any(|other| are_alike(other, &after))
                        && seen.len() < MOST_CLIENTS
                    {
                        seen.push(after.clone());
                        next.push((after, events.clone()));
                    }
                    let counts = is_turned || count == 1 && to != self.value;
                    if counts && !turns.iter().any(|turn| is_enough(turn, &events, &to)) {
                        turns.push(ByEvents { events, to });
                    }
                }
            }
            // One event may lead to one status, and two to another. More than that only if fewer do nothing.
            if count > 1 && turns.iter().any(|turn| turn.to.status != self.value.status) {
                break;
            }
            clients = next;
        }
        turns
    }

    /// The client after an event, if it accepts the event, and the answer then.
    fn after(&self, client: &Client, event: &Event) -> Option<(Client, Value)> {
        let mut client = client.clone();
        client.apply(event, self.policies).ok()?;
        self.answer.reduce(&mut client);
        client.advance(self.at, self.policies);
        let value = self.answer.value(&client, self.policies.at(self.at));
        Some((client, value))
    }
}

/// Whether some of the events, or all in another order, already lead to this status.
fn is_enough(turn: &ByEvents, events: &[&Event], to: &Value) -> bool {
    turn.to.status == to.status && turn.events.iter().all(|event| events.contains(event))
}
