//! Connections: their limit, their timeouts, and which requests are answered.

use tokio::net::TcpStream;

use super::*;

/// Longer than any test, so that no request succeeds only because another connection has timed out.
const TIMEOUT: &str = "10m";
const PATIENCE: Duration = Duration::from_mins(1);

impl Server {
    async fn with_limit(connections: &str) -> Self {
        Self::with(&[
            ("TENURE_HTTP__MAX_CONNECTIONS", connections),
            ("TENURE_HTTP__TIMEOUT", TIMEOUT),
        ])
        .await
    }

    async fn connect(&self, beginning: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        stream
    }

    async fn is_alive(&self) {
        let asked = tokio::time::timeout(PATIENCE, self.get("/livez"));
        assert_eq!(asked.await.expect("an answer in time").0, StatusCode::OK);
    }
}

async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset also means closed.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("still open");
}

#[tokio::test]
async fn idle_connections_and_slow_senders_do_not_delay_probes() {
    let head =
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n";
    let half_a_body = format!("{head}content-length: 100\r\n\r\n{{");
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n");
    for beginning in [
        "",
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        &half_a_body,
        &endless,
    ] {
        let server = Server::with_limit("20").await;
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(server.connect(beginning).await);
        }
        server.is_alive().await;
        let (status, _) = server.get("/v1/partners/acme/clients").await;
        assert_eq!(status, StatusCode::OK, "{beginning}");
        for stream in &mut idle[..100] {
            is_closed(stream).await;
        }
    }
}

/// More connections than the limit; those in the kernel's backlog are accepted too.
#[tokio::test]
async fn thousands_of_connections_are_accepted_and_closed() {
    let server = Server::with_limit("50").await;
    let mut idle = Vec::new();
    for _ in 0..3_000 {
        idle.push(server.connect("").await);
    }
    server.is_alive().await;
    is_closed(&mut idle[0]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_responses_is_disconnected() {
    let server = Server::with(&[("TENURE_HTTP__TIMEOUT", "500ms")]).await;
    for _ in 0..3 {
        let events: Vec<Value> = (0..1_000)
            .map(|n| {
                event(
                    &format!("c{n}"),
                    "client.added",
                    noon(),
                    json!({"name": format!("n{n}")}),
                )
            })
            .collect();
        server.send(&events).await;
    }
    let mut stream = server.connect("").await;
    // More responses than the kernel buffers.
    let ask = b"GET /v1/partners/acme/clients?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let asked = async { while stream.write_all(&ask.repeat(100)).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("it is closed by the server");
}

#[tokio::test]
async fn a_slow_sender_gets_503_after_the_timeout() {
    let server = Server::with(&[("TENURE_HTTP__TIMEOUT", "200ms")]).await;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
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
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open after {beginning:?}");
    }
    // Also a connection that is kept open after its first request.
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let ended = tokio::time::timeout(patience, stream.read_to_string(&mut answer)).await;
    assert!(ended.is_ok() && answer.contains("200 OK"), "{answer}");
}
