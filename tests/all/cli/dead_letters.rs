//! `tenure dead list|show|redrive|discard`.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::Connection as _;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::time::rfc3339;

use super::{Given, code, each, stderr, stdout};

#[tokio::test]
async fn dead_letters_are_listed_with_their_reasons() {
    let given = Given::events();
    let mut store = given.tables().await;
    // 2025-03-02T12:00:00Z, in microseconds.
    sqlx::query("update dead_letters set first_seen_at = ?1, last_seen_at = ?1")
        .bind(1_740_916_800_000_000_i64)
        .execute(&mut store)
        .await
        .expect("fixed times");
    store.close().await.expect("closed");
    insta::assert_snapshot!(given.tenure.ok(&["dead", "list"]), @r"
    ┌────┬────────┬──────────────────────┬───────┬────────────┬────────┬───────────────────────┬──────────────────────────────────────────────────────────┐
    │ id ┆ status ┆ last seen            ┆ times ┆ retried at ┆ source ┆ origin                ┆ reason                                                   │
    ╞════╪════════╪══════════════════════╪═══════╪════════════╪════════╪═══════════════════════╪══════════════════════════════════════════════════════════╡
    │ 1  ┆ open   ┆ 2025-03-02T12:00:00Z ┆ 1     ┆ -          ┆ /space ┆ file:events.ndjson:14 ┆ the attribute `subject` is missing                       │
    │ 2  ┆ open   ┆ 2025-03-02T12:00:00Z ┆ 1     ┆ -          ┆ -      ┆ file:events.ndjson:15 ┆ the event is not JSON: expected ident at line 1 column 2 │
    └────┴────────┴──────────────────────┴───────┴────────────┴────────┴───────────────────────┴──────────────────────────────────────────────────────────┘
    2 dead letters
    ");
    insta::assert_snapshot!(given.tenure.ok(&["dead", "show", "2"]), @r"
    ┌──────────────┬──────────────────────────────────────────────────────────┐
    │ field        ┆ value                                                    │
    ╞══════════════╪══════════════════════════════════════════════════════════╡
    │ id           ┆ 2                                                        │
    │ status       ┆ open                                                     │
    │ reason       ┆ the event is not JSON: expected ident at line 1 column 2 │
    │ source       ┆ -                                                        │
    │ origin       ┆ file:events.ndjson:15                                    │
    │ first seen   ┆ 2025-03-02T12:00:00Z                                     │
    │ last seen    ┆ 2025-03-02T12:00:00Z                                     │
    │ times seen   ┆ 1                                                        │
    │ content type ┆ application/cloudevents+json                             │
    │ body         ┆ not an event                                             │
    └──────────────┴──────────────────────────────────────────────────────────┘
    ");
}

#[test]
fn a_dead_letter_is_an_object_with_json() {
    let given = Given::events();
    let listed = given.tenure.json(&["dead", "list"]);
    assert_eq!(each(&listed, "id"), ["1", "2"]);
    let shown = given.tenure.json(&["dead", "show", "2"]);
    for (name, value) in listed[1].as_object().expect("an object") {
        assert_eq!(&shown[0][name], value, "{name}");
    }
    assert!(listed[1].get("body").is_none(), "the list omits bodies");
    assert_eq!(listed[1]["bytes"], 12);
    assert_eq!(shown[0]["status"], "open");
    assert_eq!(shown[0]["origin"], "file:events.ndjson:15");
    assert_eq!(shown[0]["body"], "not an event");
    assert_eq!(shown[0]["times_seen"], 1);
    assert!(shown[0]["resolved_at"].is_null());
}

#[test]
fn an_unknown_dead_letter_is_a_failure() {
    let given = Given::events();
    let output = given.tenure.call(&["dead", "show", "99"]);
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("no dead letter 99"));
    for command in ["redrive", "discard"] {
        let output = given.tenure.call(&["dead", command, "99"]);
        assert_eq!(code(&output), 1);
        assert_eq!(stdout(&output), "99: unknown: no such dead letter\n");
    }
}

#[test]
fn a_discarded_dead_letter_stays_listed() {
    let given = Given::events();
    assert_eq!(given.tenure.ok(&["dead", "discard", "1"]), "1: discarded\n");
    let of = |status: &str| each(&given.tenure.json(&["dead", "list", "--status", status]), "id");
    assert_eq!(of("discarded"), ["1"]);
    assert_eq!(of("open"), ["2"]);
    assert_eq!(of("redriven"), Vec::<String>::new());
    assert_eq!(
        given.tenure.json(&["dead", "discard", "--all"]),
        [json!({ "id": 2, "outcome": "discarded", "reason": "" })]
    );
    assert_eq!(of("open"), Vec::<String>::new());
    let all = given.tenure.json(&["dead", "list"]);
    assert_eq!(all.len(), 2);
    let at = all[0]["resolved_at"].as_str().expect("a time");
    assert_eq!(
        given.tenure.ok(&["dead", "discard", "1"]),
        format!("1: discarded: before, at {at}\n")
    );
    assert_eq!(given.tenure.json(&["dead", "list"]), all);
    assert_eq!(given.tenure.ok(&["dead", "redrive", "--all"]), "", "none is open");
}

#[test]
fn redriving_an_invalid_event_fails_and_it_stays_open() {
    let given = Given::events();
    let output = given.tenure.call(&["dead", "redrive", "1", "2"]);
    assert_eq!(code(&output), 1);
    insta::assert_snapshot!(stdout(&output), @r"
    1: dead: the attribute `subject` is missing
    2: dead: the event is not JSON: expected ident at line 1 column 2
    ");
    let dead_letters = given.tenure.json(&["dead", "list", "--status", "open"]);
    assert_eq!(each(&dead_letters, "id"), ["1", "2"]);
    assert_eq!(
        dead_letters[0]["redrive_outcome"],
        "dead: the attribute `subject` is missing"
    );
    assert!(dead_letters[0]["redriven_at"].is_string());
}

#[tokio::test]
async fn a_redrive_that_does_nothing_says_why() {
    let given = Given::events();
    let mut store = given.tables().await;
    let soon = SystemClock.now() + TimeDelta::minutes(1);
    sqlx::query("update dead_letters set claimed_until = ?1")
        .bind(soon.timestamp_micros())
        .execute(&mut store)
        .await
        .expect("claimed");
    sqlx::query("update dead_letters set status = 'discarded' where id = 2")
        .execute(&mut store)
        .await
        .expect("discarded");
    store.close().await.expect("closed");
    let output = given.tenure.call(&["dead", "redrive", "1", "2", "99"]);
    assert_eq!(code(&output), 1);
    insta::assert_snapshot!(stdout(&output), @r"
    1: in progress: another process is redriving it; look again in a minute, and retry if it is still open
    2: discarded: somebody discarded it while another process was redriving it; retry in a minute if its event is still needed
    99: unknown: no such dead letter
    ");
}

#[test]
fn a_deferred_event_is_applied_once_the_clock_allows_it() {
    let given = Given::events();
    let soon = rfc3339(SystemClock.now() + TimeDelta::hours(1));
    let event = json!({
        "specversion": "1.0", "id": "20", "source": "/space", "type": "client.renamed",
        "subject": "acme/mill", "time": soon, "data": { "name": "New Mill" },
    });
    let strict = given.with(&[("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s")]);
    let output = strict.fed(&["ingest", "-"], &event.to_string());
    assert!(stderr(&output).contains("ahead"), "{}", stderr(&output));
    let output = strict.call(&["dead", "redrive", "3", "--json"]);
    assert_eq!(code(&output), 1, "still ahead of the clock");
    assert_eq!(
        given.tenure.json(&["client", "show", "acme/mill"])[0]["name"],
        "Old Mill"
    );

    let patient = given.with(&[("TENURE_EVENTS__MAX_CLOCK_SKEW", "2h")]);
    let output = patient.call(&["dead", "redrive", "--all", "--json"]);
    assert_eq!(code(&output), 1, "the two others are invalid");
    let answers: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(each(&answers, "outcome"), ["dead", "dead", "applied"]);
    let redriven = given.tenure.json(&["dead", "list", "--status", "redriven"]);
    assert_eq!(each(&redriven, "id"), ["3"]);
    assert!(redriven[0]["resolved_at"].is_string());
    assert_eq!(
        given.tenure.json(&["client", "show", "acme/mill"])[0]["name"],
        "New Mill"
    );
    assert_eq!(redriven[0]["redrive_outcome"], "applied");
    let at = redriven[0]["resolved_at"].as_str().expect("a time");
    let before = format!("3: redriven: at {at}, with the outcome applied");
    assert_eq!(patient.ok(&["dead", "redrive", "3"]), format!("{before}\n"));
    let edited = patient.fed(&["dead", "redrive", "3", "--edited", "/dev/stdin"], "{}");
    assert_eq!(code(&edited), 1);
    assert_eq!(
        stdout(&edited),
        format!("{before}; the edited message was not ingested\n")
    );
    let discarded = patient.call(&["dead", "discard", "3"]);
    assert_eq!((code(&discarded), stdout(&discarded)), (1, format!("{before}\n")));
    assert_eq!(
        given.tenure.json(&["dead", "list", "--status", "redriven"]),
        redriven
    );
}
