//! `GET /v1/snapshot`: every client, and the cursor from which the feed continues.

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

/// A snapshot whose client does not read it yet.
struct Unread(TcpStream);

impl Unread {
    async fn of(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Otherwise the kernel would read ahead.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
        let request = format!("GET /v1/snapshot HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        Self(stream)
    }

    /// Reads to the last line of the snapshot, or to the end of the connection. Returns the last whole line.
    async fn last_line(mut self) -> Value {
        let mut text = Vec::new();
        let mut part = vec![0; 1 << 20];
        let is_end = |text: &[u8]| text.ends_with(b"\r\n0\r\n\r\n");
        while !is_end(&text) {
            match timeout(PATIENCE, self.0.read(&mut part)).await.expect("in time") {
                Ok(0) | Err(_) => break,
                Ok(length) => text.extend_from_slice(&part[..length]),
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines = text.lines().filter(|line| line.starts_with('{'));
        let whole = lines.rfind(|line| serde_json::from_str::<Value>(line).is_ok());
        serde_json::from_str(whole.expect("a line")).unwrap()
    }
}

impl Server {
    /// Adds so many clients that a snapshot of them fits into no buffer of a connection.
    async fn with_many_clients(env: &[(&str, &str)]) -> Self {
        let server = Self::with(env).await;
        for batch in 0..12 {
            let added = (0..1_000).map(|n| {
                let client = format!("c-{batch}-{n}");
                let name = format!("{client} {}", "x".repeat(150));
                event(&client, "client.added", noon(), json!({"name": name}))
            });
            server.send(&added.collect::<Vec<_>>()).await;
        }
        server
    }

    /// Waits until a snapshot is admitted.
    async fn admitted(&self) {
        let admitted = async {
            loop {
                let response = self.request(Method::GET, "/v1/snapshot").send().await.unwrap();
                if response.status() == StatusCode::OK {
                    return;
                }
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, admitted).await.expect("admitted in time");
    }
}

impl Server {
    /// The lines of a snapshot, and its cursor.
    pub async fn snapshot(&self) -> (Vec<Value>, String) {
        let response = self.request(Method::GET, "/v1/snapshot").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let cursor = response.headers()["tenure-cursor"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let end = lines.pop().expect("a last line");
        assert_eq!(end, json!({"end": {"clients": lines.len(), "cursor": cursor}}));
        (lines, cursor)
    }
}

#[tokio::test]
async fn a_snapshot_has_every_client_and_the_cursor_after_its_changes() {
    // More than two pages, and exactly two.
    for clients in [0, 1, 500, 501] {
        let server = Server::start().await;
        let events: Vec<Value> = (0..clients)
            .map(|n| {
                let client = format!("c{n:04}");
                event(&client, "client.added", noon(), json!({"name": client}))
            })
            .collect();
        if clients > 0 {
            server.send(&events).await;
        }
        let (lines, cursor) = server.snapshot().await;
        let ids: Vec<&str> = lines
            .iter()
            .map(|line| line["client"]["client"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), clients);
        assert!(ids.is_sorted());
        let (_, after) = server.get(&format!("/v1/changes?after={cursor}")).await;
        assert_eq!(after["changes"], json!([]));
    }
}

#[tokio::test]
async fn a_line_has_the_last_change_that_it_includes() {
    let server = Server::start().await;
    server.linked("bakery").await;
    // Only events about it that were refused: not a client yet.
    server
        .send(&[event("ghost", "client.lost", noon(), json!({}))])
        .await;
    server.linked("mill").await;
    let (lines, _) = server.snapshot().await;
    assert_eq!(lines.len(), 2);
    let (_, all) = server.get("/v1/changes?limit=1000").await;
    for (line, client) in lines.iter().zip(["bakery", "mill"]) {
        let subject = format!("acme/{client}");
        let mut changes = all["changes"].as_array().unwrap().iter();
        let last = changes.rfind(|change| change["subject"] == subject);
        assert_eq!(line["last_change"], last.expect("a change")["id"]);
        let (_, view) = server.get(&format!("/v1/partners/acme/clients/{client}")).await;
        assert_eq!(line["client"], view);
    }
}

/// A timer that no sweep has fired is not in the journal, and a late event may prevent it.
#[tokio::test]
async fn a_snapshot_is_the_state_of_the_journal_not_of_the_clock() {
    let server = Server::start().await;
    server.linked("bakery").await;
    server.clock.set(noon() + TimeDelta::days(100));
    let (_, now) = server.get("/v1/partners/acme/clients/bakery").await;
    assert_eq!(now["access"], "expired");
    let (lines, _) = server.snapshot().await;
    assert_eq!(lines[0]["client"]["access"], "enabled");
    assert_eq!(lines[0]["client"]["expires_at"], "2026-04-30T11:00:00Z");
}

#[tokio::test]
async fn a_fifth_snapshot_is_refused_and_new_connections_end_none() {
    let server = Server::with_many_clients(&[("TENURE_HTTP__MAX_CONNECTIONS", "8")]).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(Unread::of(&server).await);
    }
    let (status, body) = server.get("/v1/snapshot").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    // More connections than the limit allows: idle ones end, and no snapshot.
    for _ in 0..16 {
        let mut idle = TcpStream::connect(&server.address).await.unwrap();
        let request = format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
        idle.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 15];
        timeout(PATIENCE, idle.read_exact(&mut answer))
            .await
            .expect("in time")
            .unwrap();
    }
    drop(open.pop());
    server.admitted().await;
    for snapshot in open {
        let last = snapshot.last_line().await;
        assert_eq!(last["end"]["clients"], 12_000, "{last}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_snapshot_is_disconnected() {
    let server = Server::with_many_clients(&[("TENURE_HTTP__TIMEOUT", "1s")]).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(Unread::of(&server).await);
    }
    // Another is admitted once one of them was cut, whichever that is.
    server.admitted().await;
    let mut cut = 0;
    for snapshot in open {
        cut += u32::from(snapshot.last_line().await.get("end").is_none());
    }
    assert!(cut > 0, "all are complete");
}

/// The last line says why it is not complete.
#[tokio::test]
async fn a_snapshot_that_cannot_be_completed_ends_with_an_error() {
    let server = Server::with_many_clients(&[("TENURE_HTTP__SNAPSHOT_TIMEOUT", "1s")]).await;
    let slow = Unread::of(&server).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let last = slow.last_line().await;
    assert_eq!(last["error"]["code"], "timed_out", "{last}");
}

#[tokio::test]
async fn a_snapshot_during_which_the_store_is_restored_ends_with_an_error() {
    let server = Server::with_many_clients(&[]).await;
    let open = Unread::of(&server).await;
    server.engine.store().begin_epoch(0).await.unwrap();
    let last = open.last_line().await;
    assert_eq!(last["error"]["code"], "cursor_gone", "{last}");
    // Another one is of one epoch.
    let (lines, _) = server.snapshot().await;
    assert_eq!(lines.len(), 12_000);
}
