//! `tenure partners`, `tenure account`, `tenure refusals`, and the filters of `tenure client list`.

use super::{Given, code, each, stderr};

fn given() -> Given {
    let given = Given::events();
    let more = r#"
{"specversion":"1.0","id":"91","source":"/account","type":"account.created","subject":"acme/bakery","time":"2025-01-21T10:00:00Z","data":{"account_id":"acc-1"}}
{"specversion":"1.0","id":"92","source":"/space","type":"access.disabled","subject":"acme/bakery","time":"2025-01-22T10:00:00Z"}
{"specversion":"1.0","id":"93","source":"/space","type":"access.requested","subject":"acme/bakery","time":"2025-01-23T10:00:00Z"}
"#;
    std::fs::write(given.folder.path().join("more.ndjson"), more).expect("a file");
    given.tenure.ok(&["ingest", "more.ndjson"]);
    given
}

#[test]
fn client_list_finds_clients_by_any_field() {
    let given = given();
    for (filters, found) in [
        (&["--prefix", "b"][..], &["bakery"][..]),
        (&["--name", "MILL"], &["mill"]),
        (&["--name", "r"], &["bakery", "forge"]),
        (&["--requested"], &["bakery"]),
        (&["--billable", "true"], &["bakery"]),
        (&["--visible", "false"], &["forge"]),
        (&["--account", "acc-1"], &["bakery"]),
        (&["--expires-before", "2999-01-01T00:00:00Z"], &[]),
    ] {
        let listed = given.tenure.json(&[&["client", "list"], filters].concat());
        assert_eq!(each(&listed, "client"), found, "{filters:?}");
    }
    let output = given.tenure.call(&["client", "list", "--name", " "]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn client_list_counts_clients_by_status() {
    let given = given();
    insta::assert_snapshot!(given.tenure.ok(&["client", "list", "--partner", "acme", "--count"]), @r"
    ┌─────────┬───────────────────┬─────────┐
    │ facet   ┆ status            ┆ clients │
    ╞═════════╪═══════════════════╪═════════╡
    │ link    ┆ active            ┆ 1       │
    │ link    ┆ archived          ┆ 1       │
    │ service ┆ active            ┆ 1       │
    │ service ┆ pending_assigning ┆ 1       │
    │ access  ┆ disabled          ┆ 1       │
    │ access  ┆ none              ┆ 1       │
    └─────────┴───────────────────┴─────────┘
    2 clients
    ");
    let counts = given
        .tenure
        .json(&["client", "list", "--link", "archived", "--count"]);
    assert_eq!(counts[0]["clients"], 1);
    assert_eq!(counts[0]["link"]["archived"], 1);
}

#[test]
fn partners_prints_counts_by_status() {
    let given = given();
    insta::assert_snapshot!(given.tenure.ok(&["partners"]), @r"
    ┌─────────┬─────────┬──────────────────────┬───────────────────────────────┬────────────────────┐
    │ partner ┆ clients ┆ link                 ┆ service                       ┆ access             │
    ╞═════════╪═════════╪══════════════════════╪═══════════════════════════════╪════════════════════╡
    │ acme    ┆ 2       ┆ active 1, archived 1 ┆ active 1, pending_assigning 1 ┆ disabled 1, none 1 │
    │ best    ┆ 1       ┆ draft 1              ┆ terminated 1                  ┆ none 1             │
    └─────────┴─────────┴──────────────────────┴───────────────────────────────┴────────────────────┘
    2 partners
    ");
    let listed = given.tenure.json(&["partners", "--limit", "1"]);
    assert_eq!(each(&listed, "partner"), ["acme"]);
    assert_eq!(listed[0]["link"]["archived"], 1);
}

#[test]
fn account_prints_its_partners() {
    let given = given();
    let listed = given.tenure.json(&["account", "acc-1"]);
    assert_eq!(each(&listed, "client"), ["bakery"]);
    assert_eq!(listed[0]["access_request"], "2025-01-23T10:00:00Z");
    assert!(given.tenure.json(&["account", "acc-2"]).is_empty());
    let table = given.tenure.ok(&["account", "acc-1"]);
    assert!(table.contains("acme/bakery"), "{table}");
}

#[test]
fn refusals_prints_refused_events() {
    let given = given();
    insta::assert_snapshot!(given.tenure.ok(&["refusals"]), @r"
    ┌──────────────────────┬────────────┬─────────────┬────────────┬─────────────────────────────────────┬────────┬────┐
    │ time                 ┆ client     ┆ type        ┆ code       ┆ reason                              ┆ source ┆ id │
    ╞══════════════════════╪════════════╪═════════════╪════════════╪═════════════════════════════════════╪════════╪════╡
    │ 2025-03-02T11:00:00Z ┆ best/forge ┆ client.lost ┆ not_linked ┆ the link's status does not allow it ┆ /space ┆ 12 │
    └──────────────────────┴────────────┴─────────────┴────────────┴─────────────────────────────────────┴────────┴────┘
    1 refusal
    ");
    let csv = given.tenure.ok(&["refusals", "-o", "csv"]);
    assert!(
        csv.starts_with("time,client,type,code,reason,source,id\r\n")
            && csv.contains(",not_linked,the link's status does not allow it,"),
        "{csv}"
    );
    let listed = given.tenure.json(&["refusals"]);
    assert_eq!(listed[0]["reason"], "the link's status does not allow it");
    let found = |args: &[&str]| given.tenure.json(&[&["refusals"], args].concat()).len();
    assert_eq!(found(&["--code", "not_linked", "--source", "/space"]), 1);
    assert_eq!(found(&["--code", "name_taken"]), 0);
    assert_eq!(found(&["--from", "2025-03-03T00:00:00Z"]), 0);
    assert_eq!(found(&["--until", "2025-03-03T00:00:00Z", "--limit", "5"]), 1);
    let output = given.tenure.call(&["refusals", "--code", "no"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("not_linked"), "{}", stderr(&output));
}
