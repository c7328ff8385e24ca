//! Incidents of sweeps and of retention: each is one line when it begins and one when it ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::store::Lanes as _;
use tenure::store::sqlite::SqliteStore;

use super::event;
use super::logs::{STRUCTURED, lines};
use crate::support::servers::{Postgres, name_in};
use crate::support::tenure::{Running, Tenure};

const SWEEP: &str = "stalled-invitations";
const EACH_SECOND: (&str, &str) = ("TENURE_SWEEPS__STALLED_INVITATIONS__CRON", "* * * * * *");
const JSON: (&str, &str) = ("TENURE_LOG__FORMAT", "json");

/// The number of lines with this message about the sweep.
fn said(worker: &Running, message: &str) -> usize {
    let lines = lines(worker, message);
    lines.iter().filter(|line| line["sweep"] == SWEEP).count()
}

/// Waits until the scheduler has considered some more ticks of the sweep, with these further labels.
fn wait_for_ticks(worker: &Running, labels: &str) {
    let series = format!(r#"tenure_sweep_ticks_total{{sweep="{SWEEP}"{labels}"#);
    let before = worker.metric(&series);
    assert!(before >= 0.0, "no answer");
    worker.wait_until(&series, || worker.metric(&series) >= before + 3.0);
}

/// A client whose invitation has stalled.
fn stalled(client: &str) -> [Value; 2] {
    let added = event(
        &format!("{client}-added"),
        "client.added",
        client,
        &json!({ "name": client }),
    );
    let invited = event(&format!("{client}-invited"), "client.invited", client, &json!({}));
    [added, invited]
}

#[test]
fn a_sweep_that_is_held_back_is_a_line_when_it_begins_and_one_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[EACH_SECOND, JSON]);
    tenure.ok(&["migrate"]);
    // No heartbeat ever arrives through this lane.
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let store = SqliteStore::open(folder.path().join("tenure.db"));
        let lanes = ["tenure.events.0".to_owned()];
        let added = store.set_lanes(&lanes, chrono::DateTime::UNIX_EPOCH).await;
        added.expect("a lane");
    });
    let worker = tenure.start();
    // While a lane has no heartbeat, it is not ready, but it takes events.
    for event in stalled("a") {
        let event = event.to_string();
        worker.wait_until("an event", || {
            worker.post("/v1/events", STRUCTURED, &event).0 == 200
        });
    }
    let (begin, end) = (
        "the sweep skips timers that later events may still cancel",
        "the sweep is no longer held back",
    );
    wait_for_ticks(&worker, r#",outcome="held_back"}"#);
    assert_eq!(
        (said(&worker, begin), said(&worker, end)),
        (1, 0),
        "{}",
        worker.log()
    );
    assert!(lines(&worker, begin)[0]["why"].is_string());

    // A pause ends it, in the metric too.
    let lag = || worker.metric(&format!(r#"tenure_sweep_held_back_seconds{{sweep="{SWEEP}"}}"#));
    assert!(lag() > 0.5);
    tenure.ok(&["sweep", "pause", SWEEP, "--reason", "not yet"]);
    worker.wait_until("the pause", || (0.0..0.5).contains(&lag()));
    worker.wait_until("the end", || said(&worker, end) == 1);
    tenure.ok(&["sweep", "resume", SWEEP]);
    worker.wait_until("the next begin", || said(&worker, begin) == 2);

    tenure.ok(&["lanes", "remove"]);
    worker.wait_until("the end", || said(&worker, end) == 2);
    wait_for_ticks(&worker, r#",outcome="ran"}"#);
    assert_eq!(
        (said(&worker, begin), said(&worker, end)),
        (2, 2),
        "{}",
        worker.log()
    );
    assert!(worker.stop().success());
}

/// On every worker, whichever one tripped the breaker, and whoever paused and confirmed the sweep.
#[test]
fn a_pause_and_a_trip_on_postgres_are_lines_when_they_begin_and_when_they_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Postgres::shared().database("incidents");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url), EACH_SECOND, JSON]);
    tenure.ok(&["migrate"]);
    tenure.ok(&["sweep", "pause", SWEEP, "--reason", "not yet"]);
    let events: Vec<String> = (0..120)
        .flat_map(|client| stalled(&format!("c{client}")))
        .map(|event| event.to_string())
        .collect();
    std::fs::write(folder.path().join("events.ndjson"), events.join("\n")).expect("a file");
    tenure.ok(&["ingest", "events.ndjson"]);
    let workers = [tenure.run(), tenure.run()];
    let paused = ["the sweep is paused", "the sweep is no longer paused"];
    let tripped = [
        "the breaker stopped the sweep",
        "the breaker no longer stops the sweep",
    ];
    let wait_for = |message: &str| {
        for worker in &workers {
            worker.wait_until(message, || said(worker, message) > 0);
            wait_for_ticks(worker, "");
        }
    };
    wait_for(paused[0]);
    tenure.ok(&["sweep", "resume", SWEEP]);
    wait_for(paused[1]);
    wait_for(tripped[0]);
    tenure.ok(&["sweep", "confirm", SWEEP]);
    wait_for(tripped[1]);
    for worker in workers {
        for message in paused.iter().chain(&tripped) {
            assert_eq!(said(&worker, message), 1, "{message}: {}", worker.log());
        }
        for message in [paused[0], tripped[0]] {
            assert!(lines(&worker, message)[0]["why"].is_string(), "{message}");
        }
        assert!(worker.stop().success());
    }
}

#[test]
fn retention_that_fails_on_postgres_is_a_line_when_it_begins_and_one_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Postgres::shared().database("retention_fails");
    let settings = [
        ("DATABASE_URL", &*url),
        ("TENURE_RETENTION__CRON", "* * * * * *"),
        JSON,
    ];
    let worker = Tenure::new(folder.path(), &settings).run();
    let sql = |statement: &str| Postgres::shared().sql(name_in(&url), statement);
    let said = |message: &str| lines(&worker, message).len();
    let (begin, end) = ("retention fails", "retention works again");
    sql("alter table event_traces rename to event_traces_elsewhere");
    worker.wait_until("the begin", || said(begin) > 0);
    // Some more ticks fail.
    let since_begin = Instant::now();
    worker.wait_until("more ticks", || since_begin.elapsed() > Duration::from_secs(4));
    assert_eq!((said(begin), said(end)), (1, 0), "{}", worker.log());
    sql("alter table event_traces_elsewhere rename to event_traces");
    worker.wait_until("the end", || said(end) > 0);
    let since_end = Instant::now();
    worker.wait_until("more ticks", || since_end.elapsed() > Duration::from_secs(3));
    assert_eq!((said(begin), said(end)), (1, 1), "{}", worker.log());
    assert!(lines(&worker, begin)[0]["why"].is_string());
    assert!(worker.stop().success());
}

#[test]
fn connections_that_cannot_be_accepted_are_a_line_when_that_begins_and_one_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = Tenure::new(folder.path(), &[JSON]).run();
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.id())).expect("its files");
    let open = u64::try_from(open.count()).expect("a number");
    worker.limit_open_files(open);
    let waiting: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(("127.0.0.1", worker.port)).expect("a connection that waits"))
        .collect();
    let (begins, ends) = ("cannot accept connections", "connections are accepted again");
    let begun = |message: &str| worker.log().matches(message).count();
    worker.wait_until("a line of the log", || begun(begins) > 0);
    // It tries again each second.
    std::thread::sleep(Duration::from_secs(3));
    worker.limit_open_files(1_024);
    drop(waiting);
    worker.wait_until("the line of the end", || {
        worker.get("/readyz").0 == 200 && begun(ends) > 0
    });
    assert_eq!((begun(begins), begun(ends)), (1, 1));
    assert!(worker.stop().success());
}
