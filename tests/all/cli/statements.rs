//! `tenure statement`.

use serde_json::{Value, json};

use super::{Given, code, stderr};

/// In January 2025 the bakery is linked and assigned, and the forge is assigned, from the tenth on.
fn given() -> Given {
    let given = Given::events();
    ingest(
        &given,
        &[(
            "20",
            "best/forge",
            "assignment.added",
            "2025-01-10T09:00:00Z",
            r#"{"assignment_id":"a"}"#,
        )],
    );
    given
}

fn ingest(given: &Given, events: &[(&str, &str, &str, &str, &str)]) {
    let lines = events.iter().map(|(id, subject, kind, time, data)| {
        let data: Value = serde_json::from_str(data).expect("JSON");
        let event = json!({
            "specversion": "1.0", "id": id, "source": "=late, \"app\"", "type": kind, "subject": subject, "time": time,
            "data": data,
        });
        format!("{event}\n")
    });
    std::fs::write(given.folder.path().join("more.ndjson"), lines.collect::<String>()).expect("a file");
    given.tenure.ok(&["ingest", "more.ndjson"]);
}

fn close(given: &Given, month: &str) -> String {
    given
        .tenure
        .ok(&["statement", "close", month, "--by", "=ann \"the closer\""])
}

/// A late event: the customer disabled access on 20 January.
fn disable(given: &Given) {
    ingest(
        given,
        &[(
            "21",
            "acme/bakery",
            "access.disabled",
            "2025-01-20T12:00:00Z",
            "{}",
        )],
    );
}

#[test]
fn a_statement_lists_the_days_of_clients_and_partners() {
    let given = given();
    let table = given.tenure.ok(&["statement", "show", "2025-01"]);
    for part in [
        "│ acme/bakery ┆ 24       ┆ 24         ┆ 24            ┆ 24     │",
        "│ best/forge  ┆ 22       ┆ 0          ┆ 0             ┆ 0      │",
        "│ acme    ┆ 1       ┆ 24       ┆ 24         ┆ 24            ┆ 24     │",
        "\n2025-01 is not closed: 2 clients, as known now\n",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    let one = given
        .tenure
        .ok(&["statement", "show", "2025-01", "--partner", "best"]);
    assert!(one.contains("best/forge") && !one.contains("bakery"), "{one}");
    let empty = given.tenure.ok(&["statement", "show", "2024-12"]);
    assert_eq!(empty, "2024-12 is not closed: 0 clients, as known now\n");
    assert_eq!(given.tenure.json(&["statement", "list"]), [] as [Value; 0]);
}

#[test]
fn a_closed_month_stays_and_a_late_event_adjusts_the_next() {
    let given = given();
    assert_eq!(
        close(&given, "2025-01"),
        "2025-01 is closed: 2 clients with days in the month, 0 adjustments of earlier months\n"
    );
    let before = given.tenure.json(&["statement", "show", "2025-01"]);
    disable(&given);
    assert_eq!(given.tenure.json(&["statement", "show", "2025-01"]), before);
    let recomputed = given
        .tenure
        .json(&["statement", "show", "2025-01", "--recompute"]);
    assert_eq!(
        recomputed[0]["days"],
        json!({"billable": 24, "commission": 24, "status_credit": 24, "access": 13})
    );
    close(&given, "2025-02");

    let lines = given.tenure.json(&["statement", "show", "2025-02"]);
    let [bakery, forge, totals] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(bakery["client"], "acme/bakery");
    assert_eq!(bakery["days"]["access"], 0);
    assert_eq!(
        bakery["adjustments"],
        json!([{
            "month": "2025-01",
            "days": {"billable": 0, "commission": 0, "status_credit": 0, "access": -11},
            "added": {},
            "removed": {"access": (21..=31).map(|day| format!("2025-01-{day}")).collect::<Vec<_>>()},
            "causes": [{"source": "=late, \"app\"", "id": "21", "type": "access.disabled"}],
        }])
    );
    assert_eq!(forge["adjustments"], json!([]));
    assert_eq!(totals["closing"]["closed_by"], "=ann \"the closer\"");
    assert_eq!(totals["partners"][0]["adjustments"]["access"], -11);
    assert_eq!(totals["partners"][1]["days"]["billable"], 28);
    let table = given.tenure.ok(&["statement", "show", "2025-02"]);
    assert!(
        table.contains("-11") && table.contains("access.disabled 21 of =late"),
        "{table}"
    );
    assert!(
        table.contains("\n2025-02 was closed by =ann \"the closer\" at 20"),
        "{table}"
    );

    // An archive moves them.
    given.tenure.ok(&["export", "moved.ndjson"]);
    let moved = given.with(&[("DATABASE_URL", "sqlite:moved.db")]);
    moved.ok(&["import", "moved.ndjson"]);
    assert_eq!(moved.json(&["statement", "show", "2025-02"]), lines);
    assert_eq!(
        moved.json(&["statement", "list"]),
        given.tenure.json(&["statement", "list"])
    );
}

#[test]
fn a_spreadsheet_can_open_what_was_closed() {
    let given = given();
    close(&given, "2025-01");
    disable(&given);
    close(&given, "2025-02");
    let csv = given.tenure.ok(&["statement", "show", "2025-02", "-o", "csv"]);
    let removed: Vec<String> = (21..=31).map(|day| format!("2025-01-{day}")).collect();
    let whole = "2025-02-01T00:00:00Z/2025-03-01T00:00:00Z";
    assert_eq!(
        csv.split_terminator("\r\n").collect::<Vec<_>>(),
        [
            "statement,line,month,partner,client,billable_days,commission_days,status_credit_days,access_days,billable,\
             commission,status_credit,access,causes",
            &format!("2025-02,days,2025-02,acme,bakery,28,28,28,0,{whole},{whole},{whole},,"),
            &format!(
                "2025-02,adjustment,2025-01,acme,bakery,0,0,0,-11,,,,removed {},\"access.disabled 21 of =late, \"\"app\"\"\"",
                removed.join(" ")
            ),
            &format!("2025-02,days,2025-02,best,forge,28,0,0,0,{whole},,,,"),
        ]
    );
    let closings = given.tenure.ok(&["statement", "list", "-o", "csv"]);
    let lines: Vec<&str> = closings.split_terminator("\r\n").collect();
    assert_eq!(
        lines[0],
        "month,status,closed_by,started_at,closed_at,statements,adjustments"
    );
    assert!(
        lines[1].starts_with("2025-01,closed,\"'=ann \"\"the closer\"\"\",20"),
        "{closings}"
    );
    assert!(lines[2].ends_with(",2,1") && lines.len() == 3, "{closings}");
    let table = given.tenure.ok(&["statement", "list"]);
    assert!(
        table.contains("│ 2025-02 ┆ closed ┆ =ann \"the closer\" ┆ 20"),
        "{table}"
    );
}

#[test]
fn what_cannot_be_closed_says_why() {
    let given = given();
    close(&given, "2025-01");
    for (arguments, exit, words) in [
        (
            &["close", "2025-01"][..],
            1,
            "2025-01 is closed: =ann \"the closer\" closed it at 20",
        ),
        (&["close", "2025-03"], 1, "the next one is 2025-02"),
        (
            &["close", "9999-01"],
            1,
            "9999-01 has not ended; close it at 9999-02-01T00:00:00Z or later",
        ),
        (&["show", "9999-01"], 2, "9999-01 has not begun"),
        (&["show", "2025-13"], 2, "expected a month such as 2026-10"),
        (&["show", "October"], 2, "expected a month such as 2026-10"),
        (&["show", "2025-02", "--partner", "a/b"], 2, "partner"),
        (
            &["close", "2025-02", "--partner", "acme"],
            2,
            "unexpected argument",
        ),
        (&["close", "2025-02", "-o", "csv"], 2, "prints no rows"),
        (&["close", "2025-02", "--by", " "], 2, "invalid name in --by"),
        (&["close"], 2, "<MONTH>"),
        (&["show", "2025-02", "--by", "ann"], 2, "unexpected argument"),
        (
            &["show", "2025-02", "-o", "csv", "--json"],
            2,
            "cannot be used with",
        ),
    ] {
        let tenure = given.with(&[("LOGNAME", "bob")]);
        let output = tenure.call(&[&["statement"], arguments].concat());
        assert_eq!(code(&output), exit, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(given.tenure.json(&["statement", "list"]).len(), 1);
}

#[test]
fn a_first_month_before_every_event_must_be_confirmed() {
    let given = given();
    let close = ["statement", "close", "2005-01", "--by", "ann"];
    let output = given.tenure.call(&close);
    assert_eq!(code(&output), 1);
    for words in ["2005-01 cannot be the first month", "add --confirm"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    assert_eq!(given.tenure.json(&["statement", "list"]), [] as [Value; 0]);
    given.tenure.ok(&[&close[..], &["--confirm"]].concat());
}

#[test]
fn the_closer_is_the_user_of_the_system_by_default() {
    let given = given();
    // The environment may say anything.
    let user = given.with(&[("LOGNAME", "bob"), ("USER", "eve")]);
    let closing = &user.json(&["statement", "close", "2025-01"])[0];
    let name = closing["closed_by"].as_str().expect("a name");
    assert!(name.starts_with(&super::audit::user()), "{name}");
}

#[tokio::test]
async fn events_that_may_still_arrive_hold_a_closing_back_until_it_is_confirmed() {
    let given = given();
    let store = given.sqlite();
    tenure::store::Lanes::set_lanes(
        &store,
        &["tenure.events.0".to_owned()],
        chrono::DateTime::UNIX_EPOCH,
    )
    .await
    .expect("lanes");
    let output = given
        .tenure
        .call(&["statement", "close", "2025-01", "--by", "ann"]);
    assert_eq!(code(&output), 1);
    for words in [
        "no heartbeat has arrived through tenure.events.0",
        "add --confirm",
    ] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    given
        .tenure
        .ok(&["statement", "close", "2025-01", "--by", "ann", "--confirm"]);
}
