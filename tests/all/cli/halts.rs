//! Sweeps and policies that wait for confirmation or for lanes: pauses, the breaker, watermarks.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tenure::clock::SystemClock;
use tenure::domain::{Policy, Sweep};
use tenure::engine::Engine;
use tenure::store::{Lanes as _, Verification as _, Watermark};

use super::{Given, SHORT_IDLE, code, stderr, stdout};
use crate::support::servers::free_port;
use crate::support::tenure::Running;

/// So that tests need not wait for a tick.
const EACH_SECOND: (&str, &str) = ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON", "* * * * * *");

/// Adds clients whose access was enabled long ago.
pub(super) fn many(given: &Given, clients: usize) {
    let mut events = String::new();
    for n in 0..clients {
        for (step, kind, data) in [
            (1, "client.added", json!({"name": format!("Client {n}")})),
            (2, "client.invited", json!({"steps": ["accepted"]})),
            (3, "invitation.accepted", json!({})),
        ] {
            let event = json!({
                "specversion": "1.0", "id": format!("{n}-{step}"), "source": "/space", "type": kind,
                "subject": format!("many/c{n}"), "time": format!("2025-01-0{step}T00:00:00Z"), "data": data,
            });
            writeln!(events, "{event}").expect("text");
        }
    }
    std::fs::write(given.folder.path().join("many.ndjson"), events).expect("a file");
    given.tenure.ok(&["ingest", "many.ndjson"]);
}

#[test]
fn sweeps_are_listed_paused_and_resumed() {
    let given = Given::nothing();
    given.tenure.ok(&["migrate"]);
    let listed = given.tenure.json(&["sweep", "list"]);
    let names: Vec<_> = listed.iter().map(|sweep| sweep["sweep"].clone()).collect();
    assert_eq!(names, Sweep::ALL.map(Sweep::as_str));
    assert_eq!(
        (&listed[0]["cron"], &listed[0]["halts"]),
        (&json!("0 */10 * * * *"), &json!([]))
    );

    let why = "the books are closed";
    let stdout = given
        .tenure
        .ok(&["sweep", "pause", "subscription-end", "--reason", why]);
    assert_eq!(
        stdout,
        "subscription-end: paused; only manual runs until `tenure sweep resume subscription-end`\n"
    );
    let listed = given.tenure.json(&["sweep", "list"]);
    assert_eq!(listed[1]["halts"][0]["kind"], "paused");
    assert_eq!(listed[1]["halts"][0]["why"], why);
    assert!(
        given
            .tenure
            .ok(&["sweep", "list"])
            .contains("the books are closed")
    );
    given.tenure.ok(&["sweep", "run", "subscription-end"]);
    assert_eq!(
        given.tenure.json(&["sweep", "list"])[1]["last_run"]["status"],
        "done"
    );

    given.tenure.ok(&["sweep", "resume", "subscription-end"]);
    assert_eq!(given.tenure.json(&["sweep", "list"])[1]["halts"], json!([]));
    let stdout = given.tenure.ok(&["sweep", "resume", "subscription-end"]);
    assert_eq!(stdout, "subscription-end: was not paused\n");
}

#[test]
fn a_sweep_stopped_by_the_breaker_runs_when_confirmed() {
    let given = Given::overdue(|given| many(given, 120));
    let sweep = |verb: &str, more: &[&str]| {
        given
            .tenure
            .call(&[&["sweep", verb, "access-expiry"], more].concat())
    };
    let tripped = sweep("run", &[]);
    assert_eq!(code(&tripped), 3);
    let why = stderr(&tripped);
    assert!(why.contains("the breaker stopped access-expiry"), "{why}");
    assert!(why.contains("tenure sweep confirm access-expiry"), "{why}");
    let listed = &given.tenure.json(&["sweep", "list"])[0];
    assert_eq!(listed["halts"][0]["kind"], "tripped");
    assert_eq!(
        (&listed["last_run"]["status"], &listed["last_done"]),
        (&json!("tripped"), &Value::Null)
    );
    let report: Value = serde_json::from_slice(&sweep("run", &["--json"]).stdout).expect("one object");
    assert_eq!(
        (
            &report["changed"],
            &report["until"].is_string(),
            &report["status"]
        ),
        (&json!(0), &true, &json!("tripped"))
    );
    assert!(report["tripped"].is_string());

    let looked = sweep("preview", &[]);
    assert_eq!(code(&looked), 0);
    assert!(
        stdout(&looked).contains("would change 120"),
        "{}",
        stdout(&looked)
    );
    let confirmed = sweep("confirm", &[]);
    assert_eq!(code(&confirmed), 0);
    assert!(
        stdout(&confirmed).contains("changed 120"),
        "{}",
        stdout(&confirmed)
    );
    assert_eq!(given.tenure.json(&["sweep", "list"])[0]["halts"], json!([]));
}

#[test]
fn a_policy_that_would_change_too_much_waits_for_confirmation() {
    let given = Given::nothing();
    many(&given, 120);
    let shorter = given.with(&[
        ("TENURE_ACCESS__IDLE", "60d"),
        ("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s"),
    ]);
    let running = shorter.start();
    // A setting takes no worker out of service: it is a warning.
    let check = || {
        let (status, body) = running.get("/readyz");
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        (status, body["ready"].clone(), body["checks"]["policy"].clone())
    };
    let warning = |check: &Value| check["warnings"][0].as_str().unwrap_or_default().to_owned();
    running.wait_until("held back", || {
        warning(&check().2).contains("tenure policy apply")
    });
    let (status, ready, policy) = check();
    assert_eq!(
        (status, ready, &policy["ok"]),
        (200, json!(true), &json!(true)),
        "{policy}"
    );
    let gauge = |value: &str| {
        let line = format!("tenure_policy_held_back {value}");
        running.get("/metrics").1.lines().any(|it| it == line)
    };
    running.wait_until("the metric", || gauge("1"));
    assert!(
        running.log().contains("120 of 120 clients at once"),
        "{}",
        running.log()
    );
    let access = || running.get("/v1/partners/many/clients/c1").1;
    assert!(access().contains(r#""access":"enabled""#), "{}", access());
    // Whom it would change is for people with access to the store, not for `/readyz`.
    assert!(running.log().contains("many/c1"), "{}", running.log());
    assert!(!warning(&policy).contains("many/c1"), "{policy}");
    let policies = shorter.json(&["policy", "show"]);
    let [recorded, settings] = policies.as_slice() else {
        panic!("{policies:?}");
    };
    assert!(recorded["from"].is_string(), "{recorded}");
    let at_once = &settings["at_once"];
    assert_eq!((&at_once["clients"], &at_once["of"]), (&json!(120), &json!(120)));
    assert_eq!(at_once["held_back"], true);
    assert_eq!(at_once["first"].as_array().map(Vec::len), Some(10));
    let shown = shorter.ok(&["policy", "show"]);
    assert!(
        shown.contains(" of 120 clients at once: many/c0, many/c1, "),
        "{shown}"
    );
    assert!(shown.contains(", and 110 more\n"), "{shown}");
    assert!(shown.contains("\nthe breaker holds it back: "), "{shown}");

    // Until then the previous policy stays in effect.
    let confirmed = shorter.json(&["policy", "apply"]);
    assert!(confirmed[0]["from"].is_string(), "{confirmed:?}");
    assert_eq!(confirmed[0]["clients"], 120);
    running.wait_until("in order", || check().2["detail"] == "in order");
    running.wait_until("expired", || access().contains(r#""access":"expired""#));
    let said = |message: &str| running.log().matches(message).count();
    let (begin, end) = (
        "the policy in the settings does not take effect",
        "the policy in the settings is no longer held back",
    );
    running.wait_until("the end is logged", || said(end) > 0);
    assert_eq!((said(begin), said(end)), (1, 1), "{}", running.log());
    let recorded = shorter.ok(&["policy", "show"]);
    assert!(
        recorded.contains("36000d") && recorded.contains("60d"),
        "{recorded}"
    );
    let again = shorter.ok(&["policy", "apply"]);
    assert_eq!(again, "the policy in these settings is already in effect\n");
    assert!(running.stop().success());
    assert_eq!(shorter.json(&["verify"]).len(), 1, "no drift");
}

#[tokio::test]
async fn removed_lanes_no_longer_hold_sweeps_back() {
    let given = Given::overdue_events();
    let store = given.sqlite();
    let lanes = ["tenure.events.0".to_owned()];
    store
        .set_lanes(&lanes, chrono::DateTime::UNIX_EPOCH)
        .await
        .expect("a lane");
    let held_back = given.tenure.call(&["sweep", "run", "access-expiry"]);
    assert_eq!(code(&held_back), 3);
    let text = stdout(&held_back);
    assert!(
        text.contains("access-expiry up to -: examined 0 clients"),
        "{text}"
    );
    let why = stderr(&held_back);
    assert!(
        why.contains(
            "access-expiry is held back, and more clients may be due: no heartbeat has arrived through tenure.events.0 yet"
        ),
        "{why}"
    );
    assert_eq!(given.tenure.json(&["lanes", "list"])[0]["watermark"], Value::Null);
    given.tenure.ok(&["lanes", "remove"]);
    assert_eq!(given.tenure.json(&["lanes", "list"]), Vec::<Value>::new());
    let stdout = given.tenure.ok(&["sweep", "run", "access-expiry"]);
    assert!(stdout.contains("changed 1"), "{stdout}");
}

/// A run that was held back neither succeeds nor counts as a failure, and the list still shows the last run that did its work.
#[tokio::test]
async fn a_sweep_that_was_held_back_does_not_hide_the_last_one_that_was_done() {
    let given = Given::overdue_events();
    let sweep = ["sweep", "run", "access-expiry", "--at", "2025-03-10T00:00:00Z"];
    let done = given.tenure.json(&sweep).remove(0);
    assert_eq!(
        (&done["status"], &done["changed"]),
        (&json!("done"), &json!(1)),
        "a warning"
    );
    let lanes = ["tenure.events.0".to_owned()];
    given
        .sqlite()
        .set_lanes(&lanes, chrono::DateTime::UNIX_EPOCH)
        .await
        .expect("a lane");
    let held_back = given.tenure.call(&["sweep", "run", "access-expiry", "--json"]);
    assert_eq!(code(&held_back), 3);
    let report: Value = serde_json::from_slice(&held_back.stdout).expect("one object");
    assert_eq!(
        (&report["status"], &report["held_back"]["lane"]),
        (&json!("held_back"), &json!("tenure.events.0"))
    );
    // A preview as of now is held back too, and complete as a preview.
    given.tenure.ok(&["sweep", "preview", "access-expiry"]);
    let listed = &given.tenure.json(&["sweep", "list"])[0];
    assert_eq!(listed["last_run"]["status"], "held_back");
    assert_eq!(
        (&listed["last_done"]["status"], &listed["last_done"]["upto"]),
        (&json!("done"), &json!("2025-03-10T00:00:00Z"))
    );
    let table = given.tenure.ok(&["sweep", "list"]);
    assert!(
        table.contains("held_back") && table.contains("2025-03-10T00:00:00Z"),
        "{table}"
    );
}

/// The last run of access-expiry.
fn last_run(given: &Given) -> Value {
    given.tenure.json(&["sweep", "list"])[0]["last_run"].clone()
}

/// Waits for a run that was held back for this reason.
fn held_back(running: &Running, given: &Given, why: &str) {
    running.wait_until("held back", || {
        let run = last_run(given);
        run["status"] == "held_back" && run["error"] == format!("held back: {why}")
    });
}

/// Polls for up to a minute.
async fn within_a_minute(done: impl AsyncFn() -> bool) -> bool {
    for _ in 0..600 {
        if done().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

/// Events queued in RabbitMQ hold timers back from the start, even while RabbitMQ is unreachable.
#[tokio::test]
async fn no_timer_fires_before_every_lane_has_a_watermark() {
    // In a store without lanes.
    let given = Given::overdue(|given| many(given, 3));
    let store = Arc::new(given.sqlite());
    let expired = async || {
        let census = store.census().await.expect("a census");
        census.access.get("expired").copied().unwrap_or(0)
    };
    assert_eq!(expired().await, 0);

    let nobody = format!("amqp://127.0.0.1:{}/%2f", free_port());
    let broker = [("AMQP_URL", nobody.as_str()), ("TENURE_BROKER__LANES", "2")];
    let running = given
        .with(&[&[SHORT_IDLE, EACH_SECOND], &broker[..]].concat())
        .start();
    held_back(
        &running,
        &given,
        "no heartbeat has arrived through tenure.events.0 yet",
    );
    let known: Vec<_> = store.lanes().await.expect("lanes");
    let known: Vec<_> = known
        .iter()
        .map(|lane| (lane.lane.as_str(), lane.watermark))
        .collect();
    assert_eq!(known, [("tenure.events.0", None), ("tenure.events.1", None)]);
    // Nor when an event is applied.
    let renamed = json!({
        "specversion": "1.0", "id": "renamed", "source": "/space", "type": "client.renamed",
        "subject": "many/c1", "time": "2025-01-04T00:00:00Z", "data": {"name": "Another"},
    });
    let renaming = given.tenure.fed(&["ingest", "-"], &renamed.to_string());
    assert_eq!(code(&renaming), 0, "{}", stderr(&renaming));
    assert_eq!(expired().await, 0);

    let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine");
    let beat = async |lane: &str| {
        let watermark = Watermark {
            lane: lane.into(),
            at: engine.now(),
            partition_key: None,
        };
        let taken = engine.ingest_from_lane(Vec::new(), Some(watermark)).await;
        taken.expect("taken");
    };
    beat("tenure.events.0").await;
    held_back(
        &running,
        &given,
        "no heartbeat has arrived through tenure.events.1 yet",
    );
    assert_eq!(expired().await, 0);
    beat("tenure.events.1").await;
    assert!(
        within_a_minute(async || expired().await == 3).await,
        "{}",
        running.log()
    );
    assert!(running.stop().success());
}

#[tokio::test]
async fn a_worker_without_a_broker_reports_that_timers_wait_for_lanes() {
    let given = Given::events();
    let lanes = ["tenure.events.0".to_owned()];
    given
        .sqlite()
        .set_lanes(&lanes, chrono::DateTime::UNIX_EPOCH)
        .await
        .expect("a lane");
    let running = given.tenure.start();
    let broker = || {
        let (status, body) = running.get("/readyz");
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        (status, body["checks"]["broker"].clone())
    };
    running.wait_until("unready", || {
        let (status, check) = broker();
        status == 503 && check["ok"] == false
    });
    let detail = broker().1["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("timers wait for lanes of RabbitMQ"), "{detail}");
    assert!(detail.contains("run `tenure lanes remove`"), "{detail}");

    given.tenure.ok(&["lanes", "remove"]);
    running.wait_until("ready", || broker().0 == 200);
    assert_eq!(broker().1["detail"], "not configured");
    assert!(running.stop().success());
}

#[test]
fn a_worker_sweeps_again_after_a_trip_is_confirmed() {
    let given = Given::overdue(|given| many(given, 120));
    let by_hand = ["sweep", "run", "access-expiry"];
    assert_eq!(code(&given.tenure.call(&by_hand)), 3);
    let running = given.with(&[SHORT_IDLE, EACH_SECOND]).start();
    running.wait_until("unready", || {
        let (status, body) = running.get("/readyz");
        status == 503 && body.contains("stopped by the breaker")
    });
    let tripped = last_run(&given);
    assert!(
        tripped["error"].to_string().contains("tenure sweep confirm"),
        "{tripped}"
    );

    let stdout = given.tenure.ok(&["sweep", "confirm", "access-expiry"]);
    assert!(stdout.contains("changed 120"), "{stdout}");
    assert_eq!(given.tenure.json(&["sweep", "list"])[0]["halts"], json!([]));
    running.wait_until("ready", || running.get("/readyz").0 == 200);
    running.wait_until("sweeping", || {
        let run = last_run(&given);
        run["status"] == "done" && run["worker"].as_str().is_some_and(|it| !it.starts_with("cli-"))
    });
    assert!(running.stop().success());
}
