//! `tenure sweep`.

use serde_json::{Value, json};
use tenure::domain::Sweep;

use super::halts::many;
use super::{Given, code, each, stderr, stdout};

/// After the bakery's access has expired, in the future.
const THEN: &str = "2123-09-01T00:00:00Z";
/// The same in the past, with the default `access.idle`.
const EARLIER: &str = "2025-06-01T00:00:00Z";

#[test]
fn a_dry_run_prints_the_changes() {
    let given = Given::events();
    let stdout = given
        .tenure
        .ok(&["sweep", "preview", "access-expiry", "--at", THEN]);
    insta::assert_snapshot!(stdout, @r"
    ┌─────────────┬────────────────┬────┬──────────────────────┐
    │ client      ┆ change         ┆ id ┆ due                  │
    ╞═════════════╪════════════════╪════╪══════════════════════╡
    │ acme/bakery ┆ access.expired ┆    ┆ 2123-08-15T10:00:00Z │
    └─────────────┴────────────────┴────┴──────────────────────┘
    access-expiry up to 2123-09-01T00:00:00Z: examined 1 client, would change 1 (1 change)
    ");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_prints_the_same_as_the_real_run() {
    use tenure::domain::Sweep;
    use tenure::store::{Sweeps as _, Upkeep as _};
    let given = Given::overdue_events();
    let sweep = |verb: &'static str| ["sweep", verb, "access-expiry", "--at", EARLIER];
    let all = || {
        let client = given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
        (client, given.tenure.json(&["client", "list"]))
    };
    let before = all();
    let previewed = given.tenure.json(&sweep("preview"));
    let [client, dry] = previewed.as_slice() else {
        panic!("{previewed:?}");
    };
    assert_eq!(
        client,
        &json!({"client": "acme/bakery", "changes": [{
            "type": "access.expired", "id": null, "from": "enabled", "to": "expired", "time": "2025-03-21T10:00:00Z",
        }]})
    );
    let mut dry = dry.clone();
    let dry_run = given.tenure.ok(&sweep("preview"));
    assert_eq!(all(), before);
    let store = given.sqlite();
    assert!(
        store
            .runs(Some(Sweep::AccessExpiry), 9)
            .await
            .expect("runs")
            .is_empty()
    );

    // On the same store after two dry runs, so the real run still has everything to do.
    let real_run = given.tenure.ok(&sweep("run"));
    assert_eq!(real_run, dry_run.replace("would change", "changed"));
    assert_ne!(all(), before);
    assert_eq!(
        store
            .runs(Some(Sweep::AccessExpiry), 9)
            .await
            .expect("runs")
            .len(),
        1
    );
    store.close().await;

    let other = Given::overdue_events();
    let real = other.tenure.json(&sweep("run")).remove(0);
    assert_eq!(dry["dry_run"], true);
    dry["dry_run"] = json!(false);
    assert_eq!(real, dry);
    let again = other.tenure.json(&sweep("run")).remove(0);
    assert_eq!((&again["examined"], &again["changes"]), (&json!(0), &json!(0)));
}

#[test]
fn a_sweep_as_of_the_future_is_a_usage_error_and_changes_nothing() {
    let given = Given::events();
    let all = || given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
    let before = all();
    for (verb, at) in [
        ("run", THEN),
        ("confirm", THEN),
        ("run", "+1h"),
        ("run", "tomorrow"),
    ] {
        let refused = given.tenure.call(&["sweep", verb, "access-expiry", "--at", at]);
        assert_eq!(code(&refused), 2);
        let why = stderr(&refused);
        assert!(
            why.contains("is in the future") && why.contains("tenure sweep preview"),
            "{why}"
        );
    }
    assert_eq!(all(), before);
    assert_eq!(given.tenure.json(&["sweep", "list"])[0]["last_run"], Value::Null);
    given.tenure.assert_no_drift();
}

#[test]
fn a_dry_run_in_json_prints_every_client_before_the_totals() {
    let given = Given::overdue(|given| many(given, 230));
    let mut lines = given.tenure.json(&["sweep", "preview", "access-expiry"]);
    let totals = lines.pop().expect("the totals");
    assert_eq!(
        (&totals["changed"], &totals["status"], &totals["dry_run"]),
        (&json!(230), &json!("done"), &json!(true))
    );
    assert_eq!(lines.len(), 230);
    for line in &lines {
        assert!(
            line["client"]
                .as_str()
                .is_some_and(|client| client.starts_with("many/c")),
            "{line}"
        );
        assert_eq!(line["changes"][0]["type"], "access.expired", "{line}");
    }
    // The table for people says how many it leaves out.
    let table = given.tenure.ok(&["sweep", "preview", "access-expiry"]);
    assert_eq!(table.matches("access.expired").count(), 200);
    assert!(table.contains("and 30 more clients\n"), "{table}");
}

#[test]
fn every_sweep_runs_by_its_name_when_nothing_is_due() {
    let given = Given::events();
    for name in Sweep::ALL.map(Sweep::as_str) {
        let output = given.tenure.call(&["sweep", "run", name, "--json"]);
        assert_eq!(code(&output), 0);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(report["sweep"], name);
        for count in ["examined", "changed", "changes", "failed"] {
            assert_eq!(report[count], 0, "{name}: {report}");
        }
        let stdout = given.tenure.ok(&["sweep", "run", name]);
        assert!(stdout.starts_with(&format!("{name} up to ")), "{stdout}");
        assert!(
            stdout.ends_with(": examined 0 clients, changed 0 (0 changes)\n"),
            "{stdout}"
        );
    }
}

#[test]
fn a_run_is_listed_and_shows_the_clients_that_it_changed() {
    let given = Given::overdue_events();
    for name in ["access-expiry", "terminated-cleanup"] {
        given.tenure.ok(&["sweep", "run", name, "--at", EARLIER]);
    }
    let runs = given.tenure.json(&["sweep", "runs"]);
    assert_eq!(each(&runs, "sweep"), ["terminated-cleanup", "access-expiry"]);
    let only = given
        .tenure
        .json(&["sweep", "runs", "access-expiry", "--limit", "1"]);
    assert_eq!(only, runs[1..]);
    let before = given
        .tenure
        .json(&["sweep", "runs", "--before", &runs[0]["id"].to_string()]);
    assert_eq!(before, runs[1..]);

    let number = runs[1]["id"].to_string();
    let shown = given.tenure.json(&["sweep", "show", &number]);
    assert_eq!((shown.len(), &shown[0]), (2, &runs[1]));
    assert_eq!(
        (
            &shown[1]["subject"],
            &shown[1]["type"],
            &shown[1]["time"],
            &shown[1]["cause"]
        ),
        (
            &json!("acme/bakery"),
            &json!("access.expired"),
            &json!("2025-03-21T10:00:00Z"),
            &json!({"timer": "access_expiry"})
        )
    );
    let table = given.tenure.ok(&["sweep", "show", &number]);
    for part in [
        "acme/bakery",
        "access.expired",
        "enabled → expired",
        "timer access_expiry",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!table.contains("more change"), "{table}");
    // The rows are the changes; the rest is on standard error.
    let csv = given.tenure.call(&["sweep", "show", &number, "-o", "csv"]);
    assert_eq!(stdout(&csv).matches("access.expired").count(), 1);
    let said = stderr(&csv);
    let summary = format!("run {number} of access-expiry up to 2025-");
    assert!(
        said.contains(&summary) && said.contains(": done, examined "),
        "{said}"
    );
    assert!(!said.contains("more change"), "{said}");
    let unknown = given.tenure.call(&["sweep", "show", "99"]);
    assert_eq!(code(&unknown), 1);
    assert!(
        stderr(&unknown).contains("there is no run 99"),
        "{}",
        stderr(&unknown)
    );
}
