//! Webhooks after a move: an endpoint continues where the old store stopped.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::servers::Postgres;
use crate::support::tenure::Tenure;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{add_users, assert_in_order, feed, page, wait_for_all};

/// The new worker sends exactly what the old one had not sent.
fn continues(hint: &str, from: &str, to: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = |kind: &str, place: &str| {
        let url = match kind {
            "sqlite" => format!("sqlite://{}", folder.path().join(place).display()),
            _ => Postgres::shared().database(&format!("{hint}_{place}")),
        };
        Tenure::new(folder.path(), &[("DATABASE_URL", &url)])
    };
    let (old, new) = (tenure(from, "old"), tenure(to, "new"));
    let receiver = Receiver::new();
    let running = old.run();
    old.ok(&["webhook", "add", "crm", &receiver.url()]);
    add_users(&running, 4, 3);
    let first = feed(&running);
    wait_for_all(&running, &receiver, &first);
    let end = page(&running)["next"].clone();
    running.wait_until("recorded", || old.json(&["webhook", "list"])[0]["cursor"] == end);
    assert!(running.stop().success());

    let events: Vec<String> = (0..4)
        .map(|client| {
            let event = json!({
                "specversion": "1.0", "id": format!("later-{client}"), "source": "/space", "type": "user.added",
                "subject": format!("p/c{client}"), "time": "2026-01-06T09:00:00Z", "data": { "user_id": "later" },
            });
            event.to_string()
        })
        .collect();
    std::fs::write(folder.path().join("events"), events.join("\n")).expect("a file");
    old.ok(&["ingest", "events"]);
    old.ok(&["export", "tenure.export"]);
    new.ok(&["import", "tenure.export"]);
    let listed = |tenure: &Tenure, name: &str| tenure.json(&["webhook", "list"])[0][name].clone();
    for name in [
        "name",
        "url",
        "status",
        "created_at",
        "last_outcome",
        "last_delivered_at",
    ] {
        assert_eq!(listed(&old, name), listed(&new, name), "{name}");
    }

    let running = new.run();
    running.wait_until("the rest is sent", || {
        receiver.received().len() >= first.len() + 4
    });
    running.wait_until("recorded", || listed(&new, "lag_seconds") == 0);
    let requests = receiver.received();
    assert_eq!(requests.len(), first.len() + 4, "none is repeated");
    assert_in_order(&requests);
    let ids: BTreeSet<&str> = requests.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), requests.len());
    let ping = new.call(&["webhook", "test", "crm"]);
    assert!(ping.status.success(), "the secret has moved");
}

#[test]
fn an_endpoint_continues_on_postgres_after_sqlite() {
    continues("webhook_from_sqlite", "sqlite", "postgres");
}

#[test]
fn an_endpoint_continues_on_sqlite_after_postgres() {
    continues("webhook_from_postgres", "postgres", "sqlite");
}

#[test]
fn an_endpoint_continues_on_another_database() {
    continues("webhook_between_databases", "postgres", "postgres");
}

#[test]
fn an_endpoint_continues_in_another_file() {
    continues("webhook_between_files", "sqlite", "sqlite");
}
