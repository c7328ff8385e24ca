//! What tokens allow: their scopes and their partners, on every route.

use reqwest::RequestBuilder;
use tenure::config::Scope;
use tenure::http::Reach;

use super::*;

const ALL: &str = "token-for-everything";
const ACME: &str = "token-for-acme-alone";
const TWO: &str = "token-for-two-partners";
/// In every response about the other partner.
const OTHER: &str = "rival";

const TOKENS: &str = r#"[
    { name = "all", token = "token-for-everything", scopes = ["read", "publish", "operate"] },
    { name = "acme-app", token = "token-for-acme-alone", scopes = ["read", "publish", "operate"], partners = ["acme"] },
    { name = "two", token = "token-for-two-partners", scopes = ["read"], partners = ["acme", "branch"] },
    { name = "read", token = "token-that-may-read", scopes = ["read"] },
    { name = "publish", token = "token-that-may-publish", scopes = ["publish"] },
    { name = "operate", token = "token-that-may-operate", scopes = ["operate"] },
]"#;

fn of_partner(partner: &str, client: &str, kind: &str, data: Value) -> Value {
    let mut event = event(client, kind, noon() - TimeDelta::hours(1), data);
    event["subject"] = format!("{partner}/{client}").into();
    event["id"] = format!("{partner}-{client}-{kind}").into();
    event
}

/// A partner with a client that has an account, access, an entry in the access log, a refusal and a change to come.
fn events_of(partner: &str) -> Vec<Value> {
    let client = format!("{partner}-mill");
    let add = |kind: &str, data: Value| of_partner(partner, &client, kind, data);
    vec![
        add("client.added", json!({"name": format!("Mill of {partner}")})),
        add("client.invited", json!({"steps": ["accepted"]})),
        add("invitation.accepted", json!({})),
        add(
            "account.created",
            json!({"by": "customer", "account_id": "shared-account"}),
        ),
        add("account.accessed", json!({"user": format!("user-of-{partner}")})),
        add("identity.cleared", json!({})),
        // A timer that is due soon.
        of_partner(
            partner,
            &format!("{partner}-inn"),
            "client.added",
            json!({"name": format!("Inn of {partner}")}),
        ),
        of_partner(
            partner,
            &format!("{partner}-inn"),
            "client.invited",
            json!({"steps": ["accepted"]}),
        ),
    ]
}

async fn start() -> Server {
    let server = Server::with(&[("TENURE_HTTP__TOKENS", TOKENS), ("TENURE_ACCESS__LOG", "90d")]).await;
    let mut events = events_of("acme");
    events.extend(events_of(OTHER));
    let (status, body) = server
        .call(ALL, Method::POST, "/v1/events", Some(&Value::from(events)))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    server
}

impl Server {
    fn as_token(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let request = self.request(method, path).bearer_auth(token);
        let Some(body) = body else { return request };
        let kind = if path.starts_with("/v1/events") {
            BATCH
        } else {
            "application/json"
        };
        request.header("content-type", kind).body(body.to_string())
    }

    /// The status and the whole body, which may be no JSON.
    async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, String) {
        let response = self.as_token(token, method, path, body).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn code(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> (u16, String) {
        let (status, text) = self.call(token, method, path, body).await;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        (status.as_u16(), code)
    }
}

/// A path of a route: of a partner, or without one.
fn filled(path: &str, partner: &str) -> String {
    path.replace("{partner}", partner)
        .replace("{client}", &format!("{partner}-mill"))
        .replace("{account}", "shared-account")
        .replace("{name}", "mill")
        .replace("{month}", "2026-03")
        .replace("{run}", "1")
}

fn method_and_path(route: &str) -> (Method, &str) {
    let (method, path) = route.split_once(' ').unwrap();
    (method.parse().unwrap(), path)
}

#[tokio::test]
async fn every_route_requires_a_scope_that_the_document_lists() {
    let document = http::openapi();
    let mut listed = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            if let Some(scopes) = security[0]["token"].as_array() {
                assert_eq!(&security[1]["session"], &security[0]["token"], "{path}");
                assert_eq!(security[2], json!({}), "{path}");
                let scope = scopes[0].as_str().unwrap().to_owned();
                listed.push((format!("{} {path}", method.to_uppercase()), scope));
            } else {
                let open = [
                    "/livez",
                    "/readyz",
                    "/openapi.json",
                    "/asyncapi.json",
                    "/.well-known/authzen-configuration",
                ];
                let is_open = open.contains(&path.as_str()) || path.starts_with("/v1/schemas");
                assert!(is_open, "{path} needs no token");
            }
        }
    }
    listed.sort();
    let mut required: Vec<(String, String)> = http::requirements()
        .into_iter()
        .map(|(route, needs)| (route, needs.scope.to_string()))
        .collect();
    required.sort();
    assert_eq!(listed, required);
    for scheme in ["token", "session"] {
        assert!(
            document["components"]["securitySchemes"][scheme].is_object(),
            "{scheme}"
        );
    }
}

#[tokio::test]
async fn a_token_without_the_scope_of_a_route_is_rejected() {
    let server = start().await;
    for (route, needs) in http::requirements() {
        let (method, path) = method_and_path(&route);
        let path = filled(path, "acme");
        for scope in Scope::ALL {
            let token = format!("token-that-may-{scope}");
            let (status, code) = server.code(&token, method.clone(), &path, None).await;
            let is_rejected = (status, code.as_str()) == (403, "missing_scope");
            assert_eq!(
                is_rejected,
                scope != needs.scope,
                "{route} {scope}: {status} {code}"
            );
        }
        let (status, code) = server.code("no-such-token-here", method, &path, None).await;
        assert_eq!((status, code.as_str()), (401, "unauthorized"), "{route}");
    }
}

/// Bodies about one partner, for the routes whose handlers check the partner.
fn body_of(path: &str, partner: &str) -> Option<Value> {
    let client = format!("{partner}-mill");
    let evaluation = json!({
        "subject": {"type": "partner", "id": partner}, "action": {"name": "enter"},
        "resource": {"type": "client", "id": client},
    });
    match path {
        "/v1/access" => Some(json!({"questions": [{"partner": partner, "client": client}]})),
        "/access/v1/evaluation" => Some(evaluation),
        "/access/v1/evaluations" => Some(json!({"evaluations": [evaluation]})),
        "/v1/events" => Some(json!([of_partner(
            partner,
            &client,
            "client.renamed",
            json!({"name": "New"})
        )])),
        "/v1/partners" | "/v1/statements" => None,
        other => panic!("say in this test what {other} does for a token of some partners"),
    }
}

#[tokio::test]
async fn a_token_of_one_partner_sees_and_does_nothing_of_another_on_any_route() {
    let server = start().await;
    for (route, needs) in http::requirements() {
        let (method, path) = method_and_path(&route);
        let own = filled(path, "acme");
        let call =
            async |path: &str, body: Option<&Value>| server.call(ACME, method.clone(), path, body).await;
        let assert_hidden = |what: &str, (status, body): (StatusCode, String)| {
            assert!(!body.contains(OTHER), "{route} {what}: {status} {body}");
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{route} {what}");
            status
        };
        let rejected = (403, "other_partner".to_owned());
        let code =
            async |path: &str, body: Option<&Value>| server.code(ACME, method.clone(), path, body).await;
        match needs.reach {
            Reach::Nobody => {
                assert_hidden("", call(&own, None).await);
            }
            Reach::All => assert_eq!(code(&own, None).await, rejected, "{route}"),
            Reach::InPath => {
                assert_eq!(code(&filled(path, OTHER), None).await, rejected, "{route}");
                assert_eq!(
                    assert_hidden("", call(&own, None).await),
                    StatusCode::OK,
                    "{route}"
                );
            }
            Reach::InQuery => {
                let of_other = format!("{own}?partner={OTHER}");
                assert_eq!(code(&of_other, None).await, rejected, "{route}");
                // Before and after all clients of the partner.
                assert_eq!(
                    assert_hidden("", call(&own, None).await),
                    StatusCode::OK,
                    "{route}"
                );
                let whole = server.call(ALL, method.clone(), &own, None).await.1;
                assert!(
                    whole.contains(OTHER),
                    "{route} shows nothing that could leak: {whole}"
                );
                for after in ["acme/a", "acme/zzz", "rival/a", "zzz/a"] {
                    assert_hidden(after, call(&format!("{own}?after={after}"), None).await);
                }
            }
            Reach::InHandler => {
                let body = body_of(path, OTHER);
                if let Some(body) = body {
                    let (status, text) = call(&own, Some(&body)).await;
                    let in_list = path == "/access/v1/evaluations" && status == StatusCode::OK;
                    if in_list {
                        let body: Value = serde_json::from_str(&text).unwrap();
                        let evaluation = &body["evaluations"][0];
                        assert_eq!(evaluation["decision"], false);
                        assert_eq!(evaluation["context"]["error"]["status"], 403);
                    } else {
                        assert_eq!(code(&own, Some(&body)).await, rejected, "{route}: {text}");
                    }
                }
                let own_body = body_of(path, "acme");
                let status = assert_hidden("own", call(&own, own_body.as_ref()).await);
                assert_eq!(status, StatusCode::OK, "{route}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_and_a_client_filter_hold_to_the_partner() {
    let server = start().await;
    for (query, expected) in [
        ("client=rival/rival-mill", (403, "other_partner")),
        ("client=rival/rival-mill&partner=acme", (400, "bad_parameter")),
        ("partner=acme&partner=rival", (403, "other_partner")),
    ] {
        let path = format!("/v1/changes?{query}");
        let (status, code) = server.code(ACME, Method::GET, &path, None).await;
        assert_eq!((status, code.as_str()), expected, "{query}");
    }
    let request = server.as_token(ACME, Method::GET, "/v1/changes", None);
    let mut response = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("access.enabled") {
        let chunk = response.chunk().await.unwrap().expect("a stream goes on");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(!seen.contains(OTHER), "{seen}");
}

#[tokio::test]
async fn a_token_of_several_partners_names_the_one_it_asks_about() {
    let server = start().await;
    for path in [
        "/v1/clients",
        "/v1/forecast",
        "/v1/what-if",
        "/v1/statements/2026-03",
    ] {
        let (status, code) = server.code(TWO, Method::GET, path, None).await;
        assert_eq!((status, code.as_str()), (400, "bad_parameter"), "{path}");
        let (_, body) = server.call(TWO, Method::GET, path, None).await;
        assert!(
            body.contains("name one of them: acme, branch\""),
            "{path}: {body}"
        );
        let one = format!("{path}?partner=acme");
        let (status, body) = server.call(TWO, Method::GET, &one, None).await;
        assert_eq!(status, StatusCode::OK, "{one}: {body}");
    }
    let (status, body) = server
        .call(TWO, Method::GET, "/v1/clients?partner=acme", None)
        .await;
    assert!(status == StatusCode::OK && body.contains("acme-mill"), "{body}");
    let (status, body) = server
        .call(TWO, Method::GET, "/v1/changes?client=acme/acme-mill", None)
        .await;
    assert!(status == StatusCode::OK && body.contains("acme-mill"), "{body}");
    let (status, body) = server.call(TWO, Method::GET, "/v1/partners", None).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, body["partners"].as_array().unwrap().len()),
        (StatusCode::OK, 1)
    );
}

#[tokio::test]
async fn a_batch_with_an_event_of_another_partner_is_rejected_as_a_whole() {
    let server = start().await;
    let before = server.engine.store().census().await.unwrap();
    let own = of_partner("acme", "new", "client.added", json!({"name": "New"}));
    for (other, reason) in [
        (
            of_partner(OTHER, "new", "client.added", json!({"name": "New"})),
            "other partners",
        ),
        // It could become an event of any partner when an operator redrives it.
        (
            of_partner(OTHER, "new", "client.invented", json!({})),
            "partner is unknown",
        ),
        (json!({"specversion": "1.0"}), "partner is unknown"),
    ] {
        let batch = json!([own, other]);
        let (status, body) = server.call(ACME, Method::POST, "/v1/events", Some(&batch)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert!(body.contains("event 2") && body.contains(reason), "{body}");
    }
    assert_eq!(server.engine.store().census().await.unwrap(), before);
    let (status, body) = server
        .call(ACME, Method::POST, "/v1/events", Some(&json!([own])))
        .await;
    assert!(status == StatusCode::OK && body.contains("applied"), "{body}");
}

#[tokio::test]
async fn the_partner_of_an_event_ahead_of_the_clock_is_known() {
    let server = start().await;
    let early = |partner| {
        let mut event = of_partner(partner, "early", "client.added", json!({"name": "Early"}));
        event["time"] = (server.engine.now() + TimeDelta::hours(1)).to_rfc3339().into();
        event
    };
    let (status, body) = server
        .call(ACME, Method::POST, "/v1/events", Some(&json!([early(OTHER)])))
        .await;
    assert!(
        status == StatusCode::FORBIDDEN && body.contains("other partners"),
        "{body}"
    );
    let (status, body) = server
        .call(ACME, Method::POST, "/v1/events", Some(&json!([early("acme")])))
        .await;
    assert!(
        status == StatusCode::ACCEPTED && body.contains("deferred"),
        "{body}"
    );
}

#[tokio::test]
async fn the_numbers_of_a_closing_are_those_of_all_partners() {
    let server = start().await;
    server.clock.set("2026-04-02T00:00:00Z".parse().unwrap());
    let path = "/v1/statements/2026-03/close?confirm=true&reason=month+end";
    let (status, body) = server.call(ALL, Method::POST, path, None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    for path in ["/v1/statements", "/v1/statements/2026-03?partner=acme"] {
        let (_, of_all) = server.call(ALL, Method::GET, path, None).await;
        let (_, of_acme) = server.call(ACME, Method::GET, path, None).await;
        assert!(of_all.contains("\"statements\":2"), "{of_all}");
        assert!(of_acme.contains("\"closed_by\":\"all\""), "{of_acme}");
        assert!(!of_acme.contains("\"statements\":"), "{of_acme}");
    }
    let (_, audit) = server
        .call(
            "token-that-may-read",
            Method::GET,
            "/v1/audit?action=statement",
            None,
        )
        .await;
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let entry = &audit["entries"][0];
    assert_eq!(
        (
            &entry["who"],
            &entry["how"],
            &entry["action"],
            &entry["target"],
            &entry["reason"]
        ),
        (
            &json!("all"),
            &json!("http"),
            &json!("statement.close"),
            &json!("2026-03"),
            &json!("month end")
        )
    );
}
