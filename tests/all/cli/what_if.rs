//! `tenure what-if`, and what `tenure policy show` shows of the policy in the settings.

use chrono::TimeDelta;
use serde_json::json;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Policy;
use tenure::store::PolicyHistory;

use super::{Given, SHORT_IDLE, code, each, stderr};

/// Before and after the bakery's access would expire after 60 days.
const WINDOW: [&str; 4] = [
    "--since",
    "2025-01-01T00:00:00Z",
    "--until",
    "2025-04-01T00:00:00Z",
];

const SET: [&str; 2] = ["--set", "access.idle=60d"];

#[test]
fn a_what_if_lists_clients_and_partners() {
    let given = Given::events();
    let table = given.tenure.ok(&[&["what-if"], &SET[..], &WINDOW].concat());
    for part in [
        "│ acme/bakery ┆ 10d 14h: 2025-03-21T10:00:00Z to 2025-04-01T00:00:00Z ┆ - ",
        "│ acme    ┆ 2       ┆ 1      ┆ 1 client, 10d 14h ┆ - ",
        "\nunder access.idle=60d, from 2025-01-01T00:00:00Z to 2025-04-01T00:00:00Z: 1 of 3 clients differs\n",
        "\naccess: lost 1 client, 10d 14h; gained -\nbilling: lost -; gained -\ncommission: lost -; gained -\n",
        "\nto come: no difference in the number of changes\n",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    // Without `--set`, the other policy is that of the settings.
    let settings = given
        .with(&[SHORT_IDLE])
        .ok(&[&["what-if"], &WINDOW[..]].concat());
    assert_eq!(settings, table);
    let other = given
        .tenure
        .ok(&[&["what-if", "--partner", "best"], &SET[..], &WINDOW].concat());
    assert!(other.contains(": 0 of 1 client differ\n"), "{other}");
    assert!(!other.contains("bakery"), "{other}");
}

#[test]
fn a_what_if_shows_what_is_to_come() {
    let given = Given::events();
    let until = ["--until", "2123-09-01T00:00:00Z"];
    let table = given.tenure.ok(&[&["what-if"], &SET[..], &until].concat());
    for part in [
        "│ 2123-08-15 ┆ 1 access.expired ",
        "\nto come: 0 access.expired instead of 1, 0 access.expiring instead of 3\n",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
}

#[test]
fn a_what_if_is_printed_as_csv_and_as_json() {
    let given = Given::events();
    let csv = given
        .tenure
        .ok(&[&["what-if", "-o", "csv"], &SET[..], &WINDOW].concat());
    assert_eq!(
        csv.lines().collect::<Vec<_>>(),
        [
            "partner,client,what,difference,from,to,seconds",
            "acme,bakery,access,lost,2025-03-21T10:00:00Z,2025-04-01T00:00:00Z,914400",
        ]
    );
    let lines = given.tenure.json(&[&["what-if"], &SET[..], &WINDOW].concat());
    let [client, acme, best, sums] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(client["client"], "acme/bakery");
    assert_eq!(
        client["access"],
        json!({
            "lost": [{"from": "2025-03-21T10:00:00Z", "to": "2025-04-01T00:00:00Z"}], "gained": [],
            "lost_days": 10, "gained_days": 0,
        })
    );
    let expired = json!({
        "time": "2025-03-21T10:00:00Z", "type": "access.expired", "from": "enabled", "to": "expired",
        "timer": "access_expiry",
    });
    assert_eq!(client["added"].as_array().map(Vec::len), Some(4));
    assert_eq!((&client["added"][3], &client["dropped"]), (&expired, &json!([])));
    assert_eq!((&acme["partner"], &acme["clients"]), (&json!("acme"), &json!(2)));
    assert_eq!((&best["partner"], &best["differ"]), (&json!("best"), &json!(0)));
    assert_eq!((&sums["clients"], &sums["differ"]), (&json!(3), &json!(1)));
    assert_eq!(
        sums["access"]["lost"],
        json!({"clients": 1, "days": 10, "seconds": 914_400})
    );
    assert_eq!(sums["since"], "2025-01-01T00:00:00Z");
    // Nothing was written.
    given.tenure.assert_no_drift();
    assert_eq!(given.tenure.json(&["policy", "show"]).len(), 1);
}

#[test]
fn a_wrong_what_if_is_a_usage_error() {
    let given = Given::events();
    for (arguments, words) in [
        (
            &["--set", "access.idel=1d"][..],
            "unknown setting `access.idel` (from --set): a policy has access.from_account_update, access.idle,",
        ),
        (
            &["--set", "access.idle"],
            "expected a setting and its value, such as access.idle=45d",
        ),
        (&["--set", "access.idle=1M"], "30d for a month"),
        (
            &["--set", "access.idle=0s"],
            "invalid value \"0s\" for `access.idle` (from --set)",
        ),
        (
            &["--set", "access.idle=1d", "--set", "access.idle=2d"],
            "`access.idle` is set twice",
        ),
        (
            &["--set", "access.idle=10d", "--set", "access.warn_before=14d"],
            "`access.warn_before` (from --set)",
        ),
        // The warnings of the policy in effect.
        (
            &["--set", "access.idle=10d"],
            "`access.warn_before` (from the policy in effect)",
        ),
        (
            &["--set", "subscriptions.end=never"],
            "\"at_once\" or \"paid_until\"",
        ),
        (&["--set", "store.url=sqlite:x"], "unknown setting `store.url`"),
        (&["--since", "1 year"], "write days, such as 365d"),
        (
            &[
                "--since",
                "2026-01-02T00:00:00Z",
                "--until",
                "2026-01-01T00:00:00Z",
            ],
            "--since is after --until",
        ),
        (&["--partner", "a/b"], "partner"),
        (&["-o", "csv", "--json"], "cannot be used with"),
    ] {
        let output = given.tenure.call(&[&["what-if"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn the_policy_of_the_settings_is_shown_with_what_it_would_change() {
    let given = Given::events();
    let same = given.tenure.ok(&["policy", "show"]);
    assert!(!same.contains("not in effect"), "{same}");
    let shorter = given.with(&[SHORT_IDLE]);
    let shown = shorter.ok(&["policy", "show"]);
    for part in [
        "\nthe policy in these settings is not in effect:\n",
        "│ access.idle ┆ 36000d    ┆ 60d ",
        "\nif it took effect now, it would change 1 of 1 client at once: acme/bakery\n",
        ": 1 of 3 clients differs\n",
        "\n`tenure what-if` shows the clients\n",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(!shown.contains("breaker"), "{shown}");
    let lines = shorter.json(&["policy", "show"]);
    assert_eq!(each(&lines, "line"), ["policy", "settings"]);
    assert_eq!(
        lines[0]["policy"]["warn_before"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        lines[1]["at_once"],
        json!({"clients": 1, "of": 1, "first": ["acme/bakery"], "held_back": false})
    );
    assert_eq!(lines[1]["what_if"]["differ"], 1);
    assert_eq!(
        lines[1]["differing"],
        json!([{"setting": "access.idle", "in_effect": "36000d", "in_settings": "60d"}])
    );
    assert_eq!(lines[1]["withdraws"], json!([]));
}

#[test]
fn a_quick_look_at_the_policy_reads_no_client() {
    let given = Given::events();
    let shorter = given.with(&[SHORT_IDLE]);
    let shown = shorter.ok(&["policy", "show", "--quick"]);
    for part in [
        "\nthe policy in these settings is not in effect:\n",
        "│ access.idle ┆ 36000d    ┆ 60d ",
        "\nwithout --quick, this command says what it would change\n",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(!shown.contains("bakery") && !shown.contains("at once"), "{shown}");
    let lines = shorter.json(&["policy", "show", "--quick"]);
    assert_eq!(each(&lines, "line"), ["policy", "settings"]);
    assert_eq!(lines[1]["differing"][0]["setting"], "access.idle");
    assert_eq!(
        (&lines[1]["at_once"], &lines[1]["what_if"]),
        (&json!(null), &json!(null))
    );
    // The policy in effect has nothing to show.
    assert_eq!(
        given.tenure.ok(&["policy", "show", "--quick"]),
        given.tenure.ok(&["policy", "show"])
    );
}

#[tokio::test]
async fn policies_recorded_ahead_of_the_clock_are_shown() {
    let given = Given::events();
    let from = SystemClock.now() + TimeDelta::days(400);
    let ahead = Policy {
        access_idle: TimeDelta::days(90),
        ..Policy::default()
    };
    given
        .sqlite()
        .record_policy(from, &ahead, true)
        .await
        .expect("recorded");
    // The settings are those in effect: only the policy that is ahead differs.
    let shown = given.tenure.ok(&["policy", "show", "--quick"]);
    assert!(
        shown.contains("\na policy is recorded as effective from "),
        "{shown}"
    );
    assert!(shown.contains("which is ahead of this clock"), "{shown}");
    assert!(
        !shown.contains("the policy in these settings is not in effect"),
        "{shown}"
    );
    let lines = given.tenure.json(&["policy", "show", "--quick"]);
    assert_eq!(each(&lines, "line"), ["policy", "policy", "settings"]);
    assert_eq!(lines[2]["withdraws"], json!([lines[1]["from"]]));
    assert_eq!(lines[2]["differing"], json!([]));
}
