//! The memory limit of all requests together, and single events while it is reached.

use futures_util::future::select_all;
use tokio::net::TcpStream;

use super::*;

const LARGE: usize = 4 << 20;

impl Server {
    /// Sends a body of the largest size but for its last bytes.
    async fn send_most_of_a_body(&self) -> TcpStream {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {BATCH}\r\ncontent-length: {LARGE}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(&vec![b' '; LARGE - 10]).await;
        stream
    }
}

#[tokio::test]
async fn large_bodies_share_a_memory_limit_and_single_events_are_accepted() {
    let server = Server::start().await;
    let mut senders = Vec::new();
    for _ in 0..40 {
        senders.push(server.send_most_of_a_body().await);
    }
    let answers = senders.iter_mut().map(|sender| {
        Box::pin(async {
            let mut answer = Vec::new();
            let _ = sender.read_to_end(&mut answer).await;
            answer
        })
    });
    let first = tokio::time::timeout(Duration::from_secs(20), select_all(answers));
    let refused = first.await.expect("an answer before the time limit").0;
    let refused = String::from_utf8(refused).unwrap().to_lowercase();
    assert!(refused.starts_with("http/1.1 503 "), "{refused}");
    assert!(
        refused.contains("retry-after: ") && refused.contains("\"busy\""),
        "{refused}"
    );

    let single = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let (status, body) = server.post(STRUCTURED, single.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let began = std::time::Instant::now();
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    assert!(began.elapsed() < Duration::from_secs(2));

    drop(senders);
    let large = format!("[{}]", " ".repeat(LARGE - 2));
    let mut status = StatusCode::SERVICE_UNAVAILABLE;
    for _ in 0..100 {
        status = server.post(BATCH, large.clone()).await.0;
        if status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, StatusCode::OK, "the memory is given back");
}

#[tokio::test]
async fn identical_invalid_members_of_a_batch_are_one_dead_letter() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let ahead = event(
        "bakery",
        "client.archived",
        noon() + TimeDelta::hours(1),
        json!({}),
    );
    let zeros = "0,".repeat(2_500);
    let (status, body) = server
        .post(
            BATCH,
            format!("[{zeros}{added},{ahead},{ahead},{added},{zeros}1]"),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let outcomes: Vec<&str> = body["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|outcome| outcome["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes.len(), 5_005);
    assert_eq!(
        outcomes[2_500..2_504],
        ["applied", "deferred", "deferred", "duplicate"]
    );
    assert!(
        outcomes[..2_500]
            .iter()
            .chain(&outcomes[2_504..])
            .all(|outcome| *outcome == "dead")
    );
    let first = &body["outcomes"][0];
    assert_eq!(first["reason"], body["outcomes"][2_499]["reason"]);
    let (_, letters) = server.get("/v1/dead-letters").await;
    let letters = letters["dead_letters"].as_array().unwrap();
    let times: Vec<_> = letters.iter().map(|letter| &letter["times_seen"]).collect();
    assert_eq!(times, [1, 1, 1], "a zero, the event ahead, and a one");
}
