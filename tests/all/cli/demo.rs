//! `tenure demo`.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tenure::domain::Sweep;

use super::{Given, code, stderr};
use crate::support::servers::{exchange, send_as};
use crate::support::tenure::{Tenure, wait_until};

#[test]
fn the_demo_is_deterministic_and_without_drift() {
    let given = Given::nothing();
    let year = |seed: &str| -> Value {
        let mut summary = given
            .tenure
            .json(&["demo", "--clients", "20", "--seed", seed])
            .remove(0);
        let seconds = summary.as_object_mut().expect("an object").remove("seconds");
        assert!(seconds.is_some_and(|seconds| seconds.is_number()));
        summary
    };
    let summary = year("7");
    assert_eq!(summary["verify"]["drifts"], json!([]));
    assert_eq!(summary["verify"]["clients"], 20);
    let number = |value: &Value| value.as_u64().expect("a count");
    let sum = |values: &Value| {
        values
            .as_object()
            .expect("counts")
            .values()
            .map(number)
            .sum::<u64>()
    };
    assert_eq!(
        number(&summary["deliveries"]),
        number(&summary["applied"])
            + number(&summary["duplicates"])
            + sum(&summary["refused"])
            + sum(&summary["dead"]),
        "every message is accounted for"
    );
    assert_eq!(sum(&summary["census"]["link"]), 20);
    assert_eq!(
        summary["sweeps"].as_object().expect("sweeps").len(),
        Sweep::ALL.len()
    );
    assert_eq!(year("7"), summary);
    assert_ne!(year("8")["applied"], summary["applied"]);
    assert!(
        !given.folder.path().join("tenure.db").exists(),
        "it uses a directory of its own"
    );
}

#[test]
fn the_demo_prints_its_results() {
    let given = Given::nothing();
    let stdout = given.tenure.ok(&["demo", "--clients", "20"]);
    assert!(stdout.starts_with("A year of 20 clients, seed 1: "), "{stdout}");
    let mut rest = stdout.as_str();
    for part in [
        "┆ status ",
        "│ sweep ",
        "│ access-expiry ",
        "│ refusal ",
        "│ reason of dead letters ",
        "\nClient ",
        "│ last_accessed_at ",
        "and its journal:",
        "┆ link.draft ",
        "\nWhy (`tenure why ",
        "access at ",
        "  It rests on:\n    - ",
        "If no event arrives from now on (`tenure forecast`):",
        "if no event arrives by ",
        "If access had always expired twice as early (`tenure what-if`):",
        "under access.idle=",
        " of 20 clients differ",
        "\naccess: lost ",
        " (`tenure statement show ",
        "┆ billable ┆ commission ┆ status credit ┆ access",
        " is not closed: ",
        "\nverify: replayed 20 clients from ",
        " events, no drift. Finished in ",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} in the rest of it:\n{rest}"));
        rest = &rest[at..];
    }
}

#[test]
fn a_demo_without_clients_fails() {
    let output = Given::nothing().tenure.call(&["demo", "--clients", "0"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--clients"));
}

/// Waits for a change of a client that the year does not have, whose clients are numbered from 0.
fn wait_for_another_client(port: u16, clients: usize) {
    let is_of_another = |change: &Value| {
        let (_, number) = change["subject"].as_str()?.rsplit_once("/c-")?;
        Some(number.parse::<usize>().ok()? >= clients)
    };
    let mut after = "latest".to_owned();
    let arrived = wait_until(Duration::from_mins(1), || {
        let path = format!("/v1/changes?after={after}&wait=5s");
        let (status, page) = exchange(port, "GET", &path, None).expect("an answer");
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).expect("JSON");
        page["next"].as_str().expect("a cursor").clone_into(&mut after);
        let changes = page["changes"].as_array().expect("changes");
        changes.iter().any(|change| is_of_another(change) == Some(true))
    });
    arrived.expect("events of another client arrive by themselves");
}

#[test]
fn a_served_demo_prints_its_address_accepts_events_and_receives_more_until_it_is_interrupted() {
    let given = Given::nothing();
    let mut demo = given
        .tenure
        .spawn(&["demo", "--clients", "20", "--serve", "--port", "0"]);
    let line = demo.wait_for_stdout("Serving http://127.0.0.1:");
    let (_, rest) = line.split_once("127.0.0.1:").expect("an address");
    let port: u16 = rest
        .split(' ')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let (status, partners) = exchange(port, "GET", "/v1/partners", None).expect("an answer");
    assert_eq!(status, 200, "{partners}");
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/test", "type": "client.added", "subject": "test/c-1",
        "time": "2026-01-05T09:00:00Z", "data": {"name": "Bluebird Bakery"},
    });
    let (status, outcome) = send_as(
        port,
        "POST",
        "/v1/events",
        "application/cloudevents+json",
        &event.to_string(),
    )
    .expect("an answer");
    assert_eq!(status, 200, "{outcome}");
    let (status, client) = exchange(port, "GET", "/v1/partners/test/clients/c-1", None).expect("an answer");
    assert!(status == 200 && client.contains("Bluebird Bakery"), "{client}");
    wait_for_another_client(port, 20);
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.code(), Some(0));
}

#[test]
fn a_demo_without_an_address_to_serve_on_is_wrong_use() {
    let given = Given::nothing();
    let tenure = Tenure::new(given.folder.path(), &[("TENURE_HTTP__LISTEN", "")]);
    let output = tenure.call(&["demo", "--serve"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--port"), "{}", stderr(&output));
    assert_eq!(
        code(&tenure.call(&["demo", "--port", "0"])),
        2,
        "--port needs --serve"
    );
}
