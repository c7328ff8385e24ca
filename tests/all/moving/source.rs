//! The store that moves: half a year of three apps, and everything that a store can have.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenure::clock::{Clock, SimulatedClock};
use tenure::demo::{Arriving, Delivery, Shape, World};
use tenure::domain::{ClientKey, Month, Policy, Sweep};
use tenure::engine::{
    AdoptionMode, Authority, CloseRequest, DeliveryStart, Discard, Engine, FeedStart, Incoming, NOTICE,
    NewEndpoint, Outcome,
};
use tenure::store::{AuditHow, Cursor, DeadLetterFilter, EndpointFilter, Store, Watermark};
use tenure::wire::webhook::{EndpointUrl, SigningKey};
use tenure::wire::{Decoder, Limits};

use super::{engine, sweep_all};

/// Days before the store moves, and after.
const BEFORE: i64 = 150;
const AFTER: i64 = 60;

pub struct Source {
    pub store: Arc<dyn Store>,
    pub engine: Engine,
    pub clock: Arc<SimulatedClock>,
    world: World,
}

fn shape() -> Shape {
    Shape {
        seed: 13,
        clients: 48,
        days: BEFORE + AFTER,
        late: 0.15,
        twice: 0.1,
        broken: 0.03,
        ..Shape::default()
    }
}

/// When the store moves.
pub fn moved_at() -> DateTime<Utc> {
    shape().start + TimeDelta::days(BEFORE)
}

fn incoming(delivery: &Delivery) -> Incoming {
    let body = match &delivery.what {
        Arriving::Event(event) => tenure::wire::event(event),
        Arriving::Broken(bytes) => bytes.clone(),
    };
    let decoder = Decoder::new(Limits::default(), delivery.at);
    let read = decoder.line("http", &body).expect("no blank message");
    Incoming::from(read)
}

/// An event in JSON, as an app sends it.
pub fn event(id: &str, kind: &str, client: &str, at: DateTime<Utc>, more: &serde_json::Value) -> Incoming {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/hand", "type": kind, "subject": format!("acme/{client}"), "time": at,
    });
    for (name, value) in more.as_object().expect("members") {
        event[name] = value.clone();
    }
    let decoder = Decoder::new(Limits::default(), at);
    let read = decoder
        .line("http", event.to_string().as_bytes())
        .expect("not blank");
    Incoming::from(read)
}

fn name(name: &str) -> serde_json::Value {
    json!({ "data": { "name": name } })
}

impl Source {
    pub async fn fill(store: Arc<dyn Store>) -> Self {
        let start = shape().start;
        let (engine, clock) = engine(&store, start).await;
        engine.record_access_log().await.expect("recorded");
        let source = Self {
            store,
            engine,
            clock,
            world: World::new(&shape()),
        };
        source.live(start, moved_at()).await;
        source.add_rarities().await;
        source
    }

    fn deliveries(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = &Delivery> {
        let between = move |delivery: &&Delivery| (from..to).contains(&delivery.at);
        self.world.deliveries.iter().filter(between)
    }

    /// Events arrive, and sweeps run every three days. The policy changes once.
    async fn live(&self, from: DateTime<Utc>, to: DateTime<Utc>) {
        let mut tick = from;
        while tick < to {
            let next = (tick + TimeDelta::days(3)).min(to);
            let some: Vec<_> = self.deliveries(tick, next).collect();
            for batch in some.chunks(40) {
                self.clock.set(batch.last().expect("not empty").at);
                let incoming = batch.iter().map(|delivery| incoming(delivery)).collect();
                self.engine.ingest(incoming).await.expect("ingested");
            }
            self.clock.set(next);
            sweep_all(&self.engine).await;
            if (tick - shape().start).num_days() == 60 {
                let shorter = Policy {
                    access_idle: TimeDelta::days(45),
                    ..Policy::default()
                };
                self.adopt(&shorter).await;
                self.engine
                    .backfill_deadlines(&tokio_util::sync::CancellationToken::new())
                    .await
                    .expect("computed");
            }
            tick = next;
        }
    }

    pub async fn adopt(&self, policy: &Policy) {
        let adopted = self.engine.adopt(policy, NOTICE, AdoptionMode::Confirmed).await;
        adopted.expect("recorded");
        self.clock.set(self.clock.now() + NOTICE + NOTICE);
    }

    async fn ingest(&self, incoming: Vec<Incoming>) -> Vec<Outcome> {
        self.engine.ingest(incoming).await.expect("ingested")
    }

    /// Closes a month, at most this number of clients.
    pub async fn close(&self, month: Month, most: Option<u64>) {
        let request = CloseRequest {
            month,
            by: "ann \"ü\"".parse().expect("a name"),
            confirmed: true,
            most,
        };
        let closed = self.engine.close_month(&request, |_, _| {}).await;
        closed.expect("closed");
    }

    /// Adds an endpoint of webhooks, which has received what is stored so far.
    pub async fn add_endpoint(&self, name: &str) {
        let new = NewEndpoint {
            name: name.into(),
            url: EndpointUrl::parse("https://crm.example.com/hooks").expect("a URL"),
            filter: EndpointFilter {
                partner: Some("acme".into()),
                client: None,
                types: vec!["access.*".into()],
            },
            secret: SigningKey::new_secret(),
            start: DeliveryStart::Place(FeedStart::Latest),
        };
        let added = self.engine.operator(&operator()).add_endpoint(new).await;
        added.expect("added");
    }

    /// A month that was closed, one that adjusts it, and one that is being closed.
    async fn close_months(&self) {
        let months = (1..=3).map(|back| Month::of(moved_at() - TimeDelta::days(31 * back)));
        for (month, most) in months.rev().zip([None, None, Some(0)]) {
            self.close(month, most).await;
            if most.is_none() {
                let (at, client) = (month.start() + TimeDelta::days(20), format!("billed-{month}"));
                let assigned = json!({ "data": { "assignment_id": "a" } });
                self.ingest(vec![
                    event(
                        &format!("b-1-{month}"),
                        "client.added",
                        &client,
                        at,
                        &name(&client),
                    ),
                    event(
                        &format!("b-2-{month}"),
                        "assignment.added",
                        &client,
                        at,
                        &assigned,
                    ),
                ])
                .await;
            }
        }
        let closings = self.store.closings().await.expect("read");
        assert!(closings[1].adjustments > 0, "{closings:?}");
    }

    async fn add_rarities(&self) {
        self.close_months().await;
        let at = |hours| moved_at() - TimeDelta::hours(hours);
        let none = json!({});
        // A late event revives a client whose name another one has taken since.
        self.ingest(vec![
            event("n-1", "client.added", "first", at(90), &name("One Name")),
            event("n-2", "client.deleted", "first", at(70), &none),
            event("n-3", "client.added", "second", at(60), &name("one NAME")),
            event("n-4", "client.added", "third", at(50), &name("One name")),
        ])
        .await;
        self.ingest(vec![event("n-5", "client.invited", "first", at(80), &none)])
            .await;
        let first = ClientKey::new("acme", "first").expect("a key");
        let revived = self.store.client(&first).await.expect("read").expect("there");
        assert!(revived.document.name_conflicted, "{revived:?}");
        // Who caused an event: one that is theirs to do, and one that is not.
        let by = |kind: &str| json!({"actor": "u:1", "actorkind": kind, "data": {"user_id": kind}});
        self.ingest(vec![
            event("a-1", "user.added", "second", at(40), &by("partner")),
            event("a-2", "user.added", "second", at(39), &by("customer")),
        ])
        .await;
        // It is heard from, and far from silent.
        let expected = [
            ("/hand".to_owned(), TimeDelta::days(10_000)),
            ("/never".to_owned(), TimeDelta::days(10_000)),
        ];
        self.engine.expect_sources(&expected.into()).await.expect("set");
        // A client that no event adds, with ids of every form.
        let ghost = [
            "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11",
            "sixteen letters!",
            "sechzehn Zöllen\u{1f600}",
            "a\u{202e}b",
        ];
        let refused =
            ghost.map(|id| event(id, "access.enabled", "ghost", at(40), &json!({ "sequence": "9" })));
        self.ingest(refused.into()).await;
        self.touch_often(at(30)).await;
        self.add_dead_letters(at(20)).await;
        // Settings.
        let ann = operator().because("for a \"test\"\n");
        self.add_endpoint("crm").await;
        let paused = self
            .engine
            .operator(&ann)
            .pause_sweep(Sweep::TerminatedCleanup)
            .await;
        assert!(paused.expect("paused"));
        let lanes = ["tenure.events.0", "tenure.events.1"].map(str::to_owned);
        self.engine.set_lanes(&lanes).await.expect("set");
        let watermark = |lane: &str| Watermark {
            lane: lane.to_owned(),
            at: self.clock.now() - TimeDelta::seconds(1),
            partition_key: Some("7".into()),
        };
        for lane in &lanes[..1] {
            let reached = self.engine.ingest_from_lane(Vec::new(), Some(watermark(lane)));
            reached.await.expect("recorded");
        }
        self.engine.record_now().await.expect("recorded");
        // Its backfill has not begun.
        self.adopt(&Policy {
            access_idle: TimeDelta::days(50),
            ..Policy::default()
        })
        .await;
    }

    /// More touches than a run has, some with a sequence, and late ones.
    async fn touch_often(&self, from: DateTime<Utc>) {
        let none = json!({});
        let accepted = json!({ "data": { "steps": ["accepted"] } });
        self.ingest(vec![
            event("t-1", "client.added", "touched", from, &name("Touched")),
            event("t-2", "client.invited", "touched", from, &accepted),
            event("t-3", "invitation.accepted", "touched", from, &none),
        ])
        .await;
        for round in 0..4 {
            let touch = |n: i64| {
                let (id, minutes) = (format!("touch-{round}-{n}"), round * 60 + 2 * n + 1);
                let sequence = if n % 7 == 0 {
                    json!({ "sequence": "12" })
                } else {
                    json!({})
                };
                let at = from + TimeDelta::minutes(minutes);
                event(&id, "account.accessed", "touched", at, &sequence)
            };
            self.ingest((0..80).map(touch).collect()).await;
        }
    }

    /// Open, redriven in vain, discarded, resolved, seen twice, deferred, and not UTF-8.
    async fn add_dead_letters(&self, at: DateTime<Utc>) {
        let late = event(
            "d-1",
            "client.added",
            "tomorrow",
            self.clock.now() + TimeDelta::hours(3),
            &name("T"),
        );
        let Incoming::Event(late) = late else {
            unreachable!("it is an event");
        };
        let decoder = Decoder::new(Limits::default(), self.clock.now());
        let read = |bytes: &[u8]| {
            let read = decoder.line("amqp:tenure.events.0", bytes).expect("not blank");
            Incoming::from(read)
        };
        let ahead = read(&tenure::wire::event(&late));
        let outcomes = self
            .ingest(vec![
                ahead,
                read(b"\xff\xfe not UTF-8"),
                read(b"nothing"),
                read(b"nothing"),
                read(b"something"),
                read(b"anything"),
                event(
                    "d-2",
                    "client.added",
                    "dead",
                    at,
                    &json!({ "data": { "name": 5 } }),
                ),
            ])
            .await;
        assert!(matches!(outcomes[0], Outcome::Deferred { .. }), "{outcomes:?}");
        let all = self
            .store
            .dead_letters(&DeadLetterFilter::default(), 0, 10_000)
            .await;
        let ids: Vec<i64> = all.expect("read").iter().rev().map(|letter| letter.id).collect();
        self.engine.redrive(ids[0], &decoder).await.expect("redriven");
        let ann = operator();
        let discarded = self.engine.operator(&ann).discard_dead_letter(ids[1]).await;
        assert_eq!(discarded.expect("discarded"), Discard::Now);
        let until = self.clock.now() + TimeDelta::minutes(1);
        let claimed = self
            .store
            .claim_dead_letter(ids[2], self.clock.now(), until)
            .await;
        assert!(claimed.expect("claimed").is_some());
    }

    /// Publishes the first half of the journal.
    pub async fn publish_half(&self) {
        assert!(self.store.acquire_lead().await.expect("a lead"));
        let lines = crate::store::relayed(&*self.store, 2, 100_000).await;
        let epoch = self
            .store
            .unpublished(Cursor::default(), None, 0)
            .await
            .expect("read")
            .epoch;
        let last = lines[lines.len() / 2].published(epoch);
        self.store.advance_cursor(&last).await.expect("advanced");
        self.store.release_lead().await.expect("released");
    }

    /// The deliveries after the move, in batches.
    pub fn later(&self) -> Vec<(DateTime<Utc>, Vec<Incoming>)> {
        let later: Vec<_> = self.deliveries(moved_at(), self.world.end).collect();
        let batch = |some: &[&Delivery]| {
            let last = some.last().expect("not empty").at;
            (last, some.iter().map(|delivery| incoming(delivery)).collect())
        };
        later.chunks(40).map(batch).collect()
    }

    /// Everything that was delivered before the move, again.
    pub fn again(&self) -> Vec<Incoming> {
        let events = self.deliveries(shape().start, moved_at());
        let events = events.filter(|delivery| matches!(delivery.what, Arriving::Event(_)));
        events.map(incoming).collect()
    }
}

/// Lets the rest of the time pass on a store: events, sweeps, and the deferred event.
pub async fn live_on(
    engine: &Engine,
    clock: &SimulatedClock,
    later: Vec<(DateTime<Utc>, Vec<Incoming>)>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    engine.set_lanes(&[]).await.expect("removed");
    engine
        .backfill_deadlines(&tokio_util::sync::CancellationToken::new())
        .await
        .expect("computed");
    for (round, (at, batch)) in later.into_iter().enumerate() {
        clock.set(at.max(clock.now()));
        outcomes.extend(engine.ingest(batch).await.expect("ingested"));
        if round % 3 == 0 {
            let decoder = Decoder::new(Limits::default(), clock.now());
            engine.redrive_deferred(&decoder).await.expect("redriven");
            sweep_all(engine).await;
        }
    }
    outcomes
}

fn operator() -> Authority {
    Authority {
        who: "ann \"ü\"".into(),
        how: AuditHow::Console,
        reason: None,
        request_id: Some("r-1".into()),
    }
}
