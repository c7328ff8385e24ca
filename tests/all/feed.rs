//! A read model that begins with a snapshot and follows the feed has the state, whatever happens meanwhile: concurrent events,
//! late ones, killed workers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};

use crate::oracle::{Subscriber, published_part};
use crate::support::servers::{Postgres, send_as};
use crate::support::tenure::{Running, Tenure, wait_until};

const CLIENTS: usize = 120;
/// Each sends the events of some of the clients.
const SENDERS: usize = 3;
/// The most snapshots during the load.
const MOST_MODELS: usize = 12;
/// Events of one request. Each is one transaction.
const BATCH: usize = 25;

/// A subscriber that keeps nothing but what a reader of the feed keeps.
#[derive(Default)]
struct ReadModel {
    subscriber: Subscriber,
    /// The newest change of each client.
    last: BTreeMap<String, String>,
    cursor: String,
    /// Changes that the snapshot, or an earlier page, had already.
    skipped: usize,
    applied: usize,
}

impl ReadModel {
    /// Begins with a snapshot of a worker. None: it is incomplete, or the worker has no time for it now.
    fn begin_at(port: u16) -> Option<Self> {
        match send_as(port, "GET", "/v1/snapshot", "", "") {
            Ok((200, snapshot)) => Self::begin(&snapshot),
            _ => None,
        }
    }

    fn begin(snapshot: &str) -> Option<Self> {
        let mut model = Self::default();
        let mut lines = snapshot.lines().map(serde_json::from_str::<Value>);
        while let Some(Ok(line)) = lines.next() {
            if let Some(end) = line.get("end") {
                assert_eq!(end["clients"], model.last.len());
                end["cursor"].as_str()?.clone_into(&mut model.cursor);
                return Some(model);
            }
            let client = &line["client"];
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let subject = format!("{}/{}", text(&client["partner"]), text(&client["client"]));
            model.subscriber.begin_with(client);
            model.last.insert(subject, text(&line["last_change"]));
        }
        None
    }

    fn apply(&mut self, change: &Value) {
        let text = |field: &str| change[field].as_str().expect("text").to_owned();
        let (subject, id) = (text("subject"), text("id"));
        if self.last.get(&subject).is_some_and(|last| id <= *last) {
            self.skipped += 1;
            return;
        }
        self.applied += 1;
        self.last.insert(subject, id);
        // A snapshot does not have the events that are refused.
        if !text("type").starts_with("event.") {
            self.subscriber.receive(change);
        }
    }

    /// Applies pages until one reaches the end of the feed. False: the worker is gone.
    fn follow(&mut self, port: u16) -> bool {
        loop {
            match self.read_page(port, "limit=50") {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
    }

    /// Applies a page. Returns whether more follows. None: the worker is gone.
    fn read_page(&mut self, port: u16, query: &str) -> Option<bool> {
        let path = format!("/v1/changes?{query}&after={}", self.cursor);
        let (status, body) = send_as(port, "GET", &path, "", "").ok()?;
        if status != 200 {
            assert!(status == 0 || status == 503, "{status}: {body}");
            return None;
        }
        let page: Value = serde_json::from_str(&body).ok()?;
        for change in page["changes"].as_array().expect("changes") {
            self.apply(change);
        }
        page["next"]
            .as_str()
            .expect("a cursor")
            .clone_into(&mut self.cursor);
        Some(page["more"] == true)
    }

    /// Applies the events of a stream until its connection ends, or the end of the feed is reached.
    fn read_stream(&mut self, sending: &Sending) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, sending.port()))?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        write!(
            stream,
            "GET /v1/changes HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: {}\r\n\r\n",
            self.cursor
        )?;
        let mut lines = BufReader::new(stream);
        let (mut line, mut id, mut data) = (Vec::new(), None, None);
        while !sending.has_reached_end(&self.cursor) {
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // What was read stays in the line.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error),
            }
            let text = String::from_utf8(std::mem::take(&mut line)).expect("UTF-8");
            // Other lines are the head, or the lengths of chunks.
            match text.trim_end().split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data = serde_json::from_str::<Value>(value).ok(),
                _ if text == "\n" => {
                    if let Some(change) = data.take() {
                        self.apply(&change);
                    }
                    self.cursor = id.take().unwrap_or_else(|| std::mem::take(&mut self.cursor));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins with a snapshot, over as many attempts and workers as that takes.
    fn begin_while(sending: &Sending) -> Self {
        let end = Instant::now() + Duration::from_mins(2);
        while Instant::now() < end {
            if let Some(model) = Self::begin_at(sending.port()) {
                return model;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("a complete snapshot in time");
    }

    /// Follows the feed to the end of the load by long polls.
    fn follow_by_polls(sending: &Sending) -> Self {
        let mut model = Self::begin_while(sending);
        while !sending.has_reached_end(&model.cursor) {
            if model.read_page(sending.port(), "wait=1s").is_none() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        model
    }

    /// Follows the feed to the end of the load by server-sent events.
    fn follow_by_streams(sending: &Sending) -> Self {
        let mut model = Self::begin_while(sending);
        while !sending.has_reached_end(&model.cursor) {
            if model.read_stream(sending).is_err() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        model
    }
}

fn event(client: usize, number: usize, kind: &str, time: DateTime<Utc>, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{client}-{number}"), "source": "/space", "type": kind,
        "subject": format!("acme/c{client}"), "time": time.to_rfc3339(), "data": data,
    })
}

/// The life of each client of a sender, interleaved. Every third event of a client arrives after its successor, and some arrive last
/// of all.
fn events(sender: usize) -> Vec<Value> {
    let start = SystemClock.now() - TimeDelta::days(10);
    let life = |client: usize| {
        let called = |n: usize| json!({"name": format!("Client {client} {n}")});
        let holding = |kind: &str, id: usize| json!({format!("{kind}_id"): format!("{kind}-{id}")});
        let paid = json!({"subscription_id": "s", "plan": "p", "paid_until": "2027-01-01T00:00:00Z"});
        [
            ("client.added", called(0)),
            ("client.invited", json!({"steps": ["accepted"]})),
            ("invitation.accepted", json!({})),
            ("assignment.added", holding("assignment", 1)),
            ("client.renamed", called(1)),
            ("subscription.added", paid),
            ("access.disabled", json!({})),
            ("user.added", holding("user", 1)),
            ("access.enabled", json!({})),
            ("assignment.added", holding("assignment", 2)),
            ("client.archived", json!({})),
            ("user.removed", holding("user", 1)),
            ("client.invited", json!({})),
            ("client.renamed", called(2)),
        ]
        .into_iter()
        .enumerate()
        .map(move |(number, (kind, data))| {
            let at = start + TimeDelta::hours(i64::try_from(number).expect("small"));
            event(client, number, kind, at, &data)
        })
        .collect::<Vec<_>>()
    };
    let (mut sent, mut last) = (Vec::new(), Vec::new());
    let mut lives: Vec<Vec<Value>> = (0..CLIENTS).skip(sender).step_by(SENDERS).map(life).collect();
    for (client, life) in lives.iter_mut().enumerate() {
        for number in (2..life.len()).step_by(3) {
            life.swap(number - 1, number);
        }
        if client % 5 == 0 {
            last.push(life.remove(6));
        }
    }
    for number in 0..lives[1].len() {
        sent.extend(lives.iter().filter_map(|life| life.get(number)).cloned());
    }
    sent.extend(last);
    sent
}

/// How far the senders of the events are, and the worker that they send to.
struct Sending {
    port: AtomicU16,
    batches: AtomicUsize,
    kills: AtomicUsize,
    /// The cursor after the last change of the load, once it is known.
    end: OnceLock<String>,
    began: Instant,
}

/// A worker is killed while each of these batches, and some after it, are sent.
const KILLS: [usize; 2] = [15, 40];

impl Sending {
    fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    fn has_reached_end(&self, cursor: &str) -> bool {
        assert!(
            self.began.elapsed() < Duration::from_mins(8),
            "the end of the feed in time"
        );
        self.end.get().is_some_and(|end| end == cursor)
    }

    /// Sends every event of a sender, each batch again until a worker accepts it.
    fn send_all(&self, sender: usize) {
        for batch in events(sender).chunks(BATCH) {
            let has_been_killed = wait_until(Duration::from_mins(1), || {
                let batches = self.batches.load(Ordering::SeqCst);
                let kill_before = KILLS.iter().filter(|kill| batches > **kill + 5).count();
                self.kills.load(Ordering::SeqCst) >= kill_before
            });
            has_been_killed.expect("a worker is killed");
            let body = Value::from(batch).to_string();
            let accepted = wait_until(Duration::from_mins(1), || self.is_accepted(&body));
            accepted.expect("a worker accepts the batch");
            self.batches.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_accepted(&self, body: &str) -> bool {
        let media_type = "application/cloudevents-batch+json";
        let sent = send_as(self.port(), "POST", "/v1/events", media_type, body);
        sent.is_ok_and(|(status, _)| status == 200)
    }

    /// Whether it is time to kill a worker.
    fn is_to_be_killed(&self) -> bool {
        let batches = self.batches.load(Ordering::SeqCst);
        let kills = self.kills.load(Ordering::SeqCst);
        KILLS.get(kills).is_some_and(|kill| batches >= *kill)
    }
}

/// Snapshots at several moments, each followed to the end, over three workers of which two are killed: by pages, by long polls, and
/// by streams.
fn snapshot_and_feed_give_the_state(tenure: &Tenure) {
    let mut worker = tenure.run();
    let sending = Sending {
        port: AtomicU16::new(worker.port),
        batches: AtomicUsize::new(0),
        kills: AtomicUsize::new(0),
        end: OnceLock::new(),
        began: Instant::now(),
    };
    let mut models: Vec<ReadModel> = Vec::new();
    thread::scope(|scope| {
        let sending = &sending;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || sending.send_all(sender)))
            .collect();
        let polls: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| ReadModel::follow_by_polls(sending)))
            .collect();
        let streams: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| ReadModel::follow_by_streams(sending)))
            .collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            if models.len() < MOST_MODELS {
                models.extend(ReadModel::begin_at(worker.port));
            }
            for model in &mut models {
                model.follow(worker.port);
            }
            if sending.is_to_be_killed() {
                worker.signal(Signal::SIGKILL);
                worker = tenure.run();
                sending.port.store(worker.port, Ordering::SeqCst);
                sending.kills.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (status, latest) = worker.get("/v1/changes?after=latest");
        assert_eq!(status, 200, "{latest}");
        let latest: Value = serde_json::from_str(&latest).expect("JSON");
        let end = latest["next"].as_str().expect("a cursor");
        sending.end.set(end.to_owned()).expect("set once");
        for reader in polls.into_iter().chain(streams) {
            models.push(reader.join().expect("a read model"));
        }
    });
    assert_eq!(sending.kills.load(Ordering::SeqCst), KILLS.len());
    models.push(ReadModel::begin_at(worker.port).expect("a snapshot when nobody else asks"));
    assert!(models.len() > 3, "{} snapshots", models.len());
    let (status, clients) = worker.get("/v1/partners/acme/clients?limit=1000");
    assert_eq!(status, 200);
    let clients: Value = serde_json::from_str(&clients).expect("JSON");
    let clients = clients["clients"].as_array().expect("clients");
    assert_eq!(clients.len(), CLIENTS);
    for model in &mut models {
        worker.wait_until("at the end of the feed", || model.follow(worker.port));
        assert_eq!(model.subscriber.contradictions, [""; 0]);
        for client in clients {
            let subject = format!("acme/{}", client["client"].as_str().expect("an id"));
            assert_eq!(
                model.subscriber.known(&subject),
                Some(published_part(client)),
                "{subject}"
            );
        }
    }
    let applied: usize = models.iter().map(|model| model.applied).sum();
    let skipped: usize = models.iter().map(|model| model.skipped).sum();
    println!(
        "{} snapshots, {applied} changes applied, {skipped} skipped",
        models.len()
    );
    assert!(applied > 0);
    assert!(worker.stop().success());
}

#[test]
fn a_snapshot_and_the_feed_after_it_give_the_state_on_sqlite() {
    let folder = TempDir::new().expect("a folder");
    snapshot_and_feed_give_the_state(&Tenure::new(folder.path(), &[]));
}

#[test]
fn a_snapshot_and_the_feed_after_it_give_the_state_on_postgres() {
    let folder = TempDir::new().expect("a folder");
    // An open transaction in any database of a server delays the end of the feed, and this test asks for it once.
    let server = Postgres::own();
    let database = server.database("feed");
    let settings = [("DATABASE_URL", database.as_str())];
    snapshot_and_feed_give_the_state(&Tenure::new(folder.path(), &settings));
}

/// A cursor continues after a restart, and after a restore if it is from before the backup.
#[test]
fn a_cursor_survives_restarts_and_restores_but_not_the_past_that_they_undo() {
    let folder = TempDir::new().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[]);
    let file = |name: &str| folder.path().join(name);
    let page = |worker: &Running, after: &str| {
        let (status, body) = worker.get(&format!("/v1/changes?limit=1000&after={after}"));
        let body: Value = serde_json::from_str(&body).expect("JSON");
        (status, body)
    };
    let next = |page: &Value| page["next"].as_str().expect("a cursor").to_owned();
    let stop = |worker: Running| {
        assert!(worker.stop().success());
        assert!(
            !file("tenure.db-wal").exists(),
            "a worker that has stopped leaves a single file"
        );
    };

    let worker = tenure.run();
    assert_eq!(worker.add_client("first").0, 200);
    let (_, first) = page(&worker, "latest");
    let before_backup = next(&first);
    stop(worker);
    std::fs::copy(file("tenure.db"), file("backup.db")).expect("a copy");

    let worker = tenure.run();
    assert_eq!(worker.add_client("lost").0, 200);
    let (status, lost) = page(&worker, &before_backup);
    assert_eq!((status, &lost["changes"][0]["subject"]), (200, &json!("p/lost")));
    let undone = next(&lost);
    stop(worker);

    std::fs::copy(file("backup.db"), file("tenure.db")).expect("restored");
    let restored = tenure.json(&["restored"]).remove(0);
    let worker = tenure.run();
    // With the same numbers as the lost changes, and more.
    for client in ["after-1", "after-2"] {
        assert_eq!(worker.add_client(client).0, 200);
        let (status, body) = page(&worker, &undone);
        assert_eq!((status, &body["error"]["code"]), (410, &json!("cursor_gone")));
    }
    let (status, after) = page(&worker, &before_backup);
    assert_eq!(
        (status, &after["changes"][0]["subject"]),
        (200, &json!("p/after-1"))
    );
    assert_eq!(after["changes"][0]["data"]["epoch"], restored["epoch"]);
    stop(worker);
}

#[test]
fn open_streams_do_not_delay_a_stop_and_end_properly() {
    let folder = TempDir::new().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("TENURE_SHUTDOWN__TIMEOUT", "20s")]);
    let worker = tenure.run();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, worker.port)).expect("connected");
    let request =
        "GET /v1/changes?after=latest HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    let mut read_until = |words: &str| {
        while !text.contains(words) {
            let mut part = [0; 1024];
            let length = stream.read(&mut part).expect("a stream");
            assert!(length > 0, "it ended without {words}: {text}");
            text.push_str(std::str::from_utf8(&part[..length]).expect("UTF-8"));
        }
    };
    // The first event has the place of the stream.
    read_until("id: ");
    assert_eq!(worker.add_client("bakery").0, 200);
    read_until("client.named");
    let began = Instant::now();
    let stopped = worker.stop();
    assert!(stopped.success(), "{stopped}");
    assert!(began.elapsed() < Duration::from_secs(15));
    stream.read_to_string(&mut text).expect("the rest");
    assert!(text.ends_with("0\r\n\r\n"), "the response has its end: {text}");
}

/// Opens a stream and reads its first event.
fn open_stream(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
    let request =
        "GET /v1/changes?after=latest HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut received = String::new();
    while !received.contains("id: ") {
        let mut chunk = [0; 1024];
        let length = stream.read(&mut chunk).expect("a stream");
        assert!(length > 0, "it ended: {received}");
        received.push_str(std::str::from_utf8(&chunk[..length]).expect("UTF-8"));
    }
    stream
}

#[test]
fn readers_that_wait_are_counted_and_their_waiting_is_no_duration() {
    let folder = TempDir::new().expect("a folder");
    let worker = Tenure::new(folder.path(), &[]).run();
    let stream = open_stream(worker.port);
    let poll = thread::spawn({
        let port = worker.port;
        move || send_as(port, "GET", "/v1/changes?after=latest&wait=4s", "", "")
    });
    worker.wait_until("both are counted", || worker.metric("tenure_feed_readers") > 1.5);
    let (_, metrics) = worker.get("/metrics");
    for kind in ["poll", "stream"] {
        let expected = format!("tenure_feed_readers{{kind=\"{kind}\"}} 1");
        assert!(metrics.contains(&expected), "{metrics}");
    }
    let (status, _) = poll.join().expect("a poll").expect("an answer");
    assert_eq!(status, 200);
    drop(stream);
    worker.wait_until("none is left", || worker.metric("tenure_feed_readers") < 0.5);
    let (_, metrics) = worker.get("/metrics");
    let sum = metrics.lines().find_map(|line| {
        line.strip_prefix("tenure_http_request_duration_seconds_sum{route=\"/v1/changes\"} ")
    });
    let sum: f64 = sum.expect("a sum").parse().expect("a number");
    assert!(sum < 2.0, "{sum} s");
    assert!(worker.stop().success());
}

/// At most a quarter of the connections may wait, however few the open file limit allows.
#[test]
fn the_limit_of_waiting_readers_follows_the_open_file_limit() {
    let folder = TempDir::new().expect("a folder");
    let program = folder.path().join("tenure-with-few-files");
    let script = format!(
        "#!/bin/sh\nulimit -n 128\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_tenure")
    );
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let program = program.to_str().expect("a path");
    let worker = Tenure::new(folder.path(), &[]).of(program).run();
    // Half of the files, and a quarter of those.
    let streams: Vec<TcpStream> = (0..16).map(|_| open_stream(worker.port)).collect();
    let (status, body) = worker.get("/v1/changes?after=latest&wait=1s");
    assert_eq!(status, 503, "{body}");
    drop(streams);
    worker.wait_until("their places are free", || {
        worker.get("/v1/changes?after=latest&wait=1s").0 == 200
    });
    assert!(worker.stop().success());
}
