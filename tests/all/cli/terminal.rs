//! Untrusted text never controls a terminal: every command with hostile names, ids, reasons, sources, bodies and files.

use std::process::Output;

use serde_json::json;
use sqlx::Connection as _;

use super::commands::{COMMANDS, Rows, Use};
use super::{Given, code};
use crate::support::tenure::Tenure;

/// Clears the screen, rings the bell, sets the title, forges a line of output, reverses direction, hides text.
const EVIL: &str = "Evil\u{1b}[2J\u{7}\u{1b}]0;owned\u{7}\r\nacme/zzz \u{2502} fake\t\u{9b}31m\u{7f}\u{202e}gpj\u{2066}\u{200b}\u{feff}\u{2028}end";

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn assert_plain(what: &str, printed: &[u8]) -> String {
    let text = String::from_utf8(printed.to_vec()).unwrap_or_else(|_| panic!("{what}: not UTF-8"));
    let hidden: Vec<char> = text.chars().filter(|&c| is_hidden(c) && c != '\n').collect();
    assert!(hidden.is_empty(), "{what} prints {hidden:?}: {text:?}");
    for line in text.lines() {
        assert!(!line.starts_with("acme/zzz"), "{what}: a forged line: {text}");
    }
    text
}

fn plain(tenure: &Tenure, args: &[&str]) -> (Output, String) {
    let output = tenure.call(args);
    // Lines of comma-separated values end so.
    let stdout = if args.contains(&"csv") {
        String::from_utf8_lossy(&output.stdout)
            .replace("\r\n", "\n")
            .into_bytes()
    } else {
        output.stdout.clone()
    };
    let text = assert_plain(&format!("{args:?}"), &stdout);
    let stderr = assert_plain(&format!("{args:?}"), &output.stderr);
    (output, format!("{text}{stderr}"))
}

fn hostile() -> Given {
    let given = Given::nothing();
    let event = |id: &str, kind: &str, data: serde_json::Value| {
        json!({
            "specversion": "1.0", "id": format!("{id}{EVIL}"), "source": format!("/{EVIL}"), "type": kind,
            "subject": "acme/a", "time": "2025-01-05T09:00:00Z", "data": data,
        })
        .to_string()
    };
    let lines = [
        event("1", "client.added", json!({ "name": EVIL })),
        event("2", "user.added", json!({ "user_id": EVIL })),
        event(
            "3",
            "subscription.added",
            json!({ "subscription_id": EVIL, "plan": EVIL }),
        ),
        event("4", "client.renamed", json!({ "name": format!("{EVIL}2") })),
        event("5", EVIL, json!({})),
        event("6", "client.added", json!({ EVIL: EVIL, "name": 7 })),
        format!("{EVIL}: not JSON").replace('\n', " "),
    ];
    std::fs::write(given.folder.path().join("events.ndjson"), lines.join("\n")).expect("a file");
    let evil_file = format!("events{}.ndjson", EVIL.replace('/', ""));
    std::fs::write(given.folder.path().join(&evil_file), &lines[6]).expect("a file");
    given.tenure.call(&["migrate"]);
    let (_, text) = plain(&given.tenure, &["ingest", "events.ndjson"]);
    assert!(text.contains("7 events"), "{text}");
    plain(&given.tenure, &["ingest", &evil_file]);
    given
}

#[tokio::test]
async fn no_command_prints_control_characters_of_its_arguments() {
    let given = hostile();
    let tenure = &given.tenure;
    let evil_file = format!("events{}.ndjson", EVIL.replace('/', ""));
    plain(tenure, &["sweep", "pause", "access-expiry", "--reason", EVIL]);
    let publishing = given.with(&[("AMQP_URL", "amqp://127.0.0.1:1/%1B%5B31m%E2%80%AE")]);
    plain(&publishing, &["publish", &evil_file]);
    for args in [
        &["client", "show", EVIL][..],
        &["client", "list", "--link", EVIL],
        &["dead", "show", "2"],
        &["dead", "show", "3"],
        &["dead", "show", EVIL],
        &["dead", "discard", "1"],
        &["sweep", "run", EVIL],
        &["what-if", "--set", EVIL],
        &["statement", "show", EVIL],
        &["statement", "close", "2025-01", "--by", EVIL],
        &["check", "events.ndjson"],
        &["check", &evil_file],
        &["audit", "--by", EVIL],
        &["refusals", "--source", EVIL],
        &["account", EVIL],
        &["verify", EVIL],
        &["prune", "--dry-run"],
        &["--config", EVIL, "config"],
        &["ingest", EVIL],
        &[EVIL],
    ] {
        for format in ["table", "json", "csv"] {
            plain(tenure, &[args, &["-o", format]].concat());
        }
    }

    let mut store = given.tables().await;
    let tampered = sqlx::query("update clients set doc = replace(doc, 'Evil', 'Worse')")
        .execute(&mut store)
        .await;
    tampered.expect("tampered");
    store.close().await.expect("closed");
    let (output, text) = plain(tenure, &["verify"]);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains("Worse"), "{text}");
    plain(tenure, &["verify", "--json"]);
    plain(tenure, &["rebuild"]);
}

#[test]
fn no_command_prints_control_characters_of_what_is_stored() {
    let given = hostile();
    let tenure = &given.tenure;
    let url = "http://localhost:9/";
    plain(tenure, &["webhook", "add", "crm", url, "--reason", EVIL]);
    plain(tenure, &["sweep", "run", "access-expiry", "--reason", EVIL]);
    // The first two do not end, or have their own store; the next two ask the worker at the default address of this machine; and
    // the script of the last has nobody's text.
    let exempt = ["run", "demo", "top", "health", "completions"];
    let known = COMMANDS.iter().filter(|known| !exempt.contains(&known.args[0]));
    // The commands that change something are last.
    let (reading, others): (Vec<_>, Vec<_>) = known.partition(|known| known.what == Use::Reads);
    for known in reading.into_iter().chain(others) {
        let mut args = known.args.to_vec();
        if !args.contains(&"--reason") {
            args.extend(["--reason", EVIL]);
        }
        for format in ["table", "json", "csv"] {
            let (output, text) = plain(tenure, &[args.as_slice(), &["-o", format]].concat());
            // It has printed what it found, not an error about its arguments.
            let is_refused = format == "csv" && known.rows == Rows::No;
            assert!(
                known.what != Use::Reads || (code(&output) == 2) == is_refused,
                "{args:?} -o {format}: {text}"
            );
        }
    }
}

#[test]
fn hostile_text_is_one_line_in_tables_and_unchanged_in_json() {
    let given = hostile();
    let (_, table) = plain(&given.tenure, &["client", "list"]);
    // Three lines of frame and header, one for the client, one of frame, and the count.
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(
        table.contains("\\u{1b}[2J") && table.contains("\\u{202e}"),
        "{table}"
    );
    let shown = given.tenure.json(&["client", "show", "acme/a"]);
    assert_eq!(shown[0]["name"], format!("{EVIL}2"));
    let dead_letters = given.tenure.json(&["dead", "show", "3"]);
    let body = dead_letters[0]["body"].as_str().expect("text");
    assert!(
        body.contains("\u{1b}[2J") && body.contains('\u{202e}'),
        "{body:?}"
    );
}

#[test]
fn settings_are_printed_without_control_characters() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("{}.toml", EVIL.replace('/', ""));
    std::fs::write(folder.path().join(&file), "[broker]\nlanes = 4\n").expect("a file");
    let hostile = Tenure::new(
        folder.path(),
        &[(
            "TENURE_STORE__URL",
            &format!("sqlite://{}", EVIL.replace('/', "")),
        )],
    );
    let (output, shown) = plain(&hostile, &["--config", &file, "config"]);
    assert_eq!(code(&output), 0, "{shown}");
    std::fs::write(folder.path().join("shown.toml"), &shown).expect("a file");
    let (output, _) = plain(&hostile, &["--config", "shown.toml", "config", "--json"]);
    assert_eq!(code(&output), 0, "it can be read back: {shown}");
    for name in [
        "TENURE_ACCESS__IDLE",
        "TENURE_LOG__LEVEL",
        "TENURE_NOPE",
        "RUST_LOG",
        "DATABASE_URL",
    ] {
        let (output, text) = plain(&Tenure::new(folder.path(), &[(name, EVIL)]), &["run"]);
        assert_eq!(code(&output), 2, "{name}: {text}");
    }
}

#[test]
fn the_log_escapes_hostile_text() {
    for format in ["human", "json"] {
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(
            folder.path(),
            &[
                (
                    "AMQP_URL",
                    "amqp://127.0.0.1:1/%1B%5B31m%C2%9B%E2%80%AEvhost%0Aline",
                ),
                ("TENURE_LOG__FORMAT", format),
            ],
        );
        let running = tenure.start();
        running.wait_until("unreachable", || running.log().contains("retrying"));
        let log = running.log();
        running.stop();
        assert_plain(format, log.as_bytes());
        let line = log
            .lines()
            .find(|line| line.contains("retrying"))
            .expect("the line");
        let escaped = if format == "json" { "\\u202e" } else { "\\u{202e}" };
        assert!(line.contains(escaped) && line.contains("vhost"), "{line}");
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let url = line["broker.url"].as_str().expect("text");
            assert!(url.contains("\u{1b}[31m\u{9b}\u{202e}vhost\nline"), "{url:?}");
        }
    }
}
