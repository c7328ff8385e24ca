//! An interrupted `tenure publish`: it prints its progress and the command that continues without loss.

use std::io::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{code, stderr, stdout};
use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{RabbitMq, name_in};
use crate::support::tenure::Tenure;

const QUEUE: &str = "tenure.events.0";
const LIMIT: Duration = Duration::from_mins(1);

fn event(n: usize) -> String {
    let event = json!({
        "specversion": "1.0", "id": format!("{n}"), "source": "/space", "type": "client.added",
        "subject": format!("acme/c-{n}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("c-{n}") },
    });
    format!("{event}\n")
}

fn events(numbers: std::ops::Range<usize>) -> String {
    numbers.map(event).collect()
}

/// The number of `--skip` in the command that continues.
fn skip_to_continue(stderr: &str) -> u64 {
    let (before, _) = stderr.split_once("` to continue").expect("a command");
    let (_, command) = before.rsplit_once('`').expect("a command");
    let (call, number) = command.split_once(" --skip ").expect("a number");
    assert_eq!(call, "tenure publish -", "{stderr}");
    number.parse().expect("a number")
}

#[test]
fn a_signal_stops_after_confirmed_events_and_the_rest_follows_later() {
    let amqp = RabbitMq::shared().vhost("publish_signal");
    let vhost = name_in(&amqp);
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    let mut publish = tenure.spawn(&["publish", "-"]);
    let mut input = publish.input();
    // The second is not an event: it counts, but is not published.
    let beginning = format!("{}{{}}\n\n{}", event(0), events(1..300));
    input.write_all(beginning.as_bytes()).expect("it reads");
    RabbitMq::shared().wait_for_depth(vhost, QUEUE, 300, LIMIT);
    publish.signal(Signal::SIGINT);
    let (code, stdout, stderr) = publish.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stdout, "300 events published and confirmed\n");
    assert_eq!(skip_to_continue(&stderr), 301, "{stderr}");
    drop(input);

    let whole = format!("{beginning}{}", events(300..500));
    std::fs::write(folder.path().join("events.ndjson"), whole).expect("a file");
    let rest = tenure.json(&["publish", "events.ndjson", "--skip", "301"]);
    assert_eq!(rest, [json!({ "published": 200, "not_published": 0 })]);
    RabbitMq::shared().wait_for_depth(vhost, QUEUE, 500, LIMIT);
}

#[test]
fn a_lost_broker_is_reported_with_the_progress_and_nothing_is_lost() {
    let shared = RabbitMq::shared();
    let amqp = shared.vhost("publish_cut");
    let wire = Proxy::to(shared.port());
    let folder = tempfile::tempdir().expect("a folder");
    let through = Tenure::new(folder.path(), &[("AMQP_URL", &wire.url(&amqp))]);
    let mut publish = through.spawn(&["publish", "-"]);
    let mut input = publish.input();
    input.write_all(events(0..1_200).as_bytes()).expect("it reads");
    shared.wait_for_depth(name_in(&amqp), QUEUE, 1_200, LIMIT);
    // Permanently: reconnecting fails too.
    wire.cut(Cut::Reset);
    drop(wire);
    // The process may have exited already.
    let _ = input.write_all(events(1_200..1_201).as_bytes());
    drop(input);
    let (code, stdout, stderr) = publish.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("RabbitMQ"), "{stderr}");
    let done = skip_to_continue(&stderr);
    // At most 500 events wait for their confirms.
    assert!((700..=1_201).contains(&done), "{stderr}");
    assert_eq!(stdout, format!("{done} events published and confirmed\n"));

    std::fs::write(folder.path().join("events.ndjson"), events(0..1_500)).expect("a file");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    tenure.ok(&["publish", "events.ndjson", "--skip", &done.to_string()]);
    let running = tenure.run();
    running.wait_until("all are there", || {
        tenure.json(&["client", "list"]).len() == 1_500
    });
    assert!(running.stop().success());
}

#[test]
fn skipping_more_events_than_the_file_has_is_a_usage_error() {
    let amqp = RabbitMq::shared().vhost("publish_skip");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    std::fs::write(folder.path().join("events.ndjson"), events(0..3)).expect("a file");
    let output = tenure.call(&["publish", "events.ndjson", "--skip", "4"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("has only 3 events"),
        "{}",
        stderr(&output)
    );
    let none = tenure.json(&["publish", "events.ndjson", "--skip", "3"]);
    assert_eq!(none, [json!({ "published": 0, "not_published": 0 })]);
}

#[test]
fn an_array_is_published_one_by_one_and_a_foreign_format_is_named() {
    let amqp = RabbitMq::shared().vhost("publish_array");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    let array = format!("[{}]", events(0..20).trim_end().replace('\n', ",\n"));
    std::fs::write(folder.path().join("array.json"), array).expect("a file");
    assert_eq!(
        tenure.ok(&["publish", "array.json"]),
        "20 events published and confirmed\n"
    );
    RabbitMq::shared().wait_for_depth(name_in(&amqp), QUEUE, 20, LIMIT);
    std::fs::write(folder.path().join("events.gz"), b"\x1f\x8b\x08\0").expect("a file");
    let output = tenure.call(&["publish", "events.gz"]);
    assert_eq!(code(&output), 2);
    let why = stderr(&output);
    assert!(why.contains("`gzip -dc events.gz | tenure publish -`"), "{why}");
}

#[test]
fn an_event_ahead_of_the_clock_is_published_with_a_warning() {
    let amqp = RabbitMq::shared().vhost("publish_ahead");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    let ahead = event(0).replace("2026-01-05", "2126-01-05");
    let output = tenure.fed(&["publish", "-"], &ahead);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), "1 event published and confirmed\n");
    let warning = stderr(&output);
    assert!(
        warning.contains("warning: file:stdin:1: the attribute `time` is 2126-01-05T09:00:00Z"),
        "{warning}"
    );
    RabbitMq::shared().wait_for_depth(name_in(&amqp), QUEUE, 1, LIMIT);
}
