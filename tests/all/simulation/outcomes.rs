//! Compares the outcome of each delivery and the published refusals with the oracle.
//!
//! An outcome must be the oracle's for the events that are committed by then. So this has an oracle that knows only those.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use tenure::domain::{ClientKey, Event, Policy, Refusal};
use tenure::engine::Outcome;
use tenure::store::{Logged, PACKED_SOURCE, RecordedOutcome, Store, Touch};

use super::world::Delivery;
use crate::oracle::{Name, Oracle, Subscriber};

/// Later than every event.
const END: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

pub struct Outcomes {
    /// An oracle that knows the committed events.
    oracle: Oracle,
    /// The events that it knows.
    known: HashSet<Name>,
    policies: usize,
    /// Sources and ids that several events have by mistake, once the events that were sent are known.
    used_twice: Option<BTreeSet<Name>>,
    /// Events that have a row in the log: all but the touches that were applied when they arrived.
    logged: HashSet<Name>,
    /// Events that were delivered, acknowledged and refused at some time, by client.
    refused: BTreeSet<(String, Name)>,
    /// The reasons for which events were ever refused.
    reasons: BTreeMap<(String, Name), BTreeSet<&'static str>>,
    /// Clients with committed states that are unknown here: a batch was several transactions, or several workers wrote at once.
    blurred: BTreeSet<String>,
    /// The most events that are planned and written at once.
    pub part: usize,
}

impl Outcomes {
    pub fn new(part: usize) -> Self {
        Self {
            oracle: Oracle::new(vec![(END, Policy::default())]),
            known: HashSet::new(),
            policies: 0,
            used_twice: None,
            logged: HashSet::new(),
            refused: BTreeSet::new(),
            reasons: BTreeMap::new(),
            blurred: BTreeSet::new(),
            part,
        }
    }

    async fn learn_policies(&mut self, store: &dyn Store) {
        let recorded = store.policies().await.expect("policies");
        if recorded.len() != self.policies {
            self.policies = recorded.len();
            self.oracle.set_eras(recorded);
        }
    }

    /// A batch was ingested, with these outcomes.
    pub async fn answered(
        &mut self,
        batch: &[Delivery],
        outcomes: &[Outcome],
        store: &dyn Store,
        sent: &[Delivery],
    ) {
        self.learn_policies(store).await;
        assert_eq!(batch.len(), outcomes.len());
        let known = self.known.clone();
        // A batch of several transactions, or one among others, says nothing about the order.
        let in_order = batch.len() <= self.part;
        self.learn_firsts(batch, in_order, store, sent).await;
        for delivery in batch {
            self.add(delivery);
        }
        let part = self.part;
        for (key, places) in by_client(batch) {
            let client = key.to_string();
            if places.len() > 1 && batch.len() > part {
                self.blurred.insert(client.clone());
            }
            let found = places
                .iter()
                .map(|place| without_holder(&outcomes[*place], &batch[*place].event, sent))
                .collect::<Vec<_>>();
            let nothing = BTreeSet::new();
            let mut expected = self.expected(&client, batch, &places, &nothing, &self.oracle.names_taken);
            if found != expected {
                // The first claim of a name wins; the log says which one that was.
                self.learn_names(&key, store, sent).await;
                expected = self.expected(&client, batch, &places, &nothing, &self.oracle.names_taken);
            }
            for (n, place) in places.iter().enumerate() {
                if found[n] != expected[n] {
                    let in_parts = part < batch.len()
                        && self
                            .in_parts(&client, batch, &places, n, &known)
                            .contains(&found[n]);
                    assert!(
                        in_parts,
                        "{:?} was answered to {}, and is {:?}",
                        found[n], batch[*place].json, expected[n]
                    );
                    self.blurred.insert(client.clone());
                }
            }
            for (n, place) in places.iter().enumerate() {
                let event = &batch[*place].event;
                let name = named(event);
                match &found[n] {
                    Outcome::Refused { refusal, .. } => {
                        let reasons = self.reasons.entry((client.clone(), name.clone()));
                        reasons.or_default().insert(refusal.code());
                        self.logged.insert(name);
                    }
                    Outcome::Applied if !event.is_touch() => drop(self.logged.insert(name)),
                    _ => {}
                }
            }
            self.note_refusals(&client);
        }
    }

    fn add(&mut self, delivery: &Delivery) {
        self.oracle.add(&delivery.json);
        self.known.insert(named(&delivery.event));
    }

    /// Reads from the log which event was the first of those that have one source and id. `in_order`: the first of the batch must
    /// be.
    async fn learn_firsts(
        &mut self,
        batch: &[Delivery],
        in_order: bool,
        store: &dyn Store,
        sent: &[Delivery],
    ) {
        let used_twice = self.used_twice.get_or_insert_with(|| used_twice(sent));
        let names: Vec<Name> = batch.iter().map(|delivery| named(&delivery.event)).collect();
        let names: Vec<Name> = names
            .into_iter()
            .filter(|name| used_twice.contains(name) && !self.known.contains(name))
            .collect();
        for name in names {
            let has_it = |delivery: &&Delivery| named(&delivery.event) == name;
            for delivery in sent.iter().filter(has_it) {
                if self.known.contains(&name) || !is_logged(&delivery.event, store).await {
                    continue;
                }
                self.add(delivery);
                let of_batch: Vec<bool> = batch
                    .iter()
                    .filter(has_it)
                    .map(|other| other.event.is_repeated_by(&delivery.event))
                    .collect();
                if in_order && of_batch.contains(&true) {
                    assert!(of_batch[0], "another event came before {}", delivery.json);
                }
            }
        }
    }

    /// Why an event is a dead letter, if another event has its source and id.
    pub fn mistake(&self, delivery: &Delivery) -> Option<String> {
        self.oracle.mistake(&delivery.json)
    }

    /// The right outcomes of a client's events in a batch, if some other events had not arrived.
    fn expected(
        &self,
        client: &str,
        batch: &[Delivery],
        places: &[usize],
        missing: &BTreeSet<Name>,
        names_taken: &BTreeSet<Name>,
    ) -> Vec<Outcome> {
        let verdict = self.oracle.at_without(client, END, missing, names_taken);
        let mut seen = HashSet::new();
        let of_one = |place: &usize| {
            let name = named(&batch[*place].event);
            if let Some(reason) = self.mistake(&batch[*place]) {
                return Outcome::Dead(reason);
            }
            if self.logged.contains(&name) || !seen.insert(name.clone()) {
                return Outcome::Duplicate;
            }
            match verdict.refusals.get(&name) {
                Some(code) => Outcome::refused(Refusal::from_code(code).expect("a code")),
                None => Outcome::Applied,
            }
        };
        places.iter().map(of_one).collect()
    }

    /// The right outcomes of one event in any of the transactions that the batch may have been: later events of the batch were not
    /// known yet. `known` are the events known before the batch.
    fn in_parts(
        &self,
        client: &str,
        batch: &[Delivery],
        places: &[usize],
        n: usize,
        known: &HashSet<Name>,
    ) -> Vec<Outcome> {
        let ends = (places[n] + 1)..=self.last_end(batch, places[n]);
        let names: Vec<Name> = batch.iter().map(|sent| named(&sent.event)).collect();
        // A name is decided when its event can be applied, which may be in a later transaction.
        let undecided = BTreeSet::new();
        ends.flat_map(|end| {
            let missing = names[end..].iter();
            let missing = missing.filter(|name| !names[..end].contains(*name) && !known.contains(*name));
            let missing = missing.cloned().collect();
            [&self.oracle.names_taken, &undecided]
                .map(|taken| self.expected(client, batch, places, &missing, taken)[n].clone())
        })
        .collect()
    }

    /// Where a part with the event at this place can end at the latest. Repeated events are no part of any, nor are touches that
    /// only renew access.
    fn last_end(&self, batch: &[Delivery], place: usize) -> usize {
        let by_client = by_client(batch);
        let is_in_a_part = |at: &usize| {
            let event = &batch[*at].event;
            let is_repeated = batch[..*at].iter().any(|sent| named(&sent.event) == named(event));
            let more_than_touches = by_client[&event.key]
                .iter()
                .any(|place| !batch[*place].event.is_touch());
            !is_repeated && more_than_touches
        };
        let mut next = (place + 1..batch.len()).filter(is_in_a_part);
        next.nth(self.part - 1).unwrap_or(batch.len())
    }

    /// A refusal of now must be published in the end.
    fn note_refusals(&mut self, client: &str) {
        for (name, code) in self.oracle.at(client, END).refusals {
            let key = (client.to_owned(), name);
            self.reasons.entry(key.clone()).or_default().insert(code);
            self.refused.insert(key);
        }
    }

    /// A batch failed, and some of it may be committed. Or workers ingested several at once.
    pub async fn unanswered(&mut self, batch: &[Delivery], store: &dyn Store, sent: &[Delivery]) {
        self.learn_policies(store).await;
        self.learn_firsts(batch, false, store, sent).await;
        for (key, places) in by_client(batch) {
            let history = self.learn_names(&key, store, sent).await;
            let in_log = history
                .iter()
                .filter(|logged| &*logged.event.source != PACKED_SOURCE);
            self.logged.extend(in_log.map(|logged| named(&logged.event)));
            let packed: HashSet<Touch> = history
                .iter()
                .filter(|logged| &*logged.event.source == PACKED_SOURCE)
                .filter_map(|logged| Touch::of(&logged.event))
                .collect();
            for place in places {
                let delivery = &batch[place];
                let is_packed = Touch::of(&delivery.event).is_some_and(|touch| packed.contains(&touch));
                if is_packed || self.logged.contains(&named(&delivery.event)) {
                    self.add(delivery);
                }
            }
            self.blurred.insert(key.to_string());
            for (name, code) in self.oracle.at(&key.to_string(), END).refusals {
                self.reasons
                    .entry((key.to_string(), name))
                    .or_default()
                    .insert(code);
            }
        }
    }

    /// Reads from the log which names came too late.
    async fn learn_names(&mut self, key: &ClientKey, store: &dyn Store, sent: &[Delivery]) -> Vec<Logged> {
        let history = store.history(key).await.expect("a history");
        for logged in &history {
            if logged.outcome == RecordedOutcome::Refused(Refusal::NameTaken) {
                someone_else_claims_its_name(logged, sent);
                self.oracle.name_taken(&logged.event.source, &logged.event.id);
            }
        }
        history
    }

    /// At the end: every refusal was published with one of its reasons, and nothing else was published.
    pub fn refusals_are_published(&self, subscriber: &Subscriber, sent: &[Delivery]) {
        let mut stand_ins: BTreeMap<(String, Name), BTreeSet<(String, Name)>> = BTreeMap::new();
        for delivery in sent {
            if let Some(touch) = Touch::of(&delivery.event) {
                let client = delivery.event.key.to_string();
                let stand_in = named(&touch.to_event(&delivery.event.key));
                let ours = stand_ins.entry((client.clone(), stand_in)).or_default();
                ours.insert((client, named(&delivery.event)));
            }
        }
        let by_touch: BTreeMap<_, _> = stand_ins
            .iter()
            .flat_map(|(stand_in, ours)| ours.iter().map(move |name| (name, stand_in)))
            .collect();
        for refused in &self.refused {
            // A touch that was applied when it arrived has lost its id.
            let stand_in = by_touch
                .get(refused)
                .is_some_and(|name| subscriber.refused.contains_key(*name));
            assert!(
                stand_in || subscriber.refused.contains_key(refused),
                "refused, and not published: {refused:?}"
            );
        }
        let none = BTreeSet::new();
        for (published, reasons) in &subscriber.refused {
            if self.blurred.contains(&published.0) {
                continue;
            }
            let own = BTreeSet::from([published.clone()]);
            let events = stand_ins.get(published).unwrap_or(&own);
            let of_event = |event| self.reasons.get(event).unwrap_or(&none).iter().copied();
            let real: BTreeSet<&str> = events.iter().flat_map(of_event).collect();
            assert!(
                reasons.iter().all(|reason| real.contains(&**reason)),
                "{published:?} was published as refused for {reasons:?}, and was {real:?}"
            );
        }
    }
}

/// The sources and ids of several different events.
fn used_twice(sent: &[Delivery]) -> BTreeSet<Name> {
    let mut firsts: BTreeMap<Name, &Event> = BTreeMap::new();
    let mut used_twice = BTreeSet::new();
    for Delivery { event, .. } in sent {
        let first = firsts.entry(named(event)).or_insert(event);
        if !first.is_repeated_by(event) {
            used_twice.insert(named(event));
        }
    }
    used_twice
}

/// Whether an event has a row in the log.
async fn is_logged(event: &Event, store: &dyn Store) -> bool {
    let history = store.history(&event.key).await.expect("a history");
    let is_it = |logged: &Logged| named(&logged.event) == named(event) && logged.event.is_repeated_by(event);
    history.iter().any(is_it)
}

/// The places of each client's events.
fn by_client(batch: &[Delivery]) -> BTreeMap<ClientKey, Vec<usize>> {
    let mut places: BTreeMap<ClientKey, Vec<usize>> = BTreeMap::new();
    for (place, delivery) in batch.iter().enumerate() {
        places.entry(delivery.event.key.clone()).or_default().push(place);
    }
    places
}

/// The log says that a claim came too late; this says that another client claimed the name.
pub fn someone_else_claims_its_name(logged: &Logged, sent: &[Delivery]) {
    let event = &logged.event;
    assert!(claimed_name(event).is_some(), "it claims no name: {event:?}");
    assert!(rival(event, sent), "no other client claims the name: {event:?}");
}

/// The outcome, after a check that the client that has the name claims it. The oracle does not know who came first.
fn without_holder(outcome: &Outcome, event: &Event, sent: &[Delivery]) -> Outcome {
    let Outcome::Refused {
        refusal,
        conflicts_with,
    } = outcome
    else {
        return outcome.clone();
    };
    assert_eq!(
        conflicts_with.is_some(),
        *refusal == Refusal::NameTaken,
        "{event:?}"
    );
    if let Some(holder) = conflicts_with {
        let ours = claimed_name(event);
        let claims = sent
            .iter()
            .any(|sent| sent.event.key.client == *holder && claimed_name(&sent.event) == ours);
        assert!(
            claims && event.key.client != *holder,
            "{holder} does not claim the name of {event:?}"
        );
    }
    Outcome::refused(*refusal)
}

/// A name within its partner.
fn claimed_name(event: &Event) -> Option<(&str, String)> {
    let name = event.kind.claimed_name()?;
    Some((&event.key.partner, name.as_str().trim().to_lowercase()))
}

/// Whether another client claims the same name.
fn rival(event: &Event, sent: &[Delivery]) -> bool {
    let ours = claimed_name(event);
    sent.iter()
        .any(|sent| sent.event.key != event.key && claimed_name(&sent.event) == ours)
}

pub fn named(event: &Event) -> Name {
    (event.source.to_string(), event.id.to_string())
}
