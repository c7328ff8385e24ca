//! `tenure history`.

use super::{Given, code, each, stderr};

#[test]
fn a_history_is_a_story_past_and_to_come() {
    let given = Given::events();
    let table = given
        .tenure
        .ok(&["history", "acme/bakery", "--until", "2123-09-01T00:00:00Z"]);
    for part in [
        "│ 2025-01-06T09:00:00Z ┆ client.added ",
        "link.draft",
        "subscription.prepared s-1 prepared",
        "subscription.started s-1 prepared → active",
        "│ 2025-01-20T10:00:00Z ┆ account.accessed ",
        "┆ timer access_expiry, expected  ┆ access.expired enabled → expired ",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    let entries = given.tenure.json(&["history", "acme", "bakery"]);
    assert_eq!(entries.len(), 6);
    assert_eq!(each(&entries, "kind"), ["event"; 6]);
    assert_eq!(entries[5]["event"]["type"], "account.accessed");

    let refused = given.tenure.ok(&["history", "best/forge"]);
    assert!(refused.contains("refused: not_linked"), "{refused}");
    let taken = r#"{"specversion":"1.0","id":"14","source":"/space","type":"client.renamed","subject":"acme/mill","time":"2025-04-01T09:00:00Z","data":{"name":"bluebird bakery"}}"#;
    std::fs::write(given.folder.path().join("taken.ndjson"), taken).expect("a file");
    given.tenure.ok(&["ingest", "taken.ndjson"]);
    let refused = given.tenure.ok(&["history", "acme/mill"]);
    assert!(
        refused.contains("event.refused name_taken (bakery has it)"),
        "{refused}"
    );
    let unknown = given.tenure.call(&["history", "acme/nobody"]);
    assert_eq!(code(&unknown), 1);
    assert!(stderr(&unknown).contains("unknown client acme/nobody"));
}
