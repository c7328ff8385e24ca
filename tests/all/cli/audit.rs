//! The audit log: what operators did with commands.

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Policy;
use tenure::store::{Audit as _, AuditEntry, AuditHow, PolicyHistory as _, WorkerRecord, Workers as _};

use super::Given;
use super::commands::{COMMANDS, Use};

/// The name of the user who runs the tests.
pub fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::current())
        .expect("the users")
        .expect("a user")
        .name
}

fn actions(given: &Given, args: &[&str]) -> Vec<String> {
    let entries = given.tenure.json(&[&["audit"], args].concat());
    let action = |entry: &Value| entry["action"].as_str().expect("an action").to_owned();
    entries.iter().map(action).collect()
}

#[test]
fn every_command_that_changes_something_is_recorded_with_its_user_and_reason() {
    let given = Given::events();
    let letters = given.tenure.json(&["dead", "list"]);
    let id = |place: usize| letters[place]["id"].to_string();
    for args in [
        vec!["sweep", "pause", "access-expiry", "--reason", "not yet"],
        vec!["sweep", "resume", "access-expiry", "--reason", "done"],
        vec!["sweep", "run", "access-expiry"],
        vec!["sweep", "confirm", "access-expiry", "--reason", "as planned"],
        vec!["sweep", "preview", "access-expiry"],
        vec!["dead", "discard", &id(1), "--reason", "no event"],
        vec!["lanes", "remove", "--reason", "no broker"],
        vec!["sources", "remove"],
        vec!["rebuild"],
        vec!["prune"],
        vec!["prune", "--dry-run"],
        vec![
            "statement",
            "close",
            "2025-01",
            "--confirm",
            "--reason",
            "month end",
        ],
        vec!["restored"],
    ] {
        given.tenure.ok(&args);
    }
    // It is still no event, and the attempt counts.
    given.tenure.call(&["dead", "redrive", &id(0)]);
    let changed = given.with(&[("TENURE_ACCESS__IDLE", "35000d")]);
    changed.ok(&["policy", "apply", "--reason", "as agreed"]);
    assert_eq!(
        actions(&given, &[]),
        [
            "policy.apply",
            "dead_letter.redrive",
            "restored",
            "statement.close",
            "prune",
            "rebuild",
            "source.remove",
            "lane.remove",
            "dead_letter.discard",
            "sweep.confirm",
            "sweep.run",
            "sweep.resume",
            "sweep.pause",
        ]
    );
    let entries = given.tenure.json(&["audit"]);
    for entry in &entries {
        let who = entry["who"].as_str().expect("a name");
        assert!(who.starts_with(&user()), "{entry}");
        assert_eq!(entry["how"], "cli", "{entry}");
    }
    let field = |place: usize, name: &str| entries[place][name].clone();
    assert_eq!(
        (field(12, "target"), field(12, "reason")),
        (json!("access-expiry"), json!("not yet"))
    );
    assert_eq!(
        (field(8, "target"), field(8, "reason")),
        (json!(id(1)), json!("no event"))
    );
    assert_eq!(field(3, "target"), "2025-01");
    let policy = field(0, "details");
    assert_ne!(policy["before"], policy["after"]);
    assert_eq!(field(0, "reason"), "as agreed");
}

/// Each command of [`COMMANDS`] that changes a store, with what it works on.
#[tokio::test]
async fn no_command_changes_a_store_without_an_entry() {
    let given = Given::events();
    for name in ["crm", "new"] {
        given.tenure.ok(&["webhook", "add", name, "http://localhost:9/"]);
    }
    let long_ago = DateTime::UNIX_EPOCH;
    let gone = WorkerRecord {
        name: "gone".into(),
        host: "gone".into(),
        version: "0.1.0".into(),
        started_at: long_ago,
        seen_at: long_ago,
        lanes: Vec::new(),
        leads_relay: false,
        leads_webhooks: false,
    };
    let recorded = given.sqlite().record_worker(&gone, long_ago, long_ago).await;
    recorded.expect("a worker");
    // A policy that the store does not have.
    let tenure = given.with(&[("TENURE_ACCESS__IDLE", "35000d")]);
    let entries = || tenure.json(&["audit", "--limit", "1000"]);
    let mut known = entries().len();
    for command in COMMANDS.iter().filter(|command| command.what == Use::Changes) {
        let mut args = command.args.to_vec();
        if !args.contains(&"--reason") {
            args.extend(["--reason", "a test"]);
        }
        // A redrive or a test of an endpoint may fail, and counts.
        let output = tenure.call(&args);
        let entries = entries();
        assert!(entries.len() > known, "{args:?} left no entry: {output:?}");
        for entry in &entries[..entries.len() - known] {
            let (action, who) = (entry["action"].as_str(), entry["who"].as_str());
            assert_eq!(
                action.and_then(|action| action.rsplit('.').next()),
                command.args[..command.words].last().copied(),
                "{args:?}: {entry}"
            );
            assert!(who.is_some_and(|who| who.starts_with(&user())), "{entry}");
            assert_eq!(
                (&entry["how"], &entry["reason"]),
                (&json!("cli"), &json!("a test"))
            );
        }
        known = entries.len();
    }
}

#[test]
fn a_migration_is_recorded_when_it_changes_the_schema() {
    let given = Given::nothing();
    given.tenure.ok(&["migrate", "--reason", "the first start"]);
    given.tenure.ok(&["migrate", "--reason", "nothing to do"]);
    let entries = given.tenure.json(&["audit"]);
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (&entry["action"], &entry["how"], &entry["reason"]),
        (&json!("migrate"), &json!("cli"), &json!("the first start"))
    );
}

#[tokio::test]
async fn the_withdrawal_of_a_policy_that_a_wrong_clock_recorded_has_an_entry_of_its_own() {
    let given = Given::events();
    let policy = Policy {
        access_idle: TimeDelta::days(90),
        ..Policy::default()
    };
    let ahead = SystemClock.now() + TimeDelta::days(70);
    let recorded = given.sqlite().record_policy(ahead, &policy, true).await;
    recorded.expect("a policy");
    let reason = "the clock is right again";
    given.tenure.ok(&["policy", "apply", "--reason", reason]);
    assert_eq!(actions(&given, &[]), ["policy.apply", "policy.withdraw"]);
    for entry in given.tenure.json(&["audit"]) {
        assert_eq!((&entry["how"], &entry["reason"]), (&json!("cli"), &json!(reason)));
    }
}

#[tokio::test]
async fn entries_older_than_audit_keep_are_pruned() {
    let given = Given::events();
    let store = given.sqlite();
    for (days, action) in [(740, "sweep.run"), (3, "sweep.pause"), (1, "sweep.resume")] {
        let entry = AuditEntry {
            at: SystemClock.now() - TimeDelta::days(days),
            who: "ann".into(),
            how: AuditHow::Cli,
            action: action.into(),
            target: None,
            reason: None,
            details: serde_json::Map::new(),
            request_id: None,
        };
        store.record_audit(&entry).await.expect("an entry");
    }
    let sweeps = || actions(&given, &["--action", "sweep"]);
    let pruned = |keep: Option<&str>, args: &[&str]| {
        let keep = keep.map(|keep| ("TENURE_AUDIT__KEEP", keep));
        let tenure = given.with(keep.as_slice());
        tenure.json(&[&["prune"], args].concat())[0]["audit"].clone()
    };
    assert_eq!(pruned(Some("never"), &[]), 0);
    assert_eq!(pruned(Some("2d"), &["--dry-run"]), 2);
    assert_eq!(sweeps(), ["sweep.resume", "sweep.pause", "sweep.run"]);
    assert_eq!(pruned(None, &[]), 1, "of two years, by default");
    assert_eq!(sweeps(), ["sweep.resume", "sweep.pause"]);
    assert_eq!(pruned(Some("2d"), &[]), 1);
    assert_eq!(sweeps(), ["sweep.resume"]);
}

#[test]
fn what_is_done_with_webhooks_is_recorded_without_their_secrets() {
    let given = Given::events();
    let added = [
        "webhook",
        "add",
        "crm",
        "https://crm.example.com/hooks?key=hidden",
        "--type",
        "access.*",
        "--reason",
        "asked for",
    ];
    let mut secrets = vec![given.tenure.json(&added)[0]["secret"].clone()];
    for args in [
        vec!["webhook", "pause", "crm"],
        vec!["webhook", "resume", "crm"],
        vec!["webhook", "replay", "crm", "--from", "beginning"],
    ] {
        given.tenure.ok(&args);
    }
    secrets.push(given.tenure.json(&["webhook", "rotate", "crm"])[0]["secret"].clone());
    given.tenure.ok(&["webhook", "remove", "crm"]);
    given.tenure.call(&["webhook", "remove", "crm"]);
    assert_eq!(
        actions(&given, &["--action", "webhook"]),
        [
            "webhook.remove",
            "webhook.rotate",
            "webhook.replay",
            "webhook.resume",
            "webhook.pause",
            "webhook.add",
        ]
    );
    let entries = given.tenure.json(&["audit"]);
    assert!(entries.iter().all(|entry| entry["target"] == "crm"));
    assert_eq!(entries[5]["reason"], "asked for");
    assert_eq!(
        entries[5]["details"],
        json!({"url": "https://crm.example.com/hooks?***", "partner": null, "client": null, "types": ["access.*"]})
    );
    let printed = given.tenure.ok(&["audit", "--json"]);
    for secret in secrets {
        let secret = secret.as_str().expect("a secret");
        assert!(secret.starts_with("whsec_") && !printed.contains(secret));
    }
    assert!(
        !printed.contains("hidden") && !printed.contains("whsec_"),
        "{printed}"
    );
}

#[test]
fn the_audit_log_is_filtered_printed_and_carried_along() {
    let given = Given::events();
    let nothing = "tenure-audit-of-nobody";
    let odd = "why\u{1b}[31m not";
    given
        .tenure
        .ok(&["sweep", "pause", "access-expiry", "--reason", odd]);
    given.tenure.ok(&["sweep", "resume", "access-expiry"]);
    given.tenure.ok(&["rebuild", "--reason", "a test"]);
    assert_eq!(
        actions(&given, &["--action", "sweep"]),
        ["sweep.resume", "sweep.pause"]
    );
    assert_eq!(actions(&given, &["--action", "rebuild"]), ["rebuild"]);
    assert_eq!(actions(&given, &["--by", nothing]), [""; 0]);
    assert_eq!(actions(&given, &["--since", "2000-01-01T00:00:00Z"]).len(), 3);
    assert_eq!(actions(&given, &["--until", "2000-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(actions(&given, &["--limit", "1"]), ["rebuild"]);
    let table = given.tenure.ok(&["audit"]);
    assert!(
        table.contains("sweep.pause") && table.contains(&user()),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "{table}");

    given.tenure.ok(&["export", "store.export"]);
    let moved = given.with(&[("TENURE_STORE__URL", "sqlite://moved.db")]);
    moved.ok(&["import", "store.export", "--reason", "a move"]);
    let moved = moved.json(&["audit"]);
    let action = |place: usize| moved[place]["action"].clone();
    assert_eq!(
        (0..moved.len()).map(action).collect::<Vec<_>>(),
        ["import", "rebuild", "sweep.resume", "sweep.pause"]
    );
    assert_eq!(moved[0]["target"], "store.export");
    assert_eq!(moved[3]["reason"], odd);
}
