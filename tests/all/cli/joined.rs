//! Files with several events on a line, and concatenated files.

use serde_json::json;

use super::{Given, code, each, stderr};

fn event(id: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/space", "type": "client.added",
        "subject": format!("acme/{id}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("}} {{{id}") },
    });
    event.to_string()
}

#[test]
fn consecutive_objects_are_events_regardless_of_line_breaks() {
    let (a, b, c, d) = (event("a"), event("b"), event("c"), event("d"));
    let bom = "\u{feff}";
    for (what, text) in [
        ("no line end", format!("{a}{b}{c}{d}")),
        ("spaces", format!("{a} {b}\t{c}  {d} \n")),
        ("a line of one, then a line of two", format!("{a}\n{b}{c}\n{d}\n")),
        ("a line of two first", format!("{a}{b}\r\n{c}\r\n\r\n{d}")),
        (
            "arrays with a byte order mark each",
            format!("{bom}[{a},{b}]\n{bom}[{c}]{bom}[{d}]"),
        ),
        (
            "lines with a byte order mark each",
            format!("{bom}{a}\n{bom}{b} {c}\n{d}"),
        ),
        (
            "a sequence of RFC 7464",
            format!("\u{1e}{a}\n\u{1e}{b}\n\u{1e}{c}\u{1e}{d}\n"),
        ),
        (
            "such a sequence after a line",
            format!("{a}\n\u{1e}{b}\n\u{1e}{c}\u{1e}{d}"),
        ),
    ] {
        let given = Given::nothing();
        let output = given.tenure.fed(&["ingest", "-", "--json"], &text);
        assert_eq!(code(&output), 0, "{what}: {}", stderr(&output));
        let tally: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(
            (&tally["applied"], &tally["dead"]),
            (&json!(4), &json!(0)),
            "{what}: {tally}"
        );
    }
}

#[test]
fn invalid_text_on_a_line_is_one_dead_letter_that_names_the_line() {
    let (a, b) = (event("a"), event("b"));
    let given = Given::nothing();
    let text = format!("{a}\n{a}nonsense{b}\n{{\"cut\":\n{a}{{}}{b}\n\u{1e}{{\"torn\":\n");
    let tally = given.tenure.fed(&["ingest", "-", "--json"], &text);
    let tally: serde_json::Value = serde_json::from_slice(&tally.stdout).expect("one object");
    assert_eq!(tally["dead"], 4, "{tally}");
    assert_eq!(tally["applied"], 2, "{tally}");
    let origins = each(&given.tenure.json(&["dead", "list"]), "origin");
    assert_eq!(
        origins,
        ["file:stdin:2", "file:stdin:3", "file:stdin:4[2]", "file:stdin:5"]
    );
}

#[test]
fn reading_continues_after_a_truncated_value() {
    let given = Given::nothing();
    let text = format!("\u{1e}{{\"cut\": \"off\n\u{1e}{}\n", event("a"));
    let tally = given.tenure.fed(&["ingest", "-", "--json"], &text);
    let tally: serde_json::Value = serde_json::from_slice(&tally.stdout).expect("one object");
    assert_eq!(
        (&tally["applied"], &tally["dead"]),
        (&json!(1), &json!(1)),
        "{tally}"
    );
}
