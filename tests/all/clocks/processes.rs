//! Worker processes with a fake clock.

use std::path::Path;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::clock::{Clock as _, SystemClock};

use crate::support::faketime;
use crate::support::site::Site;
use crate::support::tenure::{Running, Tenure};

const SETTINGS: [(&str, &str); 3] = [
    ("TENURE_LOG__LEVEL", "info,tenure::broker=debug"),
    ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON", "* * * * * *"),
    ("TENURE_RETENTION__CRON", "* * * * * *"),
];

fn with(clock: &Path) -> Vec<(&'static str, String)> {
    let settings = SETTINGS.map(|(key, value)| (key, value.to_owned()));
    faketime::env(clock).into_iter().chain(settings).collect()
}

fn borrowed<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    env.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

fn clock_check(running: &Running) -> (u16, Value) {
    let (status, body) = running.get("/readyz");
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    (status, body["checks"]["clock"].clone())
}

fn runs(running: &Running) -> f64 {
    running.metric(r#"tenure_sweep_runs_total{sweep="access-expiry",status="done"}"#)
}

/// The ticks at which no sweep ran because the clock was ahead.
fn held(running: &Running) -> f64 {
    running.metric(r#"tenure_sweep_ticks_total{sweep="access-expiry",outcome="clock_ahead"}"#)
}

/// How often the log says that the clock is wrong, and that it is right again.
fn incidents(running: &Running) -> (usize, usize) {
    let log = running.log();
    let said = |message: &str| log.matches(message).count();
    (said("the clock is wrong"), said("the clock is right again"))
}

/// Waits until the scheduler has considered three more ticks.
fn wait_for_held_ticks(running: &Running) {
    let mut before = f64::NAN;
    running.wait_until("answering", || {
        before = held(running);
        before >= 0.0
    });
    running.wait_until("holding ticks", || held(running) >= before + 3.0);
}

/// Clients whose access has been enabled for some days.
fn active(days: i64, count: usize) -> Vec<Value> {
    let time = SystemClock.now() - TimeDelta::days(days);
    let event = |client: usize, kind: &str, data: Value| {
        json!({
            "specversion": "1.0", "id": format!("{client}-{kind}"), "source": "/s", "type": kind,
            "subject": format!("acme/c{client}"), "time": time.to_rfc3339(), "data": data,
        })
    };
    (0..count)
        .flat_map(|client| {
            [
                event(
                    client,
                    "client.added",
                    json!({ "name": format!("Bakery {client}") }),
                ),
                event(client, "client.invited", json!({ "steps": ["accepted"] })),
                event(client, "invitation.accepted", json!({})),
            ]
        })
        .collect()
}

#[test]
fn a_jump_is_reported_and_fires_no_timer_until_the_clock_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").expect("a clock");
    let env = with(&clock);
    let tenure = Tenure::new(folder.path(), &borrowed(&env));
    let lines: Vec<String> = active(10, 20).iter().map(Value::to_string).collect();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, lines.join("\n")).expect("a file");
    tenure.ok(&["ingest", file.to_str().expect("a path")]);
    let running = tenure.run();
    running.wait_until("sweeping", || runs(&running) > 0.0);

    std::fs::write(&clock, "+70d\n").expect("a clock");
    running.wait_until("not ready", || {
        let (status, check) = clock_check(&running);
        let detail = check["detail"].as_str().unwrap_or_default();
        status == 503 && detail.contains("70 days ahead of the time that has passed")
    });
    running.wait_until("logged", || {
        running.log().contains("the clock is wrong; no timer fires")
    });
    assert!(running.metric(r#"tenure_clock_skew_seconds{reference="elapsed"}"#) > 6e6);
    running.wait_until("holding a tick", || held(&running) > 0.0);
    let runs_before = runs(&running);
    wait_for_held_ticks(&running);
    assert!(
        runs(&running) <= runs_before,
        "a sweep ran by a clock that is ahead"
    );

    std::fs::write(&clock, "+0\n").expect("a clock");
    running.wait_until("ready", || running.get("/readyz").0 == 200);
    running.wait_until("logged", || running.log().contains("the clock is right again"));
    let before = runs(&running);
    running.wait_until("sweeping again", || runs(&running) >= before + 2.0);
    assert_eq!(incidents(&running), (1, 1), "{}", running.log());
    assert!(running.stop().success());
    let journal = tenure.json(&["client", "show", "acme/c7", "--journal"]);
    assert!(
        journal.iter().all(|line| line["type"] != "access.expired"),
        "{journal:?}"
    );
    tenure.assert_no_drift();
}

#[test]
fn a_clock_that_is_behind_is_reported_and_loses_no_event() {
    let site = Site::new("clock_behind");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "-10m\n").expect("a clock");
    let env = with(&clock);
    let behind = site.tenure(&borrowed(&env)).start();
    behind.wait_until("reported", || {
        let (_, check) = clock_check(&behind);
        let detail = check["detail"].as_str().unwrap_or_default();
        detail.contains("behind the clock of the database; timers fire late")
    });
    let tenure = site.tenure(&[]);
    tenure.ok(&["publish", &site.file(active(0, 30))]);
    behind.wait_until("ingesting", || {
        site.count("event_log where outcome = 'applied'") == 90
    });
    assert_eq!(site.count("dead_letters"), 0, "the database's clock decides");
    let log = behind.log();
    assert!(log.contains("the clock is wrong; timers fire late"), "{log}");

    std::fs::write(&clock, "+0\n").expect("a clock");
    behind.wait_until("ready", || behind.get("/readyz").0 == 200);
    behind.wait_until("logged", || behind.log().contains("the clock is right again"));
    assert_eq!(incidents(&behind), (1, 1), "{}", behind.log());
    assert!(behind.stop().success());
    tenure.assert_no_drift();
}

#[test]
fn a_clock_ahead_of_the_database_fires_no_timer_from_the_start() {
    let site = Site::new("clock_ahead");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+70d\n").expect("a clock");
    let env = with(&clock);
    let ahead = site.tenure(&borrowed(&env)).start();
    ahead.wait_until("not ready", || {
        let (status, check) = clock_check(&ahead);
        let detail = check["detail"].as_str().unwrap_or_default();
        status == 503 && detail.contains("ahead of the clock of the database; no timer fires")
    });
    // Clients that are new under this clock have no deadline for the breaker to count.
    let tenure = site.tenure(&[]);
    tenure.ok(&["publish", &site.file(active(10, 30))]);
    ahead.wait_until("ingesting", || {
        site.count("event_log where outcome = 'applied'") == 90
    });
    wait_for_held_ticks(&ahead);
    assert!(runs(&ahead) < 1.0, "a sweep ran by a clock that is ahead");
    assert_eq!(site.count("change_log where change = 'access.expired'"), 0);
    ahead.wait_until("skipping a heartbeat", || {
        ahead.log().contains("no heartbeat is sent: the clock is ahead")
    });
    assert_eq!(site.count("lanes where watermark > now()"), 0);
    assert!(ahead.stop().success());

    let right = tenure.run();
    right.wait_until("connected", || {
        site.count("lanes where watermark is not null") == 1
    });
    assert!(right.stop().success());
    assert_eq!(site.count("change_log where correction"), 0, "nothing to correct");
    tenure.assert_no_drift();
}

/// Without PostgreSQL, the clock is compared with that of RabbitMQ.
#[test]
fn on_sqlite_a_clock_ahead_of_rabbitmq_fires_no_timer() {
    let site = Site::new("clock_rabbitmq");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+70d\n").expect("a clock");
    let mut env = with(&clock);
    env.push(("AMQP_URL", site.amqp.clone()));
    let running = Tenure::new(folder.path(), &borrowed(&env)).start();
    running.wait_until("not ready", || {
        let (status, check) = clock_check(&running);
        let detail = check["detail"].as_str().unwrap_or_default();
        status == 503 && detail.contains("days ahead of the clock of RabbitMQ; no timer fires")
    });
    running.wait_until("logged", || {
        running.log().contains("the clock is wrong; no timer fires")
    });
    // A sweep of the empty store may have run before RabbitMQ's clock was read.
    running.wait_until("holding a tick", || held(&running) > 0.0);
    let runs_before = runs(&running);
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &site.amqp)]);
    tenure.ok(&["publish", &site.file(active(10, 30))]);
    let applied = r#"tenure_events_total{outcome="applied""#;
    running.wait_until("ingesting", || running.metric(applied) >= 90.0);
    wait_for_held_ticks(&running);
    assert!(
        runs(&running) <= runs_before,
        "a sweep ran by a clock that is ahead"
    );
    let journal = tenure.json(&["client", "show", "acme/c7", "--journal"]);
    assert!(
        journal.iter().any(|line| line["type"] == "access.enabled")
            && journal.iter().all(|line| line["type"] != "access.expired"),
        "{journal:?}"
    );
    std::fs::write(&clock, "+0\n").expect("a clock");
    running.wait_until("ready", || running.get("/readyz").0 == 200);
    running.wait_until("measured", || {
        running
            .metric(r#"tenure_clock_skew_seconds{reference="broker"}"#)
            .abs()
            < 60.0
    });
    assert!(running.stop().success());
}
