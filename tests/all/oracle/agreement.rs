//! Compares the domain with the oracle: random histories in any order, under changing policies.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::Value;
use tenure::domain::access::Decision;
use tenure::domain::action::{FORBIDDEN_ACTIONS, HANDOVER_ACTION};
use tenure::domain::event::NameVerdict;
use tenure::domain::fold::replay;
use tenure::domain::time::rfc3339;
use tenure::domain::view::ClientView;
use tenure::domain::{Action, Change, Client, Event, LastChanges, Policies, Refusal, Sweep, changes, fold};
use tenure::wire;

use super::{Oracle, Subscriber, published_part};
use crate::generate::{arbitrary_case, arbitrary_moment, cases, client_key, shuffled};

const LONGEST: usize = 50;

/// No action, one that is always forbidden, one that sometimes is, and one that never is.
pub const ACTIONS: [Option<&str>; 4] = [
    None,
    Some(FORBIDDEN_ACTIONS[0]),
    Some(HANDOVER_ACTION),
    Some("invoice_create"),
];

/// A view as JSON, without the fields that depend on the store.
pub fn public_json(view: &ClientView) -> Value {
    let mut json = serde_json::to_value(view).expect("JSON");
    let fields = json.as_object_mut().expect("an object");
    fields.remove("as_of");
    fields.remove("version");
    json
}

/// An event as JSON, as an app sends it.
pub fn sent(event: &Event) -> Value {
    serde_json::from_slice(&wire::event(event)).expect("JSON")
}

pub fn oracle(policies: &Policies, events: &[Event]) -> Oracle {
    let eras = policies.eras_from(DateTime::<Utc>::MIN_UTC);
    let mut oracle = Oracle::new(eras.map(|era| (era.start, era.policy.clone())).collect());
    for event in events {
        oracle.add(&sent(event));
        if event.name_verdict == NameVerdict::Taken {
            oracle.name_taken(&event.source, &event.id);
        }
    }
    oracle
}

/// The history of one client in order of arrival, with some of its names refused.
pub fn one_history() -> impl Strategy<Value = (Policies, Vec<Event>)> {
    let verdicts = proptest::collection::vec(proptest::bool::weighted(0.1), LONGEST);
    (arbitrary_case(1, LONGEST), verdicts).prop_flat_map(|((policies, mut events), taken)| {
        for (event, taken) in events.iter_mut().zip(taken) {
            if taken && event.kind.claimed_name().is_some() {
                event.name_verdict = NameVerdict::Taken;
            }
        }
        (Just(policies), shuffled(events))
    })
}

proptest! {
    // `just long` compares 10,000 histories.
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_replay_agrees_with_the_oracle((policies, events) in one_history(), moment in arbitrary_moment()) {
        let oracle = oracle(&policies, &events);
        let subject = client_key(0).to_string();
        let last = events.iter().map(|event| event.time).max().unwrap_or(moment);
        for moment in [moment, last, policies.eras_from(last).last().map_or(last, |era| era.start.max(last))] {
            let verdict = oracle.at(&subject, moment);
            let client = fold(&events, moment, &policies);
            let view = client
                .is_known()
                .then(|| public_json(&ClientView::of(&client_key(0), &client, 0, moment, &policies)));
            prop_assert_eq!(&verdict.view, &view, "at {}", moment);
            let refusals = refused(&events, moment, &policies);
            let expected: Vec<_> = verdict.refusals.into_iter().collect();
            prop_assert_eq!(expected, refusals, "at {}", moment);
            for name in [None, ACTIONS[events.len() % ACTIONS.len()]] {
                let action = name.map(|name| Action::try_from(name).expect("an action"));
                let decision = Decision::decide(&client, action.as_ref(), moment, &policies);
                let expected = oracle.decision(&subject, moment, name);
                prop_assert_eq!(expected, serde_json::to_value(decision).expect("JSON"), "{:?} at {}", name, moment);
            }
            for sweep in Sweep::ALL {
                let expected = verdict.deadlines.get(sweep.as_str()).copied();
                prop_assert_eq!(expected, client.deadline(sweep, &policies), "{} after {}", sweep, moment);
            }
        }
    }

    #[test]
    fn a_subscriber_knows_the_state_of_the_oracle((policies, events) in one_history(), moment in arbitrary_moment()) {
        let oracle = oracle(&policies, &events);
        let subject = client_key(0).to_string();
        let mut subscriber = Subscriber::default();
        let mut before = Client::default();
        let mut known: Vec<Event> = Vec::new();
        // Each arrival is published as a difference, as corrections are.
        for event in &events {
            known.push(event.clone());
            let mut history: Vec<&Event> = known.iter().filter(|event| event.time <= moment).collect();
            history.sort_by_cached_key(|event| event.position());
            history.dedup_by(|a, b| a.source == b.source && a.id == b.id);
            let (after, last) = LastChanges::of_history(history, moment, &policies);
            prop_assert_eq!(&after, &fold(&known, moment, &policies));
            for change in changes(&before, &after, &policies) {
                let time = last.of(&change).map_or(event.time, |occurrence| occurrence.time);
                subscriber.receive(&line(&subject, &change, time));
            }
            before = after;
        }
        prop_assert_eq!(&subscriber.contradictions, &Vec::<String>::new());
        let expected = oracle.at(&subject, moment).view.map(|view| published_part(&view));
        prop_assert_eq!(subscriber.known(&subject), expected);
    }
}

fn line(subject: &str, change: &Change, time: DateTime<Utc>) -> Value {
    let mut line = serde_json::to_value(change).expect("JSON");
    line["subject"] = subject.into();
    line["time"] = rfc3339(time).into();
    line["correction"] = true.into();
    line["corrected_by"] = "the arrival".into();
    line
}

/// The refusals of the code under test, by source and id.
fn refused(
    events: &[Event],
    until: DateTime<Utc>,
    policies: &Policies,
) -> Vec<((String, String), &'static str)> {
    let mut sorted: Vec<Event> = events
        .iter()
        .filter(|event| event.time <= until)
        .cloned()
        .collect();
    sorted.sort_by_cached_key(|event| (event.position(), event.source.clone(), event.id.clone()));
    sorted.dedup();
    let outcomes = replay(&mut Client::default(), &mut sorted, policies, |_| false);
    let name = |event: Event| (event.source.to_string(), event.id.to_string());
    let refused = |outcome: Result<(), Refusal>| outcome.err().map(Refusal::code);
    let mut refusals: Vec<_> = sorted
        .into_iter()
        .zip(outcomes)
        .filter_map(|(event, outcome)| Some((name(event), refused(outcome)?)))
        .collect();
    refusals.sort_unstable();
    refusals
}
