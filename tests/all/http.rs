//! The HTTP adapter on a real store: requests and responses.

mod binding;
mod connections;
mod hosts;
mod memory;
mod openapi;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::clock::SimulatedClock;
use tenure::config::{HttpSettings, Settings};
use tenure::domain::Policy;
use tenure::engine::Engine;
use tenure::http::{self, Api, Health};
use tenure::store::Store;
use tenure::store::sqlite::SqliteStore;
use tenure::wire::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// A server on a free port, with a store of its own.
struct Server {
    address: String,
    api: Arc<Api>,
    engine: Arc<Engine>,
    clock: Arc<SimulatedClock>,
    client: Client,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn settings(env: &[(&str, &str)]) -> HttpSettings {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Settings::load(None, env.into_iter()).unwrap().http
}

impl Server {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(env: &[(&str, &str)]) -> Self {
        let server = Self::starting(env).await;
        server.api.open(server.engine.clone());
        server
    }

    /// Starts a server whose store is not open yet.
    async fn starting(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
        store.migrate().await.unwrap();
        let clock = Arc::new(SimulatedClock::at(noon()));
        let engine = Engine::start(store, clock.clone(), &Policy::default())
            .await
            .unwrap();
        let metrics = tenure::telemetry::metrics().unwrap();
        let api = Api::new(&settings(env), Limits::default(), metrics);
        let listener = http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        Self {
            serving: tokio::spawn(http::serve(listener, api.clone(), stop.clone())),
            address,
            api,
            engine: Arc::new(engine),
            clock,
            client: Client::new(),
            stop,
            _folder: folder,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        answer(
            self.request(Method::POST, "/v1/events")
                .header("content-type", content_type)
                .body(body),
        )
        .await
    }

    /// Sends events as a batch and returns their outcomes.
    async fn send(&self, events: &[Value]) -> Vec<String> {
        let (status, body) = self.post(BATCH, Value::from(events).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["outcomes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|outcome| outcome["outcome"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Adds a client that was linked an hour ago and has access.
    async fn linked(&self, client: &str) {
        let at = noon() - TimeDelta::hours(1);
        let outcomes = self
            .send(&[
                event(client, "client.added", at, json!({"name": client})),
                event(client, "client.invited", at, json!({"steps": ["accepted"]})),
                event(client, "invitation.accepted", at, json!({})),
            ])
            .await;
        assert_eq!(outcomes, ["applied"; 3]);
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} is no JSON: {text}"));
    (status, body)
}

fn event(client: &str, kind: &str, time: DateTime<Utc>, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": format!("{client}-{kind}-{time}"),
        "source": "/test",
        "type": kind,
        "subject": format!("acme/{client}"),
        "time": time.to_rfc3339(),
    });
    event["data"] = data;
    event
}

fn error_code(body: &Value) -> &str {
    assert!(body["error"]["message"].is_string(), "{body}");
    body["error"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_structured_event_gets_its_outcome() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let (status, body) = server.post(STRUCTURED, added.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({"outcomes": [{"source": "/test", "id": added["id"], "outcome": "applied"}]})
    );

    let (status, body) = server
        .post("application/cloudevents+json; charset=utf-8", added.to_string())
        .await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::OK, &json!("duplicate"))
    );

    let late = event("bakery", "client.lost", noon(), json!({}));
    let (status, body) = server.post(STRUCTURED, late.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["outcomes"][0]["outcome"], "refused");
    assert_eq!(body["outcomes"][0]["code"], "not_linked");
    assert_eq!(
        body["outcomes"][0]["reason"],
        "the link's status does not allow it"
    );

    for broken in [
        "{".to_owned(),
        event("bakery", "client.exploded", noon(), json!({})).to_string(),
    ] {
        let (status, body) = server.post(STRUCTURED, broken).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["outcomes"][0]["outcome"], "dead");
        assert!(body["outcomes"][0]["reason"].as_str().unwrap().len() > 10);
        assert!(body["outcomes"][0].get("id").is_none());
    }
}

#[tokio::test]
async fn a_binary_event_has_its_attributes_in_headers() {
    let server = Server::start().await;
    let binary = |kind: &str, data: &'static str| {
        server
            .request(Method::POST, "/v1/events")
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/binary")
            .header("ce-type", kind)
            .header("ce-subject", "acme/bakery")
            .header("ce-time", "2026-03-01T11:00:00Z")
            .header("content-type", "application/json")
            .body(data)
    };
    let (status, body) = answer(binary("client.added", r#"{"name":"Bakery"}"#)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body,
        json!({"outcomes": [{"source": "/binary", "id": "1", "outcome": "applied"}]})
    );
    let (status, _) = answer(binary("client.added", "not json")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_batch_gets_one_outcome_per_event() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let outcomes = server
        .send(&[
            added.clone(),
            added,
            event("bakery", "client.lost", noon(), json!({})),
            json!({"specversion": "1.0"}),
            event("other", "client.added", noon(), json!({"name": "Other"})),
        ])
        .await;
    assert_eq!(outcomes, ["applied", "duplicate", "refused", "dead", "applied"]);
    assert_eq!(server.send(&[]).await, Vec::<String>::new());

    let (status, body) = server.post(BATCH, "{}").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["outcomes"].as_array().unwrap().len(), 1);

    // More events than one transaction holds.
    let many: Vec<Value> = (0..2_500)
        .map(|i| {
            event(
                &format!("c{i}"),
                "client.added",
                noon(),
                json!({"name": format!("n{i}")}),
            )
        })
        .collect();
    assert!(
        server
            .send(&many)
            .await
            .iter()
            .all(|outcome| outcome == "applied")
    );
}

#[tokio::test]
async fn an_unsupported_content_type_gets_415() {
    let server = Server::start().await;
    let body = event("bakery", "client.added", noon(), json!({"name": "Bakery"})).to_string();
    for content_type in [
        "application/json",
        "text/plain",
        "application/cloudevents+avro",
        "",
    ] {
        let (status, answer) = server.post(content_type, body.clone()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(error_code(&answer), "unsupported_media_type");
    }
    assert_eq!(server.engine.store().census().await.unwrap().dead_letters_open, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413() {
    let server = Server::with(&[("TENURE_HTTP__BODY_LIMIT", "1024")]).await;
    let (status, body) = server.post(STRUCTURED, " ".repeat(1025)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error_code(&body), "body_too_large");
    let (status, _) = server.post(STRUCTURED, " ".repeat(1024)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_client_is_shown_for_any_moment() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery";
    let (status, now) = server.get(path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(now["link"], "active");
    assert_eq!(now["access"], "enabled");
    assert_eq!(now["expires_at"], "2026-04-30T11:00:00Z");

    // In a query a bare plus sign is a space.
    for at in [
        "2026-06-01T00:00:00Z",
        "2026-06-01T00:00:00%2B02:00",
        "2026-06-01T00:00:00+02:00",
    ] {
        let (status, later) = server.get(&format!("{path}?at={at}")).await;
        assert_eq!(
            (status, &later["access"]),
            (StatusCode::OK, &json!("expired")),
            "{at}"
        );
    }
    let (status, body) = server.get(&format!("{path}?at=2026-01-01T00:00:00Z")).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
    let (status, body) = server.get("/v1/partners/acme/clients/nobody").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
}

#[tokio::test]
async fn clients_are_listed_page_by_page() {
    let server = Server::start().await;
    for client in ["a", "b", "c", "d", "e"] {
        server.linked(client).await;
    }
    server
        .send(&[
            event("b", "client.archived", noon(), json!({})),
            event("c", "client.terminated", noon(), json!({})),
            event("d", "access.disabled", noon(), json!({})),
        ])
        .await;
    let ids = |body: &Value| -> Vec<String> {
        body["clients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|client| client["client"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, expected) in [
        ("", vec!["a", "b", "c", "d", "e"]),
        ("?link=archived", vec!["b"]),
        ("?tab=active", vec!["a", "c", "d", "e"]),
        ("?tab=inactive", vec!["b"]),
        ("?service=terminated", vec!["c"]),
        ("?service=all_active", vec!["a", "b", "d", "e"]),
        ("?access=disabled", vec!["d"]),
        ("?access=enabled&tab=active&limit=1000", vec!["a", "c", "e"]),
        ("?link=active&tab=inactive", vec![]),
        ("?after=c", vec!["d", "e"]),
    ] {
        let (status, body) = server.get(&format!("/v1/partners/acme/clients{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        assert_eq!(ids(&body), expected, "{query}");
        assert_eq!(body["next"], Value::Null, "{query}");
    }

    let mut seen = Vec::new();
    let mut path = "/v1/partners/acme/clients?limit=2".to_owned();
    loop {
        let (_, body) = server.get(&path).await;
        seen.extend(ids(&body));
        let Some(next) = body["next"].as_str() else { break };
        path = format!("/v1/partners/acme/clients?limit=2&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let (status, body) = server.get("/v1/partners/nobody/clients").await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({"clients": [], "next": null}))
    );
}

#[tokio::test]
async fn a_name_has_the_client_that_holds_it() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Straße / 1"}));
    server.send(&[added]).await;
    let path = "/v1/partners/acme/names";
    for (name, client) in [
        ("Stra%C3%9Fe%20%2F%201", json!("bakery")),
        ("%20STRASSE%20%20%2F%E2%80%8B%201", json!("bakery")),
        ("Stra%C3%9Fe", Value::Null),
    ] {
        let (status, body) = server.get(&format!("{path}/{name}")).await;
        assert_eq!(
            (status, body),
            (StatusCode::OK, json!({"client": client})),
            "{name}"
        );
    }
    let (_, body) = server.get("/v1/partners/other/names/Stra%C3%9Fe%20%2F%201").await;
    assert_eq!(body, json!({"client": null}));
    // A renamed client releases its name, and a deleted one too.
    let at = noon() + TimeDelta::minutes(1);
    server
        .send(&[event("bakery", "client.renamed", at, json!({"name": "Mill"}))])
        .await;
    let (_, body) = server.get(&format!("{path}/Stra%C3%9Fe%20%2F%201")).await;
    assert_eq!(body, json!({"client": null}));
    let (_, body) = server.get(&format!("{path}/mill")).await;
    assert_eq!(body, json!({"client": "bakery"}));
    server
        .send(&[event("bakery", "client.deleted", at, json!({}))])
        .await;
    let (_, body) = server.get(&format!("{path}/mill")).await;
    assert_eq!(body, json!({"client": null}));

    for (path, parameter) in [
        ("/v1/partners/acme/names/%20", "`name`"),
        ("/v1/partners/acme/names/%E2%80%8B", "`name`"),
        ("/v1/partners/acme/names/%FF", "`path`"),
        ("/v1/partners/a%20b/names/mill", "`partner`"),
        ("/v1/partners/acme/names/mill?at=now", "`at`"),
    ] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::BAD_REQUEST, "bad_parameter"),
            "{path}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(parameter), "{path}: {message}");
    }
}

#[tokio::test]
async fn the_journal_is_shown_page_by_page() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery/journal";
    let (status, whole) = server.get(path).await;
    assert_eq!(status, StatusCode::OK);
    let lines = whole["journal"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["type"] == "link.active"), "{whole}");
    assert_eq!(lines[0]["cause"]["type"], "client.added");

    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let (_, body) = server.get(&format!("{path}?limit=2&after={after}")).await;
        seen.extend(body["journal"].as_array().unwrap().clone());
        let Some(next) = body["next"].as_i64() else { break };
        after = next;
    }
    assert_eq!(&seen, lines);
    let (status, body) = server.get(&format!("{path}?after={}", i64::MAX)).await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({"journal": [], "next": null}))
    );
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/journal").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
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
            json!({"allowed": allowed, "reason": reason, "expires_at": expires})
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
    assert_eq!(
        body,
        json!({"allowed": false, "reason": "access_expired", "expires_at": null})
    );
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/access").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({"allowed": false, "reason": "unknown_client", "expires_at": null})
    );
}

#[tokio::test]
async fn dead_letters_are_listed() {
    let server = Server::start().await;
    server.post(STRUCTURED, "{").await;
    server.post(STRUCTURED, "[1]").await;
    let (status, body) = server.get("/v1/dead-letters?limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let first = &body["dead_letters"][0];
    assert_eq!(first["status"], "open");
    assert_eq!(first["origin"], "http");
    assert_eq!(first["bytes"], 1);
    assert_eq!(first["resolved_at"], Value::Null);
    let (_, rest) = server
        .get(&format!("/v1/dead-letters?status=open&after={}", body["next"]))
        .await;
    assert_eq!(rest["dead_letters"].as_array().unwrap().len(), 1);
    let (_, none) = server.get("/v1/dead-letters?status=discarded").await;
    assert_eq!(none["dead_letters"], json!([]));
}

#[tokio::test]
async fn an_invalid_parameter_is_named() {
    let server = Server::start().await;
    let long = "x".repeat(129);
    let clients = "/v1/partners/acme/clients";
    for (path, name) in [
        (format!("{clients}?link=archive"), "link"),
        (format!("{clients}?service=none"), "service"),
        (format!("{clients}?access=open"), "access"),
        (format!("{clients}?tab=all"), "tab"),
        (format!("{clients}?limit=0"), "limit"),
        (format!("{clients}?limit=1001"), "limit"),
        (format!("{clients}?limit=ten"), "limit"),
        (format!("{clients}?limit=1&limit=2"), "limit"),
        (format!("{clients}?after=a/b"), "after"),
        (format!("{clients}?after="), "after"),
        (format!("{clients}?lnik=active"), "lnik"),
        (format!("{clients}/bakery?at=yesterday"), "at"),
        (format!("{clients}/bakery/journal?after=-1"), "after"),
        (format!("{clients}/bakery/access?action="), "action"),
        (format!("/v1/partners/{long}/clients"), "partner"),
        ("/v1/partners//clients".to_owned(), "partner"),
        (format!("{clients}/{long}"), "client"),
        (format!("{clients}/b%20b"), "client"),
        (format!("{clients}/b%2Fb/journal"), "client"),
        (format!("{clients}/%00"), "client"),
        // Clients that follow the URL standard never send this path.
        (format!("{clients}?after=.."), "after"),
        (format!("{clients}/%FF%FE"), "path"),
        ("/v1/partners/%C3%28/clients".to_owned(), "path"),
        ("/v1/dead-letters?status=lost".to_owned(), "status"),
    ] {
        let (status, body) = server.get(&path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert_eq!(error_code(&body), "bad_parameter");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
    }
    let (_, body) = server.get(&format!("{clients}?lnik=active")).await;
    assert_eq!(
        body["error"]["message"],
        "unknown parameter `lnik`; this endpoint accepts limit, after, link, service, access, tab"
    );
    let (_, body) = server.get(&format!("{clients}?limit=ten")).await;
    assert_eq!(
        body["error"]["message"],
        "invalid parameter `limit`: invalid value \"ten\": expected a whole number from 1 to 1000"
    );
    for path in ["/", "/v1", "/v1/partners/acme/clients/", "/%FF", "/metrics/x"] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::NOT_FOUND, "no_such_path"),
            "{path}"
        );
    }
    let (status, body) = answer(server.request(Method::DELETE, clients)).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::METHOD_NOT_ALLOWED, "no_such_method")
    );
}

#[tokio::test]
async fn a_token_is_required_except_for_probes_and_the_openapi_document() {
    let server = Server::with(&[("TENURE_HTTP__TOKEN", "s3cret")]).await;
    let guarded = [
        "/v1/partners/acme/clients",
        "/v1/partners/acme/clients/bakery",
        "/v1/partners/acme/clients/bakery/journal",
        "/v1/partners/acme/clients/bakery/access",
        "/v1/partners/acme/names/bakery",
        "/v1/dead-letters",
        "/metrics",
    ];
    for path in guarded {
        for token in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crett",
            "Basic s3cret",
            "s3cret",
        ] {
            let response = server
                .request(Method::GET, path)
                .header("authorization", token)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path} {token}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
        for token in ["Bearer s3cret", "bearer s3cret"] {
            let request = server.request(Method::GET, path).header("authorization", token);
            let status = request.send().await.unwrap().status();
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{path} {token}");
        }
    }
    let (status, _) = server.post(STRUCTURED, "{}").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    for open in ["/livez", "/readyz", "/openapi.json"] {
        assert_eq!(server.get(open).await.0, StatusCode::OK, "{open}");
    }
    assert_eq!(server.engine.store().census().await.unwrap().dead_letters_open, 0);
}

#[tokio::test]
async fn readiness_names_the_failing_check() {
    let server = Server::starting(&[]).await;
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    let (status, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"]["store"]["ok"], false);
    let (status, body) = server.get("/v1/partners/acme/clients").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    );

    server.api.open(server.engine.clone());
    let (status, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({"ready": true, "checks": {"store": {"ok": true, "detail": "sqlite", "parts": {
            "write": {"ok": true, "detail": "written"},
            "events": {"ok": true, "detail": "no batch failed"},
        }}}})
    );

    let broken = Health::of_parts([("tick".to_owned(), Health::bad("stuck"))].into());
    server.api.watch(
        "broker",
        Arc::new(move || Box::pin(std::future::ready(broken.clone()))),
    );
    server
        .api
        .watch("silent", Arc::new(|| Box::pin(std::future::pending())));
    let (status, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["ready"], false);
    assert_eq!(body["checks"]["broker"]["parts"]["tick"]["detail"], "stuck");
    assert_eq!(body["checks"]["silent"]["detail"], "no answer within 3 s");
}

#[tokio::test]
async fn an_unavailable_store_gets_503_with_retry_after() {
    let server = Server::start().await;
    server.engine.store().close().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let post = server
        .request(Method::POST, "/v1/events")
        .header("content-type", STRUCTURED)
        .body(added.to_string());
    for request in [
        post,
        server.request(Method::GET, "/v1/partners/acme/clients/bakery"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
        let body: Value = response.json().await.unwrap();
        assert_eq!(error_code(&body), "store_unavailable");
    }
    let (status, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"]["store"]["ok"], false);
}

#[tokio::test]
async fn metrics_are_in_prometheus_format() {
    let server = Server::start().await;
    server.linked("bakery").await;
    server.get("/v1/partners/acme/clients/bakery").await;
    let text = server
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "# TYPE tenure_http_requests_total counter",
        "# HELP tenure_clients Clients (facet, status)",
        "tenure_clients{facet=\"link\",status=\"active\"}",
        "route=\"/v1/partners/{partner}/clients/{client}\",status=\"200\"",
        "tenure_http_request_duration_seconds_bucket{route=\"/v1/events\",le=\"0.005\"}",
        "tenure_store_up 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn a_slow_sender_gets_503_after_the_timeout() {
    let server = Server::with(&[("TENURE_HTTP__TIMEOUT", "200ms")]).await;
    let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    stream
        .write_all(
            b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
              content-length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
    assert!(answer.contains("503"), "{read:?} {answer}");
    assert!(answer.contains("timed_out"), "{answer}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_the_timeout() {
    let server = Server::with(&[("TENURE_HTTP__TIMEOUT", "300ms")]).await;
    let patience = Duration::from_secs(10);
    for beginning in ["", "GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ", "G"] {
        let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open after {beginning:?}");
    }
    // Also a connection that is kept open after its first request.
    let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let ended = tokio::time::timeout(patience, stream.read_to_string(&mut answer)).await;
    assert!(ended.is_ok() && answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn events_are_stored_completely_or_not_at_all_when_the_caller_disconnects() {
    let server = Server::start().await;
    for i in 0..20 {
        let body = event(
            &format!("c{i}"),
            "client.added",
            noon(),
            json!({"name": format!("n{i}")}),
        )
        .to_string();
        let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STRUCTURED}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(i)).await;
    }
    server.stop.cancel();
    // The server has waited for all of them.
    let mut server = server;
    (&mut server.serving).await.unwrap().unwrap();
    let census = server.engine.store().census().await.unwrap();
    let clients: i64 = census.link.values().sum();
    assert_eq!(census.events, clients);
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_setting() {
    let server = Server::start().await;
    let error = http::bind(server.address.parse().unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&server.address) && error.contains("http.listen"),
        "{error}"
    );
}

#[tokio::test]
async fn an_event_ahead_of_the_clock_gets_202_and_is_ingested_later() {
    let server = Server::start().await;
    let event = |id: &str, minutes: i64| {
        json!({
            "specversion": "1.0", "id": id, "source": "/s", "type": "client.added", "subject": format!("acme/{id}"),
            "time": (noon() + TimeDelta::minutes(minutes)).to_rfc3339(), "data": { "name": id },
        })
    };
    let (status, body) = server.post(STRUCTURED, event("a", 10).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(body["outcomes"][0]["outcome"], "deferred");
    let reason = body["outcomes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("ingested when that time comes"), "{reason}");
    assert_eq!(
        server.send(&[event("b", 10), event("c", 0)]).await,
        ["deferred", "applied"]
    );
    let (status, body) = server.post(STRUCTURED, event("d", 3_000).to_string()).await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("dead"))
    );
    let (_, dead_letters) = server.get("/v1/dead-letters").await;
    let retry = |place: usize| dead_letters["dead_letters"][place]["retry_at"].clone();
    assert_eq!(
        (retry(0), retry(2)),
        (json!("2026-03-01T12:05:00Z"), json!("2026-03-03T13:55:00Z")),
        "{dead_letters}"
    );

    server.clock.set(noon() + TimeDelta::minutes(5));
    let decoder = tenure::wire::Decoder::new(Limits::default(), noon() + TimeDelta::minutes(5));
    assert_eq!(server.engine.redrive_deferred(&decoder).await.unwrap(), 2);
    let (status, client) = server.get("/v1/partners/acme/clients/a").await;
    assert_eq!((status, &client["name"]), (StatusCode::OK, &json!("a")));
}
