//! The Authorization API 1.0 of OpenID AuthZEN. The requests and responses have the shapes of the examples in its sections 6, 7,
//! 9 and 10.

use super::*;

const ONE: &str = "/access/v1/evaluation";
const SEVERAL: &str = "/access/v1/evaluations";

fn request(kind: &str, id: &str, action: &str) -> Value {
    json!({
        "subject": {"type": "partner", "id": "acme"},
        "resource": {"type": kind, "id": id},
        "action": {"name": action},
        "context": {"time": "1985-10-26T01:22-07:00"},
    })
}

fn decisions(body: &Value) -> Vec<bool> {
    body["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|evaluation| evaluation["decision"].as_bool().unwrap())
        .collect()
}

/// The bakery has access and an account; the mill's access is disabled.
async fn given() -> Server {
    let server = Server::start().await;
    for client in ["bakery", "mill"] {
        server.linked(client).await;
    }
    let created = json!({"account_id": "acc-1", "by": "customer"});
    server
        .send(&[
            event("bakery", "account.created", noon(), created),
            event("mill", "access.disabled", noon(), json!({})),
        ])
        .await;
    server
}

#[tokio::test]
async fn an_evaluation_has_a_decision_and_its_context() {
    let server = given().await;
    let (status, body) = server
        .post_json(ONE, &request("client", "bakery", "invoice_create"))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["decision"], true);
    assert_eq!(
        body["context"],
        json!({
            "reason": "access_enabled", "client": "bakery", "role": "business_owner",
            "forbidden": [
                "account_owner_settings", "activity_history", "subscription_change", "account_cancel",
                "accept_partner_invitation", "account_owner_add",
            ],
            "expires_at": "2026-04-30T11:00:00Z", "holds_until": "2026-04-30T11:00:00Z",
            "decided_at": "2026-03-01T12:00:00Z", "assured": true,
        })
    );
    for (kind, id, action, decision, reason) in [
        ("client", "acme/bakery", "enter", true, "access_enabled"),
        ("client", "bakery", "account_cancel", false, "action_forbidden"),
        ("client", "mill", "enter", false, "access_disabled"),
        ("client", "nobody", "enter", false, "unknown_client"),
        ("account", "acc-1", "enter", true, "access_enabled"),
        ("account", "acc-2", "enter", false, "unknown_account"),
    ] {
        let (status, body) = server.post_json(ONE, &request(kind, id, action)).await;
        assert_eq!(
            (status, &body["decision"], &body["context"]["reason"]),
            (StatusCode::OK, &json!(decision), &json!(reason)),
            "{kind} {id} {action}: {body}"
        );
    }
    let mut later = request("client", "bakery", "enter");
    later["context"]["at"] = "2026-05-01T00:00:00Z".into();
    let (_, body) = server.post_json(ONE, &later).await;
    assert_eq!(body["context"]["reason"], "access_expired");
}

/// Of section 10.1.1: a request that names nothing that exists here.
#[tokio::test]
async fn an_unknown_type_is_denied_with_an_error() {
    let server = given().await;
    let mut user = request("client", "bakery", "can_read");
    user["subject"] = json!({"type": "user", "id": "alice@acmecorp.com"});
    let mut stranger = request("client", "bakery", "can_read");
    stranger["subject"]["id"] = "no partner".into();
    for (request, words) in [
        (user, "`user`"),
        (stranger, "`no partner`"),
        (request("todo", "1", "can_read"), "`todo`"),
        (request("client", "other/bakery", "can_read"), "`other/bakery`"),
        (request("client", "a b", "can_read"), "`a b`"),
        (request("account", "", "can_read"), "empty"),
    ] {
        let (status, body) = server.post_json(ONE, &request).await;
        assert_eq!(
            (status, &body["decision"], &body["context"]["error"]["status"]),
            (StatusCode::OK, &json!(false), &json!(404)),
            "{request}: {body}"
        );
        let message = body["context"]["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_malformed_request_gets_400() {
    let server = given().await;
    let without = |member: &str, field: Option<&str>| {
        let mut request = request("client", "bakery", "enter");
        let members = match field {
            Some(_) => request[member].as_object_mut().unwrap(),
            None => request.as_object_mut().unwrap(),
        };
        members.remove(field.unwrap_or(member));
        request
    };
    let mut at = request("client", "bakery", "enter");
    at["context"]["at"] = "tomorrow".into();
    for (body, words) in [
        (without("subject", None), "`subject.type`"),
        (without("subject", Some("id")), "`subject.id`"),
        (without("resource", None), "`resource.type`"),
        (without("resource", Some("id")), "`resource.id`"),
        (without("action", None), "`action.name`"),
        (without("action", Some("name")), "`action.name`"),
        (request("client", "bakery", "acount_cancel"), "`account_cancel`"),
        (at, "`context.at`"),
        (json!({"subject": "acme"}), "invalid type"),
        (json!("enter"), "invalid type"),
    ] {
        for path in [ONE, SEVERAL] {
            let (status, answer) = server.post_json(path, &body).await;
            assert_eq!(
                (status, error_code(&answer)),
                (StatusCode::BAD_REQUEST, "bad_body"),
                "{body}"
            );
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(words), "{message}");
        }
    }
    let request = server.request(Method::POST, ONE).body("{");
    let (status, _) = answer(request.header("content-type", "application/json")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn evaluations_share_default_members() {
    let server = given().await;
    let (status, body) = server.post_json(
        SEVERAL,
        &json!({
            "subject": {"type": "partner", "id": "acme"},
            "context": {"time": "2024-05-31T15:22-07:00"},
            "action": {"name": "invoice_create"},
            "evaluations": [
                {"resource": {"type": "client", "id": "bakery"}},
                {"resource": {"type": "client", "id": "mill"}},
                {"action": {"name": "account_cancel"}, "resource": {"type": "account", "id": "acc-1"}},
                {"subject": {"type": "partner", "id": "best"}, "resource": {"type": "client", "id": "bakery"}},
                {"action": {"name": "acount_cancel"}, "resource": {"type": "client", "id": "bakery"}},
                {"subject": {"type": "user", "id": "alice"}, "resource": {"type": "client", "id": "bakery"}},
                {},
            ],
        }),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body.get("decision"), None);
    assert_eq!(decisions(&body), [true, false, false, false, false, false, false]);
    let list = &body["evaluations"];
    for (place, reason) in [
        (1, "access_disabled"),
        (2, "action_forbidden"),
        (3, "unknown_client"),
    ] {
        assert_eq!(list[place]["context"]["reason"], reason);
    }
    for (place, status) in [(4, 400), (5, 404), (6, 400)] {
        assert_eq!(list[place]["context"]["error"]["status"], status, "{list}");
    }
}

#[tokio::test]
async fn evaluations_end_as_their_semantic_says() {
    let server = given().await;
    let ask = |semantic: &str, clients: &[&str]| {
        let evaluations: Vec<Value> = clients
            .iter()
            .map(|id| json!({"resource": {"type": "client", "id": id}}))
            .collect();
        json!({
            "subject": {"type": "partner", "id": "acme"},
            "action": {"name": "read"},
            "options": {"evaluations_semantic": semantic, "another_option": "value"},
            "evaluations": evaluations,
        })
    };
    let mixed = ["bakery", "mill", "bakery"];
    for (semantic, clients, expected) in [
        ("execute_all", &mixed[..], &[true, false, true][..]),
        ("deny_on_first_deny", &mixed, &[true, false]),
        ("deny_on_first_deny", &["bakery", "bakery"], &[true, true]),
        ("permit_on_first_permit", &mixed, &[true]),
        (
            "permit_on_first_permit",
            &["mill", "nobody", "bakery", "mill"],
            &[false, false, true],
        ),
    ] {
        let (status, body) = server.post_json(SEVERAL, &ask(semantic, clients)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(decisions(&body), expected, "{semantic} {clients:?}");
    }
    // More than are decided at a time.
    let mut clients = vec!["bakery"; 250];
    clients.push("mill");
    clients.extend(["bakery"; 10]);
    let (_, body) = server
        .post_json(SEVERAL, &ask("deny_on_first_deny", &clients))
        .await;
    assert_eq!(decisions(&body).len(), 251);

    let (status, body) = server.post_json(SEVERAL, &ask("all", &mixed)).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::BAD_REQUEST, "bad_parameter")
    );
    let (status, _) = server
        .post_json(SEVERAL, &ask("execute_all", &["bakery"; 1_001]))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_a_list_evaluations_are_one_evaluation() {
    let server = given().await;
    let mut body = request("client", "bakery", "enter");
    let (_, one) = server.post_json(ONE, &body).await;
    assert_eq!(
        server.post_json(SEVERAL, &body).await,
        (StatusCode::OK, one.clone())
    );
    body["evaluations"] = json!([]);
    assert_eq!(server.post_json(SEVERAL, &body).await, (StatusCode::OK, one));
}

/// Several clients of a partner may have an account. One that allows it decides, and the answer holds until any changes.
#[tokio::test]
async fn an_account_is_open_if_a_client_of_the_partner_allows_it() {
    let server = given().await;
    let mill = event("mill", "account.created", noon(), json!({"account_id": "acc-1"}));
    server.send(&[mill]).await;
    let (_, body) = server.post_json(ONE, &request("account", "acc-1", "enter")).await;
    assert_eq!(
        (&body["decision"], &body["context"]["client"]),
        (&json!(true), &json!("bakery"))
    );
    let at = noon() + TimeDelta::minutes(1);
    server.clock.set(at);
    server
        .send(&[
            event("bakery", "access.disabled", at, json!({})),
            event("mill", "access.enabled", at, json!({})),
        ])
        .await;
    let (_, body) = server.post_json(ONE, &request("account", "acc-1", "enter")).await;
    assert_eq!(
        (&body["decision"], &body["context"]["client"]),
        (&json!(true), &json!("mill"))
    );
    let mut other = request("account", "acc-1", "enter");
    other["subject"]["id"] = "best".into();
    let (_, body) = server.post_json(ONE, &other).await;
    assert_eq!(body["context"]["reason"], "unknown_account");
    // Deleted clients forget their accounts, and an account was none before an event named it.
    let mut before = request("account", "acc-1", "enter");
    before["context"]["at"] = "2026-03-01T11:30:00Z".into();
    let (_, body) = server.post_json(ONE, &before).await;
    assert_eq!(body["context"]["reason"], "unknown_account");
}

#[tokio::test]
async fn a_request_id_is_repeated_in_every_response() {
    let server = Server::with(&[("TENURE_HTTP__TOKEN", "s3cret")]).await;
    let id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716";
    for token in ["Bearer s3cret", "Bearer wrong"] {
        for path in [ONE, SEVERAL, "/nothing"] {
            let response = server
                .request(Method::POST, path)
                .header("authorization", token)
                .header("x-request-id", id)
                .body("{}")
                .send()
                .await
                .unwrap();
            assert_eq!(response.headers()["x-request-id"], id, "{path} {token}");
        }
    }
    let response = server.request(Method::POST, ONE).body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers().get("x-request-id"), None);
}

#[tokio::test]
async fn the_configuration_names_the_endpoints() {
    let path = "/.well-known/authzen-configuration";
    for (env, base) in [
        (&[][..], None),
        (
            &[("TENURE_HTTP__PUBLIC_URL", "https://pdp.mycompany.com/")],
            Some("https://pdp.mycompany.com"),
        ),
    ] {
        let server = Server::with(env).await;
        let base = base.map_or(format!("http://{}", server.address), str::to_owned);
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, body),
            (
                StatusCode::OK,
                json!({
                    "policy_decision_point": base,
                    "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
                    "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
                })
            )
        );
    }
}
