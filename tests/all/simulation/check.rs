//! Compares the end of a run with the oracle, which knows only the set of events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use serde_json::{Value, json};
use tenure::clock::Clock;
use tenure::domain::access::Decision;
use tenure::domain::time::rfc3339;
use tenure::domain::{Action, Cause, ClientKey, Event, Policies, Refusal, Sweep};
use tenure::engine::{AccessView, Engine, SweepMode, SweepOptions};
use tenure::store::{
    AccessFilter, DeadLetterFilter, DeadLetterStatus, Logged, PACKED_SOURCE, RecordedOutcome,
};
use tenure::wire;

use super::outcomes::{named, someone_else_claims_its_name};
use super::run::Run;
use super::world::Delivery;
use crate::oracle::{ACTIONS, Name, Oracle, public_json, published_part};

impl Run<'_> {
    /// Every client, its holdings, its log, its deadlines and its journal.
    pub async fn check(&mut self) {
        self.verify().await;
        self.mistakes_are_dead_letters().await;
        let recorded = self.store.policies().await.expect("policies");
        let policies = Policies::recorded(recorded.clone()).expect("a policy");
        let engine = Engine::open(self.store.clone(), self.clock.clone(), policies.latest());
        let engine = engine.await.expect("an engine");
        let mut oracle = Oracle::new(recorded);
        for delivery in &self.sent {
            oracle.add(&delivery.json);
        }
        let keys: BTreeSet<ClientKey> = self.sent.iter().map(|sent| sent.event.key.clone()).collect();
        let mut histories = BTreeMap::new();
        for key in &keys {
            let history = self.store.history(key).await.expect("a history");
            for logged in &history {
                if logged.outcome == RecordedOutcome::Refused(Refusal::NameTaken) {
                    someone_else_claims_its_name(logged, &self.sent);
                    oracle.name_taken(&logged.event.source, &logged.event.id);
                }
            }
            histories.insert(key, history);
        }
        assert_eq!(
            oracle.clients(),
            keys.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        for key in &keys {
            self.log_is_whole(key, &histories[key], &oracle);
            self.access_log_is_whole(key, &oracle).await;
            self.is_as_the_oracle_says(key, &engine, &oracle).await;
        }
        self.deadlines_are_in_time(&keys, &oracle, &policies).await;
        for sweep in Sweep::ALL {
            let options = SweepOptions::new(SweepMode::Confirmed);
            engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
            let left = self
                .store
                .due(sweep, engine.now(), None, 10)
                .await
                .expect("deadlines");
            assert!(left.is_empty(), "still due after {sweep}: {left:?}");
        }
        self.deadlines_are_in_time(&keys, &oracle, &policies).await;
        self.journal_is_whole(&keys, &oracle).await;
        self.verify().await;
    }

    /// Of the events that have one source and id, all but the first are open dead letters, and nothing else is one. They have no
    /// effect, so they count as not sent from here on.
    async fn mistakes_are_dead_letters(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        let mut expected = BTreeMap::new();
        for delivery in sent {
            match self.outcomes.mistake(&delivery) {
                Some(reason) => drop(expected.insert(wire::event(&delivery.event), reason)),
                None => self.sent.push(delivery),
            }
        }
        let filter = DeadLetterFilter::default();
        let mut found = BTreeMap::new();
        for summary in self.store.dead_letters(&filter, 0, 1_000).await.expect("a list") {
            let record = self.store.dead_letter(summary.id).await.expect("an answer");
            let record = record.expect("a record");
            assert_eq!(record.status, DeadLetterStatus::Open);
            found.insert(record.dead_letter.body, record.dead_letter.reason);
        }
        assert_eq!(found, expected);
    }

    /// Every event is in the log once, with the outcome of its position; every touch is stored.
    fn log_is_whole(&self, key: &ClientKey, history: &[Logged], oracle: &Oracle) {
        let verdict = oracle.at(&key.to_string(), self.end);
        let moment = |event: &Event| (event.time, event.sequence.clone());
        let ours = || {
            self.sent
                .iter()
                .map(|sent| &sent.event)
                .filter(|event| event.key == *key)
        };
        let logged = || history.iter().map(|logged| &logged.event);

        let sent: BTreeSet<Name> = ours().filter(|event| !event.is_touch()).map(named).collect();
        let stored: Vec<Name> = logged().filter(|event| !event.is_touch()).map(named).collect();
        assert_eq!(stored.len(), sent.len(), "{key}: the log and the sent events");
        assert_eq!(
            stored.into_iter().collect::<BTreeSet<_>>(),
            sent,
            "{key}: the log and what was sent"
        );
        let sent: BTreeSet<_> = ours().filter(|event| event.is_touch()).map(moment).collect();
        let stored: BTreeSet<_> = logged().filter(|event| event.is_touch()).map(moment).collect();
        assert_eq!(stored, sent, "{key}: the stored and the sent touches");

        for Logged { event, outcome } in history {
            if &*event.source == PACKED_SOURCE {
                continue;
            }
            let sent = ours().find(|sent| named(sent) == named(event));
            assert_eq!(
                Some(&event.actor),
                sent.map(|sent| &sent.actor),
                "{key}: {event:?}"
            );
            let expected = verdict.refusals.get(&named(event)).copied();
            let found = outcome.refusal().map(Refusal::code);
            assert_eq!(found, expected, "{key}: what came of {event:?}");
        }
    }

    /// The access log has an entry for each time that somebody entered, with the outcome of its position. While it is off, it has
    /// none.
    async fn access_log_is_whole(&self, key: &ClientKey, oracle: &Oracle) {
        let filter = AccessFilter::default();
        let found = self.store.accesses(key, &filter, None, 10_000).await;
        let found = found.expect("the access log").accesses;
        assert!(
            found.is_sorted_by(|one, next| one.time >= next.time),
            "{key}: the latest entry comes first"
        );
        let refusals = oracle.at(&key.to_string(), self.end).refusals;
        let entered = self.sent.iter().filter(|sent| sent.event.key == *key);
        let entered = entered.filter(|sent| sent.json["type"] == "account.accessed");
        let entered = entered.filter(|_| self.access_log.is_some());
        let expected: BTreeMap<Name, Value> = entered
            .map(|Delivery { event, json, .. }| {
                let name = named(event);
                let refusal = refusals.get(&name).copied().and_then(Refusal::from_code);
                let mut entry = json!({
                    "subject": json["subject"], "time": rfc3339(event.time), "by": json["data"]["by"].as_str().unwrap_or("partner"),
                    "user": json["data"]["user"], "source": json["source"], "id": json["id"],
                    "refusal": refusal.map(Refusal::code), "reason": refusal.map(Refusal::words),
                });
                for attribute in ["actor", "actorkind"] {
                    if let Some(value) = json.get(attribute) {
                        entry[attribute] = value.clone();
                    }
                }
                (name, entry)
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{key}: the number of entries");
        for entry in found {
            let name = (entry.source.to_string(), entry.id.to_string());
            let shown = serde_json::to_value(AccessView::from(entry)).expect("JSON");
            assert_eq!(Some(&shown), expected.get(&name), "{key}: the access log");
        }
    }

    /// Compares clients at the end of the run, and at moments before and after.
    async fn is_as_the_oracle_says(&mut self, key: &ClientKey, engine: &Engine, oracle: &Oracle) {
        let now = engine.now();
        let hours = (now - self.sent[0].event.time).num_hours().max(1);
        let mut moments = vec![None, Some(now)];
        for _ in 0..2 {
            let back = TimeDelta::hours(self.rng.random_range(0..=hours));
            moments.push(Some(now - back));
        }
        let event = &self.sent[self.rng.random_range(0..self.sent.len())].event;
        moments.push(Some(event.time));
        moments.push(Some(now + TimeDelta::hours(self.rng.random_range(0..5_000))));
        for at in moments {
            let found = engine.client(key, at).await.expect("an answer");
            let expected = oracle.at(&key.to_string(), at.unwrap_or(now)).view;
            assert_eq!(found.as_ref().map(public_json), expected, "{key} at {at:?}");
            self.decides_as_the_oracle(key, at, engine, oracle).await;
        }
    }

    /// Compares an access decision, and checks that a copy of it is right until it says, unless an event comes.
    async fn decides_as_the_oracle(
        &mut self,
        key: &ClientKey,
        at: Option<DateTime<Utc>>,
        engine: &Engine,
        oracle: &Oracle,
    ) {
        let name = ACTIONS[self.rng.random_range(0..ACTIONS.len())];
        let action = name.map(|name| Action::try_from(name).expect("an action"));
        // Silent sources are checked apart.
        let decide = async |at| Decision {
            assured: true,
            silent_source: None,
            ..engine.decide(key, action.as_ref(), at).await.expect("a decision")
        };
        let cached = decide(at).await;
        let expected = oracle.decision(&key.to_string(), at.unwrap_or(engine.now()), name);
        assert_eq!(
            serde_json::to_value(&cached).expect("JSON"),
            expected,
            "{key} {name:?} at {at:?}"
        );

        let from = cached.decided_at;
        let times = self.sent.iter().map(|sent| &sent.event);
        let times = times.filter(|event| event.key == *key && event.time > from);
        let event = times.map(|event| event.time).min();
        let end = cached.holds_until.into_iter().chain(event).min();
        let end = end.unwrap_or(from + TimeDelta::days(1_000));
        let span = (end - from).num_microseconds().expect("less than a lifetime");
        let between = from + TimeDelta::microseconds(self.rng.random_range(0..span));
        for moment in [between, end - TimeDelta::microseconds(1)] {
            let later = Decision {
                decided_at: from,
                ..decide(Some(moment)).await
            };
            assert_eq!(later, cached, "{key} {name:?} at {moment}");
        }
        if let Some(end) = cached.holds_until
            && event.is_none_or(|event| event > end)
        {
            let later = Decision {
                decided_at: from,
                ..decide(Some(end)).await
            };
            assert_ne!(later, cached, "{key} {name:?}: it holds longer than {end}");
        }
    }

    /// No deadline is missing or later than the oracle's. One that is too early is harmless: its sweep moves it.
    async fn deadlines_are_in_time(&self, keys: &BTreeSet<ClientKey>, oracle: &Oracle, policies: &Policies) {
        let far = self.end + TimeDelta::days(100_000);
        let mut armed = BTreeMap::new();
        for sweep in Sweep::ALL {
            for (at, key) in self.store.due(sweep, far, None, 1_000).await.expect("deadlines") {
                armed.insert((sweep.as_str(), key), at);
            }
        }
        for key in keys {
            let Some(stored) = self.store.client(key).await.expect("an answer") else {
                panic!("{key} has events, and no row");
            };
            let Some(as_of) = stored.client(policies).as_of() else {
                continue;
            };
            for (sweep, wanted) in oracle.at(&key.to_string(), as_of).deadlines {
                let found = armed.get(&(sweep, key.clone())).copied();
                let in_time = found.is_some_and(|found| found <= wanted);
                assert!(
                    in_time,
                    "{key} {sweep}: after {as_of} due at {wanted}, its deadline is {found:?}"
                );
            }
        }
    }

    /// A subscriber that received all changes knows the oracle's state.
    async fn journal_is_whole(&mut self, keys: &BTreeSet<ClientKey>, oracle: &Oracle) {
        // On a shared server the relay waits for writers in every database.
        while self.store.count_unpublished().await.expect("a backlog") > 0 {
            if self.publish().await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(self.subscriber.contradictions, Vec::<String>::new());
        let now = self.clock.now();
        for key in keys {
            let verdict = oracle.at(&key.to_string(), now);
            let expected = verdict.view.as_ref().map(published_part);
            assert_eq!(
                self.subscriber.known(&key.to_string()),
                expected,
                "{key}: the published state"
            );
        }
        self.outcomes.refusals_are_published(&self.subscriber, &self.sent);
        self.published_outcomes_are_right(keys, oracle);
        for key in keys {
            for line in self.store.journal(key, 0, u32::MAX).await.expect("a journal") {
                let Cause::Event { source, id, .. } = &line.entry.cause else {
                    continue;
                };
                // A packed touch has lost its source, id and actor.
                if &**source != PACKED_SOURCE {
                    let found = serde_json::to_value(&line.entry.cause).expect("JSON");
                    assert_eq!(Some(found), oracle.cause(source, id), "{key}: {line:?}");
                }
            }
        }
    }

    /// As far as a subscriber knows, the events that are refused are those of the oracle. A touch may have lost its name.
    fn published_outcomes_are_right(&self, keys: &BTreeSet<ClientKey>, oracle: &Oracle) {
        let touches = self.sent.iter().map(|sent| &sent.event);
        let touches: BTreeSet<Name> = touches.filter(|event| event.is_touch()).map(named).collect();
        let published: BTreeSet<(String, Name)> = self.subscriber.refusals.iter().cloned().collect();
        let known = published
            .into_iter()
            .filter(|(_, event)| event.0 != PACKED_SOURCE && !touches.contains(event));
        let expected = keys.iter().flat_map(|key| {
            let refusals = oracle.at(&key.to_string(), self.end).refusals.into_keys();
            refusals
                .filter(|event| !touches.contains(event))
                .map(|event| (key.to_string(), event))
                .collect::<Vec<_>>()
        });
        let (known, expected): (BTreeSet<_>, BTreeSet<_>) = (known.collect(), expected.collect());
        assert_eq!(known, expected, "the published outcomes");
    }

    /// A verification finds no drift.
    pub async fn verify(&self) {
        let recorded = self.store.policies().await.expect("policies");
        let Some(policies) = Policies::recorded(recorded) else {
            return;
        };
        let engine = Engine::open(self.store.clone(), self.clock.clone(), policies.latest());
        let report = engine
            .await
            .expect("an engine")
            .verify(|_| {})
            .await
            .expect("a verification");
        assert!(report.drifts.is_empty(), "{:#?}", report.drifts);
    }
}
