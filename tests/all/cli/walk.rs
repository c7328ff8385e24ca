//! An operator's questions, answered by commands alone, on the year of `tenure demo --serve`: those of `console::walk`.
//! What the commands say is compared with the API, and with what follows from the events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, TimeDelta, Timelike as _, Utc};
use serde_json::Value;
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Refusal;
use tenure::domain::time::rfc3339;

use crate::support::servers::exchange;
use crate::support::tenure::{Spawned, Tenure};

/// The reason that the operator gives.
const WHY: &str = "asked by the agency";

/// The demo, and commands on its store.
struct Demo {
    tenure: Tenure,
    port: u16,
    _running: Spawned,
    folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let demo = Tenure::new(folder.path(), &[]);
        let mut running = demo.spawn(&["demo", "--clients", "60", "--serve", "--port", "0"]);
        let line = running.wait_for_stdout("Serving http://127.0.0.1:");
        let (_, rest) = line.split_once("127.0.0.1:").expect("an address");
        let port = rest.split(' ').next().and_then(|port| port.parse().ok());
        let line = running.wait_for_stdout("tenure --config ");
        let (_, rest) = line.split_once("--config ").expect("a file");
        let config = rest.split(' ').next().expect("a file");
        Self {
            tenure: Tenure::new(folder.path(), &[("TENURE_CONFIG", config)]),
            port: port.expect("a port"),
            _running: running,
            folder,
        }
    }

    fn ask(&self, command: &[&str]) -> Vec<Value> {
        self.tenure.json(command)
    }

    /// What the API says.
    fn api(&self, path: &str) -> Value {
        let (status, answer) = exchange(self.port, "GET", path, None).expect("an answer");
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).expect("JSON")
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

fn moment(value: &Value, field: &str) -> DateTime<Utc> {
    text(value, field)
        .parse()
        .unwrap_or_else(|error| panic!("{field}: {error}: {value}"))
}

/// A moment as sentences have it.
fn spoken(at: DateTime<Utc>) -> String {
    let time = match (at.second(), at.nanosecond()) {
        (0, 0) => "%H:%M",
        (_, 0) => "%H:%M:%S",
        _ => "%H:%M:%S%.6f",
    };
    at.format(&format!("%-d %B %Y at {time} UTC")).to_string()
}

/// The members of a list.
fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value[field]
        .as_array()
        .unwrap_or_else(|| panic!("{field}: {value}"))
}

/// The clients of a list, each as partner/client.
fn keys(clients: &[Value]) -> BTreeSet<String> {
    let key = |client: &Value| format!("{}/{}", text(client, "partner"), text(client, "client"));
    clients.iter().map(key).collect()
}

/// What a command and the API agree on. Events go on arriving: both are asked again if one arrived between.
fn agreed<T: PartialEq + Debug>(command: impl Fn() -> T, api: impl Fn() -> T) -> T {
    let (mut said, mut answered) = (command(), api());
    for _ in 0..9 {
        if said == answered {
            break;
        }
        (said, answered) = (command(), api());
    }
    assert_eq!(said, answered);
    said
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
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (text(entry, "who"), text(entry, "target"), text(entry, "reason")),
        (
            "ann",
            "subscription-end",
            "the partner space imports old subscriptions until Friday"
        )
    );
    // The list gives the same reason.
    assert!(sweeps.contains(text(entry, "reason")), "{sweeps}");
    assert_eq!(
        entries,
        list(&demo.api("/v1/audit?action=sweep.pause"), "entries")
    );
}

/// A partner calls: why can they not get in? The operator knows the id of the partner.
fn why_a_partner_lost_access(demo: &Demo) {
    let all = demo.api("/v1/clients?access=expired&limit=1000");
    let partner = text(&list(&all, "clients")[0], "partner");
    let lost = demo.ask(&["client", "list", "--partner", partner, "--access", "expired"]);
    let expected = list(&all, "clients")
        .iter()
        .filter(|client| client["partner"] == partner);
    let expected: Vec<Value> = expected.cloned().collect();
    assert_eq!(keys(&lost), keys(&expected));
    for client in &lost {
        let key = format!("{partner}/{}", text(client, "client"));
        let answers = demo.ask(&["why", &key, "access"]);
        let path = format!("/v1/partners/{partner}/clients/{}", text(client, "client"));
        let api = demo.api(&format!("{path}/why?answer=access"));
        assert_eq!(answers[0]["causes"], list(&api, "answers")[0]["causes"]);
        // The expiry is 60 days after the last touch before it, and the event of that touch is among the causes.
        let journal = demo.ask(&["client", "show", &key, "--journal"]);
        let expired = journal.iter().rev().find(|line| line["type"] == "access.expired");
        let at = moment(expired.expect("it expired"), "time");
        let touched = spoken(at - TimeDelta::days(60));
        let text = demo.tenure.ok(&["why", &key, "access"]);
        let expiry = spoken(at);
        assert!(
            text.contains(&format!("Access has been expired since {expiry}")),
            "{key} at {at}: {text}"
        );
        assert!(text.contains("60 days after"), "{key}: {text}");
        let (_, causes) = text.split_once("It rests on:").expect("causes");
        assert!(causes.contains(&touched), "{key}: no touch on {touched}: {text}");
        // An hour before, the partner still had access.
        let before = rfc3339(at - TimeDelta::hours(1));
        let shown = demo.ask(&["client", "show", &key, "--at", &before]);
        assert_eq!(shown[0]["access"], "enabled", "{key} at {before}");
        assert_eq!(moment(&shown[0], "expires_at"), at, "{key}");
    }
}

fn what_lapses_next_week(demo: &Demo) {
    let until = rfc3339(SystemClock.now() + TimeDelta::days(7));
    let clients = |lines: &[Value]| -> BTreeMap<String, Value> {
        let clients = lines.iter().filter(|line| line["client"].is_string());
        clients
            .map(|line| (text(line, "client").to_owned(), line["changes"].clone()))
            .collect()
    };
    let forecast = agreed(
        || clients(&demo.ask(&["forecast", "--until", &until])),
        || {
            let api = demo.api(&format!("/v1/forecast?until={until}&limit=1000"));
            assert_eq!(api["next"], Value::Null);
            clients(list(&api, "clients"))
        },
    );
    // Whose access expires then is also known from the clients themselves.
    let expire = demo.ask(&[
        "client",
        "list",
        "--access",
        "enabled",
        "--expires-before",
        &until,
    ]);
    let expected = keys(&expire);
    let expires = |changes: &Value| {
        let changes = changes.as_array().expect("changes");
        changes.iter().any(|change| change["type"] == "access.expired")
    };
    let expiring: BTreeSet<String> = forecast
        .iter()
        .filter(|(_, changes)| expires(changes))
        .map(|(client, _)| client.clone())
        .collect();
    assert!(!expected.is_empty(), "nothing lapses");
    assert!(expected.is_subset(&expiring), "{expected:?} of {expiring:?}");
}

fn what_last_nights_sweep_changed(demo: &Demo) {
    let runs = agreed(
        || demo.ask(&["sweep", "runs", "access-expiry"]),
        || list(&demo.api("/v1/sweeps/runs?sweep=access-expiry&limit=50"), "runs").to_vec(),
    );
    // The newest run, and the newest that changed anything.
    let last = runs.iter().find(|run| run["changed"] != 0).expect("a run");
    for run in [&runs[0], last] {
        let lines = demo.ask(&["sweep", "show", &run["id"].to_string()]);
        let (shown, changes) = lines.split_first().expect("the run");
        assert_eq!(shown, run);
        let api = demo.api(&format!("/v1/sweeps/runs/{}?limit=1000", run["id"]));
        assert_eq!(changes, list(&api, "changes"));
        assert_eq!(run["changes"], changes.len());
        for change in changes {
            assert!(text(change, "type").starts_with("access.expir"), "{change}");
            assert!(moment(change, "time") <= moment(run, "upto"), "{change} of {run}");
            // The journal of the client has the same change.
            let journal = demo.ask(&["client", "show", text(change, "subject"), "--journal"]);
            assert!(
                journal
                    .iter()
                    .any(|line| line["sequence"] == change["sequence"] && line["type"] == change["type"]),
                "{change}"
            );
        }
    }
}

fn which_message_was_refused_and_why(demo: &Demo) {
    // More arrive meanwhile: those of the year are compared.
    let until = rfc3339(SystemClock.now() - TimeDelta::days(1));
    let refusals = demo.ask(&["refusals", "--until", &until, "--limit", "20"]);
    let api = demo.api(&format!("/v1/refusals?until={until}&limit=20"));
    assert_eq!(refusals, list(&api, "refusals"));
    let refused = &refusals[0];
    let code = Refusal::from_code(text(refused, "code")).expect("a known code");
    assert_eq!(text(refused, "reason"), code.words());
    // The story of its client has it.
    let story = demo.ask(&["history", text(refused, "subject")]);
    let of_event = story.iter().find(|line| {
        (&line["event"]["source"], &line["event"]["id"]) == (&refused["source"], &refused["id"])
    });
    let of_event = of_event.unwrap_or_else(|| panic!("{refused} is not in {story:?}"));
    let is_of_code = |field: &str| of_event["event"][field] == refused["code"];
    assert!(
        is_of_code("refusal") || is_of_code("refused_before"),
        "{refused}: {of_event}"
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
    let outcome = String::from_utf8(redriven.stdout).expect("text");
    assert_eq!(text(&demo.ask(&["dead", "show", &id])[0], "status"), "redriven");
    the_edited_message_is_an_event(demo, text(&shown[0], "body"), &outcome);
    assert!(
        !edit("client.archived").status.success(),
        "another edited message is not ingested"
    );
    let entries = demo.ask(&["audit", "--action", "dead_letter.edit"]);
    assert!(
        entries
            .iter()
            .all(|entry| (text(entry, "target"), text(entry, "reason")) == (id.as_str(), WHY)),
        "{entries:?}"
    );
    assert!(!entries.is_empty());
}

/// What was a dead letter is in the history of its client, applied or refused.
fn the_edited_message_is_an_event(demo: &Demo, body: &str, outcome: &str) {
    let event: Value = serde_json::from_str(body).expect("JSON");
    let history = demo.ask(&["history", text(&event, "subject")]);
    let of_event = history.iter().find(|line| line["event"]["id"] == event["id"]);
    let of_event = of_event.unwrap_or_else(|| panic!("{event} is not in {history:?}"));
    assert_eq!(of_event["event"]["type"], "client.archived", "{of_event}");
    assert!(
        outcome.contains("applied") || outcome.contains("refused"),
        "{outcome}"
    );
}

fn the_month_is_closed(demo: &Demo) {
    let closed = demo.ask(&["statement", "list"]);
    let last: NaiveDate = format!("{}-01", text(closed.last().expect("a month"), "month"))
        .parse()
        .expect("a day");
    let next = last + Months::new(1);
    let month = next.format("%Y-%m").to_string();
    // The newest month that has ended.
    let today = SystemClock.now().date_naive();
    assert_eq!(
        (next.year(), next.month()),
        {
            let before = today - Months::new(1);
            (before.year(), before.month())
        },
        "{month} on {today}"
    );
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
    let statement = demo.ask(&["statement", "show", &month]);
    let (totals, clients) = statement.split_last().expect("the totals");
    assert_eq!(totals["closing"]["closed_by"], "petra");
    let api = demo.api(&format!("/v1/statements/{month}?limit=1000"));
    assert_eq!(clients, list(&api, "clients"));
    let entries = demo.ask(&["audit", "--action", "statement.close", "--limit", "1"]);
    assert_eq!(
        (text(&entries[0], "target"), text(&entries[0], "reason")),
        (month.as_str(), WHY)
    );
}
