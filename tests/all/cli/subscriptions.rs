//! `tenure subscribe` and `tenure replay`: a queue that misses nothing, and the past in it.

use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicRejectOptions};
use lapin::types::AMQPValue;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{EVENTS, code, stderr, stdout};
use crate::support::servers::{RabbitMq, name_in};
use crate::support::tenure::Tenure;

const LIMIT: Duration = Duration::from_mins(1);

/// Tenure with an embedded store, and a vhost of its own.
struct Setup {
    runtime: Runtime,
    amqp: String,
    tenure: Tenure,
    _folder: TempDir,
}

impl Setup {
    fn new(hint: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let amqp = RabbitMq::shared().vhost(hint);
        let env: Vec<(&str, &str)> = [("AMQP_URL", &*amqp)].iter().chain(env).copied().collect();
        Self {
            runtime: Runtime::new().expect("a runtime"),
            tenure: Tenure::new(folder.path(), &env),
            amqp,
            _folder: folder,
        }
    }

    /// The messages that a queue has, which it has no more.
    fn receive(&self, queue: &str) -> Vec<(Value, bool)> {
        self.runtime.block_on(receive(&self.amqp, queue))
    }

    fn wait_for_depth(&self, queue: &str, messages: u64) {
        RabbitMq::shared().wait_for_depth(name_in(&self.amqp), queue, messages, LIMIT);
    }

    /// Declares a queue, or looks at one, by the management API.
    fn manage(&self, method: &str, queue: &str, arguments: Option<&Value>) -> Value {
        let path = format!("queues/{}/{queue}", name_in(&self.amqp));
        RabbitMq::shared().manage(method, &path, arguments)
    }
}

/// The messages of a queue: the change, and whether it is marked as replayed.
async fn receive(amqp: &str, queue: &str) -> Vec<(Value, bool)> {
    let connection = Connection::connect(amqp, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let mut received = Vec::new();
    while let Some(message) = channel
        .basic_get(queue.into(), BasicGetOptions::default())
        .await
        .expect("an answer")
    {
        let headers = message.properties.headers().as_ref().expect("headers");
        let mark = headers.inner().get("tenure-replayed");
        let is_replayed = matches!(mark, Some(AMQPValue::Boolean(true)));
        let change = serde_json::from_slice(&message.data).expect("JSON");
        message
            .ack(BasicAckOptions::default())
            .await
            .expect("acknowledged");
        received.push((change, is_replayed));
    }
    received
}

#[test]
fn a_subscribed_queue_gets_every_change_and_the_past_on_request() {
    let setup = Setup::new("subscribe", &[]);
    let tenure = &setup.tenure;
    let subscribe = ["subscribe", "mine", "--type", "access.*", "--type", "link.active"];
    for _ in 0..2 {
        let declared = tenure.json(&subscribe).remove(0);
        assert_eq!(
            declared,
            json!({"queue": "mine", "types": ["access.*", "link.active"], "dead": "mine.dead"})
        );
    }
    for queue in ["mine", "mine.dead"] {
        let declared = setup.manage("GET", queue, None);
        assert_eq!(declared["type"], "quorum", "{queue}: {declared}");
    }
    tenure.fed(&["ingest", "-"], EVENTS);
    let worker = tenure.run();
    worker.wait_until("published", || worker.metric("tenure_relay_backlog") < 0.5);
    let (status, page) = worker.get("/v1/changes?limit=1000&type=access.*,link.active");
    assert_eq!(status, 200);
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let changes = page["changes"].as_array().expect("changes");
    assert!(changes.len() > 1, "{page}");
    setup.wait_for_depth("mine", changes.len() as u64);
    let received = setup.receive("mine");
    let of = |received: &[(Value, bool)], replayed: bool| -> Vec<Value> {
        assert!(received.iter().all(|(_, is_replayed)| *is_replayed == replayed));
        received.iter().map(|(change, _)| change.clone()).collect()
    };
    assert_eq!(of(&received, false), *changes);

    tenure.ok(&["subscribe", "past", "--no-bindings"]);
    // All of it, only a part, and what comes after a cursor.
    let first = worker.get("/v1/changes?limit=1&type=access.*").1;
    let first: Value = serde_json::from_str(&first).expect("JSON");
    let after = first["next"].as_str().expect("a cursor");
    for (arguments, path) in [
        (&["--from", "beginning"][..], "/v1/changes?limit=1000"),
        (
            &[
                "--from",
                "2020-01-01T00:00:00Z",
                "--type",
                "access.*",
                "--partner",
                "acme",
            ],
            "/v1/changes?limit=1000&type=access.*&partner=acme",
        ),
        (
            &["--from", after, "--type", "access.*"],
            &format!("/v1/changes?limit=1000&type=access.*&after={after}"),
        ),
        (&["--from", "2999-01-01T00:00:00Z"], "/v1/changes?after=latest"),
    ] {
        let call: Vec<&str> = ["replay", "--to", "past"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let replayed = tenure.json(&call).remove(0);
        let page: Value = serde_json::from_str(&worker.get(path).1).expect("JSON");
        let expected = page["changes"].as_array().expect("changes");
        assert_eq!(replayed, json!({"published": expected.len()}), "{arguments:?}");
        setup.wait_for_depth("past", expected.len() as u64);
        let received = setup.receive("past");
        assert_eq!(of(&received, true), *expected, "{arguments:?}");
    }
    assert!(worker.stop().success());
}

#[test]
fn a_replay_is_in_the_audit_log() {
    let setup = Setup::new("replay_audit", &[]);
    let tenure = &setup.tenure;
    tenure.fed(&["ingest", "-"], EVENTS);
    tenure.ok(&["subscribe", "past", "--no-bindings"]);
    let replay = [
        "replay",
        "--from",
        "beginning",
        "--to",
        "past",
        "--partner",
        "acme",
        "--type",
        "access.*",
        "--reason",
        "billing was restored",
    ];
    tenure.ok(&replay);
    let entries = tenure.json(&["audit"]);
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    let who = entry["who"].as_str().expect("a name");
    assert!(who.starts_with(&super::audit::user()), "{entry}");
    for (field, expected) in [
        ("action", json!("replay")),
        ("how", json!("cli")),
        ("target", json!("past")),
        ("reason", json!("billing was restored")),
        ("details", json!({"partner": "acme", "types": ["access.*"]})),
    ] {
        assert_eq!(entry[field], expected, "{entry}");
    }
}

/// Before the subscriber first starts, and also when it cannot read a message.
#[test]
fn a_subscribed_queue_loses_nothing() {
    let setup = Setup::new("subscribe_dead", &[]);
    let tenure = &setup.tenure;
    tenure.ok(&["subscribe", "mine", "--type", "link.draft"]);
    let worker = tenure.run();
    assert_eq!(worker.add_client("bakery").0, 200);
    setup.wait_for_depth("mine", 1);
    setup.runtime.block_on(async {
        let connection = Connection::connect(&setup.amqp, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let message = channel
            .basic_get("mine".into(), BasicGetOptions::default())
            .await
            .expect("an answer")
            .expect("a message");
        message
            .reject(BasicRejectOptions { requeue: false })
            .await
            .expect("rejected");
    });
    setup.wait_for_depth("mine.dead", 1);
    let dead = setup.receive("mine.dead");
    assert_eq!(dead[0].0["type"], "link.draft", "{dead:?}");
    assert!(worker.stop().success());
}

/// Retention has removed older changes. Those that are stored can be replayed, and the error says from when on.
#[test]
fn a_pruned_journal_is_replayed_from_the_time_that_the_error_names() {
    let setup = Setup::new("replay_pruned", &[("TENURE_RETENTION__JOURNAL", "1s")]);
    let tenure = &setup.tenure;
    tenure.fed(&["ingest", "-"], EVENTS);
    let worker = tenure.run();
    worker.wait_until("published", || worker.metric("tenure_relay_backlog") < 0.5);
    let pruned = |tenure: &Tenure| tenure.json(&["prune"]).remove(0)["journal"].as_u64() > Some(0);
    worker.wait_until("pruned", || pruned(tenure));
    assert_eq!(worker.add_client("young").0, 200);
    let declared = tenure.json(&["subscribe", "past", "--no-bindings"]).remove(0);
    assert_eq!(
        declared,
        json!({"queue": "past", "types": [], "dead": "past.dead"})
    );
    let mut times = Vec::new();
    for from in ["beginning", "2020-01-01T00:00:00Z"] {
        let output = tenure.call(&["replay", "--from", from, "--to", "past"]);
        assert_eq!(code(&output), 1);
        let said = stderr(&output);
        assert!(
            !said.contains("to continue") && said.contains("GET /v1/snapshot"),
            "{said}"
        );
        let (_, rest) = said.split_once("`--from ").expect("advice");
        times.push(rest.split('`').next().expect("a time").to_owned());
    }
    let replayed = tenure
        .json(&["replay", "--from", &times[1], "--to", "past"])
        .remove(0);
    let published = replayed["published"].as_u64().expect("a number");
    assert!(published > 0, "{replayed}");
    setup.wait_for_depth("past", published);
    let received = setup.receive("past");
    assert!(
        received
            .iter()
            .all(|(change, is_replayed)| *is_replayed && change["subject"] == "p/young")
    );
    // Without bindings, what is published later does not come.
    assert_eq!(worker.add_client("later").0, 200);
    worker.wait_until("published", || worker.metric("tenure_relay_backlog") < 0.5);
    assert_eq!(setup.receive("past").len(), 0);
    assert!(worker.stop().success());
}

#[test]
fn an_interrupted_replay_continues_from_the_cursor_that_it_prints() {
    let setup = Setup::new("replay_full", &[]);
    let tenure = &setup.tenure;
    let added = |number: usize| {
        let event = json!({
            "specversion": "1.0", "id": number.to_string(), "source": "/space", "type": "client.added",
            "subject": format!("acme/c-{number}"), "time": "2026-01-05T09:00:00Z",
            "data": { "name": format!("C {number}") },
        });
        format!("{event}\n")
    };
    tenure.fed(&["ingest", "-"], &(0..300).map(added).collect::<String>());
    // A queue that is full after more than a page of changes.
    let full = json!({"durable": true, "arguments": {"x-max-length": 700, "x-overflow": "reject-publish"}});
    setup.manage("PUT", "past", Some(&full));
    let interrupted = tenure.call(&["replay", "--from", "beginning", "--to", "past", "--json"]);
    let why = stderr(&interrupted);
    assert_eq!(code(&interrupted), 1, "{why}");
    let sum: Value = serde_json::from_str(&stdout(&interrupted)).expect("JSON");
    let from = sum["continue_from"].as_str().expect("a cursor");
    assert!(why.contains(&format!("`--from {from}` to continue")), "{why}");
    let confirmed = usize::try_from(sum["published"].as_u64().expect("a number")).expect("a number");
    let mut received = setup.receive("past");
    assert!(
        (501..=received.len()).contains(&confirmed),
        "{confirmed} confirmed"
    );
    // RabbitMQ may have stored more than it has confirmed.
    received.truncate(confirmed);

    tenure.ok(&["replay", "--from", from, "--to", "past"]);
    received.extend(setup.receive("past"));
    tenure.ok(&["subscribe", "whole", "--no-bindings"]);
    tenure.ok(&["replay", "--from", "beginning", "--to", "whole"]);
    let whole = setup.receive("whole");
    assert!(whole.len() >= 1_200, "{}", whole.len());
    assert_eq!(received, whole);
}

#[test]
fn what_cannot_be_subscribed_or_replayed_says_what_to_do() {
    let setup = Setup::new("subscribe_wrong", &[]);
    let tenure = &setup.tenure;
    tenure.ok(&["migrate"]);
    let classic = json!({"durable": true, "arguments": {"x-queue-type": "classic"}});
    setup.manage("PUT", "other", Some(&classic));
    for (arguments, expected, words) in [
        (
            &["subscribe", "other"][..],
            1,
            "exists with other arguments; name another queue",
        ),
        (&["subscribe", "tenure.events.0"], 2, "are reserved"),
        (
            &["subscribe", "mine", "--type", "access"],
            2,
            "no such type of change",
        ),
        (
            &["replay", "--from", "beginning", "--to", "nowhere"],
            1,
            "`tenure subscribe nowhere --no-bindings`",
        ),
        (
            &["replay", "--from", "last-week", "--to", "other"],
            2,
            "expected a cursor of the feed, beginning, or a time",
        ),
        (
            &[
                "replay",
                "--from",
                "1-0-99-1",
                "--to",
                "other",
                "--partner",
                "a b",
            ],
            2,
            "the partner id",
        ),
    ] {
        let output = tenure.call(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    tenure.fed(&["ingest", "-"], EVENTS);
    // A place that the store does not have.
    let output = tenure.call(&["replay", "--from", "1-0-2-1", "--to", "other"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("GET /v1/snapshot"),
        "{}",
        stderr(&output)
    );
}
