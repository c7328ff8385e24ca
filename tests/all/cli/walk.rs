//! An operator's questions, answered by commands alone, on the year of `tenure demo --serve`: those of `console::walk`.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::tenure::{Spawned, Tenure};

/// The reason that the operator gives.
const WHY: &str = "asked by the agency";

/// The demo, and commands on its store.
struct Demo {
    tenure: Tenure,
    _running: Spawned,
    folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let demo = Tenure::new(folder.path(), &[]);
        let mut running = demo.spawn(&["demo", "--clients", "60", "--serve", "--port", "0"]);
        let line = running.wait_for_stdout("tenure --config ");
        let (_, rest) = line.split_once("--config ").expect("a file");
        let config = rest.split(' ').next().expect("a file");
        Self {
            tenure: Tenure::new(folder.path(), &[("TENURE_CONFIG", config)]),
            _running: running,
            folder,
        }
    }

    fn ask(&self, command: &[&str]) -> Vec<Value> {
        self.tenure.json(command)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field}: {value}"))
}

#[test]
fn an_operator_finds_every_answer_with_commands() {
    let demo = Demo::start();
    who_paused_the_sweep(&demo);
    why_a_partner_lost_access(&demo);
    what_lapses_next_week(&demo);
    what_last_nights_sweep_changed(&demo);
    which_message_was_refused_and_why(&demo);
    the_dead_letter_is_edited_and_redriven(&demo);
    the_month_is_closed(&demo);
}

fn who_paused_the_sweep(demo: &Demo) {
    let sweeps = demo.tenure.ok(&["sweep", "list"]);
    assert!(
        sweeps.contains("subscription-end") && sweeps.contains("until Friday"),
        "{sweeps}"
    );
    let entries = demo.ask(&["audit", "--action", "sweep.pause"]);
    assert_eq!(
        (text(&entries[0], "who"), text(&entries[0], "target")),
        ("ann", "subscription-end")
    );
}

fn why_a_partner_lost_access(demo: &Demo) {
    let expired = demo.ask(&["client", "list", "--access", "expired"]);
    let key = format!("{}/{}", text(&expired[0], "partner"), text(&expired[0], "client"));
    let why = demo.tenure.ok(&["why", &key, "access"]);
    assert!(
        why.contains("Access has been expired since") && why.contains("It rests on:"),
        "{why}"
    );
}

fn what_lapses_next_week(demo: &Demo) {
    let clients = demo.ask(&["forecast", "--until", "7d"]);
    let changes = clients.iter().filter_map(|client| client["changes"].as_array());
    let kinds: Vec<&str> = changes.flatten().map(|change| text(change, "type")).collect();
    assert!(
        kinds.iter().any(|kind| kind.starts_with("access.expir")),
        "{kinds:?}"
    );
}

fn what_last_nights_sweep_changed(demo: &Demo) {
    let runs = demo.ask(&["sweep", "runs", "access-expiry"]);
    let run = runs.iter().find(|run| run["changed"] != 0).expect("a run");
    let lines = demo.ask(&["sweep", "show", &run["id"].to_string()]);
    let changes: Vec<&Value> = lines.iter().filter(|line| line["subject"].is_string()).collect();
    assert_eq!(run["changes"], changes.len(), "{lines:?}");
    assert!(
        changes
            .iter()
            .all(|change| text(change, "type").starts_with("access.expir")),
        "{changes:?}"
    );
}

fn which_message_was_refused_and_why(demo: &Demo) {
    let refusals = demo.ask(&["refusals", "--limit", "1"]);
    assert!(
        !text(&refusals[0], "id").is_empty() && !text(&refusals[0], "reason").is_empty(),
        "{refusals:?}"
    );
}

fn the_dead_letter_is_edited_and_redriven(demo: &Demo) {
    let open = demo.ask(&["dead", "list", "--status", "open"]);
    let dead = open
        .iter()
        .find(|dead| text(dead, "reason").contains("client.vanished"))
        .expect("a dead letter");
    let id = dead["id"].to_string();
    let shown = demo.ask(&["dead", "show", &id]);
    let edit = |kind: &str| {
        let body = text(&shown[0], "body").replace("client.vanished", kind);
        std::fs::write(demo.path().join("edited.json"), body).expect("a file");
        let redrive = ["dead", "redrive", &id, "--edited", "edited.json", "--reason", WHY];
        demo.tenure.call(&redrive)
    };
    assert!(!edit("client.gone").status.success(), "it is still not valid");
    assert_eq!(text(&demo.ask(&["dead", "show", &id])[0], "status"), "open");
    let redriven = edit("client.archived");
    assert!(redriven.status.success(), "{redriven:?}");
    assert_eq!(text(&demo.ask(&["dead", "show", &id])[0], "status"), "redriven");
    assert!(
        !edit("client.archived").status.success(),
        "another edited message is not ingested"
    );
    let entries = demo.ask(&["audit", "--action", "dead_letter.edit"]);
    assert_eq!(
        (text(&entries[0], "target"), text(&entries[0], "reason")),
        (id.as_str(), WHY)
    );
}

fn the_month_is_closed(demo: &Demo) {
    let closed = demo.ask(&["statement", "list"]);
    let last: chrono::NaiveDate = format!("{}-01", text(closed.last().expect("a month"), "month"))
        .parse()
        .expect("a day");
    let next = last + chrono::Months::new(1);
    let month = next.format("%Y-%m").to_string();
    demo.tenure.ok(&[
        "statement",
        "close",
        &month,
        "--confirm",
        "--by",
        "petra",
        "--reason",
        WHY,
    ]);
    let closed = demo.ask(&["statement", "list"]);
    let last = closed.last().expect("a month");
    assert_eq!(
        (text(last, "month"), text(last, "status"), text(last, "closed_by")),
        (month.as_str(), "closed", "petra")
    );
}
