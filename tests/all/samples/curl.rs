//! The samples for curl, on an embedded worker that is killed and started again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::program::{Language, Samples};
use crate::support::servers::free_port;
use crate::support::tenure::{Running, Tenure};

const CLIENTS: usize = 40;

fn events() -> String {
    let added = (0..CLIENTS).map(|client| {
        let event = json!({
            "specversion": "1.0", "id": format!("c-{client}"), "source": "/curl", "type": "client.added",
            "subject": format!("acme/c-{client}"), "time": "2026-01-05T09:00:00Z",
            "data": {"name": format!("№ {client} 'quoted'")},
        });
        format!("{event}\n")
    });
    added.chain(["not an event\n".to_owned()]).collect()
}

/// What `sqlite3` prints.
fn select(folder: &Path, file: &str, query: &str) -> String {
    let output = Command::new("sqlite3").arg(folder.join(file)).arg(query).output();
    let output = output.expect("sqlite3 can be started");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// All changes, in order.
fn published(worker: &Running) -> Vec<Value> {
    let (status, body) = worker.get("/v1/changes?limit=1000");
    assert_eq!(status, 200, "{body}");
    let mut page: Value = serde_json::from_str(&body).expect("JSON");
    page["changes"]
        .as_array_mut()
        .map(std::mem::take)
        .expect("changes")
}

/// The changes that a sample has printed, each once.
fn printed(output: &str) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let changes = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a change on each line"));
    changes
        .filter(|change| seen.insert(change["id"].as_str().expect("an id").to_owned()))
        .collect()
}

#[test]
fn curl_publishes_and_follows_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    // The same port after a restart.
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let tenure = Tenure::new(folder.path(), &[]);
    let Some(samples) = Samples::new(Language::Curl, folder.path(), &[("API_URL", &url)]) else {
        return;
    };
    let mut publisher = samples.start("publish", &[], &events());
    publisher.wait_until("it has noticed that nobody listens", |it| {
        it.errors().contains("not published yet")
    });
    let followers = ["follow", "follow-sse"];
    let follow = |sample| samples.start(sample, &[], "");
    let worker = tenure.run_at(port);
    let mut running = followers.map(follow);
    publisher.wait_until("some events are published", |it| it.output().lines().count() > 5);
    drop(worker);
    for follower in &mut running {
        follower.wait_until("it has noticed that the worker is gone", |it| {
            it.errors().contains("next attempt")
        });
    }
    let worker = tenure.run_at(port);
    publisher.succeed();
    let query = "select event, rejected like '%is not JSON%' from outbox";
    assert_eq!(select(folder.path(), "outbox.db", query), "not an event|1");
    for follower in running {
        follower.kill();
    }

    let expected = published(&worker);
    let mut running = followers.map(follow);
    for follower in &mut running {
        follower.wait_until("it has printed every change", |it| {
            printed(&it.output()).len() == expected.len()
        });
        assert_eq!(printed(&follower.output()), expected);
    }
    let query =
        "select count(*), count(distinct name), min(link), max(link) from clients where name like '%quoted%'";
    let known = select(folder.path(), "read-model.db", query);
    assert_eq!(known, format!("{CLIENTS}|{CLIENTS}|draft|draft"));
    assert!(worker.stop().success());
}
