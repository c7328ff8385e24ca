//! Procedures of `docs/operations.md`, step by step, with real workers and the commands that it names. It names the tests of the
//! others, too.

mod policies;
mod stores;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tenure::clock::{Clock as _, SystemClock};
use tenure::engine::Incoming;
use tenure::wire::{Decoder, Limits};
use tokio::runtime::Runtime;

use crate::support::packages;
use crate::support::repository::read;
use crate::support::site::Site;
use crate::support::tenure::{Running, Tenure};

const STRUCTURED: &str = "application/cloudevents+json";

fn added(client: &str) -> Value {
    json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
        "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
    })
}

/// The event that adds this client, as the engine takes it.
fn incoming(client: &str) -> Incoming {
    let decoder = Decoder::new(Limits::default(), SystemClock.now());
    let line = added(client).to_string();
    Incoming::from(decoder.line("test", line.as_bytes()).expect("not blank"))
}

fn ids(dead_letters: &[Value]) -> Vec<String> {
    dead_letters
        .iter()
        .map(|letter| letter["id"].to_string())
        .collect()
}

/// The cause was a setting that is too small.
#[test]
fn dead_letters_are_redriven_when_their_cause_is_repaired() {
    let folder = tempfile::tempdir().expect("a folder");
    let strict = Tenure::new(folder.path(), &[("TENURE_EVENTS__MAX_BYTES", "1024")]);
    let worker = strict.run();
    for client in ["a", "b"] {
        let mut event = added(client);
        event["data"]["comment"] = "x".repeat(2_000).into();
        let (status, answer) = worker.post("/v1/events", STRUCTURED, &event.to_string());
        assert_eq!(status, 422, "{answer}");
    }
    let open = strict.json(&["dead", "list", "--status", "open"]);
    let [first, second] = ids(&open).try_into().expect("two dead letters");
    assert!(strict.ok(&["dead", "show", &first]).contains("1024"));
    assert!(worker.stop().success());

    let repaired = Tenure::new(folder.path(), &[]);
    let worker = repaired.run();
    let redriven = repaired.json(&["dead", "redrive", &first]);
    assert_eq!(
        (&redriven[0]["id"], &redriven[0]["outcome"]),
        (&open[0]["id"], &json!("applied"))
    );
    let redriven = repaired.json(&["dead", "redrive", "--all"]);
    assert_eq!(ids(&redriven), [second]);
    assert_eq!(redriven[0]["outcome"], "applied");
    assert_eq!(
        repaired.json(&["dead", "list", "--status", "open"]),
        Vec::<Value>::new()
    );
    for client in ["a", "b"] {
        assert_eq!(worker.get(&format!("/v1/partners/p/clients/{client}")).0, 200);
    }
    assert!(worker.stop().success());
    repaired.assert_no_drift();
}

/// With the command of the document, in a shell.
#[test]
fn a_message_that_its_sender_cannot_repair_is_saved_edited_and_redriven() {
    let has_jq = Command::new("jq").arg("--version").output().is_ok();
    if !has_jq {
        return packages::skip("jq is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[]);
    let worker = tenure.run();
    let mut event = added("a");
    event["type"] = "client.unknown".into();
    let (status, answer) = worker.post("/v1/events", STRUCTURED, &event.to_string());
    assert_eq!(status, 422, "{answer}");
    let [id] = ids(&tenure.json(&["dead", "list", "--status", "open"]))
        .try_into()
        .expect("a dead letter");

    let document = read("docs/operations.md");
    let command = document
        .split('`')
        .find(|code| code.starts_with("tenure -o json dead show 7 |"))
        .expect("a command that saves the body");
    let program = Path::new(env!("CARGO_BIN_EXE_tenure"));
    let mut path = vec![program.parent().expect("a folder").to_owned()];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let saved = Command::new("sh")
        .args(["-e", "-c", &command.replace(" 7 ", &format!(" {id} "))])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::join_paths(path).expect("no colons"))
        .output()
        .expect("a shell");
    assert!(saved.status.success() && saved.stderr.is_empty(), "{saved:?}");
    let file = folder.path().join("edited.json");
    let body = std::fs::read_to_string(&file).expect("the body");
    assert_eq!(body.trim_end(), event.to_string());
    std::fs::write(&file, body.replace("client.unknown", "client.added")).expect("edited");

    let redriven = tenure.json(&["dead", "redrive", &id, "--edited", "edited.json"]);
    assert_eq!(redriven[0]["outcome"], "applied", "{redriven:?}");
    assert_eq!(worker.get("/v1/partners/p/clients/a").0, 200);
    assert_eq!(
        tenure.json(&["dead", "list", "--status", "open"]),
        Vec::<Value>::new()
    );
    assert!(worker.stop().success());
    tenure.assert_no_drift();
}

#[test]
fn a_paused_sweep_fires_its_timers_after_it_is_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let each_second = ("TENURE_SWEEPS__STALLED_INVITATIONS__CRON", "* * * * * *");
    let tenure = Tenure::new(folder.path(), &[each_second]);
    let worker = tenure.run();
    tenure.ok(&["sweep", "pause", "stalled-invitations", "--reason", "maintenance"]);
    assert_eq!(worker.add_client("a").0, 200);
    let mut invited = added("a");
    invited["id"] = "invited".into();
    invited["type"] = "client.invited".into();
    invited["data"] = json!({});
    let (status, answer) = worker.post("/v1/events", STRUCTURED, &invited.to_string());
    assert!(status == 200 && answer.contains("applied"), "{answer}");
    let halted = r#"tenure_sweep_ticks_total{sweep="stalled-invitations",outcome="halted"}"#;
    let before = worker.metric(halted);
    worker.wait_until("halted", || worker.metric(halted) > before + 1.5);
    let changes = || worker.get("/v1/changes").1;
    assert!(!changes().contains("invitation.stalled"), "{}", changes());
    tenure.ok(&["sweep", "resume", "stalled-invitations"]);
    worker.wait_until("fired", || changes().contains("invitation.stalled"));
    // Two weeks after the invitation.
    let changes: Value = serde_json::from_str(&changes()).expect("JSON");
    let changes = changes["changes"].as_array().expect("a list");
    let stalled = changes
        .iter()
        .find(|change| change["type"] == "invitation.stalled");
    assert_eq!(
        stalled.expect("a change")["time"],
        "2026-01-19T09:00:00Z",
        "{stalled:?}"
    );
    assert!(worker.stop().success());
    tenure.assert_no_drift();
}

/// The lanes of a store, each with whether it has a watermark.
fn lanes(tenure: &Tenure) -> Vec<(String, bool)> {
    let lanes = tenure.json(&["lanes", "list"]);
    let known = |lane: &Value| {
        let name = lane["lane"].as_str().expect("a name");
        (name.to_owned(), lane["watermark"].is_string())
    };
    lanes.iter().map(known).collect()
}

fn received(workers: &[Running], queue: &str) -> bool {
    let series = format!("tenure_broker_received_total{{queue=\"{queue}\"}}");
    workers.iter().any(|worker| worker.metric(&series) > 0.5)
}

/// Consumes the heartbeats that workers sent to a lane before they stopped. Nothing else is left in it.
async fn drop_heartbeats(channel: &Channel, queue: &str) {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let left = declared.await.expect("the queue").message_count();
    // RabbitMQ refuses `basic_get` on a queue with a single active consumer.
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel.basic_consume(queue.into(), "test".into(), options, arguments);
    let mut consumer = consumer.await.expect("a consumer");
    for _ in 0..left {
        let delivery = tokio::time::timeout(Duration::from_secs(10), consumer.next());
        let delivery = delivery
            .await
            .expect("in time")
            .expect("a message")
            .expect("a delivery");
        let kind = delivery.properties.content_type().as_ref();
        let kind = kind.map(ShortString::as_str);
        assert_eq!(kind, Some("application/vnd.tenure.heartbeat"), "in {queue}");
        delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("acknowledged");
    }
    let canceled = channel.basic_cancel("test".into(), BasicCancelOptions::default());
    canceled.await.expect("canceled");
}

/// First lane workers, then lanes; and fewer lanes again.
#[test]
fn capacity_is_added_and_removed_without_losing_events() {
    const EVENTS: usize = 60;
    let site = Site::new("capacity");
    let mut sent = 0;
    let queues = ["tenure.events.0", "tenure.events.1", "tenure.events.2"];
    for (concurrency, number, expected) in [("1", 1, 1), ("4", 1, 1), ("4", 3, 3), ("4", 1, 3)] {
        let count = number.to_string();
        let workers = ["one", "two"].map(|name| {
            site.tenure(&[
                ("HOSTNAME", name),
                ("TENURE_BROKER__CONCURRENCY", concurrency),
                ("TENURE_BROKER__LANES", &count),
                ("TENURE_BROKER__HEARTBEAT", "100ms"),
            ])
            .run()
        });
        let tenure = site.tenure(&[]);
        let file = site.file((sent..sent + EVENTS).map(|client| added(&format!("c{client}"))));
        sent += EVENTS;
        workers[0].wait_until("connected", || {
            // Of the lanes, which only one worker reads at a time.
            queues[..number]
                .iter()
                .all(|queue| lanes(&tenure).iter().any(|(lane, _)| lane == queue))
        });
        tenure.ok(&["publish", &file]);
        workers[0].wait_until("ingested", || site.count("event_log") == sent);
        assert!(queues[..number].iter().all(|queue| received(&workers, queue)));
        // Timers wait for the lanes that are left over, too.
        let all: Vec<(String, bool)> = queues[..expected]
            .iter()
            .map(|lane| ((*lane).to_owned(), true))
            .collect();
        workers[0].wait_until("with all watermarks", || lanes(&tenure) == all);
        for worker in workers {
            assert!(worker.stop().success());
        }
    }
    let runtime = Runtime::new().expect("threads");
    runtime.block_on(async {
        let connection = Connection::connect(&site.amqp, ConnectionProperties::default()).await;
        let connection = connection.expect("RabbitMQ");
        let channel = connection.create_channel().await.expect("a channel");
        for queue in &queues[1..] {
            drop_heartbeats(&channel, queue).await;
            let deleted = channel.queue_delete((*queue).into(), QueueDeleteOptions::default());
            assert_eq!(deleted.await.expect("deleted"), 0, "messages of {queue}");
        }
    });
    let worker = site.tenure(&[]).run();
    let remaining = [("tenure.events.0".to_owned(), true)];
    worker.wait_until("one lane", || lanes(&site.tenure(&[])) == remaining);
    assert!(worker.stop().success());
    site.tenure(&[]).assert_no_drift();
}

fn sqlite3(folder: &Path, command: &str) -> bool {
    match Command::new("sqlite3")
        .args(["tenure.db", command])
        .current_dir(folder)
        .output()
    {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            packages::skip("sqlite3 is not installed");
            false
        }
        Err(error) => panic!("sqlite3: {error}"),
    }
}

#[test]
fn a_backup_of_sqlite_under_a_worker_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[]);
    let worker = tenure.run();
    assert_eq!(worker.add_client("before").0, 200);
    if !sqlite3(folder.path(), ".backup tenure-backup.db") {
        return;
    }
    assert_eq!(worker.add_client("after").0, 200);
    assert!(worker.stop().success());

    let file = |name: &str| folder.path().join(name);
    for log in ["tenure.db-wal", "tenure.db-shm"] {
        let _ = std::fs::remove_file(file(log));
    }
    std::fs::copy(file("tenure-backup.db"), file("tenure.db")).expect("restored");
    assert!(tenure.json(&["restored"])[0]["epoch"].is_string());
    let worker = tenure.run();
    let is_there = |client: &str| worker.get(&format!("/v1/partners/p/clients/{client}")).0 == 200;
    assert!(is_there("before") && !is_there("after"));
    // The events since the backup, and one that the backup has.
    for (client, outcome) in [("before", "duplicate"), ("after", "applied")] {
        let (status, answer) = worker.add_client(client);
        assert!(status == 200 && answer.contains(outcome), "{answer}");
    }
    assert!(worker.stop().success());
    tenure.assert_no_drift();
}
