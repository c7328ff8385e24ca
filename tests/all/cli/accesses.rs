//! `tenure accesses`: the access log of a client.

use super::{Given, code, each, stderr};
use crate::support::tenure::Tenure;

/// So long that the entries of the tests do not expire.
const ON: (&str, &str) = ("TENURE_ACCESS__LOG", "36000d");

const ENTERED: &str = r#"
{"specversion":"1.0","id":"91","source":"/account","type":"account.accessed","subject":"acme/bakery","time":"2025-01-21T10:00:00Z","actor":"ann","actorkind":"partner","data":{"user":"u-1"}}
{"specversion":"1.0","id":"92","source":"/account","type":"account.accessed","subject":"acme/bakery","time":"2025-01-22T10:00:00Z","data":{"by":"staff"}}
{"specversion":"1.0","id":"93","source":"/space","type":"access.disabled","subject":"acme/bakery","time":"2025-01-23T10:00:00Z"}
{"specversion":"1.0","id":"94","source":"/account","type":"account.accessed","subject":"acme/bakery","time":"2025-01-24T10:00:00Z"}
"#;

/// The three clients, whose access log is on from then on.
fn given() -> (Given, Tenure) {
    let given = Given::events();
    let tenure = given.with(&[ON]);
    std::fs::write(given.folder.path().join("entered.ndjson"), ENTERED).expect("a file");
    tenure.ok(&["ingest", "entered.ndjson"]);
    (given, tenure)
}

#[test]
fn accesses_prints_who_entered() {
    let (_given, tenure) = given();
    insta::assert_snapshot!(tenure.ok(&["accesses", "acme/bakery"]), @r"
    ┌──────────────────────┬─────────────┬─────────┬──────┬─────────────┬───────────┬──────────┬────┐
    │ time                 ┆ client      ┆ by      ┆ user ┆ actor       ┆ refusal   ┆ source   ┆ id │
    ╞══════════════════════╪═════════════╪═════════╪══════╪═════════════╪═══════════╪══════════╪════╡
    │ 2025-01-24T10:00:00Z ┆ acme/bakery ┆ partner ┆ -    ┆ -           ┆ no_access ┆ /account ┆ 94 │
    │ 2025-01-22T10:00:00Z ┆ acme/bakery ┆ staff   ┆ -    ┆ -           ┆ -         ┆ /account ┆ 92 │
    │ 2025-01-21T10:00:00Z ┆ acme/bakery ┆ partner ┆ u-1  ┆ partner ann ┆ -         ┆ /account ┆ 91 │
    └──────────────────────┴─────────────┴─────────┴──────┴─────────────┴───────────┴──────────┴────┘
    the access log stores entries for 36000d; no worker has been started with it yet, so it is unknown when it was switched on
    ");
    let listed = |args: &[&str]| {
        let listed = tenure.json(&[&["accesses", "acme/bakery"], args].concat());
        each(&listed, "id").join(" ")
    };
    assert_eq!(listed(&[]), "94 92 91");
    assert_eq!(listed(&["--limit", "2"]), "94 92");
    let all = |args: &[&str]| each(&tenure.json(&[&["accesses"], args].concat()), "id").join(" ");
    assert_eq!(all(&[]), "94 92 91");
    assert_eq!(all(&["--partner", "acme", "--limit", "1"]), "94");
    assert_eq!(all(&["--partner", "best"]), "");
    let both = tenure.call(&["accesses", "acme/bakery", "--partner", "acme"]);
    assert_eq!(code(&both), 2, "{}", stderr(&both));
    assert_eq!(listed(&["--since", "2025-01-22T10:00:00Z"]), "94 92");
    assert_eq!(listed(&["--until", "2025-01-22T10:00:00Z"]), "91");
    let output = tenure.call(&["accesses", "acme/nobody"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("unknown client acme/nobody"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        code(&tenure.call(&["accesses", "acme/bakery", "--since", "May"])),
        2
    );
    let empty = tenure.ok(&["accesses", "acme/mill"]);
    assert!(empty.contains("stores entries for 36000d"), "{empty}");
}

#[test]
fn accesses_says_since_when_the_access_log_is_on() {
    let (given, tenure) = given();
    assert!(tenure.run().stop().success());
    let on = tenure.ok(&["accesses", "acme/bakery"]);
    assert!(on.contains("and has been on since 2"), "{on}");
    // Switched off, and on again.
    assert!(given.tenure.run().stop().success());
    let on = tenure.ok(&["accesses", "acme/bakery"]);
    assert!(on.contains("no worker has been started with it"), "{on}");
}

#[test]
fn accesses_says_that_the_access_log_is_off() {
    let given = Given::events();
    let off = given.tenure.ok(&["accesses", "acme/bakery"]);
    assert!(
        off.contains("the access log is off in these settings") && off.contains("set access.log"),
        "{off}"
    );
    let output = given.tenure.call(&["accesses", "acme/bakery", "--json"]);
    assert_eq!((code(&output), output.stdout.len()), (0, 0));
    assert!(
        stderr(&output).contains("the access log is off"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn prune_removes_the_access_log_that_was_switched_off() {
    let (given, tenure) = given();
    assert_eq!(tenure.json(&["prune"])[0]["accesses"], 0);
    let off = given.tenure.ok(&["accesses", "acme/bakery"]);
    assert!(off.contains("94") && off.contains("removes all entries"), "{off}");
    assert_eq!(given.tenure.json(&["prune", "--dry-run"])[0]["accesses"], 3);
    let removed = given.tenure.ok(&["prune"]);
    assert!(removed.contains("3 entries of the access log"), "{removed}");
    assert!(tenure.json(&["accesses", "acme/bakery"]).is_empty());
}
