//! The course of a client: its states after each event and timer that an answer depends on, and the states that it would have
//! if one of them were missing or a policy were different.

use chrono::{DateTime, Utc};

use super::answer::{Answer, Value};
use crate::domain::{Client, Due, Event, Policies, Timer};

/// Every so many events the client is stored, so that its state before an event is found without a replay from the
/// beginning.
pub(super) const BLOCK: usize = 64;

/// What happened to a client up to a moment, as far as it makes a difference to an answer.
pub(super) struct Course<'a> {
    pub answer: &'a Answer,
    /// In their order.
    pub events: Vec<&'a Event>,
    /// Without warnings, which make no difference.
    pub policies: &'a Policies,
    pub at: DateTime<Utc>,
    /// Whether each event had an effect. The others were refused, or changed nothing.
    pub has_effect: Vec<bool>,
    /// The runs of the answer's timers that ended: the timer fired.
    pub firings: Vec<Firing>,
    /// The last change of the answer's status.
    pub since: Option<Since>,
    /// The client at the end.
    pub client: Client,
    pub value: Value,
    /// The client before every [`BLOCK`]-th event.
    blocks: Vec<Client>,
}

/// A timer that fired before an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Firing {
    pub place: usize,
    pub due: Due,
    /// See [`Answer::timer_runs_from`].
    pub runs_from: DateTime<Utc>,
}

/// When the answer's status changed, and what changed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    pub at: DateTime<Utc>,
    pub by: By,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// The event at this place.
    Event(usize),
    Timer(Timer),
}

/// What may be otherwise for a client in comparison with its course.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub policies: &'a Policies,
    /// A timer that does not fire, as long as it runs from this moment.
    pub without: Option<(Timer, DateTime<Utc>)>,
    /// Until then the policies differ from those of the course.
    pub differs_until: Option<DateTime<Utc>>,
}

/// Whether the answer is another at the end, for clients that reached the beginning of a block in the same world.
#[derive(Default)]
pub(super) struct Fates {
    of_blocks: Vec<Vec<(Client, bool)>>,
}

impl Fates {
    /// Clients that are remembered at the beginning of a block. Few are ever different.
    const MOST: usize = 16;

    fn of(&self, block: usize, client: &Client) -> Option<bool> {
        let known = self.of_blocks.get(block)?;
        known
            .iter()
            .find(|(other, _)| are_alike(other, client))
            .map(|(_, fate)| *fate)
    }

    fn record(&mut self, block: usize, client: Client, fate: bool) {
        if self.of_blocks.len() <= block {
            self.of_blocks.resize_with(block + 1, Vec::new);
        }
        if self.of_blocks[block].len() < Self::MOST {
            self.of_blocks[block].push((client, fate));
        }
    }
}

/// Whether the same events and timers make the same of two clients from here on.
pub(super) fn are_alike(one: &Client, other: &Client) -> bool {
    one.link == other.link
        && one.account == other.account
        && one.service == other.service
        && one.assignments == other.assignments
        && one.subscriptions == other.subscriptions
}

impl<'a> Course<'a> {
    /// The course of these events. They are sorted, and not after the moment.
    pub(super) fn new(
        answer: &'a Answer,
        events: Vec<&'a Event>,
        policies: &'a Policies,
        at: DateTime<Utc>,
    ) -> Self {
        let mut client = Client::default();
        let mut course = Self {
            answer,
            policies,
            at,
            has_effect: Vec::with_capacity(events.len()),
            firings: Vec::new(),
            since: None,
            value: answer.value(&client, policies.at(at)),
            client: Client::default(),
            blocks: Vec::with_capacity(events.len() / BLOCK + 1),
            events: Vec::new(),
        };
        for (place, event) in events.iter().enumerate() {
            if place.is_multiple_of(BLOCK) {
                course.blocks.push(client.clone());
            }
            course.fire(&mut client, event.time, place);
            let before = client.clone();
            // A refused event leaves the state unchanged.
            let _ = client.apply(event, policies);
            answer.reduce(&mut client);
            course.has_effect.push(!are_alike(&before, &client));
            course.note(&before, &client, event.time, By::Event(place));
        }
        if events.len().is_multiple_of(BLOCK) {
            course.blocks.push(client.clone());
        }
        course.fire(&mut client, at, events.len());
        course.value = answer.value(&client, policies.at(at));
        course.events = events;
        course.client = client;
        course
    }

    fn fire(&mut self, client: &mut Client, until: DateTime<Utc>, place: usize) {
        while let Some(due) = client.next_due(until, self.policies) {
            let before = client.clone();
            client.fire(due, self.policies);
            if let Some(runs_from) = self.answer.timer_runs_from(due.timer, &before) {
                self.firings.push(Firing {
                    place,
                    due,
                    runs_from,
                });
            }
            self.note(&before, client, due.at, By::Timer(due.timer));
        }
    }

    fn note(&mut self, before: &Client, after: &Client, at: DateTime<Utc>, by: By) {
        if self.answer.status(before) != self.answer.status(after) {
            self.since = Some(Since { at, by });
        }
    }

    /// The world of the course itself.
    pub(super) fn world(&self) -> World<'_> {
        World {
            policies: self.policies,
            without: None,
            differs_until: None,
        }
    }

    /// The client before the event at a place, or after the last event. Timers since the event before have not fired.
    pub(super) fn before(&self, place: usize) -> Client {
        let block = place / BLOCK;
        let mut client = self.blocks[block].clone();
        for event in &self.events[block * BLOCK..place] {
            self.step(&mut client, event, &self.world());
        }
        client
    }

    /// The clients before each event of a block, and after the last of them.
    pub(super) fn of_block(&self, block: usize) -> Vec<Client> {
        let mut client = self.blocks[block].clone();
        let events = self.events.iter().skip(block * BLOCK).take(BLOCK);
        let mut clients = Vec::with_capacity(BLOCK + 1);
        for event in events {
            clients.push(client.clone());
            self.step(&mut client, event, &self.world());
        }
        clients.push(client);
        clients
    }

    /// Fires the timers up to an event, and applies the event.
    pub(super) fn step(&self, client: &mut Client, event: &Event, world: &World) {
        self.advance(client, event.time, world);
        let _ = client.apply(event, world.policies);
        self.answer.reduce(client);
    }

    fn advance(&self, client: &mut Client, until: DateTime<Utc>, world: &World) {
        let Some((timer, from)) = world.without else {
            client.advance(until, world.policies);
            return;
        };
        while let Some(due) = client.next_due_of(until, world.policies, |due| {
            due != timer || self.answer.timer_runs_from(timer, client) != Some(from)
        }) {
            client.fire(due, world.policies);
        }
    }

    /// The answer at the end, for a client that has seen the last event.
    pub(super) fn value_of(&self, mut client: Client, world: &World) -> Value {
        self.advance(&mut client, self.at, world);
        self.answer.value(&client, world.policies.at(self.at))
    }

    /// Whether the answer is another at the end if the client is `other` before the event at a place, where it is `client` in
    /// fact. It follows both only until they are alike.
    pub(super) fn diverges(
        &self,
        place: usize,
        mut client: Client,
        mut other: Client,
        world: &World,
        fates: &mut Fates,
    ) -> bool {
        let mut passed = Vec::new();
        let mut fate = None;
        for (place, event) in self.events.iter().enumerate().skip(place) {
            if place.is_multiple_of(BLOCK) {
                fate = fates.of(place / BLOCK, &other);
                if fate.is_some() {
                    break;
                }
                passed.push((place / BLOCK, other.clone()));
            }
            self.step(&mut client, event, &self.world());
            self.step(&mut other, event, world);
            if client.as_of() >= world.differs_until && are_alike(&client, &other) {
                fate = Some(false);
                break;
            }
        }
        let fate = fate.unwrap_or_else(|| self.value_of(other, world) != self.value);
        for (block, other) in passed {
            fates.record(block, other, fate);
        }
        fate
    }

    /// The places of the events without which the answer would be different, each of them alone.
    pub(super) fn necessary(&self) -> Vec<usize> {
        let mut fates = Fates::default();
        let mut necessary = Vec::new();
        // From the last, so that the fates of those that follow are known.
        for (block, events) in self.events.chunks(BLOCK).enumerate().rev() {
            let before = self.of_block(block);
            for (number, event) in events.iter().enumerate().rev() {
                let place = block * BLOCK + number;
                if self.has_effect[place] && self.is_necessary(place, event, &before[number], &mut fates) {
                    necessary.push(place);
                }
            }
        }
        necessary.reverse();
        necessary
    }

    fn is_necessary(&self, place: usize, event: &Event, before: &Client, fates: &mut Fates) -> bool {
        let mut without = before.clone();
        without.advance(event.time, self.policies);
        let mut with = without.clone();
        self.step(&mut with, event, &self.world());
        self.diverges(place + 1, with, without, &self.world(), fates)
    }
}
