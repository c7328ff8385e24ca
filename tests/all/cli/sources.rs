//! Expected sources: what `tenure sources list`, sweeps, a worker's log, its metrics and `/readyz` say about one that is silent.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenure::clock::{Clock as _, SystemClock};
use tenure::store::Sources as _;

use super::{Given, code, stderr};

/// `/account` is expected since 1970, so it is silent until it is heard from.
async fn silent() -> Given {
    let given = Given::overdue_events();
    let expected: BTreeMap<_, _> = [("/account".to_owned(), TimeDelta::hours(6))].into();
    let store = given.sqlite();
    store
        .expect_sources(&expected, DateTime::UNIX_EPOCH)
        .await
        .expect("expected");
    given
}

fn accessed(at: DateTime<Utc>) -> String {
    let event = json!({
        "specversion": "1.0", "id": at.to_string(), "source": "/account", "type": "account.accessed",
        "subject": "acme/bakery", "time": at,
    });
    event.to_string()
}

#[tokio::test]
async fn a_silent_source_holds_sweeps_back_until_a_file_has_its_events() {
    let given = silent().await;
    let tenure = &given.tenure;
    let listed = tenure.json(&["sources", "list"]);
    let expected = json!({
        "source": "/account", "every_seconds": 21_600, "expected_since": "1970-01-01T00:00:00Z", "last_heard": null,
        "events_per_hour": 0, "silent_since": "1970-01-01T00:00:00Z",
    });
    assert_eq!(listed, [expected]);
    let table = tenure.ok(&["sources", "list"]);
    assert!(table.contains("/account") && table.contains("6h"), "{table}");

    let held_back = tenure.call(&["sweep", "run", "access-expiry"]);
    assert_eq!(code(&held_back), 3);
    let why = stderr(&held_back);
    assert!(
        why.contains("access-expiry is held back, and more clients may be due: /account is silent: no event from after 1970"),
        "{why}"
    );
    let sweeps = tenure.json(&["sweep", "list"]);
    assert_eq!(sweeps[0]["held_back"]["source"], "/account");
    assert_eq!(sweeps[1]["held_back"], Value::Null, "nothing is due");
    let why = stderr(&tenure.call(&["sweep", "list"]));
    assert!(
        why.contains("access-expiry is held back: /account is silent"),
        "{why}"
    );
    let decision = given.tenure.ok(&["access", "acme/bakery"]);
    assert!(decision.contains("no: /account is silent"), "{decision}");

    std::fs::write(
        given.folder.path().join("late.ndjson"),
        accessed(SystemClock.now()),
    )
    .expect("a file");
    tenure.ok(&["ingest", "late.ndjson"]);
    let listed = tenure.json(&["sources", "list"]);
    assert_eq!(listed[0]["silent_since"], Value::Null);
    assert_eq!(listed[0]["events_per_hour"], 1);
    let stdout = tenure.ok(&["sweep", "run", "access-expiry"]);
    assert!(!stdout.contains("held back"), "{stdout}");
    tenure.assert_no_drift();
}

#[tokio::test]
async fn sources_that_are_removed_hold_nothing_back() {
    let given = silent().await;
    given.tenure.ok(&["sources", "remove"]);
    assert_eq!(given.tenure.json(&["sources", "list"]), Vec::<Value>::new());
    let stdout = given.tenure.ok(&["sweep", "run", "access-expiry"]);
    assert!(stdout.contains("changed 1"), "{stdout}");
}

/// The `sources` check of `/readyz`, of a worker that is ready.
fn check(running: &crate::support::tenure::Running) -> Value {
    let (status, body) = running.get("/readyz");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["checks"]["sources"]["ok"], true, "{body}");
    body["checks"]["sources"]["warnings"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reports_a_silence_once_and_its_end_once() {
    let given = silent().await;
    let tenure = given.with(&[
        super::SHORT_IDLE,
        ("TENURE_SOURCES", "/account=6h, /never = 1d"),
        ("TENURE_ACCESS__ON_SILENCE", "allow"),
    ]);
    let running = tenure.run();
    running.wait_until("the silence is logged", || {
        running.log().contains("a source is silent")
    });
    let warnings = check(&running);
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
    assert!(
        warnings[0]
            .as_str()
            .is_some_and(|text| text.contains("/account has been silent since")),
        "{warnings}"
    );
    running.wait_until("the metric", || {
        running.metric("tenure_source_silent{source=\"/account\"}") > 0.0
    });
    assert!(running.metric("tenure_source_lag_seconds{source=\"/account\"}") > 1e9);
    assert!(running.metric("tenure_source_silent{source=\"/never\"}").abs() < 0.5);
    let decision = || -> Value {
        let (_, body) = running.get("/v1/partners/acme/clients/bakery/access");
        serde_json::from_str(&body).expect("JSON")
    };
    let unassured = decision();
    assert_eq!(
        (&unassured["assured"], &unassured["silent_source"]),
        (&json!(false), &json!("/account"))
    );

    let media_type = "application/cloudevents+json";
    let sent = running.post("/v1/events", media_type, &accessed(SystemClock.now()));
    assert_eq!(sent.0, 200, "{}", sent.1);
    running.wait_until("the end is logged", || {
        running.log().contains("the source is no longer silent")
    });
    assert_eq!(check(&running), Value::Null);
    assert_eq!(decision()["assured"], true);
    let log = running.log();
    assert_eq!(log.matches("a source is silent").count(), 1, "{log}");
    assert_eq!(log.matches("the source is no longer silent").count(), 1, "{log}");
    assert!(running.stop().success());
}
