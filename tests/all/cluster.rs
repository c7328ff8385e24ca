//! A cluster of three RabbitMQ nodes, killed one after the other while events flow: the worker and the publisher continue
//! with the others, no event is lost, and every change is published.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chaos::subscriber::{Received, Subscriber};
use crate::support::servers::{Postgres, RabbitCluster, RabbitMq, VHOST, name_in};
use crate::support::tenure::{Running, Tenure};

const CLIENTS: usize = 40;
/// Events of one call of `tenure publish`.
const ROUND: usize = 400;

/// Runs `tenure publish` in a loop.
struct Upstream<'a> {
    tenure: &'a Tenure,
    file: std::path::PathBuf,
    published: AtomicUsize,
    ends: AtomicBool,
}

impl Upstream<'_> {
    fn publish_until_the_end(&self) {
        let mut number = 0;
        while !self.ends.load(Ordering::SeqCst) {
            let mut lines = String::new();
            for _ in 0..ROUND {
                let (client, turn) = (number % CLIENTS, number / CLIENTS);
                let (kind, data) = match turn {
                    0 => ("client.added", json!({ "name": format!("Client {client}") })),
                    _ => (
                        "client.renamed",
                        json!({ "name": format!("Client {client} {turn}") }),
                    ),
                };
                let event = json!({
                    "specversion": "1.0", "id": format!("{client}-{turn}"), "source": "/space", "type": kind,
                    "subject": format!("p/c{client}"), "sequence": format!("{turn:06}"),
                    "time": "2026-01-05T09:00:00Z", "data": data,
                });
                let _ = writeln!(lines, "{event}");
                number += 1;
            }
            std::fs::write(&self.file, lines).expect("a file");
            self.publish();
            self.published.store(number, Ordering::SeqCst);
        }
    }

    /// Publishes the file. A run fails if a node dies after it accepts the run's first connection and before it opens the
    /// channel. Then nothing was published, and the next run connects to another node.
    fn publish(&self) {
        loop {
            let output = self.tenure.call(&["publish", &self.file.to_string_lossy()]);
            let errors = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                return;
            }
            assert!(errors.contains("no connection to RabbitMQ"), "{errors}");
        }
    }

    /// Waits until a run of `tenure publish` that begins after this call has finished.
    fn wait_for_progress(&self) {
        let before = self.published.load(Ordering::SeqCst);
        let end = Instant::now() + Duration::from_mins(5);
        while self.published.load(Ordering::SeqCst) < before + 2 * ROUND {
            assert!(Instant::now() < end, "publishing has stopped");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn any_one_node_of_a_cluster_may_fail() {
    let cluster = RabbitCluster::start();
    let amqp = cluster.url();
    let database = Postgres::shared().database("cluster");
    let folder = tempfile::tempdir().expect("a folder");
    let env = [
        ("DATABASE_URL", database.as_str()),
        ("AMQP_URL", &amqp),
        ("TENURE_BROKER__LANES", "3"),
        ("TENURE_BROKER__HEARTBEAT", "1s"),
    ];
    let tenure = Tenure::new(folder.path(), &env);
    let running = tenure.run();
    let subscriber = Subscriber::start(cluster.nodes()[0].url(VHOST));
    let upstream = Upstream {
        tenure: &tenure,
        file: folder.path().join("events.ndjson"),
        published: AtomicUsize::new(0),
        ends: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| upstream.publish_until_the_end());
        // Its drop ends the publisher, also when the test fails.
        let ends = End(&upstream.ends);
        for node in cluster.nodes() {
            cluster.wait_for_members();
            upstream.wait_for_progress();
            cluster.nodes().iter().for_each(RabbitMq::sync);
            node.kill();
            upstream.wait_for_progress();
            ready(&running);
            node.start();
        }
        upstream.wait_for_progress();
        drop(ends);
        publishing.join().expect("every event is published");
    });
    let sql = |statement: &str| Postgres::shared().sql(name_in(&database), statement);
    let count = |what: &str| -> usize {
        sql(&format!("select count(*) from {what}"))
            .parse()
            .expect("a number")
    };
    let published = upstream.published.load(Ordering::SeqCst);
    running.wait_until("all events", || count("event_log") == published);
    let received = subscriber.all(|| count("change_log"));
    assert_eq!(count("dead_letters"), 0);
    published_in_order(
        &received,
        &sql("select partner || '/' || client, seq from change_log order by xid, seq"),
    );
    tenure.assert_no_drift();
    ready(&running);
    let standstill = sql(
        "select max(gap) from (select received_at - lag(received_at) over (order by received_at) gap from event_log) gaps",
    );
    eprintln!(
        "{published} events; longest standstill {standstill}; {}",
        received.figures()
    );
    assert!(running.stop().success());
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn ready(running: &Running) {
    running.wait_until("ready", || running.get("/readyz").0 == 200);
}

/// Asserts that every line of the journal was published, and that the last publications of a client's lines are in order.
/// The first ones may not be: a queue that loses its leader may accept a line but not the one before it, and then the relay
/// publishes both again.
fn published_in_order(received: &Received, journal: &str) {
    let mut written: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in journal.lines() {
        let (client, number) = line.split_once('|').expect("two columns");
        written.entry(client).or_default().push(number.to_owned());
    }
    let mut published: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for change in received.by_last_time() {
        let client = change["subject"].as_str().expect("a subject");
        // A new epoch would appear as another line with the same number.
        let number = change["data"]["sequence"].to_string();
        published.entry(client).or_default().push(number);
    }
    assert_eq!(published, written);
}
