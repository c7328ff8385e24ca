//! `tenure ingest`. What `tenure publish` sends is tested with a broker, in `end_to_end.rs` and `broker/`.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{EVENTS, Given, code, complained, said};
use crate::support::tenure::wait_until;

#[test]
fn a_file_is_taken_in_and_accounted_for() {
    let given = Given::nothing();
    std::fs::write(given.folder.path().join("events.ndjson"), EVENTS).expect("a file");
    let output = given.tenure.call(&["ingest", "events.ndjson"]);
    assert_eq!(code(&output), 0);
    let log = given.folder.path().join("tenure.db-wal");
    assert!(!log.exists(), "all is in one file, which may be copied");
    insta::assert_snapshot!(said(&output), @r"
    14 events: 11 applied, 0 had come before, 1 refused, 2 dead
    ┌────────────┬────────────────────────────┬────────┐
    │ refused    ┆ because                    ┆ events │
    ╞════════════╪════════════════════════════╪════════╡
    │ not_linked ┆ the link does not allow it ┆ 1      │
    └────────────┴────────────────────────────┴────────┘
    ");
    insta::assert_snapshot!(complained(&output), @r"
    tenure: dead letter: the attribute `subject` is missing
    tenure: dead letter: the event is not JSON: expected ident at line 1 column 2
    tenure: `tenure dead list` shows all of them
    ");
}

#[test]
fn standard_input_is_a_file_called_hyphen() {
    let given = Given::nothing();
    let output = given.tenure.fed(&["ingest", "-", "--json"], EVENTS);
    assert_eq!(code(&output), 0);
    let tally: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        tally,
        json!({ "lines": 14, "applied": 11, "duplicate": 0, "refused": { "not_linked": 1 }, "dead": 2, "deferred": 0 })
    );
    assert_eq!(complained(&output), "", "programs read the object");
    assert_eq!(given.tenure.json(&["client", "list"]).len(), 3);
    assert_eq!(given.tenure.json(&["dead", "list"])[1]["origin"], "file:stdin:15");

    let nothing = given.tenure.fed(&["ingest", "-"], "\n\n");
    assert_eq!(code(&nothing), 0);
    assert_eq!(
        said(&nothing),
        "0 events: 0 applied, 0 had come before, 0 refused, 0 dead\n"
    );
}

#[test]
fn the_same_file_again_changes_nothing() {
    let given = Given::events();
    let everything = || {
        let journals = ["acme/bakery", "acme/mill", "best/forge"]
            .map(|key| given.tenure.json(&["client", "show", key, "--journal"]));
        (given.tenure.json(&["client", "list"]), journals)
    };
    let before = everything();
    let again = given.tenure.json(&["ingest", "events.ndjson"]).remove(0);
    // A touch is not kept one by one: it may count as applied, and is the same touch.
    assert_eq!(
        again["duplicate"].as_u64().zip(again["applied"].as_u64()),
        Some((11, 1))
    );
    assert_eq!(again["refused"], json!({}));
    assert_eq!(everything(), before);
    let letters = given.tenure.json(&["dead", "list"]);
    assert_eq!(super::each(&letters, "times_seen"), ["2", "2"]);
}

#[test]
fn a_line_that_is_too_long_is_a_dead_letter_and_the_next_is_read() {
    let given = Given::nothing();
    let tenure = given.with(&[("TENURE_EVENTS__MAX_BYTES", "2000")]);
    let event = |id: &str, length: usize| {
        let mut event = json!({
            "specversion": "1.0", "id": id, "source": "/space", "type": "client.added",
            "subject": format!("acme/{id}"), "time": "2026-01-05T09:00:00Z", "data": { "name": id },
        });
        event["more"] = "".into();
        let short = event.to_string().len();
        event["more"] = "x".repeat(length - short).into();
        event.to_string()
    };
    let text = format!(
        "{}\r\n{}\n{}\n{}",
        event("just", 2_000),
        event("byte", 2_001),
        event("much", 3_000_000),
        event("last", 1_000)
    );
    std::fs::write(given.folder.path().join("long.ndjson"), text).expect("a file");
    let tally = tenure.json(&["ingest", "long.ndjson"]).remove(0);
    assert_eq!(
        (&tally["applied"], &tally["dead"]),
        (&json!(2), &json!(2)),
        "{tally}"
    );
    let letters = tenure.json(&["dead", "list"]);
    let reason = |letter: usize| letters[letter]["reason"].as_str().unwrap_or_default().to_owned();
    let reasons = [reason(0), reason(1)].join("\n");
    assert!(reasons.contains("2001 bytes long; 2000 are allowed"), "{reasons}");
    assert!(
        reasons.contains("3000001 bytes long; 2000 are allowed"),
        "{reasons}"
    );
}

#[test]
fn what_comes_slowly_is_taken_and_a_failure_waits_for_nothing_more() {
    let given = Given::events();
    let mut ingest = given.tenure.spawn(&["ingest", "-"]);
    let mut input = ingest.input();
    let line = |id: &str| {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/space", "type": "client.added",
            "subject": format!("acme/{id}"), "time": "2026-01-05T09:00:00Z", "data": { "name": id },
        });
        format!("{event}\n")
    };
    let mut feed = |text: &str| input.write_all(text.as_bytes()).expect("it reads");
    let listed = || given.tenure.json(&["client", "list"]).len();
    let half = line("half");
    let (beginning, end) = half.split_at(half.len() / 2);
    feed(&line("slow"));
    feed(beginning);
    wait_until(Duration::from_mins(1), || listed() == 4).expect("it is taken while the input is open");
    feed(end);
    wait_until(Duration::from_mins(1), || listed() == 5).expect("a line may come in two halves");
    let mut number = 0;
    let steadily = || {
        number += 1;
        feed(&line(&format!("steady-{number}")));
        std::thread::sleep(Duration::from_millis(300));
        listed() > 5
    };
    wait_until(Duration::from_mins(1), steadily).expect("it is taken although there is always more");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut tables = given.tables().await;
        let dropped = sqlx::query("drop table events").execute(&mut tables).await;
        dropped.expect("it is there");
    });
    feed(&line("vain"));
    ingest.hears("events");
    assert_eq!(ingest.code(), Some(1));
    // Open up to here.
    drop(input);
}
