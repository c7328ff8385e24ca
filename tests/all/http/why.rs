//! Why answers about a client are as they are, over HTTP.

use super::*;

const PATH: &str = "/v1/partners/acme/clients/bakery/why";

/// The only explanation of a response.
fn only(body: &Value) -> &Value {
    let answers = body["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 1, "{body}");
    &answers[0]
}

fn sentences(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|one| one["sentence"].as_str().unwrap()).collect()
}

async fn why(server: &Server, query: &str) -> Value {
    let (status, body) = server.get(&format!("{PATH}?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn access_that_expires_rests_on_the_last_entry() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let entered = noon() - TimeDelta::minutes(10);
    server
        .send(&[event("bakery", "account.accessed", entered, json!({}))])
        .await;
    let body = why(&server, "answer=access").await;
    let access = only(&body);
    assert_eq!(
        access["sentence"],
        "Access has been enabled since 1 March 2026 at 11:00 UTC, when the client accepted the invitation. It expires on \
         30 April 2026 at 11:50 UTC, 60 days after the partner entered the account."
    );
    assert_eq!(
        access["value"],
        json!({"status": "enabled", "expires_at": "2026-04-30T11:50:00Z"})
    );
    let causes = sentences(&access["causes"]);
    assert_eq!(causes.len(), 6, "{causes:#?}");
    assert_eq!(
        causes[3..],
        [
            "On 1 March 2026 at 11:50 UTC, the partner entered the account (account.accessed).",
            "The policy has access.idle = 60 days. With 120 days, the answer would be different.",
            "The policy has access.from_account_update = false. With true, the answer would be different.",
        ]
    );
    assert_eq!(access["supporting"], json!([]));
    let turns = sentences(&access["turns"]);
    assert_eq!(
        turns[0],
        "On 30 April 2026 at 11:50 UTC, access expires, unless an event comes before."
    );
    for turn in [
        "If the partner enters the account (account.accessed), access expires 60 days after that.",
        "If the customer disables access (access.disabled), access becomes disabled.",
        "If the partner archives the client (client.archived), the partner has no access.",
    ] {
        assert!(turns.contains(&turn), "{turn} in {turns:#?}");
    }

    let later = why(&server, "answer=access&at=2026-05-01T00:00:00Z").await;
    let later = only(&later);
    assert_eq!(
        later["sentence"],
        "Access has been expired since 30 April 2026 at 11:50 UTC, 60 days after the partner entered the account."
    );
    // The entry is no cause: without it, access would have expired earlier.
    assert_eq!(later["causes"][3]["timer"], "access_expiry");
    assert_eq!(
        later["causes"][3]["sentence"],
        "On 30 April 2026 at 11:50 UTC, access expired, 60 days after the partner entered the account."
    );
}

#[tokio::test]
async fn disabled_access_rests_on_the_customer_and_a_request_would_turn_it() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let mut disabled = event(
        "bakery",
        "access.disabled",
        noon() - TimeDelta::minutes(30),
        json!({}),
    );
    disabled["actor"] = "eve".into();
    disabled["actorkind"] = "customer".into();
    server.send(&[disabled]).await;
    // Refused: it is disabled already.
    let again = event(
        "bakery",
        "access.disabled",
        noon() - TimeDelta::minutes(20),
        json!({}),
    );
    assert_eq!(server.send(&[again]).await, ["refused"]);
    let body = why(&server, "answer=access").await;
    let access = only(&body);
    assert_eq!(
        access["sentence"],
        "Access has been disabled since 1 March 2026 at 11:30 UTC, when the customer disabled access."
    );
    assert_eq!(access["since"], "2026-03-01T11:30:00Z");
    // Without the first event, the second one would disable access.
    let supporting = &access["supporting"];
    assert_eq!(supporting[0]["event"]["actor"], "eve");
    let supporting = sentences(supporting);
    assert_eq!(supporting.len(), 1);
    assert!(
        supporting[0].starts_with(
            "On 1 March 2026 at 11:30 UTC, the customer disabled access (access.disabled, event bakery-access.disabled-"
        ) && supporting[0]
            .ends_with("of /test, by customer eve). Without it, other events lead to the same answer."),
        "{supporting:?}"
    );
    let turns = sentences(&access["turns"]);
    for turn in [
        "If the customer enables access (access.enabled), access becomes enabled.",
        "If the partner requests access (access.requested), and the customer approves the request for access \
         (access.approved), access becomes enabled.",
    ] {
        assert!(turns.contains(&turn), "{turn} in {turns:#?}");
    }
    assert!(
        access["turns"]
            .as_array()
            .unwrap()
            .iter()
            .all(|turn| turn["time"].is_null())
    );
}

#[tokio::test]
async fn all_answers_are_explained_by_default_and_wrong_ones_are_rejected() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let at = noon() - TimeDelta::minutes(5);
    let subscription = json!({"subscription_id": "s 1"});
    server
        .send(&[
            event(
                "bakery",
                "subscription.added",
                at - TimeDelta::minutes(1),
                subscription,
            ),
            event("bakery", "client.lost", at, json!({"reason": "moved"})),
        ])
        .await;
    let body = why(&server, "").await;
    let answers = body["answers"].as_array().unwrap();
    let names: Vec<&str> = answers
        .iter()
        .map(|answer| answer["answer"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
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
            "subscription:s 1"
        ]
    );
    let ended = why(&server, "answer=subscription:s%201").await;
    assert_eq!(only(&ended), &answers[12]);
    let causes = sentences(&answers[12]["causes"]);
    assert_eq!(
        causes[causes.len() - 3..],
        [
            "On 1 March 2026 at 11:55 UTC, the client removed the link (client.lost, event \
             bakery-client.lost-2026-03-01 11:55:00 UTC of /test, reason: moved).",
            "On 1 March 2026 at 11:55 UTC, the subscription ended with the link.",
            "The policy has subscriptions.grace = 0 seconds. With 36500 days, the answer would be different.",
        ]
    );

    for (query, reason) in [
        ("answer=entry", "invalid answer \\\"entry\\\""),
        ("answer=subscription:", "expected link, service, access"),
        ("at=yesterday", "RFC 3339"),
    ] {
        let (status, body) = server.get(&format!("{PATH}?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body.to_string().contains(reason), "{body}");
    }
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/why").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(error_code(&body), "unknown_client");
}

#[tokio::test]
async fn what_follows_from_link_and_service_is_explained() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let at = noon() - TimeDelta::minutes(10);
    server
        .send(&[
            event(
                "bakery",
                "assignment.added",
                at,
                json!({"assignment_id": "map-1"}),
            ),
            event(
                "bakery",
                "client.terminated",
                at + TimeDelta::minutes(5),
                json!({"reason": "left"}),
            ),
        ])
        .await;
    let before = (at + TimeDelta::minutes(1)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for (answer, status, sentence) in [
        (
            "status_credit",
            "yes",
            "The client has counted for status credit since 1 March 2026 at 11:00 UTC, when the client accepted the invitation.",
        ),
        (
            "connected",
            "yes",
            "Partner and client have been connected since 1 March 2026 at 11:00 UTC, when the client accepted the invitation.",
        ),
        (
            "visible",
            "no",
            "The dashboard has not shown the client since 1 March 2026 at 11:55 UTC, when the partner terminated the service.",
        ),
        (
            "retrieving",
            "no",
            "The dashboard has retrieved no data for the client since 1 March 2026 at 11:55 UTC, when the partner terminated \
             the service.",
        ),
        (
            "tab",
            "active",
            "The client has been on the active tab since 1 March 2026 at 11:00 UTC, when the client accepted the invitation.",
        ),
        (
            "view_as_client",
            "no",
            "Viewing as the client has not been possible since 1 March 2026 at 11:55 UTC, when the partner terminated the service.",
        ),
    ] {
        let body = why(&server, &format!("answer={answer}")).await;
        let explained = only(&body);
        assert_eq!(explained["value"], json!({ "status": status }), "{answer}");
        assert_eq!(explained["sentence"], sentence, "{answer}");
    }
    let body = why(&server, &format!("answer=retrieving&at={before}")).await;
    let retrieving = only(&body);
    assert_eq!(
        retrieving["sentence"],
        "The dashboard has retrieved data for the client since 1 March 2026 at 11:50 UTC, when the partner added assignment map-1."
    );
    let turns = sentences(&retrieving["turns"]);
    let removed = "If the partner removes assignment map-1 (assignment.removed), the dashboard no longer retrieves data for the \
                   client.";
    assert!(turns.contains(&removed), "{turns:?}");
}
