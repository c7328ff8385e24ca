//! `tenure sweep`.

use serde_json::json;
use tenure::domain::Sweep;

use super::{Given, code};

/// After the bakery's access has expired.
const THEN: &str = "2123-09-01T00:00:00Z";

#[test]
fn a_dry_run_prints_the_changes() {
    let given = Given::events();
    let stdout = given
        .tenure
        .ok(&["sweep", "access-expiry", "--dry-run", "--now", THEN]);
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
    let given = Given::events();
    let sweep = |more: &[&'static str]| [&["sweep", "access-expiry", "--now", THEN], more].concat();
    let all = || {
        let client = given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
        (client, given.tenure.json(&["client", "list"]))
    };
    let before = all();
    let mut dry = given.tenure.json(&sweep(&["--dry-run"])).remove(0);
    let dry_run = given.tenure.ok(&sweep(&["--dry-run"]));
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
    let real_run = given.tenure.ok(&sweep(&[]));
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

    let other = Given::events();
    let real = other.tenure.json(&sweep(&[])).remove(0);
    assert_eq!(dry["dry_run"], true);
    dry["dry_run"] = json!(false);
    assert_eq!(real, dry);
    let again = other.tenure.json(&sweep(&[])).remove(0);
    assert_eq!((&again["examined"], &again["changes"]), (&json!(0), &json!(0)));
}

#[test]
fn a_sweep_as_of_the_future_journals_its_changes_until_a_rebuild_corrects_them() {
    let given = Given::events();
    given.tenure.ok(&["sweep", "access-expiry", "--now", THEN]);
    let mut lines = given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
    let last = lines.pop().expect("a journal");
    assert_eq!(last["type"], "access.expired");
    assert_eq!(last["time"], "2123-08-15T10:00:00Z");
    assert_eq!(last["cause"], json!({ "timer": "access_expiry" }));
    let at = |more: &[&'static str]| {
        let args = [&["client", "show", "acme/bakery"], more].concat();
        given.tenure.json(&args)[0]["access"].clone()
    };
    assert_eq!(at(&[]), "enabled", "that moment is in the future");
    assert_eq!(at(&["--at", THEN]), "expired");
    // The published change has not happened yet.
    assert_eq!(code(&given.tenure.call(&["verify"])), 1);
    given.tenure.ok(&["rebuild"]);
    given.tenure.assert_no_drift();
    let lines = given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
    let last = lines.last().expect("a journal");
    assert_eq!(
        (&last["type"], &last["correction"]),
        (&json!("access.enabled"), &json!(true))
    );
    assert_eq!(at(&["--at", THEN]), "expired", "still in the future");
}

#[test]
fn every_sweep_runs_by_its_name_when_nothing_is_due() {
    let given = Given::events();
    for name in Sweep::ALL.map(Sweep::as_str) {
        let output = given.tenure.call(&["sweep", name, "--json"]);
        assert_eq!(code(&output), 0);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(report["sweep"], name);
        for count in ["examined", "changed", "changes", "failed"] {
            assert_eq!(report[count], 0, "{name}: {report}");
        }
        let stdout = given.tenure.ok(&["sweep", name]);
        assert!(stdout.starts_with(&format!("{name} up to ")), "{stdout}");
        assert!(
            stdout.ends_with(": examined 0 clients, changed 0 (0 changes)\n"),
            "{stdout}"
        );
    }
}
