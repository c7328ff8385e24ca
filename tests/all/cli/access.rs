//! `tenure access`.

use serde_json::json;

use super::{Given, code, each, stderr};

#[test]
fn access_decides_for_several_clients() {
    let given = Given::events();
    let lines = given.tenure.json(&[
        "access",
        "acme/bakery",
        "acme/mill",
        "acme/nobody",
        "--at",
        "2025-01-20T10:00:00Z",
    ]);
    assert_eq!(each(&lines, "client"), ["bakery", "mill", "nobody"]);
    assert_eq!(each(&lines, "allowed"), ["true", "false", "false"]);
    assert_eq!(
        each(&lines, "reason"),
        ["access_enabled", "access_none", "unknown_client"]
    );
    assert_eq!(
        lines[1],
        json!({
            "partner": "acme", "client": "mill", "allowed": false, "reason": "access_none", "role": null, "forbidden": [],
            "expires_at": null, "holds_until": null, "decided_at": "2025-01-20T10:00:00Z", "assured": true, "silent_source": null,
        })
    );
    let cancel = ["access", "acme/bakery", "--action", "account_cancel"];
    assert_eq!(each(&given.tenure.json(&cancel), "reason"), ["action_forbidden"]);
    let table = given
        .tenure
        .ok(&["access", "acme/bakery", "--at", "2025-01-20T10:00:00Z"]);
    insta::assert_snapshot!(table, @r"
    ┌─────────────┬─────────┬────────────────┬──────────────────────┬──────────────────────┬─────────┬──────────────────────┐
    │ client      ┆ allowed ┆ reason         ┆ expires              ┆ holds until          ┆ assured ┆ decided at           │
    ╞═════════════╪═════════╪════════════════╪══════════════════════╪══════════════════════╪═════════╪══════════════════════╡
    │ acme/bakery ┆ yes     ┆ access_enabled ┆ 2123-08-15T10:00:00Z ┆ 2123-08-15T10:00:00Z ┆ yes     ┆ 2025-01-20T10:00:00Z │
    └─────────────┴─────────┴────────────────┴──────────────────────┴──────────────────────┴─────────┴──────────────────────┘
    ");
}

#[test]
fn access_decides_for_an_account() {
    let given = Given::events();
    let created = r#"{"specversion":"1.0","id":"90","source":"/account","type":"account.created","subject":"acme/bakery","time":"2025-01-21T10:00:00Z","data":{"account_id":"acc-1"}}"#;
    std::fs::write(given.folder.path().join("created.ndjson"), created).expect("a file");
    given.tenure.ok(&["ingest", "created.ndjson"]);
    for (account, client, reason) in [
        ("acc-1", json!("bakery"), "access_enabled"),
        ("acc-2", json!(null), "unknown_account"),
    ] {
        let lines = given
            .tenure
            .json(&["access", "--partner", "acme", "--account", account]);
        assert_eq!(lines[0]["client"], client);
        assert_eq!(lines[0]["reason"], reason);
    }
}

#[test]
fn access_rejects_what_is_no_question() {
    let given = Given::events();
    for (args, words) in [
        (&["access"][..], "PARTNER/CLIENT"),
        (&["access", "acme"], "`acme`"),
        (
            &["access", "acme/bakery", "--action", "acount_cancel"],
            "`account_cancel`",
        ),
        (&["access", "--account", "acc-1"], "--partner"),
        (
            &["access", "acme/bakery", "--account", "acc-1", "--partner", "acme"],
            "--account",
        ),
    ] {
        let output = given.tenure.call(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
    let listed = given.with(&[("TENURE_ACCESS__ACTIONS", "invoice_create")]);
    let output = listed.call(&["access", "acme/bakery", "--action", "invoice_delete"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("`access.actions`"),
        "{}",
        stderr(&output)
    );
    listed.ok(&["access", "acme/bakery", "--action", "invoice_create"]);
    listed.ok(&["access", "acme/bakery", "--action", "account_cancel"]);
}
