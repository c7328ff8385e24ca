//! Access decisions over HTTP: one, and many at once.

use super::*;

fn forbidden() -> Value {
    json!([
        "account_owner_settings",
        "activity_history",
        "subscription_change",
        "account_cancel",
        "accept_partner_invitation",
        "account_owner_add",
    ])
}

/// The decision for a partner without access.
fn denied(reason: &str, at: &str) -> Value {
    json!({
        "allowed": false, "reason": reason, "role": null, "forbidden": [], "expires_at": null, "holds_until": null,
        "decided_at": at, "assured": true, "silent_source": null,
    })
}

#[tokio::test]
async fn the_access_decision_is_for_the_present_moment() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery/access";
    let expires = "2026-04-30T11:00:00Z";
    for (query, allowed, reason) in [
        ("", true, "access_enabled"),
        ("?action=invoice_create", true, "access_enabled"),
        ("?action=account_cancel", false, "action_forbidden"),
        ("?action=account_owner_add", false, "action_forbidden"),
        ("?action=no_such_action", true, "access_enabled"),
    ] {
        let (status, body) = server.get(&format!("{path}{query}")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            json!({
                "allowed": allowed, "reason": reason, "role": "business_owner", "forbidden": forbidden(),
                "expires_at": expires, "holds_until": expires, "decided_at": "2026-03-01T12:00:00Z",
                "assured": true, "silent_source": null,
            })
        );
    }
    for action in [
        "Account_Cancel",
        "ACCOUNT_CANCEL",
        "account-cancel",
        "account_cancel%20",
        "%20account_cancel",
        "accountCancel",
        "account_cancel%00",
        "account_cancel%E2%80%8B",
        "acount_cancel",
        "account_cancle",
        "accountcancel",
        "activity__history",
        "add_account_owner",
    ] {
        // Also for an unknown client, so that a misspelt action is found during development.
        for client in ["bakery", "nobody"] {
            let (status, body) = server
                .get(&format!(
                    "/v1/partners/acme/clients/{client}/access?action={action}"
                ))
                .await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{action}: {body}");
            assert_eq!(error_code(&body), "bad_parameter");
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains("`action`"), "{message}");
            assert!(!message.contains(char::is_control), "{message}");
        }
    }
    // 002: the partner passes the account that it created over to its owner.
    for (kind, allowed) in [("account.created", true), ("account.owner_set", false)] {
        server.send(&[event("bakery", kind, noon(), json!({}))]).await;
        let (_, body) = server.get(&format!("{path}?action=account_owner_add")).await;
        assert_eq!(body["allowed"], allowed, "{kind}: {body}");
    }
    // No sweep has run.
    server.clock.set(expires.parse().unwrap());
    let (_, body) = server.get(path).await;
    assert_eq!(body, denied("access_expired", expires));
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/access").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, denied("unknown_client", expires));
}

#[tokio::test]
async fn an_access_decision_is_made_for_any_moment() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let at = noon() + TimeDelta::days(1);
    server.clock.set(at);
    server
        .send(&[event("bakery", "access.disabled", at, json!({}))])
        .await;
    let path = "/v1/partners/acme/clients/bakery/access";
    for (at, reason) in [
        ("2026-03-01T10:00:00Z", "unknown_client"),
        ("2026-03-01T12:00:00Z", "access_enabled"),
        ("2026-03-02T11:59:59Z", "access_enabled"),
        ("2026-03-02T12:00:00Z", "access_disabled"),
        ("2027-03-02T12:00:00Z", "access_disabled"),
    ] {
        let (status, body) = server.get(&format!("{path}?at={at}")).await;
        assert_eq!(
            (status, &body["reason"], &body["decided_at"]),
            (StatusCode::OK, &json!(reason), &json!(at)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn many_questions_are_answered_in_their_order() {
    let server = Server::start().await;
    for client in ["bakery", "mill"] {
        server.linked(client).await;
    }
    server
        .send(&[event("mill", "access.disabled", noon(), json!({}))])
        .await;
    let question = |client: &str| json!({"partner": "acme", "client": client});
    let mut questions = vec![
        question("mill"),
        question("nobody"),
        question("bakery"),
        json!({"partner": "acme", "client": "bakery", "action": "account_cancel"}),
        json!({"partner": "acme", "client": "mill", "at": "2026-03-01T11:30:00Z"}),
        question("mill"),
    ];
    let mut expected = vec![
        "access_disabled",
        "unknown_client",
        "access_enabled",
        "action_forbidden",
        "access_enabled",
        "access_disabled",
    ];
    // More than are read at a time.
    for _ in 0..994 {
        questions.push(question("bakery"));
        expected.push("access_enabled");
    }
    let (status, body) = server
        .post_json("/v1/access", &json!({"questions": questions}))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let reasons: Vec<&str> = body["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, expected);
    let (_, one) = server.get("/v1/partners/acme/clients/bakery/access").await;
    assert_eq!(body["decisions"][2], one);

    questions.push(question("bakery"));
    let (status, body) = server
        .post_json("/v1/access", &json!({"questions": questions}))
        .await;
    assert_eq!((status, error_code(&body)), (StatusCode::BAD_REQUEST, "bad_body"));
    let (status, body) = server.post_json("/v1/access", &json!({"questions": []})).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"decisions": []})));
}

#[tokio::test]
async fn a_question_that_is_malformed_is_named() {
    let server = Server::start().await;
    for (question, words) in [
        (json!({"partner": "acme", "client": "a b"}), "the client id"),
        (
            json!({"partner": "acme", "client": "c", "action": "acount_cancel"}),
            "`account_cancel`",
        ),
        (
            json!({"partner": "acme", "client": "c", "at": "noon"}),
            "RFC 3339",
        ),
    ] {
        let good = json!({"partner": "acme", "client": "c"});
        let (status, body) = server
            .post_json("/v1/access", &json!({"questions": [good, question]}))
            .await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::BAD_REQUEST, "bad_parameter")
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("question 2") && message.contains(words),
            "{message}"
        );
    }
    for body in [
        json!([]),
        json!({}),
        json!({"questions": [{"partner": "acme", "clinet": "c"}]}),
    ] {
        let (status, answer) = server.post_json("/v1/access", &body).await;
        assert_eq!(
            (status, error_code(&answer)),
            (StatusCode::BAD_REQUEST, "bad_body"),
            "{body}"
        );
    }
    let request = server.request(Method::POST, "/v1/access").body("{}");
    let (status, body) = answer(request.header("content-type", "text/plain")).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
    );
}
