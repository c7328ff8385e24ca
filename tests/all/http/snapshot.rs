//! `GET /v1/snapshot`: every client, and the cursor from which the feed continues.

use super::*;

impl Server {
    /// The lines of a snapshot, and its cursor.
    pub async fn snapshot(&self) -> (Vec<Value>, String) {
        let response = self.request(Method::GET, "/v1/snapshot").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let cursor = response.headers()["tenure-cursor"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let end = lines.pop().expect("a last line");
        assert_eq!(end, json!({"end": {"clients": lines.len(), "cursor": cursor}}));
        (lines, cursor)
    }
}

#[tokio::test]
async fn a_snapshot_has_every_client_and_the_cursor_after_its_changes() {
    // More than two pages, and exactly two.
    for clients in [0, 1, 500, 501] {
        let server = Server::start().await;
        let events: Vec<Value> = (0..clients)
            .map(|n| {
                let client = format!("c{n:04}");
                event(&client, "client.added", noon(), json!({"name": client}))
            })
            .collect();
        if clients > 0 {
            server.send(&events).await;
        }
        let (lines, cursor) = server.snapshot().await;
        let ids: Vec<&str> = lines
            .iter()
            .map(|line| line["client"]["client"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), clients);
        assert!(ids.is_sorted());
        let (_, after) = server.get(&format!("/v1/changes?after={cursor}")).await;
        assert_eq!(after["changes"], json!([]));
    }
}

#[tokio::test]
async fn a_line_has_the_last_change_that_it_includes() {
    let server = Server::start().await;
    server.linked("bakery").await;
    // Only events about it that were refused: not a client yet.
    server
        .send(&[event("ghost", "client.lost", noon(), json!({}))])
        .await;
    server.linked("mill").await;
    let (lines, _) = server.snapshot().await;
    assert_eq!(lines.len(), 2);
    let (_, all) = server.get("/v1/changes?limit=1000").await;
    for (line, client) in lines.iter().zip(["bakery", "mill"]) {
        let subject = format!("acme/{client}");
        let mut changes = all["changes"].as_array().unwrap().iter();
        let last = changes.rfind(|change| change["subject"] == subject);
        assert_eq!(line["last_change"], last.expect("a change")["id"]);
        let (_, view) = server.get(&format!("/v1/partners/acme/clients/{client}")).await;
        assert_eq!(line["client"], view);
    }
}

/// A timer that no sweep has fired is not in the journal, and a late event may prevent it.
#[tokio::test]
async fn a_snapshot_is_the_state_of_the_journal_not_of_the_clock() {
    let server = Server::start().await;
    server.linked("bakery").await;
    server.clock.set(noon() + TimeDelta::days(100));
    let (_, now) = server.get("/v1/partners/acme/clients/bakery").await;
    assert_eq!(now["access"], "expired");
    let (lines, _) = server.snapshot().await;
    assert_eq!(lines[0]["client"]["access"], "enabled");
    assert_eq!(lines[0]["client"]["expires_at"], "2026-04-30T11:00:00Z");
}
