//! Stopping the binary: it finishes and publishes unacknowledged batches, leaves the rest to other workers, and nothing
//! blocks it forever.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tenure::clock::{Clock as _, SystemClock};

use crate::support::gate::Gate;
use crate::support::proxy::Proxy;
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::site::{Site, UNPUBLISHED};
use crate::support::tenure::{Running, Tenure};

/// One `client.added` event for each of this many clients.
fn added(clients: usize) -> impl Iterator<Item = Value> {
    (0..clients).map(|n| {
        json!({
            "specversion": "1.0", "id": n.to_string(), "source": "/space", "type": "client.added",
            "subject": format!("p/c{n}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("Client {n}") },
        })
    })
}

#[test]
fn a_stop_under_load_accounts_for_every_event() {
    const ALL: usize = 6_000;
    let site = Site::alone("stop_under_load");
    let small_batches = [
        ("TENURE_BROKER__BATCH_MAX", "20"),
        ("TENURE_BROKER__PREFETCH", "400"),
        // Heartbeats would be counted too.
        ("TENURE_BROKER__HEARTBEAT", "1h"),
    ];
    let tenure = site.tenure(&small_batches);
    let file = site.file(added(ALL));
    assert_eq!(tenure.json(&["publish", &file])[0]["published"], ALL);
    tenure.ok(&["migrate"]);
    let gate = Gate::close(&site, "line.client = 'c300'");
    let stopped = tenure.run().stop_at(gate);
    assert!(stopped.success(), "{stopped}");

    let ingested = site.count("event_log");
    assert!(
        (300..ALL).contains(&ingested),
        "{ingested} events: the gate is at 300"
    );
    // The committed events are acknowledged, and the others are still in the queue.
    site.wait_for_depth("tenure.events.0", ALL - ingested);
    assert_eq!(site.count(UNPUBLISHED), 0, "the last batches are published");

    let running = tenure.run();
    running.wait_until("done", || site.count("event_log") == ALL);
    site.wait_for_depth("tenure.events.0", 0);
    let received = running.metric("tenure_broker_received_total");
    let left = f64::from(u32::try_from(ALL - ingested).expect("a count"));
    assert!((received - left).abs() < 0.5, "received {received}, not {left}");
    assert!(running.stop().success());
    assert_eq!(site.count("event_log where outcome <> 'applied'"), 0);
    assert_eq!(site.count("dead_letters"), 0);
}

/// A worker with an unacknowledged batch, whose store does not answer. The events arrive past the proxy.
fn hanging(site: &Site, proxy: &Proxy, shutdown: &str) -> Running {
    let through = proxy.url(&site.database);
    let tenure = site.tenure(&[("DATABASE_URL", &through), ("TENURE_SHUTDOWN__TIMEOUT", shutdown)]);
    let running = tenure.run();
    proxy.stall();
    let file = site.file(added(10));
    site.tenure(&[]).ok(&["publish", &file]);
    running.wait_until("with an unacknowledged batch", || {
        let lane = RabbitMq::shared().queue(name_in(&site.amqp), "tenure.events.0");
        lane.is_some_and(|lane| lane["messages_unacknowledged"] == 10)
    });
    running
}

#[test]
fn a_second_signal_exits_at_once_while_the_store_hangs() {
    let site = Site::new("second_signal");
    let proxy = Proxy::to(Postgres::shared().port());
    let mut running = hanging(&site, &proxy, "1h");
    running.signal(Signal::SIGTERM);
    running.wait_until("stopping", || {
        running.log().contains("finishing the work in progress")
    });
    running.signal(Signal::SIGTERM);
    let status = running
        .ended(Duration::from_secs(30))
        .expect("it exits within moments");
    assert_eq!(status.code(), Some(1));
    assert!(
        running.log().contains("second signal; nothing is lost"),
        "{}",
        running.log()
    );
    site.wait_for_depth("tenure.events.0", 10);
}

#[test]
fn a_stop_that_times_out_names_the_unfinished_part() {
    let site = Site::new("unfinished");
    let proxy = Proxy::to(Postgres::shared().port());
    let mut running = hanging(&site, &proxy, "1s");
    running.signal(Signal::SIGINT);
    let status = running.ended(Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1));
    let log = running.log();
    let last = log
        .lines()
        .rfind(|line| line.contains("stopped with unfinished work"))
        .expect("a last line");
    assert!(
        last.contains("after 1 s (shutdown.timeout)") && last.contains("broker"),
        "{last}"
    );
    site.wait_for_depth("tenure.events.0", 10);
}

/// It uses up no deliveries either: a worker that starts meanwhile consumes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_does_not_delay_a_stop() {
    const EVENTS: usize = 30;
    let site = Site::new("locked_table");
    let tenure = site.tenure(&[("TENURE_SHUTDOWN__TIMEOUT", "25s")]);
    let running = tenure.run();
    let mut maintenance = PgConnection::connect(&site.database).await.expect("a connection");
    let mut transaction = maintenance.begin().await.expect("a transaction");
    let lock = transaction.execute("lock table events in exclusive mode");
    lock.await.expect("locked");
    tenure.ok(&["publish", &site.file(added(EVENTS))]);
    let held = || {
        let lane = RabbitMq::shared().queue(name_in(&site.amqp), "tenure.events.0");
        lane.and_then(|lane| lane["messages_unacknowledged"].as_u64())
    };
    running.wait_until("with unacknowledged messages", || held() >= Some(EVENTS as u64));
    let stopped = running.stop();
    assert!(stopped.success(), "{stopped}");
    for _ in 0..2 {
        let running = tenure.start();
        running.wait_until("waiting for the store", || {
            running.log().contains("the store accepts no writes")
        });
        assert!(running.metric("tenure_broker_received_total") < 1.0);
    }
    transaction.rollback().await.expect("rolled back");
    let running = tenure.run();
    running.wait_until("done", || site.count("event_log") == EVENTS);
    site.wait_for_depth("tenure.events.0", 0);
    assert_eq!(site.count("dead_letters"), 0);
    assert!(running.stop().success());
}

#[test]
fn an_incomplete_request_does_not_delay_a_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("TENURE_SHUTDOWN__TIMEOUT", "20s")]);
    let running = tenure.run();
    let mut head = TcpStream::connect((Ipv4Addr::LOCALHOST, running.port)).expect("connected");
    head.write_all(b"GET /livez HTTP/1.1\r\nhost: half")
        .expect("sent");
    let mut body = TcpStream::connect((Ipv4Addr::LOCALHOST, running.port)).expect("connected");
    body.write_all(b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        .expect("sent");
    // The server has read both: it answers a later request.
    assert_eq!(running.get("/livez").0, 200);
    let stopped = running.stop();
    assert!(stopped.success(), "{stopped}");
    let mut rest = Vec::new();
    let _ = head.read_to_end(&mut rest);
    assert!(rest.is_empty(), "an incomplete request gets no response");
}

#[test]
fn a_sweep_stops_after_a_chunk_and_the_next_run_continues() {
    const ALL: usize = 2_000;
    let site = Site::alone("stop_sweep");
    // Nothing is due with the default policy. With the policy of the workers, everything is.
    let ago = |days| (SystemClock.now() - TimeDelta::days(days)).to_rfc3339();
    let event = |n: usize, kind: &str, time: String, data: Value| {
        json!({
            "specversion": "1.0", "id": format!("{n}-{kind}"), "source": "/space", "type": kind,
            "subject": format!("p/c{n}"), "time": time, "data": data,
        })
    };
    let events = (0..ALL).flat_map(|n| {
        let name = json!({ "name": format!("Client {n}") });
        [
            event(n, "client.added", ago(11), name),
            event(n, "client.invited", ago(10), json!({})),
        ]
    });
    let file = site.file(events);
    site.tenure(&[]).ok(&["ingest", &file]);
    let tenure = site.tenure(&[
        ("TENURE_SWEEPS__CHUNK", "1"),
        ("TENURE_SWEEPS__STALLED_INVITATIONS__CRON", "* * * * * *"),
        ("TENURE_INVITATIONS__STALLED_AFTER", "1d"),
        // The policy takes effect soon, however many clients it changes.
        ("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s"),
        ("TENURE_SWEEPS__BREAKER__PERCENT", "100"),
    ]);
    let stalled = "change_log where change = 'invitation.stalled'";
    assert_eq!(site.count(stalled), 0);
    let gate = Gate::close(&site, "line.change = 'invitation.stalled' and line.client = 'c5'");
    let stopped = tenure.run().stop_at(gate);
    assert!(stopped.success(), "{stopped}");
    let swept = site.count(stalled);
    assert!(swept < ALL, "it continued after the gate opened");
    let runs = "sweep_runs where sweep = 'stalled-invitations'";
    let changed = || site.sql(&format!("select sum(changed) from {runs}"));
    assert_eq!(
        site.count(&format!("{runs} and error like 'stopped before the last chunk%'")),
        1
    );
    assert_eq!(changed(), swept.to_string(), "the run is recorded up to the stop");
    assert_eq!(site.count(UNPUBLISHED), 0, "its changes are published");
    let running = tenure.run();
    running.wait_until("done", || site.count(stalled) == ALL);
    running.wait_until("recorded", || changed() == ALL.to_string());
    assert!(running.stop().success());
}
