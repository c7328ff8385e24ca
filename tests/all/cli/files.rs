//! `tenure ingest`, and the formats of event files. `end_to_end.rs` and `broker/` test `tenure publish`.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;
use sqlx::SqliteConnection;

use super::{EVENTS, Given, code, stderr, stdout};
use crate::support::tenure::wait_until;

#[test]
fn ingest_prints_the_outcomes() {
    let given = Given::nothing();
    std::fs::write(given.folder.path().join("events.ndjson"), EVENTS).expect("a file");
    let output = given.tenure.call(&["ingest", "events.ndjson"]);
    assert_eq!(code(&output), 0);
    let log = given.folder.path().join("tenure.db-wal");
    assert!(!log.exists(), "the store is a single file, which can be copied");
    insta::assert_snapshot!(stdout(&output), @r"
    14 events: 11 applied, 0 duplicates, 1 refused, 2 dead letters
    ┌────────────┬─────────────────────────────────────┬────────┐
    │ refusal    ┆ reason                              ┆ events │
    ╞════════════╪═════════════════════════════════════╪════════╡
    │ not_linked ┆ the link's status does not allow it ┆ 1      │
    └────────────┴─────────────────────────────────────┴────────┘
    ");
    insta::assert_snapshot!(stderr(&output), @r"
    tenure: dead letter: file:events.ndjson:14: the attribute `subject` is missing
    tenure: dead letter: file:events.ndjson:15: the event is not JSON: expected ident at line 1 column 2
    tenure: `tenure dead list` shows all dead letters
    ");
}

#[test]
fn a_strict_ingest_fails_if_anything_was_refused_or_dead() {
    let strict = |events: &str, json: bool| {
        let given = Given::nothing();
        let json: &[&str] = if json { &["--json"] } else { &[] };
        let output = given
            .tenure
            .fed(&[&["ingest", "-", "--strict"], json].concat(), events);
        (code(&output), stderr(&output))
    };
    let lines: Vec<&str> = EVENTS.trim().lines().collect();
    let (added, lost) = (lines[9], lines[11]);
    let good = format!("{added}\n{added}");
    assert_eq!(
        strict(&good, false),
        (0, String::new()),
        "a duplicate is no failure"
    );
    let refused = format!("{added}\n{lost}");
    for json in [false, true] {
        assert_eq!(
            strict(&refused, json),
            (
                1,
                "tenure: not every event of stdin was applied: 1 refused, 0 dead letters\n".into()
            )
        );
    }
    let (code, why) = strict(EVENTS, false);
    assert_eq!(code, 1);
    assert!(
        why.contains("not every event of stdin was applied: 1 refused, 2 dead letters\n"),
        "{why}"
    );
}

#[test]
fn an_event_with_the_id_of_another_is_a_dead_letter() {
    let event = |client: &str| {
        json!({
            "specversion": "1.0", "id": "1", "source": "/space", "type": "client.added", "subject": format!("acme/{client}"),
            "time": "2026-01-05T09:00:00Z", "data": { "name": client },
        })
        .to_string()
    };
    let (first, other) = (event("a"), event("b"));
    let given = Given::nothing();
    let output = given.tenure.fed(
        &["ingest", "-", "--strict"],
        &format!("{first}\n{first}\n  {other} \n"),
    );
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).starts_with("3 events: 1 applied, 1 duplicate, 0 refused, 1 dead letter\n"));
    let reason = "another event has this source and id: client.added of acme/a at 2026-01-05T09:00:00Z, which differs in subject \
                  and data; send each event with an id of its own";
    assert!(stderr(&output).contains(&format!("tenure: dead letter: file:stdin:3: {reason}\n")));
    let dead_letters = given.tenure.json(&["dead", "list"]);
    assert_eq!(super::each(&dead_letters, "origin"), ["file:stdin:3"]);
    assert_eq!(dead_letters[0]["reason"], reason);
    assert_eq!(dead_letters[0]["bytes"], other.len());
    let redriven = given.tenure.call(&["dead", "redrive", "1"]);
    assert_eq!(code(&redriven), 1);
    assert_eq!(stdout(&redriven), format!("1: dead: {reason}\n"));
    assert_eq!(given.tenure.json(&["dead", "list"])[0]["status"], "open");
}

#[test]
fn unknown_fields_are_listed_once_for_each_source_and_type() {
    let event = |id: usize, source: &str, field: &str| {
        let data = json!({ "name": format!("Client {id}"), field: true });
        json!({
            "specversion": "1.0", "id": id.to_string(), "source": source, "type": "client.added",
            "subject": format!("acme/c{id}"), "time": "2026-01-05T09:00:00Z", "data": data,
        })
    };
    let events = [
        event(1, "/space", "imprted"),
        event(2, "/space", "imported"),
        event(3, "/space", "imprted"),
        event(4, "/dash", "colour"),
    ];
    let lines = events.map(|event| event.to_string()).join("\n");
    let given = Given::nothing();
    let output = given.tenure.fed(&["ingest", "-", "--strict"], &lines);
    assert_eq!(code(&output), 0, "a warning is no failure");
    assert!(stdout(&output).starts_with("4 events: 4 applied"));
    insta::assert_snapshot!(stderr(&output), @r"
    tenure: warning: client.added of /dash: `colour` is not known (1 event)
    tenure: warning: client.added of /space: `imprted` is not known; `imported` is (2 events)
    ");
    let again = given.tenure.fed(&["ingest", "-", "--json"], &lines);
    let tally: serde_json::Value = serde_json::from_slice(&again.stdout).expect("one object");
    assert_eq!(
        tally["warnings"],
        json!([
            { "source": "/dash", "type": "client.added", "warning": "`colour` is not known", "events": 1 },
            {
                "source": "/space", "type": "client.added",
                "warning": "`imprted` is not known; `imported` is", "events": 2,
            },
        ])
    );
    assert_eq!(tally["duplicate"], 4);
}

#[test]
fn a_hyphen_reads_standard_input() {
    let given = Given::nothing();
    let output = given.tenure.fed(&["ingest", "-", "--json"], EVENTS);
    assert_eq!(code(&output), 0);
    let tally: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        tally,
        json!({ "lines": 14, "applied": 11, "duplicate": 0, "refused": { "not_linked": 1 }, "dead": 2, "deferred": 0, "warnings": [] })
    );
    assert_eq!(stderr(&output), "", "only the object");
    assert_eq!(given.tenure.json(&["client", "list"]).len(), 3);
    assert_eq!(given.tenure.json(&["dead", "list"])[1]["origin"], "file:stdin:15");

    let nothing = given.tenure.fed(&["ingest", "-"], "\n\n");
    assert_eq!(code(&nothing), 0);
    assert_eq!(
        stdout(&nothing),
        "0 events: 0 applied, 0 duplicates, 0 refused, 0 dead letters\n"
    );
}

#[test]
fn ingesting_a_file_again_changes_nothing() {
    let given = Given::events();
    let everything = || {
        let journals = ["acme/bakery", "acme/mill", "best/forge"]
            .map(|key| given.tenure.json(&["client", "show", key, "--journal"]));
        (given.tenure.json(&["client", "list"]), journals)
    };
    let before = everything();
    let again = given.tenure.json(&["ingest", "events.ndjson"]).remove(0);
    // Touches are not stored one by one, so the same touch may count as applied again.
    assert_eq!(
        again["duplicate"].as_u64().zip(again["applied"].as_u64()),
        Some((11, 1))
    );
    assert_eq!(again["refused"], json!({}));
    assert_eq!(everything(), before);
    let dead_letters = given.tenure.json(&["dead", "list"]);
    assert_eq!(super::each(&dead_letters, "times_seen"), ["2", "2"]);
}

#[test]
fn an_overlong_line_becomes_a_dead_letter_and_the_next_is_ingested() {
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
    let dead_letters = tenure.json(&["dead", "list"]);
    let reason = |dead_letter: usize| {
        dead_letters[dead_letter]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let reasons = [reason(0), reason(1)].join("\n");
    assert!(reasons.contains("2001 bytes long; 2000 are allowed"), "{reasons}");
    assert!(
        reasons.contains("3000001 bytes long; 2000 are allowed"),
        "{reasons}"
    );
}

#[test]
fn slow_input_is_ingested_as_it_arrives_and_a_failure_exits_at_once() {
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
    wait_until(Duration::from_mins(1), || listed() == 4).expect("ingested while the input is open");
    feed(end);
    wait_until(Duration::from_mins(1), || listed() == 5).expect("a line may arrive in two parts");
    let mut number = 0;
    let steadily = || {
        number += 1;
        feed(&line(&format!("steady-{number}")));
        std::thread::sleep(Duration::from_millis(300));
        listed() > 5
    };
    wait_until(Duration::from_mins(1), steadily).expect("ingested although more keeps arriving");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut tables = given.tables().await;
        let dropped = sqlx::query("drop table events").execute(&mut tables).await;
        dropped.expect("it is there");
    });
    feed(&line("vain"));
    ingest.wait_for_stderr("events");
    assert_eq!(ingest.code(), Some(1));
    // The input was still open.
    drop(input);
}

fn added(id: usize) -> serde_json::Value {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/space", "type": "client.added",
        "subject": format!("acme/c-{id}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("[\"{{{id}") },
    })
}

/// Ingests a file with `--json` and returns the exit code, the summary and standard error.
fn ingest(given: &Given, name: &str, bytes: &[u8]) -> (i32, serde_json::Value, String) {
    std::fs::write(given.folder.path().join(name), bytes).expect("a file");
    let output = given.tenure.call(&["ingest", name, "--json"]);
    let tally = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    (code(&output), tally, stderr(&output))
}

#[test]
fn events_may_be_lines_arrays_or_consecutive_objects() {
    let events: Vec<_> = (0..5).map(added).collect();
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    let pretty: Vec<String> = events.iter().map(|event| format!("{event:#}")).collect();
    for (name, text) in [
        ("bom-crlf-no-end", format!("\u{feff}{}", lines.join("\r\n"))),
        ("cr-only", lines.join("\r")),
        ("blank-lines", format!("\n\n  {}\n\n", lines.join("\n\n"))),
        ("array", serde_json::to_string(&events).expect("JSON")),
        ("array-over-lines", format!("\u{feff}{:#}\r\n", json!(events))),
        (
            "arrays-in-a-row",
            format!(
                "[{}]\n[\n{},{}]",
                lines[0],
                lines[1..3].join(" ,"),
                lines[3..].join(",")
            ),
        ),
        ("objects-over-lines", pretty.join("\n")),
        (
            "objects-over-lines-crlf",
            pretty
                .join(",")
                .replace(',', ",\r\n")
                .replace("},\r\n{", "}\r\n{"),
        ),
    ] {
        let given = Given::nothing();
        let (code, tally, why) = ingest(&given, name, text.as_bytes());
        assert_eq!(
            (code, &tally["applied"], &tally["dead"]),
            (0, &json!(5), &json!(0)),
            "{name}: {tally} {why}"
        );
        assert_eq!(given.tenure.json(&["client", "list"]).len(), 5, "{name}");
    }
    let given = Given::nothing();
    let (code, tally, why) = ingest(&given, "one.json", pretty[0].as_bytes());
    assert_eq!((code, &tally["applied"]), (0, &json!(1)), "{why}");
}

#[test]
fn an_invalid_member_of_an_array_becomes_a_dead_letter() {
    let given = given_small();
    let mut long = added(3);
    long["more"] = "x".repeat(5_000).into();
    let text = format!(
        "[{}, {{\"id\": 7}}, 12, null, \"]\", {long}, [1, [2]], {}]",
        added(1),
        added(2)
    );
    let (code, tally, why) = ingest(&given, "array.json", text.as_bytes());
    assert_eq!(
        (code, &tally["applied"], &tally["dead"]),
        (0, &json!(2), &json!(6)),
        "{tally} {why}"
    );
    let dead_letters = given.tenure.json(&["dead", "list"]);
    let origins = super::each(&dead_letters, "origin");
    let of_long = dead_letters
        .iter()
        .find(|dead_letter| dead_letter["reason"].to_string().contains("2000 are allowed"));
    assert!(of_long.is_some(), "{dead_letters:?}");
    assert!(origins.contains(&"file:array.json:[2]".to_owned()), "{origins:?}");
}

/// With a small limit on the size of events.
fn given_small() -> Given {
    let folder = tempfile::tempdir().expect("a folder");
    let small = [super::IDLE, ("TENURE_EVENTS__MAX_BYTES", "2000")];
    let tenure = crate::support::tenure::Tenure::new(folder.path(), &small);
    Given { folder, tenure }
}

#[test]
fn a_truncated_array_fails_after_its_complete_events() {
    let given = Given::nothing();
    for text in [
        format!("[{},{}", added(1), added(2)),
        format!("[{},{},", added(1), added(2)),
        format!("[{},{},{{\"id\":", added(1), added(2)),
    ] {
        let (code, tally, why) = ingest(&given, "cut.json", text.as_bytes());
        assert_eq!(code, 1, "{text}");
        assert!(why.contains("cut.json ends inside an array"), "{why}");
        assert_eq!(given.tenure.json(&["client", "list"]).len(), 2, "{tally}");
    }
}

#[test]
fn a_foreign_format_is_named_and_nothing_is_ingested() {
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if little {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            })
            .collect()
    };
    let line = format!("{}\n", added(1));
    let given = Given::nothing();
    for (name, bytes, words) in [
        (
            "bom-le",
            utf16(&format!("\u{feff}{line}"), true),
            &["UTF-16", "`iconv -f UTF-16 -t UTF-8 bom-le | tenure ingest -`"][..],
        ),
        (
            "bom-be",
            utf16(&format!("\u{feff}{line}"), false),
            &["UTF-16", "PowerShell"],
        ),
        ("le", utf16(&line, true), &["UTF-16LE"]),
        ("be", utf16(&line, false), &["UTF-16BE"]),
        (
            "events.gz",
            b"\x1f\x8b\x08\0\0\0\0\0".to_vec(),
            &["gzip", "`gzip -dc events.gz | tenure ingest -`"],
        ),
        (
            "it's.zst",
            b"\x28\xb5\x2f\xfd\0\0".to_vec(),
            &["zstd", r"'it'\''s.zst'"],
        ),
        ("x.db", b"SQLite format 3\0....".to_vec(), &["SQLite database"]),
        ("binary", b"\x7fELF\0\0".to_vec(), &["not text"]),
    ] {
        let (code, _, why) = ingest(&given, name, &bytes);
        assert_eq!(code, 2, "{name}: {why}");
        for word in words {
            assert!(why.contains(word), "{name}: {why}");
        }
    }
    assert!(!given.folder.path().join("tenure.db").exists());
}

#[test]
fn a_file_without_any_valid_event_is_a_failure() {
    let given = Given::nothing();
    for (name, text, lines) in [
        ("words.txt", "not\nan\nevent\n", 3),
        ("events.csv", "id,type\n1,client.added\n", 2),
        ("array.json", "[{\"id\": 1}, {\"id\": 2}]", 2),
        ("numbers.json", "[1, 2, 3]", 1),
    ] {
        let (code, tally, why) = ingest(&given, name, text.as_bytes());
        assert_eq!((code, &tally["dead"]), (1, &json!(lines)), "{name}: {tally}");
        assert!(
            why.contains(&format!("{name} contains no valid event: {lines} dead letter")),
            "{why}"
        );
    }
    for (name, text) in [
        ("empty", ""),
        ("blank", "\n \r\n"),
        ("mark", "\u{feff}"),
        ("empty.json", "[ ]\n"),
    ] {
        std::fs::write(given.folder.path().join(name), text).expect("a file");
        let output = given.tenure.call(&["ingest", name]);
        assert_eq!(code(&output), 0, "{name}");
        assert!(
            stderr(&output).contains(&format!("{name} is empty")),
            "{name}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_pipe_and_a_file_name_in_invalid_utf8_can_be_ingested() {
    use std::os::unix::ffi::OsStringExt as _;
    let given = Given::nothing();
    let name = std::ffi::OsString::from_vec(b"caf\xe9.ndjson".to_vec());
    std::fs::write(given.folder.path().join(&name), added(1).to_string()).expect("a file");
    let output = given.tenure.call_os(&["ingest".as_ref(), &name]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));

    let pipe = given.folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is a part of every system").success());
    let writer = std::thread::spawn(move || std::fs::write(pipe, added(2).to_string()));
    assert!(
        given
            .tenure
            .ok(&["ingest", "pipe"])
            .starts_with("1 event: 1 applied")
    );
    writer.join().expect("no panic").expect("written");
}

#[test]
fn a_large_array_is_read_in_bounded_memory() {
    let given = given_small();
    let mut ingest = given.tenure.spawn(&["ingest", "-", "--json"]);
    let mut input = ingest.input();
    let mut feed = |text: &str| input.write_all(text.as_bytes()).expect("it reads");
    // 300 MB of members that exceed the limit.
    let long = format!("{{\"more\":\"{}\"}},", "x".repeat(1 << 20));
    feed("[");
    for _ in 0..300 {
        feed(&long);
    }
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", ingest.id())).expect("the process is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .expect("a figure");
    assert!(kilobytes < 150_000, "{kilobytes} kB");
    feed(&format!("{}]", added(1)));
    drop(input);
    let (code, stdout, stderr) = ingest.end();
    assert_eq!(code, Some(0), "{stderr}");
    let tally: serde_json::Value = serde_json::from_str(&stdout).expect("one object");
    assert_eq!((&tally["applied"], &tally["dead"]), (&json!(1), &json!(300)));
}

/// The number of logged events for which the condition is true.
async fn count(tables: &mut SqliteConnection, condition: &str) -> i64 {
    sqlx::query_scalar(&format!("select count(*) from event_log where {condition}"))
        .fetch_one(tables)
        .await
        .expect("a number")
}

/// Another process can write between two batches of a large file.
#[tokio::test]
async fn other_writers_proceed_while_a_large_file_is_ingested() {
    // Few enough for one transaction, if nobody waited.
    const EVENTS: usize = 20_000;
    let given = Given::nothing();
    given.tenure.ok(&["migrate"]);
    let lines: Vec<String> = (0..EVENTS).map(|id| added(id).to_string()).collect();
    std::fs::write(given.folder.path().join("large.ndjson"), lines.join("\n")).expect("a file");
    let of_other = |id| added(id).to_string().replace("/space", "/other") + "\n";
    let mut tables = given.tables().await;
    sqlx::query("pragma busy_timeout = 0")
        .execute(&mut tables)
        .await
        .expect("impatient");

    // The other process starts first and waits for input with its store open, so that its start takes no time from the
    // large file.
    let mut other = given.tenure.spawn(&["ingest", "-"]);
    let mut input = other.input();
    input.write_all(of_other(EVENTS).as_bytes()).expect("it reads");
    let began = std::time::Instant::now();
    while count(&mut tables, "source = '/other'").await == 0 {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "the first event is not ingested"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let ingest = given.tenure.spawn(&["ingest", "large.ndjson", "--json"]);
    let began = std::time::Instant::now();
    // Whoever asks for the right to write now does not get it.
    while sqlx::query("begin immediate").execute(&mut tables).await.is_ok() {
        sqlx::query("rollback")
            .execute(&mut tables)
            .await
            .expect("returned to the queue");
        assert!(began.elapsed() < Duration::from_mins(1), "it does not write");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    input
        .write_all(of_other(EVENTS + 1).as_bytes())
        .expect("it reads");
    drop(input);
    let (code, _, stderr) = other.end();
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = ingest.end();
    assert_eq!(code, Some(0), "{stderr}");
    let tally: serde_json::Value = serde_json::from_str(&stdout).expect("one object");
    assert_eq!(tally["applied"], EVENTS);
    let after = "source = '/space' and received_at > (select max(received_at) from event_log where source = '/other')";
    assert_ne!(count(&mut tables, after).await, 0, "the other process wrote last");
    assert_eq!(given.tenure.json(&["client", "list"]).len(), EVENTS + 2);
    given.tenure.assert_no_drift();
}
