//! Unavailable servers: the binary logs the outage once, waits, and recovers without help.

use serde_json::json;

use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

fn lines(running: &Running, words: &str) -> Vec<String> {
    let log = running.log();
    log.lines()
        .filter(|line| line.contains(words))
        .map(str::to_owned)
        .collect()
}

/// Waits until the worker has tried to connect three more times.
fn wait_for_attempts(running: &Running, wire: &Proxy) {
    let before = wire.connections();
    running.wait_until("three attempts", || wire.connections() >= before + 3);
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

fn wait_for_client(running: &Running, client: &str) {
    let path = format!("/v1/partners/p/clients/{client}");
    running.wait_until(client, || running.get(&path).0 == 200);
}

#[test]
fn a_broker_outage_is_one_log_line_and_the_recovery_another() {
    let broker = RabbitMq::own();
    let wire = Proxy::to(broker.port());
    let amqp = wire.url(&broker.vhost("outage"));
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    let running = tenure.run();
    publish(&tenure, folder.path(), "before");
    wait_for_client(&running, "before");
    broker.sync();
    broker.kill();
    running.wait_until("unready", || !ready(&running));
    let (_, body) = running.get("/readyz");
    assert!(body.contains("broker"), "{body}");
    wait_for_attempts(&running, &wire);
    broker.start();
    running.wait_until("ready again", || ready(&running));
    publish(&tenure, folder.path(), "after");
    wait_for_client(&running, "after");
    assert_eq!(lines(&running, "retrying").len(), 1, "{}", running.log());
    assert_eq!(
        lines(&running, "reconnected to RabbitMQ").len(),
        1,
        "{}",
        running.log()
    );
    broker.wait_for_depth(
        name_in(&amqp),
        "tenure.events.0",
        0,
        std::time::Duration::from_secs(30),
    );
    assert!(running.stop().success());
}

#[test]
fn each_database_outage_is_one_log_line_at_start_and_later() {
    let database = Postgres::own();
    let wire = Proxy::to(database.port());
    let url = wire.url(&database.database("outage"));
    let amqp = RabbitMq::shared().vhost("outage_of_store");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), ("AMQP_URL", &amqp)]);
    database.stop_immediate();
    let running = tenure.start();
    running.wait_until("waiting", || !lines(&running, "waiting for the store").is_empty());
    wait_for_attempts(&running, &wire);
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
    // A short outage is not logged.
    running.wait_until("logged", || {
        !lines(&running, "the store accepts no writes").is_empty()
    });
    database.start();
    wait_for_client(&running, "meanwhile");
    running.wait_until("ready again", || ready(&running));
    assert_eq!(
        lines(&running, "the store accepts no writes").len(),
        1,
        "{}",
        running.log()
    );
    assert_eq!(
        lines(&running, "the store accepts writes again").len(),
        1,
        "{}",
        running.log()
    );
    assert!(running.stop().success());
}

#[test]
fn a_vanished_database_host_blocks_nothing_forever() {
    let database = Postgres::own();
    let wire = Proxy::to(database.port());
    let url = wire.url(&database.database("vanished"));
    let amqp = RabbitMq::shared().vhost("vanished");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(
        folder.path(),
        &[
            ("DATABASE_URL", &url),
            ("AMQP_URL", &amqp),
            ("TENURE_STORE__STATEMENT_TIMEOUT", "1s"),
            ("TENURE_STORE__MAX_CONNECTIONS", "3"),
        ],
    );
    let running = tenure.run();
    publish(&tenure, folder.path(), "before");
    wait_for_client(&running, "before");
    for client in ["first", "second", "third", "fourth"] {
        assert!(wire.connections() > 1);
        wire.cut(Cut::Silence);
        publish(&tenure, folder.path(), client);
        wait_for_client(&running, client);
    }
    running.wait_until("ready", || ready(&running));
    let depth = std::time::Duration::from_secs(30);
    RabbitMq::shared().wait_for_depth(name_in(&amqp), "tenure.events.0", 0, depth);
    assert!(
        running.log().contains("did not answer within"),
        "{}",
        running.log()
    );
    assert!(running.stop().success());
}

#[test]
fn a_memory_alarm_of_the_broker_delays_changes_but_no_events() {
    let broker = RabbitMq::own();
    let amqp = broker.vhost("alarm");
    let vhost = name_in(&amqp);
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    tenure.run().stop();
    for (path, body) in [
        (format!("queues/{vhost}/subscriber"), json!({ "durable": true })),
        (
            format!("bindings/{vhost}/e/tenure.changes/q/subscriber"),
            json!({ "routing_key": "#" }),
        ),
    ] {
        let method = if path.starts_with("queues") { "PUT" } else { "POST" };
        broker.manage(method, &path, Some(&body));
    }
    for n in 0..30 {
        publish(&tenure, folder.path(), &format!("c{n}"));
    }
    broker.control(&["set_vm_memory_high_watermark", "0"]);
    let running = tenure.run();
    wait_for_client(&running, "c29");
    let patience = std::time::Duration::from_mins(1);
    broker.wait_for_depth(vhost, "tenure.events.0", 0, patience);
    assert_eq!(broker.queue_depth(vhost, "subscriber"), Some(0));
    running.wait_until("logged", || !lines(&running, "resource alarm").is_empty());

    // `tenure publish` says that it waits.
    let file = folder.path().join("waiting.ndjson");
    let event = json!({
        "specversion": "1.0", "id": "late", "source": "/space", "type": "client.added",
        "subject": "p/late", "time": "2026-01-05T09:00:00Z", "data": { "name": "late" },
    });
    std::fs::write(&file, event.to_string()).expect("a file");
    let mut publishing = tenure.spawn(&["publish", &file.to_string_lossy()]);
    publishing.wait_for_stderr("RabbitMQ does not confirm");
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    let (code, _, errors) = publishing.end();
    assert_eq!(code, Some(0), "{errors}");
    wait_for_client(&running, "late");
    running.wait_until("changes", || {
        broker
            .queue_depth(vhost, "subscriber")
            .is_some_and(|depth| depth >= 31)
    });
    assert!(running.stop().success());
}

/// SQLite rolls back a transaction when a write to the disk fails. A limit on the size of files makes it fail like a full
/// disk.
#[test]
fn writes_resume_after_the_disk_was_full() {
    let amqp = RabbitMq::shared().vhost("full_disk");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(
        folder.path(),
        &[("AMQP_URL", &amqp), ("TENURE_BROKER__HEARTBEAT", "1s")],
    );
    // The tables are created before, so that the write-ahead log is short and only grows: it is reused from its beginning once it
    // is long, and would not reach the limit.
    tenure.run().stop();
    let running = tenure.start_with_file_limit();
    running.wait_until("ready", || ready(&running));
    assert_eq!(running.add_client("before").0, 200);

    let log = std::fs::metadata(folder.path().join("tenure.db-wal")).expect("a write-ahead log");
    running.limit_files(Some(log.len()));
    publish(&tenure, folder.path(), "waits");
    for n in 0..5 {
        let (status, body) = running.add_client(&format!("meanwhile-{n}"));
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("the store cannot be used now"), "{body}");
    }
    running.wait_until("logged", || {
        !lines(&running, "the store accepts no writes").is_empty()
    });

    running.limit_files(None);
    running.wait_until("written over HTTP", || running.add_client("after").0 == 200);
    wait_for_client(&running, "waits");
    running.wait_until("logged", || {
        !lines(&running, "the store accepts writes again").is_empty()
    });
    running.wait_until("ready again", || ready(&running));
    for words in ["the store accepts no writes", "the store accepts writes again"] {
        assert_eq!(lines(&running, words).len(), 1, "{words}: {}", running.log());
    }
    assert!(running.stop().success());
    tenure.assert_no_drift();
}
