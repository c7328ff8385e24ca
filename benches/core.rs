//! The CPU time of the parts that use no server: decoding and applying an event, replaying a history, planning a batch.
//!
//!     cargo bench --bench core
//!
//! It is small compared with the time of the servers, which benches/throughput measures. This benchmark shows early
//! which part became slower.

use std::collections::HashMap;
use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tenure::demo::{Shape, World};
use tenure::domain::event::NameVerdict;
use tenure::domain::{Client, ClientKey, Event, EventKind, Policies, fold};
use tenure::engine::{CheckpointSpacing, Plan, Situation, plan};
use tenure::store::Stored;
use tenure::wire::{self, Decoder, Limits};

/// Events per planned batch.
const BATCH: usize = 500;

/// A year of some clients, without late, duplicate or invalid messages.
fn world() -> World {
    World::new(&Shape {
        clients: 200,
        late: 0.0,
        twice: 0.0,
        broken: 0.0,
        ..Shape::default()
    })
}

/// The history of every client, in order of time.
fn histories(world: &World) -> Vec<Vec<Event>> {
    let mut histories: Vec<Vec<Event>> = world.histories().into_values().collect();
    for history in &mut histories {
        history.sort_by_cached_key(Event::position);
    }
    histories
}

fn events_of(histories: &[Vec<Event>]) -> u64 {
    histories.iter().map(|history| history.len() as u64).sum()
}

fn decode(criterion: &mut Criterion) {
    let world = world();
    let bodies: Vec<Vec<u8>> = histories(&world).iter().flatten().map(wire::event).collect();
    let decoder = Decoder::new(Limits::default(), world.end);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(bodies.len() as u64));
    group.bench_function("structured events", |bencher| {
        bencher.iter(|| {
            for body in &bodies {
                let read = decoder.line("bench", black_box(body));
                assert!(read.is_some_and(|read| read.is_ok()));
            }
        });
    });
    group.finish();
}

fn apply(criterion: &mut Criterion) {
    let histories = histories(&world());
    let policies = Policies::default();
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(events_of(&histories)));
    group.bench_function("events in order, with timers", |bencher| {
        bencher.iter(|| {
            for history in &histories {
                let mut client = Client::default();
                for event in history {
                    client.advance(event.time, &policies);
                    let _ = black_box(client.apply(black_box(event), &policies));
                }
            }
        });
    });
    group.finish();
}

fn fold_histories(criterion: &mut Criterion) {
    let world = world();
    let histories = histories(&world);
    let policies = Policies::default();
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(events_of(&histories)));
    group.bench_function("complete histories", |bencher| {
        bencher.iter(|| {
            for history in &histories {
                black_box(fold(black_box(history), world.end, &policies));
            }
        });
    });
    group.finish();
}

fn plan_batch(criterion: &mut Criterion) {
    let world = world();
    let mut events: Vec<Event> = histories(&world).into_iter().flatten().collect();
    events.sort_by_cached_key(Event::position);
    let policies = Policies::default();
    let batch = events.split_off(events.len() - BATCH);
    let clients = planned(&policies, Vec::new(), events, world.end);
    let stored: Vec<Stored> = clients
        .commit
        .clients
        .into_iter()
        .map(|write| Stored {
            document: write.document,
            version: write.read_version + 1,
            ..Stored::absent(write.key)
        })
        .collect();
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("a batch of events in order", |bencher| {
        bencher.iter_batched(
            || (stored.clone(), batch.clone()),
            |(stored, batch)| planned(&policies, stored, batch, world.end),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The cost of an event must not depend on the number of holdings of its client.
fn plan_holdings(criterion: &mut Criterion) {
    let policies = Policies::default();
    let mut group = criterion.benchmark_group("plan events of a client with holdings");
    group.throughput(Throughput::Elements(BATCH as u64));
    for holdings in [10, 1_000, 10_000] {
        let kinds = [
            kind(r#"{"type":"client.added","data":{"name":"Bakery"}}"#),
            kind(r#"{"type":"assignment.added","data":{"assignment_id":"a"}}"#),
        ];
        let subscriptions = (0..holdings / 2).map(|n| {
            kind(&format!(
                r#"{{"type":"subscription.added","data":{{"subscription_id":"s-{n}"}}}}"#
            ))
        });
        let users = (0..holdings / 2).map(|n| user("added", n));
        let history = kinds.into_iter().chain(subscriptions).chain(users);
        let history: Vec<Event> = (0..).zip(history).map(|(n, kind)| event(n, kind)).collect();
        let now = history.last().expect("an event").time + TimeDelta::days(1);
        let plan = planned(&policies, Vec::new(), history, now);
        let [write] = <[_; 1]>::try_from(plan.commit.clients).expect("one client");
        let stored = Stored {
            document: write.document,
            version: 1,
            ..Stored::absent(write.key)
        };
        let batch: Vec<Event> = (0..BATCH / 2)
            .flat_map(|n| [user("added", holdings + n), user("removed", n % (holdings / 2))])
            .zip(2 * holdings..)
            .map(|(kind, n)| event(n, kind))
            .collect();
        group.bench_function(holdings.to_string(), |bencher| {
            bencher.iter_batched(
                || (vec![stored.clone()], batch.clone()),
                |(stored, batch)| planned(&policies, stored, batch, now),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn user(what: &str, n: usize) -> EventKind {
    kind(&format!(
        r#"{{"type":"user.{what}","data":{{"user_id":"u-{n}"}}}}"#
    ))
}

fn kind(json: &str) -> EventKind {
    serde_json::from_str(json).expect("a type with its data")
}

/// An event of the one client, `n` seconds after the first.
fn event(n: usize, kind: EventKind) -> Event {
    let seconds = i64::try_from(n).expect("a number of events");
    Event {
        source: "bench".into(),
        id: n.to_string().into(),
        key: ClientKey::new("acme", "large").expect("a key"),
        time: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        sequence: None,
        actor: tenure::domain::Actor::default(),
        kind,
        name_verdict: NameVerdict::Open,
    }
}

fn planned(policies: &Policies, stored: Vec<Stored>, events: Vec<Event>, now: DateTime<Utc>) -> Plan {
    let situation = Situation {
        present: tenure::engine::Present {
            now,
            tolerance: TimeDelta::zero(),
        },
        low_watermark: None,
        policies,
        stored,
        histories: HashMap::new(),
        spacing: CheckpointSpacing::default(),
        holders: HashMap::new(),
    };
    plan(situation, events)
}

criterion_group!(core, decode, apply, fold_histories, plan_batch, plan_holdings);
criterion_main!(core);
