//! `tenure verify`, `migrate`, `config` and `run`.

use serde_json::json;
use sqlx::Connection as _;

use super::{Given, code, each, said};

#[test]
fn verify_finds_no_drift_in_what_was_taken_in() {
    let given = Given::events();
    assert_eq!(
        given.tenure.ok(&["verify"]),
        "3 clients folded anew from 12 events: no drift\n"
    );
    assert_eq!(
        given.tenure.json(&["verify"]),
        [json!({ "clients": 3, "events": 12, "drifts": [] })]
    );
}

#[tokio::test]
async fn verify_names_the_client_that_was_tampered_with() {
    let given = Given::events();
    let mut store = given.tables().await;
    let done =
        sqlx::query("update clients set doc = replace(doc, 'Old Mill', 'New Mill') where client = 'mill'")
            .execute(&mut store)
            .await
            .expect("tampered");
    assert_eq!(done.rows_affected(), 1);
    store.close().await.expect("closed");

    let output = given.tenure.call(&["verify"]);
    assert_eq!(code(&output), 1);
    insta::assert_snapshot!(said(&output), @r#"
    ┌───────────┬─────────────────────────────────────────────────────────┐
    │ client    ┆ what differs                                            │
    ╞═══════════╪═════════════════════════════════════════════════════════╡
    │ acme/mill ┆ name is kept as "New Mill", the history says "Old Mill" │
    └───────────┴─────────────────────────────────────────────────────────┘
    3 clients folded anew from 12 events: 1 differ from what is stored
    "#);
    let output = given.tenure.call(&["verify", "--json"]);
    assert_eq!(code(&output), 1);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let drifts = report["drifts"].as_array().expect("a list");
    assert_eq!(each(drifts, "client"), ["acme/mill"]);
}

#[test]
fn migrating_twice_is_migrating_once() {
    let given = Given::nothing();
    for _ in 0..2 {
        assert_eq!(
            given.tenure.ok(&["migrate"]),
            "the sqlite store is at this version\n"
        );
        assert_eq!(
            given.tenure.json(&["migrate"]),
            [json!({ "store": "sqlite", "migrated": true })]
        );
    }
    assert_eq!(
        given.tenure.ok(&["verify"]),
        "0 clients folded anew from 0 events: no drift\n"
    );
}

#[test]
fn the_settings_are_shown_without_their_secrets() {
    let given = Given::nothing();
    std::fs::write(given.folder.path().join("tenure.toml"), "[broker]\nlanes = 4\n").expect("a file");
    let tenure = given.with(&[
        ("DATABASE_URL", "postgres://tenure:hush-1@db.example/tenure"),
        ("AMQP_URL", "amqp://guest:hush-2@mq.example/%2f"),
        ("TENURE_HTTP__TOKEN", "hush-3"),
    ]);
    let file = ["--config", "tenure.toml", "config"];
    let toml = tenure.ok(&file);
    let shown = tenure.json(&file).remove(0);
    assert!(!toml.contains("hush"), "{toml}");
    assert!(!shown.to_string().contains("hush"), "{shown}");
    for line in [
        "url = \"postgres://tenure:***@db.example/tenure\" # the environment variable DATABASE_URL",
        "url = \"amqp://guest:***@mq.example/%2f\" # the environment variable AMQP_URL",
        "token = \"***\" # the environment variable TENURE_HTTP__TOKEN",
        "lanes = 4 # the file tenure.toml",
        "prefetch = 2000 # the defaults",
    ] {
        assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
    }
    assert_eq!(shown["store"]["url"], "postgres://tenure:***@db.example/tenure");
    assert_eq!(shown["broker"]["lanes"], 4);
    assert_eq!(shown["access"]["idle"], "36000d");
    assert!(
        !given.folder.path().join("tenure.db").exists(),
        "showing settings opens no store"
    );
}

#[test]
fn a_worker_answers_while_the_command_line_works_on_the_same_store() {
    let given = Given::events();
    let running = given.tenure.run();
    let over_http = running.get("/v1/partners/acme/clients/bakery");
    assert_eq!(over_http.0, 200);
    let over_http: serde_json::Value = serde_json::from_str(&over_http.1).expect("JSON");
    assert_eq!(
        given.tenure.json(&["client", "show", "acme/bakery"]),
        [over_http],
        "the same JSON"
    );
    let event = r#"{"specversion":"1.0","id":"30","source":"/space","type":"client.renamed",
        "subject":"acme/bakery","time":"2025-04-01T09:00:00Z","data":{"name":"Redbird Bakery"}}"#;
    let output = given.tenure.fed(&["ingest", "-"], &event.replace('\n', " "));
    assert_eq!(code(&output), 0);
    let (_, renamed) = running.get("/v1/partners/acme/clients/bakery");
    assert!(renamed.contains("Redbird Bakery"), "{renamed}");
    assert!(running.stop().success());
}
