//! `tenure why`.

use serde_json::json;

use super::{Given, code, each, stderr};

#[test]
fn an_explanation_has_causes_and_what_would_change_it() {
    let given = Given::events();
    let text = given
        .tenure
        .ok(&["why", "acme/bakery", "access", "--at", "2025-03-01T00:00:00Z"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..10],
        [
            "access at 2025-03-01T00:00:00Z: enabled",
            "  Access has been enabled since 8 January 2025 at 09:00 UTC, when the client accepted the invitation. It expires on \
             15 August 2123 at 10:00 UTC, 36000 days after the partner entered the account.",
            "  It rests on:",
            "    - On 6 January 2025 at 09:00 UTC, the partner added the client (client.added, event 1 of /space).",
            "    - On 7 January 2025 at 09:00 UTC, the partner invited the client (client.invited, event 3 of /space).",
            "    - On 8 January 2025 at 09:00 UTC, the client accepted the invitation (invitation.accepted, event 4 of /space).",
            "    - On 20 January 2025 at 10:00 UTC, the partner entered the account (account.accessed).",
            "    - The policy has access.idle = 36000 days. With 72000 days, the answer would be different.",
            "    - The policy has access.from_account_update = false. With true, the answer would be different.",
            "  What would change it:",
        ],
        "{text}"
    );
    assert_eq!(
        lines[10],
        "    - On 15 August 2123 at 10:00 UTC, access expires, unless an event comes before."
    );

    let all = given.tenure.json(&["why", "acme", "mill"]);
    assert_eq!(
        each(&all, "answer"),
        [
            "link",
            "service",
            "access",
            "billable",
            "commission",
            "status_credit",
            "connected",
            "visible",
            "retrieving",
            "on_client_list",
            "tab",
            "view_as_client",
        ]
    );
    assert_eq!(
        all[0]["sentence"],
        "The link has been archived since 2 February 2025 at 09:00 UTC, when the partner archived the client."
    );
    assert_eq!(all[3]["value"], json!({"status": "no"}));
    assert_eq!(all[3]["sentence"], "The client was never billable.");
    // From an archived link, four events lead to commission.
    let turns = all[4]["turns"].as_array().expect("a list");
    assert_eq!(turns.len(), 1, "{turns:?}");
    assert_eq!(
        turns[0]["sentence"],
        "If the partner invites the client (client.invited), the client accepts the invitation (invitation.accepted), the \
         client completes onboarding (onboarding.completed), and the client grants consent (consent.granted), the partner \
         earns commission."
    );
    assert_eq!(
        all[10]["sentence"],
        "The client has been on the inactive tab since 6 January 2025 at 11:00 UTC, when the partner added the client."
    );
    let one = given.tenure.json(&["why", "acme", "bakery", "subscription:s-1"]);
    assert_eq!(
        one[0]["value"],
        json!({"status": "active", "managed_by": "partner", "plan": "books"})
    );
}

#[test]
fn a_wrong_question_says_what_to_ask() {
    let given = Given::events();
    for (arguments, expected, message) in [
        (
            &["why", "acme/bakery", "entry"][..],
            2,
            "invalid answer \"entry\": expected link, service, access, billable, commission, status_credit, connected",
        ),
        (
            &["why", "acme/bakery", "link", "access"],
            2,
            "unexpected argument \"access\"",
        ),
        (&["why", "acme"], 2, "acme"),
        (&["why", "acme/nobody"], 1, "unknown client acme/nobody"),
    ] {
        let output = given.tenure.call(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}
