//! Lines of the log of a real worker.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::event;
use crate::support::site::Site;
use crate::support::tenure::{Running, Tenure};

pub const STRUCTURED: &str = "application/cloudevents+json";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The lines whose message begins with these words, in JSON.
pub fn lines(worker: &Running, message: &str) -> Vec<Value> {
    let log = worker.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    lines
        .filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(message))
        })
        .collect()
}

#[test]
fn each_dead_letter_is_a_line_that_says_what_can_be_read_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = Tenure::new(folder.path(), &[("TENURE_LOG__FORMAT", "json")]).run();
    let mut unknown = event("1", "no\u{1b}such", "a", &json!({}));
    unknown["traceparent"] = format!("00-{TRACE}-b7ad6b7169203331-00").into();
    assert_eq!(worker.post("/v1/events", STRUCTURED, &unknown.to_string()).0, 422);
    assert_eq!(worker.post("/v1/events", STRUCTURED, "{oops").0, 422);
    // The id of another event.
    let added = event("2", "client.added", "b", &json!({"name": "B"}));
    let renamed = event("2", "client.renamed", "b", &json!({"name": "C"}));
    assert_eq!(worker.post("/v1/events", STRUCTURED, &added.to_string()).0, 200);
    assert_eq!(worker.post("/v1/events", STRUCTURED, &renamed.to_string()).0, 422);
    // Nothing has happened in a dry run.
    assert_eq!(worker.post("/v1/events?dry_run=true", STRUCTURED, "{oops").0, 422);

    let dead = lines(&worker, "a message became a dead letter");
    let field = |line: usize, name: &str| dead[line][name].clone();
    assert_eq!(dead.len(), 3, "{}", worker.log());
    for (name, value) in [
        ("level", "WARN"),
        ("event.id", "1"),
        ("event.source", "/space"),
        ("event.kind", "no\u{1b}such"),
        ("client", "p/a"),
        ("trace.id", TRACE),
        ("message.origin", "http"),
    ] {
        assert_eq!(field(0, name), value, "{name} in {}", dead[0]);
    }
    assert_eq!(field(1, "event.id"), Value::Null);
    assert_eq!(field(1, "message.bytes"), 5);
    assert!(
        field(1, "why")
            .as_str()
            .is_some_and(|why| why.contains("not JSON"))
    );
    assert_eq!(
        (field(2, "event.id"), field(2, "event.kind")),
        ("2".into(), "client.renamed".into())
    );
    assert!(
        field(2, "why")
            .as_str()
            .is_some_and(|why| why.starts_with("another event has this source and id"))
    );
    assert!(worker.stop().success());
}

#[test]
fn refusals_are_lines_only_if_the_settings_ask_for_them_and_up_to_a_number() {
    for (limit, expected) in [("0", 0), ("2", 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [
            ("TENURE_LOG__FORMAT", "json"),
            ("TENURE_LOG__REFUSALS_PER_MINUTE", limit),
        ];
        let worker = Tenure::new(folder.path(), &settings).run();
        for id in ["1", "2", "3"] {
            let mut refused = event(id, "client.archived", "nobody", &json!({}));
            refused["traceparent"] = format!("00-{TRACE}-b7ad6b7169203331-01").into();
            let (status, answer) = worker.post("/v1/events", STRUCTURED, &refused.to_string());
            assert!(answer.contains("unknown_client"), "{status} {answer}");
        }
        let left_out = "more events were refused than";
        if expected > 0 {
            // No further event is refused.
            worker.wait_until("the end of the minute", || !lines(&worker, left_out).is_empty());
            assert_eq!(lines(&worker, left_out)[0]["events.left_out"], 1);
        }
        assert!(lines(&worker, left_out).len() <= 1, "{}", worker.log());
        let refused = lines(&worker, "an event was refused");
        assert_eq!(refused.len(), expected, "{}", worker.log());
        for (line, id) in refused.iter().zip(["1", "2"]) {
            for (name, value) in [
                ("level", "INFO"),
                ("event.id", id),
                ("event.source", "/space"),
                ("event.kind", "client.archived"),
                ("client", "p/nobody"),
                ("refusal", "unknown_client"),
                ("trace.id", TRACE),
            ] {
                assert_eq!(line[name], value, "{name} in {line}");
            }
        }
        assert!(worker.stop().success());
    }
}

/// The names of the fields in a line for people.
fn names(line: &str) -> BTreeSet<&str> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
    };
    line.split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| name)
        .filter(is_name)
        .collect()
}

/// For people, with the same fields, and with nothing in them that a terminal would obey.
#[test]
fn lines_for_people_have_the_same_fields() {
    let logs = ["human", "json"].map(|format| {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [
            ("TENURE_LOG__FORMAT", format),
            ("TENURE_LOG__REFUSALS_PER_MINUTE", "1"),
        ];
        let worker = Tenure::new(folder.path(), &settings).run();
        let mut unknown = event("1", "no\u{1b}[31msuch", "a", &json!({}));
        unknown["traceparent"] = format!("00-{TRACE}-b7ad6b7169203331-00").into();
        assert_eq!(worker.post("/v1/events", STRUCTURED, &unknown.to_string()).0, 422);
        let refused = event("2", "client.archived", "nobody", &json!({}));
        assert_eq!(worker.post("/v1/events", STRUCTURED, &refused.to_string()).0, 200);
        let log = worker.log();
        assert!(worker.stop().success());
        log
    });
    let [human, json] = &logs;
    for message in ["a message became a dead letter", "an event was refused"] {
        let find = |log: &str| {
            let line = log.lines().find(|line| line.contains(message));
            line.unwrap_or_else(|| panic!("no line in {log}")).to_owned()
        };
        let (line, object) = (find(human), find(json));
        let object: Value = serde_json::from_str(&object).expect("JSON");
        // Each line for people begins with these, without their names.
        let mut words = line.split_whitespace();
        for timestamp in [words.next(), object["timestamp"].as_str()] {
            let timestamp = timestamp.expect("a word");
            assert!(
                chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(),
                "{timestamp}"
            );
        }
        assert_eq!(words.next(), object["level"].as_str());
        let target = words.next().and_then(|word| word.strip_suffix(':'));
        assert_eq!(target, object["target"].as_str(), "{line}");
        let text = object["message"].as_str().expect("text");
        assert!(line.contains(&format!(": {text} ")), "{line}");
        let is_field = |name: &&str| !["timestamp", "level", "target", "message"].contains(name);
        let fields = object.as_object().expect("an object").keys().map(String::as_str);
        assert_eq!(names(&line), fields.filter(is_field).collect(), "{line} {object}");
        for part in [r#"event.source="/space""#, "why="] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn a_store_that_accepts_no_writes_is_a_line_when_it_begins_and_one_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("TENURE_LOG__FORMAT", "json")]);
    // The tables are created before, so that the write-ahead log is short and only grows.
    assert!(tenure.run().stop().success());
    let worker = tenure.start_with_file_limit();
    worker.wait_until("ready", || worker.get("/readyz").0 == 200);
    assert_eq!(worker.add_client("before").0, 200);
    let begun = || lines(&worker, "the store accepts no writes").len();
    let ended = || lines(&worker, "the store accepts writes again");
    let log = std::fs::metadata(folder.path().join("tenure.db-wal")).expect("a write-ahead log");
    worker.limit_files(Some(log.len()));
    worker.wait_until("a line when it begins", || begun() > 0);
    assert_eq!(worker.add_client("meanwhile").0, 503);
    worker.limit_files(None);
    worker.wait_until("a line when it ends", || !ended().is_empty());
    assert!(ended()[0]["store.away_seconds"].is_u64());
    assert_eq!((begun(), ended().len()), (1, 1), "{}", worker.log());
    assert!(worker.stop().success());
}

#[test]
fn unknown_fields_and_quarantined_messages_are_lines_with_their_trace() {
    let site = Site::new("logs_with_traces");
    let tenure = site.tenure(&[("TENURE_LOG__FORMAT", "json")]);
    let worker = tenure.run();
    // The store refuses this client, and accepts it as a dead letter.
    site.sql(
        "create function refuse() returns trigger language plpgsql as $$
         begin
             if new.client = 'poison' then
                 raise exception 'refused' using errcode = 'check_violation';
             end if;
             return new;
         end $$;
         create trigger refuse before insert on client_keys for each row execute function refuse()",
    );
    let traced = |mut event: Value, digit: char| {
        event["traceparent"] = format!("00-{}-b7ad6b7169203331-00", digit.to_string().repeat(32)).into();
        event
    };
    let careless = |id: &str, client: &str, source: &str| {
        let data = json!({"name": client, "colour": 1});
        let mut careless = event(id, "client.added", client, &data);
        careless["source"] = source.into();
        careless
    };
    let by_http = traced(careless("1", "a", "/by-http"), '1');
    assert_eq!(worker.post("/v1/events", STRUCTURED, &by_http.to_string()).0, 200);
    let by_message = traced(careless("2", "b", "/by-message"), '2');
    let poison = event("3", "client.added", "poison", &json!({"name": "P"}));
    let file = site.file([by_message, traced(poison, '3')]);
    tenure.ok(&["publish", &file]);

    let unknown = "the data of an event has unknown fields";
    let quarantined = "the store refused a message";
    worker.wait_until("three lines", || {
        lines(&worker, unknown).len() == 2 && lines(&worker, quarantined).len() == 1
    });
    let unknown = lines(&worker, unknown);
    for (source, digit) in [("/by-http", "1"), ("/by-message", "2")] {
        let line = unknown.iter().find(|line| line["event.source"] == source);
        assert_eq!(line.expect("a line")["trace.id"], digit.repeat(32), "{unknown:?}");
    }
    assert_eq!(lines(&worker, quarantined)[0]["trace.id"], "3".repeat(32));
    assert!(worker.stop().success());
}

/// As tables do: see `cli::colours`.
#[test]
fn lines_on_a_terminal_have_colours_unless_no_color_is_set() {
    for (env, is_coloured) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")][..], false),
        (&[("TERM", "dumb")][..], false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [env, &[("TENURE_HTTP__LISTEN", "127.0.0.1:0")]].concat();
        let mut terminal = Tenure::new(folder.path(), &settings).on_terminal(&["run"], 200, 50);
        terminal.wait_for("listening");
        terminal.wait_for("ready");
        assert_eq!(terminal.bytes().contains(&0x1b), is_coloured, "{env:?}");
        terminal.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(terminal.ended().success(), "{env:?}");
    }
}
