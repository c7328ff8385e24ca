//! What answers rest on: properties that hold for every history, every policy and every moment. Each answer is compared with
//! that of the rules for a history without an event, without a timer, or under another policy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use tenure::domain::event::NameVerdict;
use tenure::domain::service::Service;
use tenure::domain::view::ClientView;
use tenure::domain::why::{Answer, Explanation, Reason, explain};
use tenure::domain::{Actor, Client, ClientKey, Due, Event, EventKind, Policies, Policy, Timer, fold};

use crate::generate::{arbitrary_case, arbitrary_moment};
use crate::laws::{one_life, up_to};

/// Explaining takes as many replays as there are events, for each answer.
fn config(share: u32) -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig {
        cases: (all.cases / share).max(1),
        failure_persistence: None,
        ..all
    }
}

/// A client's history up to a moment.
pub struct Life<'a> {
    pub key: ClientKey,
    /// Sorted, each once, none after the moment.
    pub events: Vec<Event>,
    pub policies: &'a Policies,
    pub at: DateTime<Utc>,
}

impl Life<'_> {
    fn of<'a>(events: &[Event], policies: &'a Policies, at: DateTime<Utc>) -> Life<'a> {
        Life {
            key: crate::generate::client_key(0),
            events: up_to(events, at),
            policies,
            at,
        }
    }

    fn view(&self, client: &Client, policies: &Policies, at: DateTime<Utc>) -> ClientView {
        ClientView::of(&self.key, client, 0, at, policies)
    }

    /// An answer that other events lead to.
    fn after(&self, answer: &Answer, events: &[Event]) -> Value {
        let client = fold(events, self.at, self.policies);
        shown(answer, &self.view(&client, self.policies, self.at))
    }

    /// The answer at a later moment without further events.
    fn later(&self, answer: &Answer, at: DateTime<Utc>) -> Value {
        let client = fold(&self.events, at, self.policies);
        shown(answer, &self.view(&client, self.policies, at))
    }

    /// The answers about the client, and about subscriptions that it may not have.
    pub fn answers(&self) -> Vec<Answer> {
        let client = fold(&self.events, self.at, self.policies);
        let mut ids: BTreeSet<_> = client.subscriptions.keys().cloned().collect();
        ids.insert("s1".to_owned().try_into().expect("an id"));
        Answer::OF_EVERY_CLIENT
            .into_iter()
            .chain(ids.into_iter().map(Answer::Subscription))
            .collect()
    }

    pub fn explain(&self, answer: &Answer) -> Explanation {
        explain(&self.key, &self.events, answer, self.policies, self.at)
    }

    /// The client after the history, and the timers that fired, without one run of a timer if one is given.
    fn without_timer(
        &self,
        without: Option<(Timer, DateTime<Utc>, &Answer)>,
    ) -> (Client, Vec<(Due, Client)>) {
        let mut client = Client::default();
        let mut fired = Vec::new();
        let end = self.events.iter().map(Some).chain([None]);
        for event in end {
            let until = event.map_or(self.at, |event| event.time);
            while let Some(due) = client.next_due_of(until, self.policies, |timer| {
                without.is_none_or(|(other, from, answer)| {
                    timer != other || runs_from(answer, timer, &client) != Some(from)
                })
            }) {
                fired.push((due, client.clone()));
                client.fire(due, self.policies);
            }
            if let Some(event) = event {
                let _ = client.apply(event, self.policies);
            }
        }
        (client, fired)
    }
}

/// An answer as the view of the client shows it.
fn shown(answer: &Answer, view: &ClientView) -> Value {
    let view = serde_json::to_value(view).expect("JSON");
    let flag = |name: &str| json!({"status": if view[name] == true { "yes" } else { "no" }});
    let status = |name: &str| match &view[name] {
        Value::Null => json!("none"),
        status => status.clone(),
    };
    let mut shown = match answer {
        Answer::Link => json!({
            "status": status("link"),
            "sent_at": view["invitation"]["sent_at"],
            "missing": view["invitation"]["missing"],
        }),
        Answer::Service => json!({"status": status("service")}),
        Answer::Access => json!({
            "status": view["access"],
            "expires_at": view["expires_at"],
            "access_request": view["access_request"],
        }),
        Answer::Billable => flag("billable"),
        Answer::Commission => flag("commission"),
        Answer::StatusCredit => flag("status_credit"),
        Answer::Connected => flag("connected"),
        Answer::Visible => flag("visible"),
        Answer::Retrieving => flag("retrieving"),
        Answer::OnClientList => flag("on_client_list"),
        Answer::Tab => json!({"status": status("tab")}),
        Answer::ViewAsClient => json!({"status": view["view_as_client"]}),
        Answer::Subscription(id) => {
            let held = view["subscriptions"].as_array().expect("a list");
            match held.iter().find(|held| held["id"] == id.as_str()) {
                None => json!({"status": "none"}),
                Some(held) => {
                    let mut held = held.clone();
                    held.as_object_mut().expect("an object").remove("id");
                    held
                }
            }
        }
    };
    shown
        .as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    shown
}

/// None: the timer makes no difference to the answer.
fn runs_from(answer: &Answer, timer: Timer, client: &Client) -> Option<DateTime<Utc>> {
    match (answer, timer) {
        (Answer::Access, Timer::AccessExpiry) => Some(client.access()?.renewal()?.renewed_at),
        (Answer::Access, Timer::RequestLapse) => client.access_request(),
        (Answer::Subscription(id), Timer::SubscriptionEnd) => client.subscriptions.get(id)?.link_lost_at,
        (Answer::Retrieving | Answer::ViewAsClient, Timer::TerminatedCleanup) => match client.service {
            Service::Terminated { at } if !client.assignments.is_empty() => Some(at),
            _ => None,
        },
        _ => None,
    }
}

/// The names of events.
type Names<'a> = BTreeSet<(&'a str, &'a str)>;

fn names<'a>(events: impl IntoIterator<Item = &'a Event>) -> Names<'a> {
    events
        .into_iter()
        .map(|event| (&*event.source, &*event.id))
        .collect()
}

fn named(causes: &[Reason]) -> Names<'_> {
    causes
        .iter()
        .filter_map(|cause| cause.event.as_ref())
        .map(|event| (&*event.source, &*event.id))
        .collect()
}

/// Take away an event that the explanation names, and the answer is another. Take away any other event, and it is the same. The
/// named events and the supporting ones lead to the answer alone.
pub fn events_hold(life: &Life, explanation: &Explanation) {
    let answer = &explanation.answer;
    let expected = life.after(answer, &life.events);
    assert_eq!(
        serde_json::to_value(&explanation.value).expect("JSON"),
        expected,
        "{answer}"
    );
    let causes = named(&explanation.causes);
    for place in 0..life.events.len() {
        let mut others = life.events.clone();
        let event = others.remove(place);
        let is_another = life.after(answer, &others) != expected;
        let is_named = causes.contains(&(&*event.source, &*event.id));
        assert_eq!(is_named, is_another, "{answer}: {event:?}");
    }
    let mut enough = causes;
    for supporting in &explanation.supporting {
        enough.extend(supporting.names.iter().map(|(source, id)| (&**source, &**id)));
    }
    let enough: Vec<Event> = life
        .events
        .iter()
        .filter(|event| names([*event]).is_subset(&enough))
        .cloned()
        .collect();
    assert_eq!(life.after(answer, &enough), expected, "{answer}: {enough:?}");
}

/// The same for timers, and another policy than one that is named leads to another answer.
fn timers_and_policies_hold(life: &Life, explanation: &Explanation) {
    let answer = &explanation.answer;
    let expected = life.after(answer, &life.events);
    let causes = explanation.causes.iter();
    let timers: Vec<_> = causes
        .clone()
        .filter_map(|cause| cause.time.zip(cause.timer))
        .collect();
    let (_, fired) = life.without_timer(None);
    let mut checked = 0;
    for (due, before) in fired {
        let Some(from) = runs_from(answer, due.timer, &before) else {
            continue;
        };
        let mut after = before;
        after.fire(due, life.policies);
        if runs_from(answer, due.timer, &after) == Some(from) {
            // It ended other subscriptions.
            continue;
        }
        let (client, _) = life.without_timer(Some((due.timer, from, answer)));
        let is_another = shown(answer, &life.view(&client, life.policies, life.at)) != expected;
        let is_named = timers.contains(&(due.at, due.timer));
        assert_eq!(is_named, is_another, "{answer}: {due:?}");
        checked += usize::from(is_named);
    }
    assert!(checked >= timers.len(), "{answer}: {timers:?}");
    for policy in causes.filter_map(|cause| cause.policy.as_ref()) {
        let client = fold(&life.events, life.at, &policy.otherwise);
        let otherwise = shown(answer, &life.view(&client, &policy.otherwise, life.at));
        assert_ne!(otherwise, expected, "{answer}: {policy:?}");
    }
}

/// The events of a turn lead to what it says, and the answer changes by itself when it says, and not before.
fn turns_hold(life: &Life, explanation: &Explanation) {
    let answer = &explanation.answer;
    let expected = life.after(answer, &life.events);
    let by_itself = explanation.turns.iter().find_map(|turn| Some((turn, turn.time?)));
    match by_itself {
        None => assert_eq!(
            life.later(answer, life.at + TimeDelta::days(40_000)),
            expected,
            "{answer}"
        ),
        Some((turn, time)) => {
            assert_eq!(life.later(answer, time), json!(turn.to), "{answer}: {turn:?}");
            assert_eq!(
                life.later(answer, time - TimeDelta::microseconds(1)),
                expected,
                "{answer}: {turn:?}"
            );
        }
    }
    for turn in explanation.turns.iter().filter(|turn| turn.time.is_none()) {
        let mut client = fold(&life.events, life.at, life.policies);
        for event in &turn.events {
            let kind = json!({"type": event.kind, "data": event.data});
            let kind: EventKind = serde_json::from_value(kind).expect("an event kind");
            let event = Event {
                source: "test".into(),
                id: "turn".into(),
                key: life.key.clone(),
                time: life.at,
                sequence: None,
                actor: Actor::default(),
                kind,
                name_verdict: NameVerdict::Granted,
            };
            client
                .apply(&event, life.policies)
                .unwrap_or_else(|refusal| panic!("{answer}: {refusal} of {turn:?}"));
            client.advance(life.at, life.policies);
        }
        let turned = shown(answer, &life.view(&client, life.policies, life.at));
        assert_eq!(turned, json!(turn.to), "{answer}: {turn:?}");
        assert_ne!(turned, expected, "{answer}: {turn:?}");
    }
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn an_answer_rests_on_exactly_the_causes_that_it_names((policies, events) in one_life(), at in arbitrary_moment()) {
        let life = Life::of(&events, &policies, at);
        for answer in life.answers() {
            let explanation = life.explain(&answer);
            events_hold(&life, &explanation);
            timers_and_policies_hold(&life, &explanation);
            turns_hold(&life, &explanation);
        }
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// Of long histories only parts are replayed.
    #[test]
    fn an_answer_about_a_long_history_rests_on_its_causes((policies, events) in arbitrary_case(1, 400)) {
        let at = crate::generate::moment(86_400_000_000 * 4_000);
        let last = events.iter().map(|event| event.time).max().unwrap_or(at);
        for at in [last, at] {
            let life = Life::of(&events, &policies, at);
            for answer in [Answer::Access, Answer::Commission, Answer::Retrieving] {
                let explanation = life.explain(&answer);
                events_hold(&life, &explanation);
                timers_and_policies_hold(&life, &explanation);
            }
        }
    }
}

/// A client that is linked, and then has the same events many times, in equal steps.
fn repeated(times: i64, step: TimeDelta, types: &[&str]) -> Vec<Event> {
    let event = |number: i64, kind: Value| Event {
        source: "app".into(),
        id: format!("{number}").into(),
        key: crate::generate::client_key(0),
        time: crate::generate::beginning() + step * i32::try_from(number).expect("a number"),
        sequence: None,
        actor: Actor::default(),
        kind: serde_json::from_value(kind).expect("an event kind"),
        name_verdict: NameVerdict::Open,
    };
    let link = [
        json!({"type": "client.added", "data": {"name": "Bakery"}}),
        json!({"type": "client.invited", "data": {"steps": ["accepted"]}}),
        json!({"type": "invitation.accepted", "data": {}}),
    ];
    let mut events: Vec<Event> = (-3..)
        .zip(link)
        .map(|(number, kind)| event(number, kind))
        .collect();
    let types = (0..times).flat_map(|_| types);
    events.extend(
        (0..)
            .zip(types)
            .map(|(number, kind)| event(number, json!({"type": kind, "data": {}}))),
    );
    events
}

/// A replay for each event would take minutes.
#[test]
fn long_histories_are_not_replayed_for_each_event() {
    const TIMES: i64 = 10_000;
    let policies = Policies::default();
    for (step, necessary, supporting) in [
        // Only the last entry counts. Of those before, one in 59 days is enough.
        (TimeDelta::days(1), 1, 169),
        // Without any one of them access expires.
        (TimeDelta::days(50), TIMES, 0),
    ] {
        let events = repeated(TIMES, step, &["account.accessed"]);
        let at = events.last().expect("events").time;
        let life = Life::of(&events, &policies, at);
        let explanation = life.explain(&Answer::Access);
        assert_eq!(explanation.value.status, "enabled");
        let named = named(&explanation.causes).len();
        assert_eq!(i64::try_from(named), Ok(necessary + 3), "{step}");
        let others: u64 = explanation.supporting.iter().map(|events| events.count).sum();
        assert_eq!(others, supporting, "{step}");
    }
}

/// Without its expiry, access stays enabled to the end, because enabling it again renews nothing. To follow the history to the end
/// for each expiry would take minutes.
#[test]
fn long_histories_are_not_replayed_for_each_timer() {
    const TIMES: i64 = 10_000;
    let policies = Policies::always(Policy {
        request_lapses: TimeDelta::days(30),
        ..Policy::default()
    });
    for (types, necessary) in [
        (&["access.enabled"][..], TIMES),
        // An entry renews the access that did not expire, which then expires as it does in fact. Only the last expiry counts.
        (&["access.enabled", "account.accessed"], 1),
        // A request that does not lapse stays open to the end.
        (&["access.disabled", "access.requested"], TIMES / 2 - 1),
    ] {
        let times = TIMES / i64::try_from(types.len()).expect("a number");
        let events = repeated(times, TimeDelta::days(61), types);
        let at = events.last().expect("events").time;
        let life = Life::of(&events, &policies, at);
        let started = Instant::now();
        let explanation = life.explain(&Answer::Access);
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{types:?}: {:?}",
            started.elapsed()
        );
        let fired = explanation.causes.iter().filter(|cause| cause.timer.is_some());
        assert_eq!(i64::try_from(fired.count()), Ok(necessary), "{types:?}");
    }
}

/// Histories of a few blocks, in which many timers fire, one after the other and at every place of a block.
#[test]
fn every_one_of_many_timers_is_a_cause_or_not() {
    let policies = Policies::always(Policy {
        access_idle: TimeDelta::days(20),
        request_lapses: TimeDelta::days(10),
        ..Policy::default()
    });
    for types in [
        &["access.enabled"][..],
        &["access.enabled", "account.accessed", "access.requested"],
        &["access.enabled", "access.requested", "access.requested"],
        &[
            "access.disabled",
            "access.requested",
            "access.requested",
            "access.enabled",
        ],
        &[
            "access.requested",
            "access.denied",
            "access.requested",
            "access.approved",
        ],
    ] {
        for step in [3, 15, 21] {
            let times = 150 / i64::try_from(types.len()).expect("a number");
            let events = repeated(times, TimeDelta::days(step), types);
            let at = events.last().expect("events").time;
            for at in [at, at + TimeDelta::days(11), at + TimeDelta::days(30)] {
                let life = Life::of(&events, &policies, at);
                timers_and_policies_hold(&life, &life.explain(&Answer::Access));
            }
        }
    }
}

/// A policy that starts while a request is open closes it at once. The request then was open for longer than the setting says.
#[test]
fn a_request_that_lapses_under_a_new_policy_was_open_since_it_was_made() {
    let lapses = |days| Policy {
        request_lapses: TimeDelta::days(days),
        ..Policy::default()
    };
    // The customer disables access on the first day, and the partner requests it on the next.
    let events = repeated(1, TimeDelta::days(1), &["access.disabled", "access.requested"]);
    let start = crate::generate::beginning();
    for (policies, lapsed, waited) in [
        (Policies::always(lapses(30)), 31, "30 days"),
        (eras(start, &[(0, lapses(0)), (50, lapses(30))]), 50, "49 days"),
        (eras(start, &[(0, lapses(60)), (40, lapses(30))]), 40, "39 days"),
        (eras(start, &[(0, lapses(60)), (20, lapses(30))]), 31, "30 days"),
    ] {
        let life = Life::of(&events, &policies, start + TimeDelta::days(70));
        let explanation = life.explain(&Answer::Access);
        events_hold(&life, &explanation);
        timers_and_policies_hold(&life, &explanation);
        let timers: Vec<_> = explanation
            .causes
            .iter()
            .filter(|cause| cause.timer.is_some())
            .collect();
        let [cause] = timers.as_slice() else {
            panic!("{timers:?}");
        };
        assert_eq!(cause.time, Some(start + TimeDelta::days(lapsed)), "{cause:?}");
        assert_eq!(cause.timer, Some(Timer::RequestLapse));
        let expected =
            format!("the request for access lapsed: the customer had not answered it for {waited}.");
        assert!(cause.sentence.ends_with(&expected), "{cause:?}");
    }
}

fn eras(start: DateTime<Utc>, eras: &[(i64, Policy)]) -> Policies {
    let eras = eras
        .iter()
        .map(|(day, policy)| (start + TimeDelta::days(*day), policy.clone()));
    Policies::recorded(eras.collect()).expect("a policy")
}
