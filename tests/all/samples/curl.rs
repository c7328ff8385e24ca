//! The samples for curl, on an embedded worker that is killed and started again.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::program::{Language, Samples};
use crate::support::servers::free_port;
use crate::support::tenure::{Running, Tenure};

const CLIENTS: usize = 40;

fn write_outbox(folder: &std::path::Path) {
    fs::create_dir(folder).expect("a folder");
    for client in 0..CLIENTS {
        let event = json!({
            "specversion": "1.0", "id": format!("c-{client}"), "source": "/curl", "type": "client.added",
            "subject": format!("acme/c-{client}"), "time": "2026-01-05T09:00:00Z", "data": {"name": format!("№ {client}")},
        });
        fs::write(folder.join(format!("{client:04}.json")), event.to_string()).expect("a file");
    }
    fs::write(folder.join("9999.json"), "not an event").expect("a file");
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
    write_outbox(&folder.path().join("outbox"));
    let mut publisher = samples.start("publish", &["outbox"], "");
    publisher.wait_until("it has noticed that nobody listens", |it| {
        it.errors().contains("not published yet")
    });
    let followers = [("follow", "cursor-1"), ("follow-sse", "cursor-2")];
    let follow = |(sample, cursor)| {
        let samples = samples.clone().with("CURSOR", cursor);
        samples.start(sample, &[], "")
    };
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
    let left: Vec<_> = fs::read_dir(folder.path().join("outbox"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["9999.rejected"]);
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
    assert!(worker.stop().success());
}
