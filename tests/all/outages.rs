//! Servers that are away: the real binary says so once, waits, and goes on by itself.

use serde_json::json;

use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

fn lines(running: &Running, words: &str) -> Vec<String> {
    let log = running.log();
    log.lines()
        .filter(|line| line.contains(words))
        .map(str::to_owned)
        .collect()
}

fn ready(running: &Running) -> bool {
    running.get("/readyz").0 == 200
}

/// Publishes one event, which adds a client.
fn publish(tenure: &Tenure, folder: &std::path::Path, client: &str) {
    let event = json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
        "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
    });
    let file = folder.join("event.ndjson");
    std::fs::write(&file, event.to_string()).expect("a file");
    tenure.ok(&["publish", &file.to_string_lossy()]);
}

fn arrives(running: &Running, client: &str) {
    let path = format!("/v1/partners/p/clients/{client}");
    running.wait_until(client, || running.get(&path).0 == 200);
}

#[test]
fn a_broker_that_dies_is_one_line_and_one_more_when_it_is_back() {
    let broker = RabbitMq::own();
    let amqp = broker.vhost("outage");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    let running = tenure.run();
    publish(&tenure, folder.path(), "before");
    arrives(&running, "before");
    // RabbitMQ 3.10 that is killed within moments of making a quorum queue may find it broken (INTERNAL_ERROR) for
    // good; this is about a broker that has been at work.
    std::thread::sleep(std::time::Duration::from_secs(6));
    broker.kill();
    running.wait_until("unready", || !ready(&running));
    let (_, body) = running.get("/readyz");
    assert!(body.contains("broker"), "{body}");
    std::thread::sleep(std::time::Duration::from_secs(3));
    broker.start();
    running.wait_until("ready again", || ready(&running));
    publish(&tenure, folder.path(), "after");
    arrives(&running, "after");
    assert_eq!(
        lines(&running, "trying again and again").len(),
        1,
        "{}",
        running.log()
    );
    assert_eq!(lines(&running, "RabbitMQ is back").len(), 1, "{}", running.log());
    broker.wait_for_depth(
        name_in(&amqp),
        "tenure.events.0",
        0,
        std::time::Duration::from_secs(30),
    );
    assert!(running.stop().success());
}

#[test]
fn a_database_that_is_not_there_yet_or_goes_away_is_one_line_each_time() {
    let database = Postgres::own();
    let url = database.database("outage");
    let amqp = RabbitMq::shared().vhost("outage_of_store");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]);
    database.stop_immediate();
    let running = tenure.start();
    running.wait_until("waiting", || !lines(&running, "waiting for the store").is_empty());
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(running.get("/livez").0, 200);
    assert!(!ready(&running));
    database.start();
    running.wait_until("ready", || ready(&running));
    assert_eq!(
        lines(&running, "waiting for the store").len(),
        1,
        "{}",
        running.log()
    );

    database.stop_immediate();
    publish(&tenure, folder.path(), "meanwhile");
    running.wait_until("unready", || !ready(&running));
    // A short break is waited out without a word.
    running.wait_until("told", || !lines(&running, "the store takes nothing").is_empty());
    database.start();
    arrives(&running, "meanwhile");
    running.wait_until("ready again", || ready(&running));
    assert_eq!(
        lines(&running, "the store takes nothing").len(),
        1,
        "{}",
        running.log()
    );
    assert_eq!(
        lines(&running, "the store takes messages again").len(),
        1,
        "{}",
        running.log()
    );
    assert!(running.stop().success());
}
