//! `tenure client show|list`.

use serde_json::json;

use super::{Given, code, each, stderr, stdout};

#[test]
fn client_show_prints_a_table_of_fields() {
    let given = Given::events();
    insta::assert_snapshot!(given.tenure.ok(&["client", "show", "acme/bakery"]), @r"
    ┌────────────────────┬───────────────────────────────────────────────────────┐
    │ field              ┆ value                                                 │
    ╞════════════════════╪═══════════════════════════════════════════════════════╡
    │ partner            ┆ acme                                                  │
    │ client             ┆ bakery                                                │
    │ name               ┆ Bluebird Bakery                                       │
    │ link               ┆ active                                                │
    │ service            ┆ active                                                │
    │ access             ┆ enabled                                               │
    │ access_request     ┆ -                                                     │
    │ expires_at         ┆ 2123-08-15T10:00:00Z                                  │
    │ connected          ┆ yes                                                   │
    │ billable           ┆ yes                                                   │
    │ visible            ┆ yes                                                   │
    │ retrieving         ┆ yes                                                   │
    │ commission         ┆ yes                                                   │
    │ status_credit      ┆ yes                                                   │
    │ tab                ┆ active                                                │
    │ on_client_list     ┆ yes                                                   │
    │ origin             ┆ added                                                 │
    │ invitation         ┆ -                                                     │
    │ view_as_client     ┆ data                                                  │
    │ assignable         ┆ yes                                                   │
    │ subscriptions      ┆ id s-1, status active, managed_by partner, plan books │
    │ assignments        ┆ a-1                                                   │
    │ former_assignments ┆ -                                                     │
    │ report_schedules   ┆ -                                                     │
    │ margin_rules       ┆ -                                                     │
    │ users              ┆ -                                                     │
    │ integrations       ┆ -                                                     │
    │ account_id         ┆ -                                                     │
    │ handover           ┆ none                                                  │
    │ jobs_total         ┆ -                                                     │
    │ last_accessed_at   ┆ 2025-01-20T10:00:00Z                                  │
    │ holds_until        ┆ 2123-08-01T10:00:00Z                                  │
    │ as_of              ┆ 2025-01-20T10:00:00Z                                  │
    │ version            ┆ 1                                                     │
    └────────────────────┴───────────────────────────────────────────────────────┘
    ");
}

#[test]
fn client_show_prints_an_object_with_json() {
    let given = Given::events();
    let shown = given.tenure.json(&["client", "show", "acme/bakery"]);
    assert_eq!(
        shown,
        [json!({
            "partner": "acme", "client": "bakery", "name": "Bluebird Bakery",
            "link": "active", "service": "active", "access": "enabled",
            "access_request": null, "expires_at": "2123-08-15T10:00:00Z",
            "connected": true, "billable": true, "visible": true, "retrieving": true,
            "commission": true, "status_credit": true, "tab": "active", "on_client_list": true, "origin": "added",
            "invitation": null, "view_as_client": "data", "assignable": true,
            "subscriptions": [{
                "id": "s-1", "status": "active", "managed_by": "partner", "plan": "books",
                "paid_until": null, "ended_at": null,
            }],
            "assignments": ["a-1"], "former_assignments": [], "report_schedules": [], "margin_rules": [],
            "users": [], "integrations": [], "account_id": null, "handover": "none",
            "jobs_total": null, "last_accessed_at": "2025-01-20T10:00:00Z",
            "holds_until": "2123-08-01T10:00:00Z", "as_of": "2025-01-20T10:00:00Z", "version": 1,
        })]
    );
    // In the order in which people read the fields.
    let line = given.tenure.ok(&["client", "show", "acme", "bakery", "--json"]);
    assert!(
        line.starts_with(r#"{"partner":"acme","client":"bakery","name":"#),
        "{line}"
    );
}

#[test]
fn client_show_prints_the_journal_up_to_the_moment_shown() {
    let given = Given::events();
    let at = [
        "client",
        "show",
        "acme/bakery",
        "--at",
        "2025-01-08T09:30:00Z",
        "--journal",
    ];
    let both = given.tenure.ok(&at);
    let (card, journal) = both.split_at(both.rfind('┌').expect("two tables"));
    assert!(
        card.contains("│ service            ┆ pending_assigning"),
        "{card}"
    );
    assert!(card.contains("│ last_accessed_at   ┆ - "), "{card}");
    insta::assert_snapshot!(journal, @r"
    ┌──────────────────────┬───────────────────────────┬───────────────────────┬─────────────────────┬───┐
    │ time                 ┆ change                    ┆ detail                ┆ cause               ┆   │
    ╞══════════════════════╪═══════════════════════════╪═══════════════════════╪═════════════════════╪═══╡
    │ 2025-01-06T09:00:00Z ┆ link.draft                ┆ draft                 ┆ client.added        ┆   │
    │ 2025-01-06T09:00:00Z ┆ client.named              ┆ Bluebird Bakery       ┆ client.added        ┆   │
    │ 2025-01-06T09:00:00Z ┆ service.pending_assigning ┆ pending_assigning     ┆ client.added        ┆   │
    │ 2025-01-06T09:00:00Z ┆ visibility.started        ┆                       ┆ client.added        ┆   │
    │ 2025-01-06T09:10:00Z ┆ subscription.prepared     ┆ s-1 prepared          ┆ subscription.added  ┆   │
    │ 2025-01-07T09:00:00Z ┆ link.invited              ┆ draft → invited       ┆ client.invited      ┆   │
    │ 2025-01-07T09:00:00Z ┆ invitation.sent           ┆                       ┆ client.invited      ┆   │
    │ 2025-01-08T09:00:00Z ┆ link.active               ┆ invited → active      ┆ invitation.accepted ┆   │
    │ 2025-01-08T09:00:00Z ┆ access.enabled            ┆ none → enabled        ┆ invitation.accepted ┆   │
    │ 2025-01-08T09:00:00Z ┆ invitation.step_completed ┆ accepted              ┆ invitation.accepted ┆   │
    │ 2025-01-08T09:00:00Z ┆ subscription.started      ┆ s-1 prepared → active ┆ invitation.accepted ┆   │
    │ 2025-01-08T09:00:00Z ┆ commission.started        ┆                       ┆ invitation.accepted ┆   │
    │ 2025-01-08T09:00:00Z ┆ status_credit.granted     ┆                       ┆ invitation.accepted ┆   │
    └──────────────────────┴───────────────────────────┴───────────────────────┴─────────────────────┴───┘
    ");

    let lines = given.tenure.json(&at);
    assert_eq!(lines[0]["link"], "active");
    assert_eq!(lines[0]["service"], "pending_assigning");
    let mut link_active = lines[8].clone();
    let recorded = link_active
        .as_object_mut()
        .and_then(|line| line.remove("recorded"));
    assert!(recorded.is_some_and(|recorded| recorded.is_string()));
    assert_eq!(
        link_active,
        json!({
            "sequence": 8, "subject": "acme/bakery", "type": "link.active", "from": "invited", "to": "active",
            "time": "2025-01-08T09:00:00Z",
            "cause": { "source": "/space", "id": "4", "type": "invitation.accepted" }, "correction": false,
        })
    );
    let whole = given.tenure.json(&["client", "show", "acme/bakery", "--journal"]);
    assert_eq!(
        lines[1..],
        whole[1..lines.len()],
        "the beginning of the whole journal"
    );
    assert!(whole.len() > lines.len());
}

#[test]
fn a_future_moment_shows_the_effects_of_timers() {
    let given = Given::events();
    let then = |at: &str| {
        given
            .tenure
            .json(&["client", "show", "acme/bakery", "--at", at])
            .remove(0)
    };
    assert_eq!(then("2123-08-15T09:59:59Z")["access"], "enabled");
    assert_eq!(then("2123-08-15T10:00:00Z")["access"], "expired");
    assert_eq!(then("2025-01-07T00:00:00+01:00")["link"], "draft");
    assert_eq!(
        given.tenure.json(&["client", "show", "acme/bakery"])[0]["access"],
        "enabled"
    );
}

#[test]
fn an_unknown_client_is_a_failure() {
    let given = Given::events();
    for (args, sentence) in [
        (
            &["client", "show", "acme/nobody"][..],
            "tenure: unknown client acme/nobody; `tenure client list` lists the clients\n",
        ),
        (
            &["client", "show", "acme/mill", "--at", "2025-01-06T10:59:59Z"],
            "tenure: client acme/mill did not exist at 2025-01-06T10:59:59Z\n",
        ),
    ] {
        for more in [&[][..], &["--json"], &["--journal"]] {
            let output = given.tenure.call(&[args, more].concat());
            assert_eq!(code(&output), 1);
            assert_eq!(stdout(&output), "");
            assert_eq!(stderr(&output), sentence);
        }
    }
}

#[test]
fn client_list_prints_a_table() {
    let given = Given::events();
    insta::assert_snapshot!(given.tenure.ok(&["client", "list"]), @r"
    ┌─────────────┬─────────────────┬──────────┬───────────────────┬─────────┬──────────────────────┬──────────────────────┐
    │ client      ┆ name            ┆ link     ┆ service           ┆ access  ┆ expires              ┆ last accessed        │
    ╞═════════════╪═════════════════╪══════════╪═══════════════════╪═════════╪══════════════════════╪══════════════════════╡
    │ acme/bakery ┆ Bluebird Bakery ┆ active   ┆ active            ┆ enabled ┆ 2123-08-15T10:00:00Z ┆ 2025-01-20T10:00:00Z │
    │ acme/mill   ┆ Old Mill        ┆ archived ┆ pending_assigning ┆ none    ┆ -                    ┆ -                    │
    │ best/forge  ┆ Forge           ┆ draft    ┆ terminated        ┆ none    ┆ -                    ┆ -                    │
    └─────────────┴─────────────────┴──────────┴───────────────────┴─────────┴──────────────────────┴──────────────────────┘
    3 clients
    ");
}

#[test]
fn client_list_prints_clients_that_match_all_filters() {
    let given = Given::events();
    for (filters, found) in [
        (&[][..], &["bakery", "mill", "forge"][..]),
        (&["--partner", "acme"], &["bakery", "mill"]),
        (&["--partner", "nobody"], &[]),
        (&["--link", "active"], &["bakery"]),
        (&["--link", "archived"], &["mill"]),
        (&["--link", "draft"], &["forge"]),
        (&["--service", "active"], &["bakery"]),
        (&["--service", "terminated"], &["forge"]),
        (&["--service", "all_active"], &["bakery", "mill"]),
        (&["--access", "enabled"], &["bakery"]),
        (&["--access", "none"], &["mill", "forge"]),
        (&["--tab", "active"], &["bakery"]),
        (&["--tab", "inactive"], &["mill", "forge"]),
        (&["--tab", "inactive", "--partner", "best"], &["forge"]),
        (&["--tab", "inactive", "--link", "active"], &[]),
        (&["--limit", "2"], &["bakery", "mill"]),
    ] {
        let listed = given.tenure.json(&[&["client", "list"], filters].concat());
        assert_eq!(each(&listed, "client"), found, "{filters:?}");
        let table = given.tenure.ok(&[&["client", "list"], filters].concat());
        assert!(
            table.ends_with(&match found.len() {
                1 => "\n1 client\n".to_owned(),
                number => format!("\n{number} clients\n"),
            }),
            "{filters:?}: {table}"
        );
    }
}

#[tokio::test]
async fn only_a_worker_puts_a_new_policy_into_effect_and_other_commands_warn() {
    use tenure::store::{PolicyHistory as _, Upkeep as _};
    let given = Given::events();
    let other = given.with(&[("TENURE_INVITATIONS__STALLED_AFTER", "3d")]);
    let store = given.sqlite();
    for args in [
        &["client", "list"][..],
        &["client", "show", "acme/bakery"],
        &["dead", "list"],
        &["dead", "show", "1"],
        &["dead", "discard", "1"],
        &["verify"],
        &["ingest", "events.ndjson"],
        &["sweep", "preview", "access-expiry"],
        &["sweep", "run", "access-expiry"],
    ] {
        let output = other.call(args);
        assert_eq!(code(&output), 0, "{args:?}");
        let warning = stderr(&output);
        assert!(
            warning.contains("differs from the one in effect"),
            "{args:?}: {warning}"
        );
        assert!(!stdout(&output).contains("in effect"), "{args:?}");
        assert_eq!(stderr(&given.tenure.call(&["verify"])), "");
    }
    assert_eq!(store.policies().await.expect("policies").len(), 1);
    assert!(other.run().stop().success());
    assert_eq!(store.policies().await.expect("policies").len(), 2);
    store.close().await;
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let given = Given::events();
    for args in [
        &["client", "list"][..],
        &["client", "list", "--json"],
        &["client", "show", "acme/bakery", "--journal"],
        &["dead", "list"],
        &["config"],
        &["verify"],
        &["ingest", "events.ndjson"],
        &["--help"],
    ] {
        assert_eq!(given.tenure.unread(args).code(), Some(0), "{args:?}");
    }
    let unknown = given.tenure.unread(&["client", "show", "acme/nobody"]);
    assert_eq!(unknown.code(), Some(1));
}
