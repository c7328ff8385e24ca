//! `tenure verify`, `migrate`, `config` and `run`.

use serde_json::json;
use sqlx::Connection as _;

use super::{Given, code, each, stderr, stdout};
use crate::support::servers::Postgres;
use crate::support::tenure::Tenure;

#[test]
fn verify_finds_no_drift_after_ingesting() {
    let given = Given::events();
    assert_eq!(
        given.tenure.ok(&["verify"]),
        "replayed 3 clients from 12 events: no drift\n"
    );
    assert_eq!(
        given.tenure.json(&["verify"]),
        [json!({ "clients": 3, "differ": 0, "events": 12 })]
    );
}

#[tokio::test]
async fn verify_names_a_tampered_client_and_rebuild_repairs_it() {
    let given = Given::events();
    let mut store = given.tables().await;
    let done =
        sqlx::query("update clients set doc = replace(doc, 'Old Mill', 'New Mill') where client = (select number from client_keys where client = 'mill')")
            .execute(&mut store)
            .await
            .expect("tampered");
    assert_eq!(done.rows_affected(), 1);
    store.close().await.expect("closed");

    let output = given.tenure.call(&["verify"]);
    assert_eq!(code(&output), 1);
    insta::assert_snapshot!(stdout(&output), @r#"
    acme/mill: name is stored as "New Mill", the history says "Old Mill"; the column name is `Old Mill`, the document says `New Mill`; the column name_key is `old mill`, the document says `new mill`
    replayed 3 clients from 12 events: 1 differs from the stored state; run `tenure rebuild` to repair it
    "#);
    let output = given.tenure.call(&["verify", "--json"]);
    assert_eq!(code(&output), 1);
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert_eq!(each(&lines[..1], "client"), ["acme/mill"]);
    assert_eq!(lines[1..], [json!({ "clients": 3, "differ": 1, "events": 12 })]);

    assert_eq!(code(&given.tenure.call(&["rebuild", "best/forge"])), 0);
    assert_eq!(code(&given.tenure.call(&["rebuild", "--partner", "best"])), 0);
    assert_eq!(
        code(&given.tenure.call(&["verify"])),
        1,
        "another client was rebuilt"
    );
    let rebuilt = given.tenure.json(&["rebuild", "acme/mill"]);
    assert_eq!(each(&rebuilt[..1], "client"), ["acme/mill"]);
    assert_eq!(
        rebuilt[1..],
        [json!({ "clients": 1, "differ": 1, "failed": 0, "changes": 0 })]
    );
    assert_eq!(
        given.tenure.ok(&["verify"]),
        "replayed 3 clients from 12 events: no drift\n"
    );
    assert_eq!(
        given.tenure.ok(&["rebuild"]),
        "replayed 3 clients: nothing to repair\n"
    );
}

#[test]
fn verifying_an_unknown_client_fails() {
    let given = Given::events();
    let output = given.tenure.call(&["verify", "acme/nobody"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("unknown client acme/nobody"));
    for args in [
        &["verify", "acme"][..],
        &["verify", "--after", "acme"],
        &["rebuild", "--partner", "a b"],
        &["rebuild", "acme/mill", "--partner", "acme"],
    ] {
        assert_eq!(code(&given.tenure.call(args)), 2, "{args:?}");
    }
}

/// SIGTERM arrives while it waits for a client that another transaction has locked: it finishes that client, and prints the
/// command that continues.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_prints_the_command_that_continues() {
    let url = Postgres::shared().database("a_rebuild_that_is_stopped");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("events.ndjson"), super::EVENTS).expect("a file");
    // The rebuild waits for a client that the test holds, however long the test takes.
    let env = [
        super::IDLE,
        ("DATABASE_URL", url.as_str()),
        ("TENURE_STORE__LOCK_TIMEOUT", "5m"),
        ("TENURE_STORE__STATEMENT_TIMEOUT", "5m"),
    ];
    let tenure = Tenure::new(folder.path(), &env);
    tenure.ok(&["ingest", "events.ndjson"]);
    let mut tables = sqlx::PgConnection::connect(&url).await.expect("the store");
    sqlx::query("update clients set as_of = null")
        .execute(&mut tables)
        .await
        .expect("tampered");
    let mut held = tables.begin().await.expect("a transaction");
    sqlx::query("select 1 from clients where client = (select number from client_keys where client = 'mill') for update")
        .execute(&mut *held)
        .await
        .expect("held");

    let mut rebuild = tenure.spawn(&["rebuild"]);
    rebuild.wait_for_stdout("acme/bakery: repaired");
    rebuild.signal(nix::sys::signal::Signal::SIGTERM);
    rebuild.wait_for_stderr("stopping after the work in progress");
    held.rollback().await.expect("let go");
    rebuild.wait_for_stdout("acme/mill: repaired");
    rebuild.wait_for_stderr("run `tenure rebuild --after acme/mill` to continue");
    assert_eq!(rebuild.code(), Some(1));

    let rest = tenure.json(&["rebuild", "--after", "acme/mill"]);
    assert_eq!(each(&rest[..1], "client"), ["best/forge"]);
    assert_eq!(
        tenure.ok(&["verify"]),
        "replayed 3 clients from 12 events: no drift\n"
    );
}

#[test]
fn migrating_twice_changes_nothing() {
    let given = Given::nothing();
    for _ in 0..2 {
        assert_eq!(
            given.tenure.ok(&["migrate"]),
            "the schema of the sqlite store is up to date\n"
        );
        assert_eq!(
            given.tenure.json(&["migrate"]),
            [json!({ "store": "sqlite", "migrated": true })]
        );
    }
    assert_eq!(
        given.tenure.ok(&["verify"]),
        "replayed 0 clients from 0 events: no drift\n"
    );
}

#[test]
fn config_prints_the_settings_without_secrets() {
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
        "prefetch = 4000 # the defaults",
    ] {
        assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
    }
    assert_eq!(shown["store"]["url"], "postgres://tenure:***@db.example/tenure");
    assert_eq!(shown["broker"]["lanes"], 4);
    assert_eq!(shown["access"]["idle"], "36000d");
    assert!(
        !given.folder.path().join("tenure.db").exists(),
        "printing settings opens no store"
    );
}

#[test]
fn commands_and_a_worker_can_use_the_same_store() {
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

#[test]
fn prune_with_dry_run_only_counts() {
    let given = Given::events();
    given.tenure.ok(&["dead", "discard", "1"]);
    let tenure = given.with(&[("TENURE_RETENTION__DEAD_LETTERS", "1us")]);
    assert_eq!(
        tenure.json(&["prune", "--dry-run"]),
        [
            json!({ "dry_run": true, "dead_letters": 1, "sweep_runs": 0, "journal": 0, "accesses": 0, "audit": 0, "traces": 0, "stopped": false })
        ]
    );
    assert_eq!(
        given.tenure.json(&["prune"])[0]["dead_letters"],
        0,
        "the default retention is longer"
    );
    assert_eq!(
        tenure.ok(&["prune"]),
        "removed 1 dead letter, 0 sweep runs, 0 journal lines, 0 entries of the access log, 0 entries of the audit log, 0 trace contexts\n"
    );
    assert_eq!(each(&tenure.json(&["dead", "list"]), "id"), ["2"]);
}
