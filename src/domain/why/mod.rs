//! Why an answer about a client is as it is: the events, timers and policies that it rests on, and what would change it.
//!
//! The rules themselves answer. An event is a cause if the history without it leads to another answer, a timer if the answer
//! would be different had it not fired, and a setting of a policy if the answer would be different with another value. So whoever
//! takes away one of the causes gets another answer, and whoever takes away any one of the other events gets the same.
//! `docs/lifecycles.md`, "Why an answer is as it is", has the definitions.

mod answer;
mod course;
mod phrases;
mod sentences;
mod settings;
mod statuses;
mod supporting;
mod timers;
mod turns;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;

use super::event::Event;
use super::possible::examples;
use super::text_enum::text_enum;
use super::time::{serialize, serialize_optional};
use super::{ActorKind, ClientKey, Policies, Policy, Timer};
use course::Course;

pub use answer::{Answer, UnknownAnswer, Value};
pub use settings::SettingCause;

/// Why an answer is as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub answer: Answer,
    /// The moment that the answer is about.
    #[serde(serialize_with = "serialize")]
    pub at: DateTime<Utc>,
    pub value: Value,
    /// When the status of the answer last changed. None: it never changed.
    #[serde(serialize_with = "serialize_optional")]
    pub since: Option<DateTime<Utc>>,
    pub sentence: String,
    /// Without any one of them the answer would be different: events and timers in order of time, then settings of policies.
    pub causes: Vec<Reason>,
    /// Events that lead to the answer together with the causes, although others would take the place of each of them.
    pub supporting: Vec<Supporting>,
    /// What would change the answer: first the timer or policy that changes it if no event comes.
    pub turns: Vec<Turn>,
}

text_enum! {
    /// What a cause or a turn is.
    pub enum ReasonKind {
        Event = "event",
        Timer = "timer",
        Policy = "policy",
    }
}

/// Something that an answer rests on. It has an event, a timer or a policy, according to its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub kind: ReasonKind,
    /// When it happened, fired or took effect. None: a policy that was in force from the beginning.
    #[serde(serialize_with = "serialize_optional")]
    pub time: Option<DateTime<Utc>>,
    pub event: Option<ReasonEvent>,
    pub timer: Option<Timer>,
    pub policy: Option<ReasonPolicy>,
    pub sentence: String,
}

/// An event that an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonEvent {
    pub source: Arc<str>,
    pub id: Arc<str>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub data: Json,
    pub actor: Option<Arc<str>>,
    pub actorkind: Option<ActorKind>,
}

/// A setting of a policy that an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonPolicy {
    pub setting: &'static str,
    pub value: String,
    /// A value with which the answer would be different.
    pub other: String,
    /// The policies with that other value.
    #[serde(skip)]
    pub otherwise: Policies,
}

/// An event in whose place others would lead to the same answer, or several of one kind in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supporting {
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    pub event: ReasonEvent,
    /// The number of events in a row. The event is the first of them.
    pub count: u64,
    /// The time of the last of several.
    #[serde(serialize_with = "serialize_optional")]
    pub last: Option<DateTime<Utc>>,
    pub sentence: String,
    /// The name of each of them, as source and id.
    #[serde(skip)]
    pub names: Vec<(Arc<str>, Arc<str>)>,
}

/// Something that would change an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    pub kind: ReasonKind,
    /// When it happens if no event comes before. None: it takes events.
    #[serde(serialize_with = "serialize_optional")]
    pub time: Option<DateTime<Utc>>,
    pub timer: Option<Timer>,
    /// The events that it takes, in their order.
    pub events: Vec<TurnEvent>,
    /// The answer that it leads to. Events are tried at the moment of the answer.
    pub to: Value,
    pub sentence: String,
}

/// An event that would change an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnEvent {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub data: Json,
    /// The side whose event it is.
    pub side: ActorKind,
}

/// Explains an answer at a moment. The history is the client's whole history up to then or longer, sorted, each event once, with
/// the decisions about its names: a name that was not decided counts as free.
#[must_use]
pub fn explain(
    key: &ClientKey,
    history: &[Event],
    answer: &Answer,
    policies: &Policies,
    at: DateTime<Utc>,
) -> Explanation {
    let policies = &without_warnings(policies);
    let events = history
        .iter()
        .filter(|event| event.time <= at && answer.depends_on(&event.kind))
        .collect();
    let course = Course::new(answer, events, policies, at);
    let necessary = course.necessary();
    Explanation {
        answer: answer.clone(),
        at,
        value: course.value.clone(),
        since: course.since.map(|since| since.at),
        sentence: course.headline(),
        causes: causes(&course, &necessary),
        supporting: supporting(&course, &necessary),
        turns: turns(&course, key),
    }
}

/// The policies, under which no warning is published: warnings make no difference to an answer.
fn without_warnings(policies: &Policies) -> Policies {
    let eras = policies.until(DateTime::<Utc>::MAX_UTC).iter();
    let eras = eras.map(|(from, policy)| {
        let policy = Policy {
            warn_before: Vec::new(),
            ..policy.clone()
        };
        (*from, policy)
    });
    Policies::recorded(eras.collect()).unwrap_or_default()
}

fn causes(course: &Course, necessary: &[usize]) -> Vec<Reason> {
    let events = necessary.iter().map(|place| {
        let event = course.events[*place];
        Reason {
            kind: ReasonKind::Event,
            time: Some(event.time),
            event: Some(ReasonEvent::of(event)),
            timer: None,
            policy: None,
            sentence: sentences::of_event(event),
        }
    });
    let timers = course.timers().into_iter().map(|firing| Reason {
        kind: ReasonKind::Timer,
        time: Some(firing.due.at),
        event: None,
        timer: Some(firing.due.timer),
        policy: None,
        sentence: course.of_timer(firing.due, firing.runs_from),
    });
    let mut causes: Vec<Reason> = events.chain(timers).collect();
    // Timers fire before an event at the same moment, but not those that the event makes due.
    causes.sort_by_key(|cause| cause.time);
    causes.extend(course.settings().into_iter().map(|cause| Reason {
        kind: ReasonKind::Policy,
        time: cause.from,
        event: None,
        timer: None,
        sentence: sentences::of_setting(&cause),
        policy: Some(ReasonPolicy {
            setting: cause.setting,
            value: cause.value,
            other: cause.other,
            otherwise: cause.otherwise,
        }),
    }));
    causes
}

/// What together with the necessary events leads to the answer. Events that had no effect are left out from the first.
fn supporting(course: &Course, necessary: &[usize]) -> Vec<Supporting> {
    let effective: Vec<usize> = (0..course.events.len())
        .filter(|place| course.has_effect[*place])
        .collect();
    let events = effective.iter().map(|place| course.events[*place]).collect();
    let is_necessary: Vec<bool> = effective
        .iter()
        .map(|place| necessary.binary_search(place).is_ok())
        .collect();
    let course = Course::new(course.answer, events, course.policies, course.at);
    let places = course.supporting(&is_necessary);
    let events: Vec<&Event> = places.iter().map(|place| course.events[*place]).collect();
    events
        .chunk_by(|one, next| one.kind == next.kind)
        .filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let count = u64::try_from(run.len()).unwrap_or(u64::MAX);
            Some(Supporting {
                time: first.time,
                event: ReasonEvent::of(first),
                count,
                last: (count > 1).then_some(last.time),
                sentence: sentences::of_supporting(first, last, count),
                names: run
                    .iter()
                    .map(|event| (event.source.clone(), event.id.clone()))
                    .collect(),
            })
        })
        .collect()
}

fn turns(course: &Course, key: &ClientKey) -> Vec<Turn> {
    let by_itself = course.by_itself().map(|turn| Turn {
        kind: if turn.timer.is_some() {
            ReasonKind::Timer
        } else {
            ReasonKind::Policy
        },
        time: Some(turn.at),
        timer: turn.timer,
        events: Vec::new(),
        sentence: course.of_turn_by_itself(&turn),
        to: turn.to,
    });
    let id = course.answer.holding(&course.client);
    let threshold = course.policies.at(course.at).mature_after_jobs;
    let examples = examples(key, &course.client, course.at, id, threshold);
    let by_events = course.by_events(&examples).into_iter().map(|turn| Turn {
        kind: ReasonKind::Event,
        time: None,
        timer: None,
        events: turn.events.iter().map(|event| TurnEvent::of(event)).collect(),
        sentence: course.of_turn_by_events(&turn),
        to: turn.to,
    });
    by_itself.into_iter().chain(by_events).collect()
}

/// The data of an event.
fn data(event: &Event) -> Json {
    let kind = serde_json::to_value(&event.kind).ok();
    kind.and_then(|mut kind| kind.get_mut("data").map(Json::take))
        .unwrap_or_default()
}

impl ReasonEvent {
    fn of(event: &Event) -> Self {
        Self {
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.type_name(),
            data: data(event),
            actor: event.actor.id.clone(),
            actorkind: event.actor.kind,
        }
    }
}

impl TurnEvent {
    fn of(event: &Event) -> Self {
        Self {
            kind: event.kind.type_name(),
            data: data(event),
            side: event.kind.side(),
        }
    }
}
