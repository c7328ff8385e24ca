//! `tenure forecast`.

use serde_json::json;

use super::{Given, SHORT_IDLE, code, stderr};

/// After the bakery's access expires.
const THEN: &str = "2123-09-01T00:00:00Z";

#[test]
fn a_forecast_lists_days_and_clients() {
    let given = Given::events();
    let table = given.tenure.ok(&["forecast", "--until", THEN]);
    for part in [
        "│ 2123-08-01 ┆ 1       ┆ 1       ┆ ████████████████████████████████████████ ┆ 1 access.expiring ",
        "│ 2123-08-15T10:00:00Z ┆ acme/bakery ┆ access.expired ",
        "enabled → expired",
        "\nif no event arrives by 2123-09-01T00:00:00Z: 4 changes of 1 client\n",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    let quiet = given
        .tenure
        .ok(&["forecast", "--partner", "best", "--until", THEN]);
    assert_eq!(
        quiet,
        "if no event arrives by 2123-09-01T00:00:00Z: 0 changes of 0 clients\n"
    );
    let month = given.tenure.ok(&["forecast", "--until", "4w 2d"]);
    assert!(month.ends_with(": 0 changes of 0 clients\n"), "{month}");
}

#[test]
fn a_forecast_says_what_is_overdue() {
    let given = Given::overdue_events();
    let paid = given.with(&[SHORT_IDLE]);
    let table = paid.ok(&["forecast"]);
    for part in [
        "│ 2025-03-21T10:00:00Z ┆ acme/bakery ┆ access.expired ",
        "enabled → expired, overdue",
        ": 1 change of 1 client, 1 overdue (due before now, and not yet made by a sweep)\n",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    let totals = paid.json(&["forecast"]).pop().expect("totals");
    assert_eq!((&totals["changes"], &totals["overdue"]), (&json!(1), &json!(1)));
    paid.ok(&["sweep", "run", "access-expiry"]);
    let table = paid.ok(&["forecast"]);
    assert!(!table.contains("overdue"), "{table}");
}

#[test]
fn a_forecast_is_printed_as_csv_and_as_json() {
    let given = Given::events();
    let csv = given.tenure.ok(&["forecast", "--until", THEN, "-o", "csv"]);
    assert_eq!(
        csv.lines().collect::<Vec<_>>(),
        [
            "time,partner,client,type,id,from,to,timer",
            "2123-08-01T10:00:00Z,acme,bakery,access.expiring,,,P14D,access_warning",
            "2123-08-08T10:00:00Z,acme,bakery,access.expiring,,,P7D,access_warning",
            "2123-08-14T10:00:00Z,acme,bakery,access.expiring,,,P1D,access_warning",
            "2123-08-15T10:00:00Z,acme,bakery,access.expired,,enabled,expired,access_expiry",
        ]
    );
    let lines = given
        .tenure
        .json(&["forecast", "--until", THEN, "--partner", "acme"]);
    let [client, totals] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(client["client"], "acme/bakery");
    assert_eq!(
        client["changes"][3],
        json!({
            "time": "2123-08-15T10:00:00Z", "type": "access.expired", "from": "enabled", "to": "expired",
            "timer": "access_expiry",
        })
    );
    assert_eq!((&totals["clients"], &totals["changes"]), (&json!(1), &json!(4)));
    assert_eq!(totals["days"].as_array().map(Vec::len), Some(4));
    // Nothing was written.
    given.tenure.assert_no_drift();
    assert_eq!(
        given.tenure.json(&["client", "show", "acme/bakery"])[0]["access"],
        "enabled"
    );
}

#[test]
fn a_wrong_forecast_is_a_usage_error() {
    let given = Given::events();
    for (arguments, word) in [
        (&["--until", "1M"][..], "30d for a month"),
        (&["--until", "soon"], "the units are w, d, h"),
        (&["--partner", "a/b"], "partner"),
        (&["-o", "csv", "--json"], "cannot be used with"),
    ] {
        let output = given.tenure.call(&[&["forecast"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(
            stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}
