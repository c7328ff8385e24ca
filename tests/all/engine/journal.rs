//! The journal is complete: after every arrival of a random history, late or not, a subscriber that applied all changes has the
//! client's JSON, and each correction has the time and the cause that it has in the history as it is known then.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tenure::clock::SimulatedClock;
use tenure::domain::event::NameVerdict;
use tenure::domain::time::rfc3339;
use tenure::domain::{Actor, Cause, ClientKey, Corrector, Event, Policies, Policy, Sweep};
use tenure::engine::{Engine, Incoming, JournalLine, SweepMode, SweepOptions};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Recorded, Store};

use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::oracle::{Happened, Oracle, Subscriber, public_json, published_part, sent, what};
use crate::simulation::seeds;
use crate::store::Fresh;

const SEEDS: u64 = 60;

fn minute(minutes: i64) -> DateTime<Utc> {
    wild::start() + TimeDelta::minutes(minutes)
}

fn event(id: &str, at: DateTime<Utc>, kind: &str, data: &Value) -> Incoming {
    Incoming::Event(Event {
        source: "/app".into(),
        id: id.into(),
        key: ClientKey::new("p", "c").expect("a key"),
        time: at,
        sequence: None,
        kind: serde_json::from_value(json!({"type": kind, "data": data})).expect("a kind"),
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    })
}

/// Type, minute, and ids of the cause and of the corrector.
type Line = (String, i64, String, Option<String>);

/// The lines after these, and the outcomes in the event log.
async fn lines_after(world: &Setup, seen: usize) -> (Vec<Line>, Vec<String>) {
    let key = ClientKey::new("p", "c").expect("a key");
    let journal = world
        .fresh
        .store
        .journal(&key, 0, 1_000)
        .await
        .expect("a journal");
    let line = |line: &Recorded| {
        let Cause::Event { id, .. } = &line.entry.cause else {
            panic!("no event caused {line:?}");
        };
        let corrector = line.entry.corrected_by.as_ref().map(|corrector| match corrector {
            Corrector::LateEvent { id, .. } => id.to_string(),
            Corrector::Rebuild { rebuild } => rebuild.to_string(),
        });
        let at = (line.entry.time - wild::start()).num_minutes();
        (
            line.entry.change.kind().to_string(),
            at,
            id.to_string(),
            corrector,
        )
    };
    let outcomes = "select id || ' ' || coalesce(reason, outcome) from event_log order by id";
    let outcomes = world.fresh.database.sql(outcomes).await;
    (journal[seen..].iter().map(line).collect(), outcomes)
}

fn lines(of: &[(&str, i64, &str, &str)]) -> Vec<Line> {
    of.iter()
        .map(|(kind, at, cause, corrector)| {
            let corrector = (!corrector.is_empty()).then(|| (*corrector).to_owned());
            ((*kind).to_owned(), *at, (*cause).to_owned(), corrector)
        })
        .collect()
}

async fn a_late_event_makes_a_refused_one_possible(fresh: Fresh) {
    let world = Setup::start(fresh, minute(100), &Policy::default()).await;
    let invited = event("invited", minute(5), "client.invited", &json!({}));
    world.engine.ingest(vec![invited]).await.expect("ingested");
    let (published, outcomes) = lines_after(&world, 0).await;
    assert_eq!(published, lines(&[("event.refused", 5, "invited", "")]));
    assert_eq!(outcomes, ["invited unknown_client"]);

    let added = event("added", minute(0), "client.added", &json!({"name": "Bakery"}));
    world.engine.ingest(vec![added]).await.expect("ingested");
    let (published, outcomes) = lines_after(&world, 1).await;
    assert_eq!(
        published,
        lines(&[
            ("event.accepted", 5, "invited", "added"),
            ("link.invited", 5, "invited", "added"),
            ("client.named", 0, "added", "added"),
            ("service.pending_assigning", 0, "added", "added"),
            ("invitation.sent", 5, "invited", "added"),
            ("visibility.started", 0, "added", "added"),
        ])
    );
    assert_eq!(outcomes, ["added applied", "invited applied"]);
}

async fn a_late_event_makes_an_applied_one_impossible(fresh: Fresh) {
    let world = Setup::start(fresh, minute(100), &Policy::default()).await;
    let steps = json!({"steps": ["accepted"]});
    let events = vec![
        event("1", minute(0), "client.added", &json!({"name": "Bakery"})),
        event("2", minute(1), "client.invited", &steps),
        event("3", minute(2), "invitation.accepted", &json!({})),
        event("4", minute(9), "user.added", &json!({"user_id": "u"})),
    ];
    world.engine.ingest(events).await.expect("ingested");
    let (before, _) = lines_after(&world, 0).await;
    let lost = event("lost", minute(5), "client.lost", &json!({}));
    world.engine.ingest(vec![lost]).await.expect("ingested");
    let (published, outcomes) = lines_after(&world, before.len()).await;
    assert_eq!(
        published,
        lines(&[
            ("event.refused", 9, "4", "lost"),
            ("link.lost", 5, "lost", "lost"),
            ("access.none", 5, "lost", "lost"),
            // It never was there, so nothing else removes it.
            ("user.removed", 5, "lost", "lost"),
            ("commission.stopped", 5, "lost", "lost"),
            ("status_credit.withdrawn", 5, "lost", "lost"),
        ])
    );
    assert_eq!(
        outcomes,
        [
            "1 applied",
            "2 applied",
            "3 applied",
            "4 not_linked",
            "lost applied"
        ]
    );
}

on_both_stores!(
    a_late_event_makes_a_refused_one_possible,
    a_late_event_makes_an_applied_one_impossible,
);

struct World {
    engine: Engine,
    clock: Arc<SimulatedClock>,
    store: Arc<dyn Store>,
    key: ClientKey,
    oracle: Oracle,
    subscriber: Subscriber,
    /// The number of the last line that was read.
    read: i64,
    /// How many corrections had a place in the history, and how many took something back.
    corrections: (u32, u32),
}

impl World {
    async fn start(store: Arc<dyn Store>, policy: &Policy) -> Self {
        store.migrate().await.expect("migrated");
        let clock = Arc::new(SimulatedClock::at(wild::start()));
        let engine = Engine::start(store.clone(), clock.clone(), policy)
            .await
            .expect("an engine");
        let recorded = store.policies().await.expect("policies");
        Self {
            engine,
            clock,
            store,
            key: ClientKey::new("p", "c").expect("a key"),
            oracle: Oracle::new(recorded),
            subscriber: Subscriber::default(),
            read: 0,
            corrections: (0, 0),
        }
    }

    /// The moment that the client is computed for.
    async fn as_of(&self) -> Option<DateTime<Utc>> {
        let stored = self.store.client(&self.key).await.expect("read")?;
        let policies = Policies::recorded(self.store.policies().await.expect("policies"));
        stored.client(&policies.expect("a policy")).as_of()
    }

    async fn lines(&mut self) -> Vec<JournalLine> {
        let lines = self
            .engine
            .journal(&self.key, self.read, 10_000)
            .await
            .expect("a journal");
        self.read = lines.last().map_or(self.read, |line| line.sequence);
        for line in &lines {
            self.subscriber
                .receive(&serde_json::to_value(line).expect("JSON"));
        }
        lines
    }

    /// Ingests an event, and checks the lines that it causes.
    async fn arrives(&mut self, event: &Event) {
        let reached = self.as_of().await;
        self.oracle.add(&sent(event));
        let ingested = self.engine.ingest(vec![Incoming::Event(event.clone())]).await;
        ingested.expect("ingested");
        let subject = self.key.to_string();
        let after = self.as_of().await.expect("a client");
        let happened = self.oracle.happened(&subject, after);
        // Corrections lead to the state at the moment that the client had reached.
        let replayed = self.oracle.happened(&subject, reached.unwrap_or(after));
        let cause = self.oracle.cause(&event.source, &event.id).expect("an event");
        for line in self.lines().await {
            let line = serde_json::to_value(line).expect("JSON");
            if line["correction"] == true {
                self.is_corrected_by(event, &cause, &line, &replayed);
            } else if line["type"] == "event.refused" {
                assert_eq!(
                    (&line["time"], &line["cause"]),
                    (&json!(rfc3339(event.time)), &cause),
                    "{line}"
                );
            } else {
                assert!(
                    happened.iter().any(|one| is_placed(&line, one)),
                    "{line} is not in {happened:#?}"
                );
            }
        }
    }

    fn is_corrected_by(&mut self, late: &Event, cause: &Value, line: &Value, replayed: &[Happened]) {
        let corrector = json!({"source": &*late.source, "id": &*late.id, "type": late.kind.type_name()});
        assert_eq!(line["corrected_by"], corrector, "{line}");
        if line["type"] == "event.refused" || line["type"] == "event.accepted" {
            return;
        }
        let takes_back = line["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("account."))
            && line["to"].is_null();
        let takes_back = takes_back && line["type"] != "account.handed_over";
        let place = replayed.iter().rfind(|one| one.what == what(line) && !takes_back);
        if let Some(place) = place {
            assert!(is_placed(line, place), "{line} has its place at {place:?}");
            self.corrections.0 += 1;
        } else {
            let expected = (&json!(rfc3339(late.time)), cause);
            assert_eq!((&line["time"], &line["cause"]), expected, "{line}");
            self.corrections.1 += 1;
        }
    }

    /// The subscriber has the client's JSON, and knows which events are refused.
    async fn is_known(&self, when: &str) {
        assert_eq!(self.subscriber.contradictions, Vec::<String>::new(), "{when}");
        let moment = self.as_of().await.expect("a client");
        let view = self
            .engine
            .client(&self.key, Some(moment))
            .await
            .expect("an answer");
        let subject = self.key.to_string();
        let published = view.as_ref().map(|view| published_part(&public_json(view)));
        assert_eq!(self.subscriber.known(&subject), published, "{when}");
        let verdict = self.oracle.at(&subject, moment);
        assert_eq!(published, verdict.view.as_ref().map(published_part), "{when}");
    }

    async fn outcomes_are_known(&self) {
        let history = self.store.history(&self.key).await.expect("a history");
        for logged in history.iter().filter(|logged| !logged.event.is_touch()) {
            let event = &logged.event;
            let name = (event.source.to_string(), event.id.to_string());
            let is_published = self.subscriber.refusals.contains(&(self.key.to_string(), name));
            assert_eq!(is_published, logged.outcome.refusal().is_some(), "{event:?}");
        }
    }
}

fn is_placed(line: &Value, place: &Happened) -> bool {
    place.what == what(line) && line["time"] == rfc3339(place.time) && line["cause"] == place.cause
}

#[tokio::test]
async fn a_subscriber_has_the_clients_json_after_every_arrival() {
    let mut corrections = (0, 0);
    for seed in seeds(SEEDS) {
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = wild::policy(&mut rng);
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
        let mut world = World::start(store, &policy).await;
        let noise = rng.random_range(0..30);
        let mut events = wild::history(&mut rng, &world.key, 150, noise);
        events.sort_by_key(|event| event.time);
        // Two in three in order, the others at random places after that.
        let late = events.len() * 2 / 3;
        events.shuffle(&mut rng);
        events[..late].sort_by_key(|event| event.time);
        world.clock.set(wild::start() + TimeDelta::days(160));
        for event in &events {
            world.arrives(event).await;
            world.is_known(&format!("seed {seed}, after {event:?}")).await;
            if rng.random_bool(0.1) {
                let sweep = Sweep::ALL[rng.random_range(0..Sweep::ALL.len())];
                let options = SweepOptions::new(SweepMode::Confirmed);
                world.engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
                let lines = world.lines().await;
                assert!(lines.iter().all(|line| !line.correction), "{lines:?}");
            }
        }
        world.outcomes_are_known().await;
        corrections = (
            corrections.0 + world.corrections.0,
            corrections.1 + world.corrections.1,
        );
        world.store.close().await;
    }
    assert!(corrections.0 > 0 && corrections.1 > 0, "{corrections:?}");
}
