//! Three workers on the same servers: they share lanes and sweeps, one leads the relay, and they take over from each other.

use std::time::Duration;

use chrono::TimeDelta;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tenure::clock::{Clock as _, SystemClock};

use crate::support::gate::Gate;
use crate::support::servers::{RabbitMq, name_in};
use crate::support::site::{Site, UNPUBLISHED};
use crate::support::tenure::{Running, wait_until};

const LANES: [&str; 4] = [
    "tenure.events.0",
    "tenure.events.1",
    "tenure.events.2",
    "tenure.events.3",
];
const CLIENTS: usize = 100;
/// The number of events of each client, in order.
const EVENTS: usize = 40;
const ALL: usize = CLIENTS * EVENTS;

/// A worker with this name, four lanes and small batches.
fn worker(site: &Site, name: &str) -> Running {
    site.tenure(&[
        ("HOSTNAME", name),
        ("TENURE_BROKER__LANES", "4"),
        ("TENURE_BROKER__BATCH_MAX", "4"),
        ("TENURE_BROKER__PREFETCH", "40"),
    ])
    .run()
}

fn event(client: usize, number: usize, kind: &str, data: &Value) -> Value {
    let time =
        SystemClock.now() - TimeDelta::days(2) + TimeDelta::seconds(i64::try_from(number).expect("small"));
    json!({
        "specversion": "1.0", "id": format!("{client}-{number}"), "source": "/space", "type": kind,
        "subject": format!("p/c{client}"), "time": time.to_rfc3339(), "data": data,
    })
}

/// Adds every client and then its users one by one. Ingested out of order, they would cause corrections.
fn publish(site: &Site) {
    let events = (0..EVENTS).flat_map(|number| {
        (0..CLIENTS).map(move |client| match number {
            0 => event(
                client,
                0,
                "client.added",
                &json!({ "name": format!("Client {client}") }),
            ),
            _ => event(
                client,
                number,
                "user.added",
                &json!({ "user_id": format!("user-{number}") }),
            ),
        })
    });
    let file = site.file(events);
    site.tenure(&[("TENURE_BROKER__LANES", "4")])
        .ok(&["publish", &file]);
}

/// Blocks the lane of the first client at this user.
fn at_user(site: &Site, number: usize) -> Gate<'_> {
    Gate::close(
        site,
        &format!("line.client = 'c0' and line.change = 'user.added' and line.id = 'user-{number}'"),
    )
}

/// Asserts that all events were ingested once, in order.
fn assert_all_ingested(site: &Site) {
    for lane in LANES {
        site.wait_for_depth(lane, 0);
    }
    assert_eq!(site.count("event_log where outcome = 'applied'"), ALL);
    assert_eq!(
        site.count("change_log where change = 'user.added'"),
        CLIENTS * (EVENTS - 1)
    );
    assert_eq!(
        site.count("change_log where correction"),
        0,
        "each client's events in order"
    );
    assert_eq!(site.count("dead_letters"), 0);
    site.tenure(&[]).assert_no_drift();
}

fn received(worker: &Running) -> f64 {
    worker.metric("tenure_broker_received_total{queue=\"tenure.events.")
}

#[test]
fn the_lanes_of_a_killed_worker_are_taken_over_in_order() {
    let site = Site::alone("takeover");
    let first = worker(&site, "one");
    let (second, third) = (worker(&site, "two"), worker(&site, "three"));
    let gate = at_user(&site, 10);
    publish(&site);
    first.wait_until("at the gate", || gate.is_reached());
    assert!(received(&first) > 0.5, "the first worker consumes the lanes");
    assert!(received(&second) + received(&third) < 0.5, "and no other does");
    drop(first);
    let taken_over = wait_until(Duration::from_secs(20), || {
        received(&second) + received(&third) > 0.5
    });
    taken_over.expect("another worker takes over within seconds");
    assert!(
        site.count("event_log") < ALL,
        "the first worker finished before it was killed"
    );
    // Until now the transaction of the killed worker was open.
    gate.open();
    second.wait_until("done", || site.count("event_log") == ALL);
    assert_all_ingested(&site);
    assert!(second.stop().success());
    assert!(third.stop().success());
}

#[test]
fn a_rolling_restart_under_load_loses_and_duplicates_nothing() {
    let site = Site::alone("rolling");
    let names = ["one", "two", "three"];
    let mut workers: Vec<Running> = names.iter().map(|name| worker(&site, name)).collect();
    let gates = [10, 20, 30].map(|number| at_user(&site, number));
    publish(&site);
    // The worker that waited longest gets the lanes, so each stops while it consumes them.
    for (name, gate) in names.into_iter().zip(gates) {
        workers[0].wait_until("consuming", || received(&workers[0]) > 0.5);
        assert!(
            site.count("event_log") < ALL,
            "all events were ingested before {name} stopped"
        );
        let stopped = workers.remove(0).stop_at(gate);
        assert!(stopped.success(), "{name}: {stopped}");
        workers.push(worker(&site, name));
    }
    workers[0].wait_until("done", || site.count("event_log") == ALL);
    assert_all_ingested(&site);
    workers[0].wait_until("published", || site.count(UNPUBLISHED) == 0);
    for worker in workers {
        assert!(worker.stop().success());
    }
}

#[test]
fn workers_share_a_sweep_and_record_it_once_per_tick() {
    const INVITED: usize = 800;
    let site = Site::alone("shared_sweeps");
    let events = (0..INVITED).flat_map(|client| {
        [
            event(
                client,
                0,
                "client.added",
                &json!({ "name": format!("Client {client}") }),
            ),
            event(client, 1, "client.invited", &json!({})),
        ]
    });
    let file = site.file(events);
    site.tenure(&[]).ok(&["ingest", &file]);
    let sweeper = |name: &str, stalled_after: &str| {
        let settings = [
            ("HOSTNAME", name),
            ("TENURE_SWEEPS__CHUNK", "2"),
            ("TENURE_SWEEPS__STALLED_INVITATIONS__CRON", "* * * * * *"),
            ("TENURE_INVITATIONS__STALLED_AFTER", stalled_after),
            // The policy takes effect soon, however many clients it changes.
            ("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s"),
            ("TENURE_SWEEPS__BREAKER__PERCENT", "100"),
        ];
        site.tenure(&settings).run()
    };
    let mut workers: Vec<Running> = ["one", "two", "three"]
        .iter()
        .map(|name| sweeper(name, "14d"))
        .collect();
    let stalled = "change_log where change = 'invitation.stalled'";
    assert_eq!(site.count(stalled), 0, "nothing is due yet");
    let gate = Gate::close(
        &site,
        "line.change = 'invitation.stalled' and line.client = 'c200'",
    );
    // The policy of this worker makes everything due, for all workers at the same moment.
    workers.push(sweeper("four", "1d"));
    let runs = "sweep_runs where sweep = 'stalled-invitations'";
    // The worker at the gate waits, and the others sweep the rest.
    workers[0].wait_until("almost all swept", || site.count(stalled) > INVITED - 5);
    gate.open();
    workers[0].wait_until("swept", || site.count(stalled) == INVITED);
    let so_far = site.count(runs);
    workers[0].wait_until("ticked again", || site.count(runs) > so_far + 2);
    assert_eq!(site.count(stalled), INVITED, "each once");
    assert_eq!(
        site.sql(&format!("select sum(changed) from {runs}")),
        INVITED.to_string(),
        "each change is counted once"
    );
    let mut shares = Vec::new();
    let all = f64::from(u32::try_from(INVITED).expect("a count"));
    workers[0].wait_until("counted", || {
        let share =
            |worker: &Running| worker.metric("tenure_sweep_changed_total{sweep=\"stalled-invitations\"");
        shares = workers.iter().map(share).collect();
        (shares.iter().sum::<f64>() - all).abs() < 0.5
    });
    assert!(
        shares.iter().filter(|share| **share > 0.5).count() > 1,
        "a single worker swept all: {shares:?}"
    );
    let ticks = site.sql(&format!("select count(distinct scheduled_at) from {runs}"));
    assert_eq!(ticks, site.count(runs).to_string());
    for worker in workers {
        assert!(worker.stop().success());
    }
}

/// Declares a durable queue for all changes.
pub(crate) async fn listen(url: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let (changes, none) = ("tenure.changes", FieldTable::default());
    let declared = channel.exchange_declare(changes.into(), ExchangeKind::Topic, durable, none.clone());
    declared.await.expect("an exchange");
    let queue = channel.queue_declare("subscriber".into(), QueueDeclareOptions::durable(), none.clone());
    queue.await.expect("a queue");
    let bound = channel.queue_bind(
        "subscriber".into(),
        changes.into(),
        "#".into(),
        QueueBindOptions::default(),
        none,
    );
    bound.await.expect("a binding");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_leads_and_another_takes_over_when_it_is_killed() {
    let site = Site::new("relay_lead");
    listen(&site.amqp).await;
    tokio::task::block_in_place(|| {
        let mut workers = vec![worker(&site, "one")];
        let leader = || {
            site.sql(
                "select pid from pg_locks
                 where locktype = 'advisory' and granted
                   and database = (select oid from pg_database where datname = current_database())",
            )
        };
        workers[0].wait_until("leading", || !leader().is_empty());
        let first = leader();
        workers.extend([worker(&site, "two"), worker(&site, "three")]);
        publish(&site);
        workers[0].wait_until("published", || {
            site.count("event_log") == ALL && site.count(UNPUBLISHED) == 0
        });
        // Three relays, and each change once.
        let published = site.count("change_log");
        site.wait_for_depth("subscriber", published);
        assert_eq!(leader(), first);

        let late = |client| event(client, EVENTS, "user.added", &json!({ "user_id": "late" }));
        let file = site.file((0..CLIENTS).map(late));
        drop(workers.remove(0));
        site.tenure(&[("TENURE_BROKER__LANES", "4")])
            .ok(&["publish", &file]);
        workers[0].wait_until("led by another", || !leader().is_empty() && leader() != first);
        workers[0].wait_until("published", || {
            site.count("event_log") == ALL + CLIENTS && site.count(UNPUBLISHED) == 0
        });
        site.wait_for_depth("subscriber", published + CLIENTS);
        let vhost = name_in(&site.amqp);
        assert_eq!(RabbitMq::shared().queue_depth(vhost, "tenure.dead"), Some(0));
        for worker in workers {
            assert!(worker.stop().success());
        }
    });
}
