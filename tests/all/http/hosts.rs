//! Rejection of unexpected hosts and origins.

use super::*;

impl Server {
    /// Sends raw text and returns status and body.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, stream.read_to_string(&mut answer))
            .await
            .expect("an answer")
            .unwrap();
        let status = answer.split(' ').nth(1).expect("a status").parse().unwrap();
        (
            status,
            answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned(),
        )
    }

    async fn named(&self, path: &str, host: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        self.raw(&request).await.0
    }

    async fn sent_from(&self, host: &str, origin: &str) -> u16 {
        let body = event("bakery", "client.added", noon(), json!({"name": "Bakery"})).to_string();
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\ncontent-type: {STRUCTURED}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        self.raw(&request).await.0
    }
}

const CLIENTS: &str = "/v1/partners/acme/clients";

#[tokio::test]
async fn an_unknown_host_gets_421_from_a_worker_without_a_token() {
    let server = Server::start().await;
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080", &server.address] {
        assert_eq!(server.named(CLIENTS, host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8080",
        "169.254.169.254",
        "localhost.evil.example",
        "0.0.0.0",
        "?",
    ] {
        for path in [
            CLIENTS,
            "/openapi.json",
            "/metrics",
            "/v1/dead-letters",
            "/nothing",
        ] {
            assert_eq!(server.named(path, host).await, 421, "{host} {path}");
        }
        // Probes use the address of a pod.
        assert_eq!(server.named("/livez", host).await, 200, "{host}");
        assert_eq!(server.named("/readyz", host).await, 200, "{host}");
        assert_eq!(
            server.sent_from(host, &format!("http://{host}")).await,
            421,
            "{host}"
        );
    }
    let (_, body) = server
        .raw(&format!(
            "GET {CLIENTS} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
        ))
        .await;
    assert!(
        body.contains("unknown_host") && body.contains("`http.hosts`"),
        "{body}"
    );
    assert_eq!(server.engine.store().census().await.unwrap().events, 0);
}

#[tokio::test]
async fn a_request_names_one_accepted_host_in_header_and_target() {
    let server = Server::start().await;
    for (head, status) in [
        (
            format!("GET {CLIENTS} HTTP/1.1\r\nhost: localhost\r\nhost: evil.example"),
            400,
        ),
        (format!("GET {CLIENTS} HTTP/1.1\r\nx: y"), 400),
        (format!("GET {CLIENTS} HTTP/1.0\r\nx: y"), 200),
        (
            format!("GET http://evil.example{CLIENTS} HTTP/1.1\r\nhost: localhost"),
            421,
        ),
        (
            format!("GET http://localhost{CLIENTS} HTTP/1.1\r\nhost: evil.example"),
            421,
        ),
        (
            format!("GET http://localhost{CLIENTS} HTTP/1.1\r\nhost: localhost"),
            200,
        ),
    ] {
        let found = server.raw(&format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(found.0, status, "{head}: {}", found.1);
    }
}

#[tokio::test]
async fn configured_hosts_are_accepted_in_addition_to_loopback() {
    let server = Server::with(&[("TENURE_HTTP__HOSTS", "Tenure.example.com, 10.0.0.7")]).await;
    for host in [
        "tenure.example.com",
        "TENURE.example.com:443",
        "10.0.0.7:8080",
        "localhost",
    ] {
        assert_eq!(server.named(CLIENTS, host).await, 200, "{host}");
    }
    for host in ["example.com", "x.tenure.example.com", "10.0.0.8"] {
        assert_eq!(server.named(CLIENTS, host).await, 421, "{host}");
    }
}

#[tokio::test]
async fn with_a_token_any_host_is_accepted_unless_hosts_are_set() {
    let ask = |host: &str| {
        format!(
            "GET {CLIENTS} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer s3cret\r\nconnection: close\r\n\r\n"
        )
    };
    let server = Server::with(&[("TENURE_HTTP__TOKEN", "s3cret")]).await;
    assert_eq!(server.raw(&ask("tenure.internal")).await.0, 200);
    let strict = [
        ("TENURE_HTTP__TOKEN", "s3cret"),
        ("TENURE_HTTP__HOSTS", "tenure.internal"),
    ];
    let server = Server::with(&strict).await;
    assert_eq!(server.raw(&ask("tenure.internal")).await.0, 200);
    assert_eq!(server.raw(&ask("evil.example")).await.0, 421);
    let twice = format!(
        "GET {CLIENTS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer s3cret\r\nauthorization: Bearer no\r\n\
         connection: close\r\n\r\n"
    );
    assert_eq!(server.raw(&twice).await.0, 401);
}

#[tokio::test]
async fn requests_from_a_web_page_of_another_host_are_rejected() {
    let server = Server::start().await;
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "file://",
    ] {
        assert_eq!(server.sent_from("localhost", origin).await, 403, "{origin}");
    }
    assert_eq!(server.engine.store().census().await.unwrap().events, 0);
    assert_eq!(server.sent_from("localhost", "http://localhost:3000").await, 200);
}
