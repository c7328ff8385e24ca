//! `tenure check` and `POST /v1/events?dry_run=true`, beside a worker that runs.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};

use crate::support::servers::Postgres;
use crate::support::tenure::Tenure;

const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str, kind: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/space", "type": kind, "subject": "acme/bakery",
        "time": "2026-03-01T12:00:00Z", "data": data,
    })
}

/// Each builds on those before it.
fn events() -> Vec<Value> {
    let mut other = event("5", "client.added", &json!({"name": "BAKERY"}));
    other["subject"] = "acme/mill".into();
    let mut early = event("8", "client.added", &json!({"name": "Forge", "imprted": true}));
    early["subject"] = "acme/forge".into();
    early["time"] = in_hours(1).into();
    let mut far_ahead = early.clone();
    far_ahead["id"] = "9".into();
    far_ahead["time"] = in_hours(72).into();
    vec![
        event("1", "client.added", &json!({"name": "Bakery"})),
        event(
            "2",
            "client.invited",
            &json!({"steps": ["accepted"], "chanel": "standard"}),
        ),
        event("3", "invitation.accepted", &json!({})),
        event("1", "client.added", &json!({"name": "Bakery"})),
        other,
        event("1", "client.lost", &json!({})),
        json!({"specversion": "1.0"}),
        early,
        far_ahead,
    ]
}

fn in_hours(hours: i64) -> String {
    (SystemClock.now() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

const OUTCOMES: [&str; 9] = [
    "applied",
    "applied",
    "applied",
    "duplicate",
    "refused",
    "dead",
    "dead",
    "deferred",
    "dead",
];

fn outcomes(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["outcome"].as_str().expect("an outcome"))
        .collect()
}

/// An event that is ahead of the clock is valid: it is named, and its warnings are those that it will have when its time comes.
fn assert_early(row: &Value, id: &str) {
    assert_eq!(
        (&row["source"], &row["id"]),
        (&json!("/space"), &json!(id)),
        "{row}"
    );
    assert_eq!(
        row["warnings"],
        json!(["`imprted` is not known; `imported` is"]),
        "{row}"
    );
}

fn what_is_checked_is_what_is_ingested(tenure: &Tenure, folder: &std::path::Path) {
    let lines: Vec<String> = events().iter().map(Value::to_string).collect();
    std::fs::write(folder.join("events.ndjson"), lines.join("\n")).expect("a file");
    let worker = tenure.run();
    assert_eq!(worker.add_client("before").0, 200);
    let before = (
        tenure.ok(&["client", "list", "--json"]),
        tenure.ok(&["dead", "list", "--json"]),
        worker.metric("tenure_events_total"),
    );

    let checked = tenure.call(&["check", "events.ndjson", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8(checked.stdout).expect("UTF-8");
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(outcomes(&rows), OUTCOMES);
    assert_eq!(
        rows[1]["warnings"],
        json!(["`chanel` is not known; `channel` is"])
    );
    assert_eq!(
        (&rows[4]["code"], &rows[4]["conflicts_with"]),
        (&json!("name_taken"), &json!("bakery"))
    );
    assert_eq!(rows[4]["origin"], "file:events.ndjson:5");
    assert_early(&rows[7], "8");
    assert_early(&rows[8], "9");
    assert_eq!(
        (&rows[7]["type"], &rows[7]["subject"]),
        (&json!("client.added"), &json!("acme/forge"))
    );
    let table = tenure.call(&["check", "events.ndjson"]);
    let table = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(
        table.ends_with("9 events: 3 would be applied, 1 duplicate, 1 refused, 3 dead letters, 1 deferred\n"),
        "{table}"
    );
    assert!(
        table.contains("file:events.ndjson:3 applied invitation.accepted acme/bakery\n"),
        "{table}"
    );

    let body = Value::from(events()).to_string();
    let (status, dry) = worker.post("/v1/events?dry_run=true", BATCH, &body);
    let dry: Value = serde_json::from_str(&dry).expect("JSON");
    assert_eq!((status, &dry["dry_run"]), (200, &json!(true)), "{dry}");
    let of_dry = dry["outcomes"].as_array().expect("outcomes");
    assert_eq!(outcomes(of_dry), OUTCOMES);
    assert_early(&of_dry[7], "8");
    assert_early(&of_dry[8], "9");
    let after = (
        tenure.ok(&["client", "list", "--json"]),
        tenure.ok(&["dead", "list", "--json"]),
        worker.metric("tenure_events_total"),
    );
    assert_eq!(after, before);

    let (status, ingested) = worker.post("/v1/events?dry_run=false", BATCH, &body);
    let ingested: Value = serde_json::from_str(&ingested).expect("JSON");
    assert_eq!(status, 200, "{ingested}");
    assert_eq!(ingested["outcomes"], dry["outcomes"]);
    assert_eq!(ingested.get("dry_run"), None);
    // Now they are duplicates, which are not applied either.
    let again = tenure.call(&["check", "events.ndjson"]);
    assert_eq!(again.status.code(), Some(1));
    let fine = event("7", "client.renamed", &json!({"name": "Bluebird Bakery"}));
    let checked = tenure.fed(&["check", "-"], &fine.to_string());
    assert!(checked.status.success(), "{checked:?}");
    assert!(worker.stop().success());
}

#[test]
fn what_is_checked_is_what_is_ingested_on_sqlite() {
    let folder = TempDir::new().expect("a folder");
    what_is_checked_is_what_is_ingested(&Tenure::new(folder.path(), &[]), folder.path());
}

#[test]
fn what_is_checked_is_what_is_ingested_on_postgres() {
    let folder = TempDir::new().expect("a folder");
    let database = Postgres::shared().database("dry_run");
    let settings = [("DATABASE_URL", database.as_str())];
    what_is_checked_is_what_is_ingested(&Tenure::new(folder.path(), &settings), folder.path());
}

#[test]
fn a_misspelt_dry_run_ingests_nothing() {
    let folder = TempDir::new().expect("a folder");
    let worker = Tenure::new(folder.path(), &[]).run();
    let body = Value::from(events()).to_string();
    for query in ["dryrun=true", "dry_run=yes", "dry_run"] {
        let (status, answer) = worker.post(&format!("/v1/events?{query}"), BATCH, &body);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!("bad_parameter")),
            "{query}"
        );
    }
    assert_eq!(worker.get("/v1/partners/acme/clients/bakery").0, 404);
}

#[test]
fn a_file_is_checked_without_a_store() {
    let folder = TempDir::new().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[]);
    let lines: Vec<String> = events()[..3].iter().map(Value::to_string).collect();
    let without = tenure.fed(&["check", "-"], &lines.join("\n"));
    assert_eq!(without.status.code(), Some(2));
    let advice = String::from_utf8(without.stderr).expect("UTF-8");
    assert!(
        advice.contains("no Tenure store") && advice.contains("--empty"),
        "{advice}"
    );
    let checked = tenure.fed(&["check", "--empty", "-"], &lines.join("\n"));
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "no file is left"
    );
    let last = tenure.fed(&["check", "--empty", "--json", "-"], &lines[2]);
    assert_eq!(last.status.code(), Some(1));
    let row: Value = serde_json::from_slice(&last.stdout).expect("JSON");
    assert_eq!(
        (&row["outcome"], &row["code"]),
        (&json!("refused"), &json!("unknown_client"))
    );
}
