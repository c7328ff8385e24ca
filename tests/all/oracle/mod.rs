//! The oracle: a second implementation of the rules, written from `docs/lifecycles.md` alone. It is slow and plain, and shares
//! no code with the implementation under test. It reads events as JSON, and durations from
//! the policy. For each question it sorts the client's whole
//! history and applies it from nothing.

mod agreement;
mod client_state;
mod decision;
mod eras;
mod happened;
mod names;
mod possible;
mod received;
mod sent_event;
mod subscriber;
mod timers;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tenure::domain::Policy;

pub use agreement::{ACTIONS, public_json, sent};
use client_state::ClientState;
pub use happened::{Happened, what};
use sent_event::SentEvent;
pub use subscriber::{Subscriber, published_part};

use eras::Eras;

/// An event's `source` and `id`.
pub type Name = (String, String);

pub struct Oracle {
    eras: Eras,
    events: BTreeMap<Name, SentEvent>,
    pub names_taken: BTreeSet<Name>,
}

/// The expected state of a client at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Its public JSON, without `as_of` and `version`. None if it was never added.
    pub view: Option<Value>,
    /// The events up to that moment that are refused, with the reasons.
    pub refusals: BTreeMap<Name, &'static str>,
    /// The deadline for each sweep, if no event comes before it.
    pub deadlines: BTreeMap<&'static str, DateTime<Utc>>,
}

impl Oracle {
    /// Takes policies, each with the moment from which it is effective. The first is effective from the beginning of time.
    pub fn new(eras: Vec<(DateTime<Utc>, Policy)>) -> Self {
        Self {
            eras: Eras::new(eras),
            events: BTreeMap::new(),
            names_taken: BTreeSet::new(),
        }
    }

    /// Adds a structured event, in the order of arrival: of two that have the same source and id, the first counts.
    pub fn add(&mut self, event: &Value) {
        let event = SentEvent::read(event);
        self.events.entry(event.name()).or_insert(event);
    }

    /// Why an event is a dead letter: another event that was added has its source and id.
    pub fn mistake(&self, event: &Value) -> Option<String> {
        let event = SentEvent::read(event);
        let first = self.events.get(&event.name())?;
        let differences = first.differences(&event);
        let differences = match &differences[..] {
            [] => return None,
            [one] => (*one).to_owned(),
            [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
        };
        Some(format!(
            "another event has this source and id: {} of {} at {}, which differs in {differences}; send each event with an id of \
             its own",
            first.kind,
            first.subject,
            first.time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
        ))
    }

    /// Records that the event arrived too late for its name. The oracle does not know the order of arrival.
    pub fn name_taken(&mut self, source: &str, id: &str) {
        self.names_taken.insert((source.to_owned(), id.to_owned()));
    }

    /// The event with this source and id, as the cause of a change.
    pub fn cause(&self, source: &str, id: &str) -> Option<Value> {
        let event = self.events.get(&(source.to_owned(), id.to_owned()))?;
        Some(event.cause())
    }

    /// The clients that have events, as `partner/client`.
    pub fn clients(&self) -> Vec<String> {
        let subjects: BTreeSet<_> = self.events.values().map(|event| &event.subject).collect();
        subjects.into_iter().cloned().collect()
    }

    /// Replaces the policies.
    pub fn set_eras(&mut self, eras: Vec<(DateTime<Utc>, Policy)>) {
        self.eras = Eras::new(eras);
    }

    pub fn at(&self, client: &str, moment: DateTime<Utc>) -> Verdict {
        self.at_without(client, moment, &BTreeSet::new(), &self.names_taken)
    }

    /// The same without the events in `missing`, and with `names_taken` as the events that arrived too late for their names.
    pub fn at_without(
        &self,
        client: &str,
        moment: DateTime<Utc>,
        missing: &BTreeSet<Name>,
        names_taken: &BTreeSet<Name>,
    ) -> Verdict {
        let (state, refusals) = self.state_at(client, moment, missing, names_taken);
        let deadlines = timers::TIMERS.iter().filter_map(|timer| {
            let sweep = timer.sweep();
            let (due, _) = state.next(Some(sweep), moment, &self.eras)?;
            Some((sweep, due))
        });
        Verdict {
            view: view::view(client, &state, moment, &self.eras),
            refusals,
            deadlines: deadlines.collect(),
        }
    }

    /// The state at a moment, and the events up to then that are refused.
    fn state_at(
        &self,
        client: &str,
        moment: DateTime<Utc>,
        missing: &BTreeSet<Name>,
        names_taken: &BTreeSet<Name>,
    ) -> (ClientState, BTreeMap<Name, &'static str>) {
        let ours = self.events.values().filter(|event| event.subject == client);
        let mut history: Vec<_> = ours
            .filter(|event| event.time <= moment && !missing.contains(&event.name()))
            .collect();
        history.sort_by_cached_key(|event| event.place());
        let mut state = ClientState::default();
        let mut now = DateTime::<Utc>::MIN_UTC;
        let mut refusals = BTreeMap::new();
        for event in history {
            self.advance(&mut state, now, event.time);
            now = event.time;
            let taken = names_taken.contains(&event.name());
            if let Err(reason) = state.apply(event, self.eras.at(now), taken) {
                refusals.insert(event.name(), reason);
            }
        }
        self.advance(&mut state, now, moment);
        (state, refusals)
    }

    /// Fires every timer that is due at or before `until`.
    fn advance(&self, state: &mut ClientState, mut now: DateTime<Utc>, until: DateTime<Utc>) {
        while let Some((at, timer)) = state.next(None, now, &self.eras) {
            if at > until {
                return;
            }
            state.fire(timer, at, self.eras.at(at));
            now = at;
        }
    }
}
