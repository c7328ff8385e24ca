//! The rules a second time, written from LIFECYCLES alone: slow, plain, and sharing nothing with the
//! code under test. Events come in as JSON; for each question the client's whole history is sorted and
//! lived through anew, from nothing.

mod agreement;
mod happening;
mod life;
mod listener;
mod names;
mod rules;
mod timers;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use agreement::{sent, told};
use happening::Happening;
use life::Life;
pub use listener::{Listener, part_told};

use rules::Eras;
pub use rules::Rules;

/// An event's `source` and `id`.
pub type Name = (String, String);

pub struct Oracle {
    eras: Eras,
    events: BTreeMap<Name, Happening>,
    pub names_taken: BTreeSet<Name>,
}

/// What is so about a client at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Its public JSON, without `as_of` and `version`; None when it was never added.
    pub view: Option<Value>,
    /// The events up to that moment that were not possible at their place, and why.
    pub refusals: BTreeMap<Name, &'static str>,
    /// When each sweep next has something to do, if nothing happens before.
    pub deadlines: BTreeMap<&'static str, DateTime<Utc>>,
}

impl Oracle {
    /// Policies, each from a moment on; the first counts from the beginning of time.
    pub fn new(eras: Vec<(DateTime<Utc>, Rules)>) -> Self {
        Self {
            eras: Eras::new(eras),
            events: BTreeMap::new(),
            names_taken: BTreeSet::new(),
        }
    }

    /// A structured event as JSON; the same source and id again is ignored.
    pub fn add(&mut self, event: &Value) {
        let event = Happening::read(event);
        self.events.entry(event.name()).or_insert(event);
    }

    /// Names are first come, first served: that this event came too late for its name is a given fact.
    pub fn name_taken(&mut self, source: &str, id: &str) {
        self.names_taken.insert((source.to_owned(), id.to_owned()));
    }

    /// Those that events are about, as `partner/client`.
    pub fn clients(&self) -> Vec<String> {
        let subjects: BTreeSet<_> = self.events.values().map(|event| &event.subject).collect();
        subjects.into_iter().cloned().collect()
    }

    /// The policies are these from now on.
    pub fn set_eras(&mut self, eras: Vec<(DateTime<Utc>, Rules)>) {
        self.eras = Eras::new(eras);
    }

    pub fn at(&self, client: &str, moment: DateTime<Utc>) -> Verdict {
        self.at_without(client, moment, &BTreeSet::new(), &self.names_taken)
    }

    /// The same, had these events not come, and were it these that came too late for their names.
    pub fn at_without(
        &self,
        client: &str,
        moment: DateTime<Utc>,
        missing: &BTreeSet<Name>,
        names_taken: &BTreeSet<Name>,
    ) -> Verdict {
        let ours = self.events.values().filter(|event| event.subject == client);
        let mut history: Vec<_> = ours
            .filter(|event| event.time <= moment && !missing.contains(&event.name()))
            .collect();
        history.sort_by_cached_key(|event| event.place());
        let mut life = Life::default();
        let mut now = DateTime::<Utc>::MIN_UTC;
        let mut refusals = BTreeMap::new();
        for event in history {
            self.advance(&mut life, now, event.time);
            now = event.time;
            let taken = names_taken.contains(&event.name());
            if let Err(reason) = life.apply(event, self.eras.at(now), taken) {
                refusals.insert(event.name(), reason);
            }
        }
        self.advance(&mut life, now, moment);
        let deadlines = timers::TIMERS.iter().filter_map(|timer| {
            let sweep = timer.sweep();
            let (due, _) = life.next(Some(sweep), moment, &self.eras)?;
            Some((sweep, due))
        });
        Verdict {
            view: view::view(client, &life, self.eras.at(moment)),
            refusals,
            deadlines: deadlines.collect(),
        }
    }

    /// Lets every timer fire that is due at or before `until`.
    fn advance(&self, life: &mut Life, mut now: DateTime<Utc>, until: DateTime<Utc>) {
        while let Some((at, timer)) = life.next(None, now, &self.eras) {
            if at > until {
                return;
            }
            life.fire(timer, at, self.eras.at(at));
            now = at;
        }
    }
}
