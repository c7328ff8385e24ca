//! What operators see: probes, metrics, the token, an unavailable store, an address in use.

use tenure::http::Health;

use super::openapi::example_path;
use super::*;

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
async fn a_token_is_required_except_for_probes_and_contracts() {
    let server = Server::with(&[("TENURE_HTTP__TOKEN", "s3cret")]).await;
    let open = [
        "/livez",
        "/readyz",
        "/openapi.json",
        "/.well-known/authzen-configuration",
        "/asyncapi.json",
        "/v1/schemas",
        "/v1/schemas/events/client.added",
        "/v1/schemas/events/client.added/data",
        "/v1/schemas/changes/link.active",
        "/v1/schemas/changes/link.active/data",
    ];
    let document = http::openapi();
    let mut guarded = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let method: Method = method.to_uppercase().parse().unwrap();
            guarded.push((method, example_path(&document, path, parameters)));
        }
    }
    guarded.retain(|(_, path)| !open.contains(&path.as_str()));
    assert!(guarded.len() >= 8, "{guarded:?}");
    for (method, path) in &guarded {
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
                .request(method.clone(), path)
                .header("authorization", token)
                .send()
                .await
                .unwrap();
            assert_eq!(
                response.status(),
                StatusCode::UNAUTHORIZED,
                "{method} {path} {token}"
            );
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
        for token in ["Bearer s3cret", "bearer s3cret"] {
            let request = server
                .request(method.clone(), path)
                .header("authorization", token);
            let status = request.send().await.unwrap().status();
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token}");
        }
    }
    let (status, _) = server.post(STRUCTURED, "{}").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    for path in open {
        assert_eq!(server.get(path).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(server.engine.store().census().await.unwrap().dead_letters_open, 0);
}
