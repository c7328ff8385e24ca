//! Compares the answers about possible events with the oracle, which applies the tried event to the whole history.

use proptest::prelude::*;
use serde_json::json;
use tenure::domain::event::TYPES;
use tenure::domain::possible::possibilities;
use tenure::domain::{Refusal, fold};

use super::agreement::{one_history, oracle};
use crate::generate::{arbitrary_moment, cases, client_key};
use crate::lifecycles::z;

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn an_event_is_possible_if_the_oracle_applies_it((policies, events) in one_history(), moment in arbitrary_moment()) {
        // The tried event comes after all events of its moment.
        prop_assume!(events.iter().all(|event| event.time != moment));
        let key = client_key(0);
        let client = fold(&events, moment, &policies);
        let answer = possibilities(&key, &client, moment, &policies);
        let mut kinds: Vec<&str> = answer.iter().map(|possibility| possibility.kind).collect();
        kinds.dedup();
        prop_assert_eq!(kinds, TYPES);
        let trial = ("/trial".to_owned(), "1".to_owned());
        for possibility in answer {
            let mut oracle = oracle(&policies, &events);
            oracle.add(&json!({
                "specversion": "1.0", "source": trial.0, "id": trial.1, "subject": key.to_string(), "time": z(moment),
                "type": possibility.kind, "data": possibility.data,
            }));
            let verdict = oracle.at(&key.to_string(), moment);
            let expected = verdict.refusals.get(&trial).copied();
            prop_assert_eq!(expected, possibility.refusal.map(Refusal::code), "{:?}", possibility);
            prop_assert_eq!(possibility.possible, expected.is_none());
        }
    }
}
