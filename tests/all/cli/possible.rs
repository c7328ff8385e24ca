//! `tenure possible`.

use serde_json::json;

use super::{Given, each};

#[test]
fn possible_lists_every_event_type_for_any_moment() {
    let given = Given::events();
    let table = given.tenure.ok(&["possible", "acme/bakery"]);
    let row = |kind: &str| {
        let line = table.lines().find(|line| line.contains(&format!("│ {kind} ")));
        line.unwrap_or_else(|| panic!("{kind} in {table}")).to_owned()
    };
    assert!(row("client.archived").contains("┆ yes "), "{table}");
    assert!(
        row("client.invited").contains("the client is already linked"),
        "{table}"
    );
    assert!(row("account.accessed by staff").contains("┆ customer"), "{table}");
    let last = table.lines().last().expect("a summary");
    assert!(last.starts_with("acme/bakery at 2"), "{last}");

    let before = ["possible", "acme", "bakery", "--at", "2025-01-06T08:00:00Z"];
    let events = given.tenure.json(&before);
    let possible: Vec<_> = events
        .iter()
        .filter(|event| event["possible"] == true)
        .cloned()
        .collect();
    assert_eq!(each(&possible, "type"), ["client.added"]);
    let invited = events.iter().find(|event| event["type"] == "client.invited");
    assert_eq!(
        invited,
        Some(&json!({
            "type": "client.invited", "data": {}, "side": "partner", "possible": false, "refusal": "unknown_client",
            "reason": "the client was never added, or is deleted",
        }))
    );
}
