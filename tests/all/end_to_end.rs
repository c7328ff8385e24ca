//! The whole path with the binary: events through RabbitMQ into PostgreSQL, or from a file into SQLite. Then each client is
//! compared with a fold of its events, and the published changes with the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use tenure::clock::{Clock, SystemClock};
use tenure::demo::{Arriving, Shape, World};
use tenure::domain::event::NameVerdict;
use tenure::domain::view::ClientView;
use tenure::domain::{ClientKey, Event, Policies, Refusal, fold};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{RecordedOutcome, Store, Upkeep};
use tenure::wire;

use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

/// The past year: at least 10,000 messages, shuffled across clients, 5 % late, 5 % duplicates, 1 % broken.
fn world(seed: u64) -> World {
    let shape = Shape {
        seed,
        clients: 220,
        start: Event::truncate(SystemClock.now() - TimeDelta::days(366)),
        ..Shape::default()
    };
    let world = World::new(&shape);
    assert!(
        world.deliveries.len() >= 10_000,
        "only {} messages",
        world.deliveries.len()
    );
    let at_least = |count: usize, of: f64| {
        let all = u32::try_from(world.deliveries.len()).expect("a count");
        let least = f64::from(all) * of * 0.7;
        assert!(
            f64::from(u32::try_from(count).expect("a count")) > least,
            "only {count} of {all}"
        );
    };
    let mut names = HashSet::new();
    let (mut late, mut twice, mut broken) = (0, 0, 0);
    for delivery in &world.deliveries {
        match &delivery.what {
            Arriving::Broken(_) => broken += 1,
            Arriving::Event(event) => {
                late += usize::from(delivery.at - event.time > TimeDelta::minutes(30));
                twice += usize::from(!names.insert((&event.source, &event.id)));
            }
        }
    }
    at_least(late, 0.05);
    at_least(twice, 0.05);
    at_least(broken, 0.01);
    world
}

fn write_file(world: &World, path: &Path) -> HashSet<Vec<u8>> {
    let mut broken = HashSet::new();
    let mut text = Vec::new();
    for delivery in &world.deliveries {
        match &delivery.what {
            Arriving::Event(event) => text.extend(wire::event(event)),
            Arriving::Broken(bytes) => {
                text.extend(bytes);
                broken.insert(bytes.clone());
            }
        }
        text.push(b'\n');
    }
    std::fs::write(path, text).expect("a file");
    broken
}

/// Compares every client with a fold of its events. The events do not determine which of two clients claimed a name first;
/// that comes from the event log.
async fn compare(tenure: &Tenure, world: &World, store: &dyn Store) {
    let found: HashMap<String, Value> = tenure
        .json(&["client", "list"])
        .into_iter()
        .map(|client| {
            (
                format!("{}/{}", text(&client, "partner"), text(&client, "client")),
                client,
            )
        })
        .collect();
    let policies = Policies::default();
    let now = SystemClock.now();
    let mut differences = String::new();
    let mut expected = 0;
    for (key, mut events) in world.histories() {
        let log = store.history(&key).await.expect("a history");
        let is_taken = |event: &Event| {
            log.iter().any(|logged| {
                (&logged.event.source, &logged.event.id) == (&event.source, &event.id)
                    && logged.outcome == RecordedOutcome::Refused(Refusal::NameTaken)
            })
        };
        for event in &mut events {
            if event.kind.claimed_name().is_some() && is_taken(event) {
                event.name_verdict = NameVerdict::Taken;
            }
        }
        let client = fold(&events, now, &policies);
        let found = found.get(&key.to_string());
        if !client.is_known() {
            assert!(found.is_none(), "{key} was never added");
            continue;
        }
        expected += 1;
        let version = found
            .and_then(|found| found["version"].as_i64())
            .unwrap_or_default();
        let view = ClientView::of(&key, &client, version, now, &policies);
        let view = serde_json::to_value(view).expect("JSON");
        if found != Some(&view) {
            let _ = writeln!(differences, "{key}\n  found    {found:?}\n  expected {view}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(found.len(), expected, "clients that nobody sent");
}

fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}

fn without(object: &Value, names: &[&str]) -> Value {
    let mut object = object.clone();
    for name in names {
        object.as_object_mut().expect("an object").remove(*name);
    }
    object
}

/// The journal of every client that has one, from the command line.
fn journal(tenure: &Tenure, world: &World) -> BTreeMap<String, Vec<Value>> {
    let known: BTreeSet<String> = tenure
        .json(&["client", "list"])
        .iter()
        .map(|client| format!("{}/{}", text(client, "partner"), text(client, "client")))
        .collect();
    let keys: BTreeSet<ClientKey> = world.histories().into_keys().collect();
    keys.into_iter()
        .map(|key| key.to_string())
        .filter(|key| known.contains(key))
        .map(|key| {
            let lines = tenure.json(&["client", "show", &key, "--journal"]);
            (key, lines[1..].to_vec())
        })
        .collect()
}

/// Declares a queue for all changes and consumes it.
async fn receive(url: &str) -> lapin::Consumer {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(
            "tenure.changes".into(),
            ExchangeKind::Topic,
            exchange,
            FieldTable::default(),
        )
        .await
        .expect("an exchange");
    channel
        .queue_declare(
            "subscriber".into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a queue");
    channel
        .queue_bind(
            "subscriber".into(),
            "tenure.changes".into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a binding");
    channel
        .basic_consume(
            "subscriber".into(),
            "test".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a consumer")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_mixed_events_through_rabbitmq_into_postgres() {
    let world = world(11);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    let broken = write_file(&world, &file);
    let amqp = RabbitMq::shared().vhost("end_to_end");
    let postgres = Postgres::shared().database("end_to_end");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &postgres), ("AMQP_URL", &amqp)]);
    let running = tenure.run();
    let mut changes = receive(&amqp).await;

    let published = tenure.json(&["publish", "--unchecked", &file.to_string_lossy()]);
    assert_eq!(published[0]["published"], world.deliveries.len());
    let limit = std::time::Duration::from_mins(5);
    RabbitMq::shared().wait_for_depth(name_in(&amqp), "tenure.events.0", 0, limit);

    let journal = journal(&tenure, &world);
    let store = PostgresStore::connect(&postgres, &PostgresOptions::default()).expect("a store");
    compare(&tenure, &world, &store).await;
    store.close().await;
    let dead = tenure.json(&["dead", "list"]);
    let bodies: HashSet<Vec<u8>> = dead
        .iter()
        .map(|dead_letter| {
            let whole = tenure.json(&["dead", "show", &dead_letter["id"].to_string()]);
            text(&whole[0], "body").into_bytes()
        })
        .collect();
    assert_eq!(
        dead.len(),
        broken.len(),
        "every broken message is a dead letter, once"
    );
    assert_eq!(bodies, broken);
    assert!(
        dead.iter()
            .all(|dead_letter| !text(dead_letter, "reason").is_empty())
    );

    let expected: usize = journal.values().map(Vec::len).sum();
    let mut received: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut ids = HashSet::new();
    while received
        .iter()
        .filter(|(key, _)| journal.contains_key(*key))
        .map(|(_, lines)| lines.len())
        .sum::<usize>()
        < expected
    {
        let next = tokio::time::timeout(std::time::Duration::from_mins(1), changes.next()).await;
        let delivery = next
            .expect("a change within a minute")
            .expect("a consumer")
            .expect("a delivery");
        delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("acknowledged");
        let change: Value = serde_json::from_slice(&delivery.data).expect("JSON");
        // At least once: a change may arrive again after a reconnect.
        if ids.insert(text(&change, "id")) {
            assert_eq!(delivery.routing_key.as_str(), text(&change, "type"));
            received.entry(text(&change, "subject")).or_default().push(change);
        }
    }
    for (key, lines) in &journal {
        let mine: Vec<Value> = lines
            .iter()
            .map(|line| without(line, &["subject", "time"]))
            .collect();
        let theirs: Vec<Value> = received[key]
            .iter()
            .map(|change| without(&change["data"], &["epoch"]))
            .collect();
        assert_eq!(mine, theirs, "{key}: what the journal says, in its order");
        let times = |lines: &[Value]| lines.iter().map(|line| text(line, "time")).collect::<Vec<_>>();
        assert_eq!(times(lines), times(&received[key]), "{key}");
    }
    tenure.assert_no_drift();
    assert!(running.stop().success());
}

#[tokio::test]
async fn ten_thousand_mixed_events_from_a_file_into_the_embedded_store() {
    let world = world(12);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    let broken = write_file(&world, &file);
    let tenure = Tenure::new(folder.path(), &[]);
    let tally = &tenure.json(&["ingest", &file.to_string_lossy()])[0];
    assert_eq!(tally["lines"], world.deliveries.len());
    let store = SqliteStore::open(folder.path().join("tenure.db"));
    compare(&tenure, &world, &store).await;
    assert_eq!(tenure.json(&["dead", "list"]).len(), broken.len());

    let again = &tenure.json(&["ingest", &file.to_string_lossy()])[0];
    assert_eq!(
        again["refused"],
        serde_json::json!({}),
        "nothing is refused a second time"
    );
    compare(&tenure, &world, &store).await;
    store.close().await;
    assert_eq!(tenure.json(&["dead", "list"]).len(), broken.len());
    tenure.assert_no_drift();
}
