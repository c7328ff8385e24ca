//! A story: one row of a table, as given, when, then.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenure::domain::access::Decision;
use tenure::domain::view::ClientView;
use tenure::domain::{Action, Change, Client, Due, Event, Policies, Refusal, Timer, changes, fold};

use super::key;

/// A sentence about the lifecycles, with the data to check it.
#[derive(Clone)]
pub struct Story {
    pub seed: &'static str,
    pub sentence: String,
    policies: Policies,
    given: Vec<Event>,
    when: When,
    then: Vec<Then>,
}

#[derive(Clone)]
enum When {
    Arrives(Box<Event>),
    Passes(DateTime<Utc>),
}

#[derive(Clone)]
enum Then {
    Refused(String),
    Shows(Value),
    Reads(fn(&Value) -> String, String),
    Changes(Vec<String>),
    Publishes(Value),
    Fires(Vec<(Timer, DateTime<Utc>)>),
    Decides(Option<String>, bool, String),
    Answers(Option<String>, Value),
    NextDue(Option<(Timer, DateTime<Utc>)>),
}

/// The result of playing a story.
pub struct Played {
    pub outcome: Result<(), Refusal>,
    pub fired: Vec<Due>,
    pub changes: Vec<Change>,
    pub event: Option<Event>,
    client: Client,
    now: DateTime<Utc>,
}

pub fn story(seed: &'static str, sentence: impl Into<String>) -> Story {
    assert!(["000", "001", "002", "ours"].contains(&seed), "no seed `{seed}`");
    Story {
        seed,
        sentence: sentence.into(),
        policies: Policies::default(),
        given: Vec::new(),
        when: When::Passes(DateTime::<Utc>::MIN_UTC),
        then: Vec::new(),
    }
}

impl Story {
    /// The policies, if not the default ones.
    pub fn under(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// Earlier events. None may be refused.
    pub fn given(self, given: Vec<Event>) -> Self {
        Self { given, ..self }
    }

    pub fn when(self, event: Event) -> Self {
        Self {
            when: When::Arrives(Box::new(event)),
            ..self
        }
    }

    /// Time passes up to this moment without an event.
    pub fn until(self, moment: DateTime<Utc>) -> Self {
        Self {
            when: When::Passes(moment),
            ..self
        }
    }

    fn then(mut self, then: Then) -> Self {
        self.then.push(then);
        self
    }

    pub fn refused(self, code: &str) -> Self {
        self.then(Then::Refused(code.into()))
    }

    /// Expects these values in the client's JSON.
    pub fn shows(self, fields: Value) -> Self {
        self.then(Then::Shows(fields))
    }

    pub fn reads(self, what: fn(&Value) -> String, value: &str) -> Self {
        self.then(Then::Reads(what, value.into()))
    }

    /// Expects exactly these changes, as `type` or `type id`.
    pub fn changes(self, kinds: &[&str]) -> Self {
        self.then(Then::Changes(
            kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ))
    }

    /// Expects exactly these changes, in full.
    pub fn publishes(self, changes: Value) -> Self {
        self.then(Then::Publishes(changes))
    }

    /// Expects exactly these timers to fire, at these moments.
    pub fn fires(self, timers: &[(Timer, DateTime<Utc>)]) -> Self {
        self.then(Then::Fires(timers.to_vec()))
    }

    pub fn decides(self, action: Option<&str>, allowed: bool, reason: &str) -> Self {
        self.then(Then::Decides(action.map(str::to_owned), allowed, reason.into()))
    }

    /// Expects these values in the JSON of the access decision.
    pub fn answers(self, action: Option<&str>, fields: Value) -> Self {
        self.then(Then::Answers(action.map(str::to_owned), fields))
    }

    /// Expects this timer to fire next.
    pub fn next(self, timer: Timer, at: DateTime<Utc>) -> Self {
        self.then(Then::NextDue(Some((timer, at))))
    }

    pub fn no_timer_is_due(self) -> Self {
        self.then(Then::NextDue(None))
    }

    /// Plays the story, and checks the rules that hold for every story.
    pub fn play(&self) -> Result<Played, String> {
        let mut given = self.given.clone();
        given.sort_by_key(Event::position);
        let mut client = Client::default();
        let mut last = DateTime::<Utc>::MIN_UTC;
        for event in &given {
            client.advance(event.time, &self.policies);
            client
                .apply(event, &self.policies)
                .map_err(|refusal| format!("given {}: {refusal}", event.id))?;
            last = event.time;
        }
        client.advance(last, &self.policies);
        let mut played = Played {
            outcome: Ok(()),
            fired: Vec::new(),
            changes: Vec::new(),
            event: None,
            client,
            now: last,
        };
        match &self.when {
            When::Passes(moment) => played.pass(*moment, &self.policies),
            When::Arrives(event) => {
                played.client.advance(event.time, &self.policies);
                played.come(event, &self.policies)?;
                given.push((**event).clone());
            }
        }
        if fold(&given, played.now, &self.policies) != played.client {
            return Err("folding the same events gives a different client".into());
        }
        Ok(played)
    }

    fn failures(&self) -> Vec<String> {
        let played = match self.play() {
            Ok(played) => played,
            Err(why) => return vec![why],
        };
        let mut failures: Vec<String> = self
            .then
            .iter()
            .filter_map(|then| then.fails(&played, &self.policies))
            .collect();
        let expects_refusal = self.then.iter().any(|then| matches!(then, Then::Refused(_)));
        if let (Err(refusal), false) = (played.outcome, expects_refusal) {
            failures.push(format!("it was refused: {refusal}"));
        }
        if self.then.is_empty() {
            failures.push("it has no expectation".into());
        }
        failures
    }
}

impl Played {
    fn pass(&mut self, moment: DateTime<Utc>, policies: &Policies) {
        while let Some(due) = self.client.next_due(moment, policies) {
            let before = self.client.clone();
            self.client.fire(due, policies);
            self.changes.extend(changes(&before, &self.client, policies));
            self.fired.push(due);
        }
        self.now = self.now.max(moment);
    }

    fn come(&mut self, event: &Event, policies: &Policies) -> Result<(), String> {
        let before = self.client.clone();
        self.outcome = self.client.apply(event, policies);
        self.changes = changes(&before, &self.client, policies);
        self.event = Some(event.clone());
        if self.outcome.is_err() {
            let (seen, fired) = (self.client.seen.clone(), self.client.fired);
            let untouched = Client {
                seen,
                fired,
                ..before
            };
            if untouched != self.client {
                return Err("it was refused and changed something".into());
            }
        }
        self.pass(event.time, policies);
        Ok(())
    }

    fn decision(&self, action: Option<&str>, policies: &Policies) -> Decision {
        let action = action.map(|name| Action::try_from(name).expect("the name of an action"));
        Decision::decide(&self.client, action.as_ref(), self.now, policies)
    }

    fn view(&self, policies: &Policies) -> Value {
        let view = ClientView::of(&key(), &self.client, 1, self.now, policies);
        serde_json::to_value(view).expect("a view is JSON")
    }
}

impl Then {
    fn fails(&self, played: &Played, policies: &Policies) -> Option<String> {
        let differ = |expected: Value, found: Value| {
            (expected != found).then(|| format!("expected {expected}\n         found    {found}"))
        };
        match self {
            Self::Refused(code) => {
                let found = played.outcome.err().map(Refusal::code);
                differ(json!(code), json!(found))
            }
            Self::Shows(fields) => {
                let view = played.view(policies);
                differ(fields.clone(), part(&view, fields))
            }
            Self::Reads(what, value) => differ(json!(value), json!(what(&played.view(policies)))),
            Self::Changes(kinds) => differ(json!(kinds), json!(short(&played.changes))),
            Self::Publishes(expected) => differ(expected.clone(), json!(played.changes)),
            Self::Fires(timers) => {
                let found: Vec<_> = played.fired.iter().map(|due| (due.timer, due.at)).collect();
                differ(json!(timers), json!(found))
            }
            Self::Decides(action, allowed, reason) => {
                let found = played.decision(action.as_deref(), policies);
                differ(json!([allowed, reason]), json!([found.allowed, found.reason]))
            }
            Self::Answers(action, fields) => {
                let found = json!(played.decision(action.as_deref(), policies));
                differ(fields.clone(), part(&found, fields))
            }
            Self::NextDue(expected) => {
                let next = played.client.next_due(DateTime::<Utc>::MAX_UTC, policies);
                differ(json!(expected), json!(next.map(|due| (due.timer, due.at))))
            }
        }
    }
}

/// The fields of an object that are expected.
fn part(found: &Value, expected: &Value) -> Value {
    let fields = expected.as_object().expect("fields").keys();
    fields
        .map(|field| {
            let value = found.get(field).cloned();
            (field.clone(), value.unwrap_or("no such field".into()))
        })
        .collect()
}

fn short(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change.id() {
            Some(id) => format!("{} {}", change.kind(), id.as_str()),
            None => change.kind().to_string(),
        })
        .collect()
}

/// Plays every story of a table, and panics with the failures.
pub fn check(stories: &[Story]) {
    let failures: Vec<String> = stories
        .iter()
        .flat_map(|story| {
            story
                .failures()
                .into_iter()
                .map(move |failure| format!("\n[{}] {}\n         {failure}", story.seed, story.sentence))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} rows fail:{}",
        failures.len(),
        stories.len(),
        failures.concat()
    );
}
