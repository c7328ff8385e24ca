//! `GET /v1/changes`: pages, filters, cursors, waiting, and server-sent events.

use reqwest::Response;
use tenure::config::RetentionSettings;
use tenure::store::Published;
use tenure::wire::{self, SchemaUris};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn types(page: &Value) -> Vec<&str> {
    let changes = page["changes"].as_array().expect("changes");
    changes
        .iter()
        .map(|change| change["type"].as_str().expect("a type"))
        .collect()
}

fn next(page: &Value) -> &str {
    page["next"].as_str().expect("a cursor")
}

impl Server {
    async fn changes(&self, query: &str) -> Value {
        let (status, page) = self.get(&format!("/v1/changes{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        page
    }

    /// Opens a stream.
    async fn stream(&self, query: &str, last_event: Option<&str>) -> Stream {
        let mut request = self
            .request(Method::GET, &format!("/v1/changes{query}"))
            .header("accept", "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            response,
            text: String::new(),
        }
    }

    /// Records that everything is published, and removes it.
    async fn prune_all(&self) {
        let store = self.engine.store();
        let page = self.changes("?limit=1000").await;
        let last = next(&page).parse::<tenure::store::FeedCursor>().unwrap().0;
        store.advance_cursor(&last).await.unwrap();
        self.clock.set(self.engine.now() + TimeDelta::days(1_000));
        let stop = tokio_util::sync::CancellationToken::new();
        let settings = tenure::config::Settings::load(None, std::iter::empty()).unwrap();
        let settings = RetentionSettings {
            journal: Some(TimeDelta::days(400)),
            ..settings.retention
        };
        let report = self.engine.prune(&settings, false, &stop).await.unwrap();
        assert!(report.journal > 0, "{report:?}");
    }
}

/// An open stream of server-sent events.
struct Stream {
    response: Response,
    text: String,
}

#[derive(Debug, Default)]
struct SentEvent {
    id: Option<String>,
    kind: Option<String>,
    data: Option<Value>,
}

impl Stream {
    /// The next event. None: the stream has ended.
    async fn next(&mut self) -> Option<SentEvent> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let mut sent = SentEvent::default();
                for line in event.trim_end().lines() {
                    let (field, value) = line.split_once(':').expect("a field");
                    let value = value.trim_start();
                    match field {
                        "id" => sent.id = Some(value.to_owned()),
                        "event" => sent.kind = Some(value.to_owned()),
                        "data" => sent.data = Some(serde_json::from_str(value).expect("JSON")),
                        "" => {}
                        other => panic!("unexpected field {other}"),
                    }
                }
                return Some(sent);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("in time");
            let chunk = chunk.expect("a whole response")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next change, and the id of its event.
    async fn change(&mut self) -> (String, Value) {
        loop {
            let event = self.next().await.expect("an open stream");
            let id = event.id.expect("each event has a cursor");
            if let Some(data) = event.data {
                return (id, data);
            }
        }
    }
}

/// The changes have the bytes and the order in which the relay publishes them.
#[tokio::test]
async fn pages_have_what_the_relay_publishes() {
    let server = Server::start().await;
    for client in ["bakery", "mill"] {
        server.linked(client).await;
    }
    let published = server
        .engine
        .store()
        .unpublished(tenure::store::Cursor::default(), None, 1_000)
        .await
        .unwrap();
    let bodies: Vec<String> = published
        .lines
        .iter()
        .map(|line| String::from_utf8(wire::change(published.epoch, line, &SchemaUris::default())).unwrap())
        .collect();
    assert!(bodies.len() > 5);
    let mut read = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = server.request(Method::GET, &format!("/v1/changes{query}"));
        let text = page.send().await.unwrap().text().await.unwrap();
        let page: Value = serde_json::from_str(&text).unwrap();
        for change in page["changes"].as_array().unwrap() {
            let body = &bodies[read.len()];
            assert_eq!(*change, serde_json::from_str::<Value>(body).unwrap());
            assert!(text.contains(body), "byte for byte");
            read.push(change.clone());
        }
        query = format!("?limit=3&after={}", next(&page));
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(read.len(), bodies.len());
    let end = server.changes(&query).await;
    assert_eq!((types(&end), &end["more"]), (vec![], &json!(false)));
    assert_eq!(next(&end), query.rsplit('=').next().unwrap());
    let latest = server.changes("?after=latest").await;
    assert_eq!((types(&latest), next(&latest)), (vec![], next(&end)));
}

#[tokio::test]
async fn changes_are_filtered_by_partner_client_and_type() {
    let server = Server::start().await;
    server.linked("bakery").await;
    server.linked("mill").await;
    let mut other = event("bakery", "client.added", noon(), json!({"name": "Other"}));
    other["subject"] = "other/bakery".into();
    other["id"] = "other".into();
    server.send(&[other]).await;
    let all = server.changes("?limit=1000").await;
    let count = |matches: &dyn Fn(&str, &str) -> bool| {
        let changes = all["changes"].as_array().unwrap().iter();
        changes
            .filter(|change| {
                matches(
                    change["subject"].as_str().unwrap(),
                    change["type"].as_str().unwrap(),
                )
            })
            .count()
    };
    for (query, expected) in [
        ("?partner=acme", count(&|subject, _| subject.starts_with("acme/"))),
        ("?partner=other", count(&|subject, _| subject == "other/bakery")),
        ("?partner=nobody", 0),
        ("?client=acme/mill", count(&|subject, _| subject == "acme/mill")),
        (
            "?partner=acme&client=acme/mill",
            count(&|subject, _| subject == "acme/mill"),
        ),
        ("?type=link.active", count(&|_, kind| kind == "link.active")),
        ("?type=link.*", count(&|_, kind| kind.starts_with("link."))),
        (
            "?type=link.active,access.*&partner=acme",
            count(&|_, kind| kind == "link.active" || kind.starts_with("access.")),
        ),
        (
            "?type=link.*,link.active,link.*",
            count(&|_, kind| kind.starts_with("link.")),
        ),
        ("?type=event.refused", 0),
    ] {
        let page = server.changes(&format!("{query}&limit=1000")).await;
        assert_eq!(types(&page).len(), expected, "{query}");
        assert_eq!(next(&page), next(&all), "{query}");
    }
    for (query, parameter) in [
        ("?after=x", "`after`"),
        ("?after=1-2-3", "`after`"),
        ("?partner=a%20b", "`partner`"),
        ("?client=mill", "`client`"),
        ("?client=acme/mill&partner=other", "`client`"),
        ("?type=link", "`type`"),
        ("?type=link.active,", "`type`"),
        ("?type=*", "`type`"),
        ("?limit=0", "`limit`"),
        ("?wait=30", "`wait`"),
        ("?wait=61s", "`wait`"),
        ("?wait=-1s", "`wait`"),
    ] {
        let (status, body) = server.get(&format!("/v1/changes{query}")).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::BAD_REQUEST, "bad_parameter"),
            "{query}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(parameter), "{query}: {message}");
    }
}

#[tokio::test]
async fn a_cursor_before_pruned_changes_is_gone() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let first = server.changes("?limit=1").await;
    server.linked("mill").await;
    let all = server.changes("?limit=1000").await;
    server.prune_all().await;
    let after = format!("?after={}", next(&first));
    for query in [String::new(), after.clone(), format!("{after}&wait=30s")] {
        let (status, body) = server.get(&format!("/v1/changes{query}")).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::GONE, "cursor_gone"),
            "{query}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("no longer stored") && message.contains("GET /v1/snapshot"),
            "{message}"
        );
    }
    // A reader that has everything, and one that begins with a snapshot, miss nothing.
    for after in [next(&all), "latest"] {
        let page = server.changes(&format!("?after={after}")).await;
        assert_eq!(types(&page), [""; 0]);
    }
    let at = server.engine.now();
    server
        .send(&[event("forge", "client.added", at, json!({"name": "Forge"}))])
        .await;
    let page = server.changes(&format!("?after={}", next(&all))).await;
    assert!(types(&page).contains(&"client.named"), "{page}");
}

#[tokio::test]
async fn a_cursor_of_an_undone_past_is_gone() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let page = server.changes("?limit=1").await;
    let kept: tenure::store::FeedCursor = next(&page).parse().unwrap();
    let undone = tenure::store::FeedCursor(Published {
        recorded_at: kept.0.recorded_at + TimeDelta::seconds(1),
        ..kept.0
    });
    let is_gone = async |server: &Server| {
        let (status, body) = server.get(&format!("/v1/changes?after={undone}")).await;
        assert_eq!((status, error_code(&body)), (StatusCode::GONE, "cursor_gone"));
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("restored from a backup") && message.contains("GET /v1/snapshot"),
            "{message}"
        );
    };
    is_gone(&server).await;
    let epoch = server.engine.store().begin_epoch(0).await.unwrap();
    is_gone(&server).await;
    // The restored store has this one, and continues after it.
    let page = server.changes(&format!("?after={kept}")).await;
    assert_eq!(page["changes"][0]["data"]["epoch"], format!("{epoch:019}"));
    let later = tenure::store::FeedCursor(Published {
        epoch: epoch + 1,
        ..kept.0
    });
    let (status, _) = server.get(&format!("/v1/changes?after={later}")).await;
    assert_eq!(status, StatusCode::GONE, "its epoch was undone");
}

#[tokio::test]
async fn a_long_poll_returns_with_the_next_change_or_when_its_time_is_over() {
    let server = Arc::new(Server::start().await);
    let latest = next(&server.changes("?after=latest").await).to_owned();
    let began = std::time::Instant::now();
    let page = server.changes(&format!("?after={latest}&wait=1s")).await;
    assert_eq!((types(&page), next(&page)), (vec![], &*latest));
    assert!(began.elapsed() >= Duration::from_secs(1));

    let waiting = tokio::spawn({
        let (server, latest) = (server.clone(), latest.clone());
        async move {
            server
                .changes(&format!("?after={latest}&type=link.*&wait=60s"))
                .await
        }
    });
    // A change that does not match wakes nobody for good.
    server
        .send(&[event("nobody", "client.lost", noon(), json!({}))])
        .await;
    assert!(!waiting.is_finished());
    server.linked("bakery").await;
    let page = timeout(PATIENCE, waiting).await.expect("in time").unwrap();
    assert_eq!(types(&page)[0], "link.draft");
    // With changes at hand, it does not wait.
    let page = server.changes("?wait=60s").await;
    assert!(types(&page).contains(&"event.refused"));
}

#[tokio::test]
async fn waiting_is_shorter_than_the_timeout_of_requests() {
    let server = Server::with(&[("TENURE_HTTP__TIMEOUT", "1s")]).await;
    let page = server.changes("?wait=60s").await;
    assert_eq!(types(&page), [""; 0]);
}

#[tokio::test]
async fn a_stream_continues_after_the_last_event_that_the_client_has_seen() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let all = server.changes("?limit=1000").await;
    let changes = all["changes"].as_array().unwrap();
    let mut stream = server.stream("", None).await;
    let mut last = String::new();
    for expected in &changes[..3] {
        let (id, change) = stream.change().await;
        assert_eq!(change, *expected);
        last = id;
    }
    drop(stream);
    let mut stream = server.stream("?after=latest", Some(&last)).await;
    for expected in &changes[3..] {
        let (id, change) = stream.change().await;
        assert_eq!(change, *expected);
        last = id;
    }
    assert_eq!(last, next(&all), "the two kinds of cursors are the same");
    // Live.
    let mut filtered = server.stream("?after=latest&type=access.*", None).await;
    server.linked("mill").await;
    let (_, change) = stream.change().await;
    assert_eq!(change["subject"], "acme/mill");
    let (_, change) = filtered.change().await;
    assert_eq!(change["type"], "access.enabled");
}

#[tokio::test]
async fn a_stream_rejects_what_it_cannot_do() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let first = server.changes("?limit=1").await;
    server.prune_all().await;
    for (query, last_event, status) in [
        ("?limit=5", None, StatusCode::BAD_REQUEST),
        ("?wait=5s", None, StatusCode::BAD_REQUEST),
        ("", Some("x"), StatusCode::BAD_REQUEST),
        ("", None, StatusCode::GONE),
        ("?after=latest", Some(next(&first)), StatusCode::GONE),
    ] {
        let mut request = server
            .request(Method::GET, &format!("/v1/changes{query}"))
            .header("accept", "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        let (answered, body) = answer(request).await;
        assert_eq!(answered, status, "{query}: {body}");
    }
}

/// A stream whose place is gone, as after a restore below a running worker, reports that before it ends.
#[tokio::test]
async fn a_stream_whose_place_is_gone_ends_with_a_reason() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let mut stream = server.stream("?after=latest", None).await;
    stream.next().await.expect("its place");
    let latest = next(&server.changes("?after=latest").await).to_owned();
    let poll = server.request(Method::GET, &format!("/v1/changes?after={latest}&wait=60s"));
    let poll = tokio::spawn(answer(poll));
    server.execute("delete from journal").await;
    let end = loop {
        let event = stream.next().await.expect("a last event");
        if event.kind.is_some() {
            break event;
        }
    };
    assert_eq!(end.kind.as_deref(), Some("gone"));
    assert_eq!(end.data.expect("a reason")["error"]["code"], "cursor_gone");
    assert!(stream.next().await.is_none());
    let (status, body) = timeout(PATIENCE, poll).await.expect("in time").unwrap();
    assert_eq!((status, error_code(&body)), (StatusCode::GONE, "cursor_gone"));
}

/// A stream at the pruned end misses nothing.
#[tokio::test]
async fn a_stream_continues_when_everything_that_it_has_is_pruned() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let mut stream = server.stream("?after=latest", None).await;
    stream.next().await.expect("its place");
    server.prune_all().await;
    server.engine.store().begin_epoch(0).await.unwrap();
    let at = server.engine.now();
    server
        .send(&[event("mill", "client.added", at, json!({"name": "Mill"}))])
        .await;
    let (_, change) = stream.change().await;
    assert_eq!(change["subject"], "acme/mill");
}

/// The store is read once for all streams.
#[tokio::test]
async fn a_change_costs_the_same_for_many_streams_as_for_one() {
    const STREAMS: usize = 120;
    const EVENTS: usize = 40;
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = server.stream("?after=latest", None).await;
        stream.next().await.expect("its place");
        streams.push(stream);
    }
    // Each has read the store to its end, and the task has begun.
    let warm = event("warm", "client.added", noon(), json!({"name": "Warm"}));
    server.send(&[warm]).await;
    for stream in &mut streams {
        while stream.change().await.1["type"] != "client.named" {}
    }
    let before = server.faults.calls("feed");
    for n in 0..EVENTS {
        let client = format!("c{n}");
        server
            .send(&[event(&client, "client.added", noon(), json!({"name": client}))])
            .await;
    }
    for stream in &mut streams {
        let mut named = 0;
        while named < EVENTS {
            let (_, change) = stream.change().await;
            named += usize::from(change["type"] == "client.named");
        }
    }
    let reads = usize::try_from(server.faults.calls("feed") - before).unwrap();
    assert!(
        reads < STREAMS * EVENTS / 4,
        "{reads} reads for {STREAMS} streams and {EVENTS} events"
    );
}

/// Waiting requests and streams do not use up the connections, nor the requests in progress.
#[tokio::test]
async fn requests_that_wait_are_bounded_and_end_with_the_server() {
    let server = Server::with(&[("TENURE_HTTP__MAX_CONNECTIONS", "8")]).await;
    let mut one = server.stream("?after=latest", None).await;
    let mut other = server.stream("?after=latest", None).await;
    let (status, body) = server.get("/v1/changes?after=latest&wait=1s").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    // Without waiting it is answered.
    server.changes("?after=latest").await;
    for stream in [&mut one, &mut other] {
        stream.next().await.expect("its place");
    }
    let began = std::time::Instant::now();
    server.stop.cancel();
    for stream in [&mut one, &mut other] {
        assert!(stream.next().await.is_none(), "the response ends properly");
    }
    assert!(began.elapsed() < Duration::from_secs(4));
}
