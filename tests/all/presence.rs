//! Workers on one database list each other. One that is killed is gone, and one that stops is not listed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::faketime;
use crate::support::servers::send_as;
use crate::support::site::Site;
use crate::support::tenure::Running;

fn worker(site: &Site, host: &str) -> Running {
    let settings = [("HOSTNAME", host), ("TENURE_BROKER__HEARTBEAT", "500ms")];
    site.tenure(&settings).run()
}

/// The workers as one of them lists them.
fn listed(by: &Running) -> Vec<Value> {
    let (status, body) = by.get("/v1/workers");
    assert_eq!(status, 200, "{body}");
    let list: Value = serde_json::from_str(&body).expect("JSON");
    list["workers"].as_array().expect("workers").clone()
}

/// The hosts of the workers, each with whether it is gone.
fn hosts(by: &Running) -> Vec<(String, bool)> {
    let listed = listed(by).into_iter().map(|worker| {
        let host = worker["host"].as_str().expect("a host").to_owned();
        (host, worker["gone"] == true)
    });
    listed.collect()
}

#[test]
fn a_killed_worker_is_gone_until_it_returns_and_a_stopped_one_is_not_listed() {
    let site = Site::new("presence");
    let first = worker(&site, "one");
    first.wait_until("listed with its lane and its lead", || {
        let listed = listed(&first);
        listed.len() == 1
            && listed[0]["leads_relay"] == true
            && listed[0]["lanes"] == json!(["tenure.events.0"])
    });
    let alone = &listed(&first)[0];
    assert_eq!(alone["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(alone["leads_webhooks"], false);
    assert!(
        alone["name"].as_str().expect("a name").starts_with("one-"),
        "{alone}"
    );

    let (second, third) = (worker(&site, "two"), worker(&site, "three"));
    let are = |hosts_are: &[(&str, bool)]| {
        let expected = hosts_are.iter().map(|(host, gone)| ((*host).to_owned(), *gone));
        hosts(&first) == expected.collect::<Vec<_>>()
    };
    first.wait_until("all listed", || {
        are(&[("one", false), ("two", false), ("three", false)])
    });
    // SIGKILL.
    drop(second);
    assert!(third.stop().success());
    assert!(are(&[("one", false), ("two", false)]), "{:?}", listed(&first));

    // As if two minutes had passed: nobody renews its record.
    site.sql("update workers set seen_at = seen_at - interval '2 minutes' where host = 'two'");
    assert!(are(&[("one", false), ("two", true)]), "{:?}", listed(&first));
    first.wait_until("counted", || {
        first.metric("tenure_workers{state=\"gone\"}") > 0.5
            && first.metric("tenure_workers{state=\"running\"}") > 0.5
    });
    let tenure = site.tenure(&[("TENURE_HTTP__LISTEN", &first.address)]);
    let by_command = tenure.json(&["workers", "list"]);
    assert_eq!(by_command.len(), 2, "{by_command:?}");
    assert_eq!(by_command[1]["gone"], true);
    let figures = &tenure.json(&["top"])[0];
    let issues = figures["issues"].as_array().expect("issues");
    assert!(
        issues.iter().any(|issue| {
            let what = issue["what"].as_str().expect("text");
            what.starts_with("Worker two-") && what.ends_with("min ago")
        }),
        "{issues:?}"
    );

    let second = worker(&site, "two");
    first.wait_until("back", || are(&[("one", false), ("two", false)]));
    assert!(second.stop().success());
    assert!(first.stop().success());
    assert_eq!(site.count("workers"), 0);
}

#[test]
fn a_worker_that_is_gone_is_removed_and_one_that_runs_is_not() {
    let site = Site::new("presence_removed");
    let first = worker(&site, "one");
    let (second, third) = (worker(&site, "two"), worker(&site, "three"));
    first.wait_until("all listed", || listed(&first).len() == 3);
    let name = |host: &str| {
        let listed = listed(&first);
        let found = listed.iter().find(|worker| worker["host"] == host);
        found.expect("listed")["name"]
            .as_str()
            .expect("a name")
            .to_owned()
    };
    let (two, three) = (name("two"), name("three"));
    // SIGKILL.
    drop((second, third));
    let remove = |name: &str| {
        let path = format!("/v1/workers/{name}?reason=the%20machine%20is%20gone");
        let (status, body) = send_as(first.port, "DELETE", &path, "", "").expect("a response");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        (status, answer)
    };
    let (status, refused) = remove(&two);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("worker_runs")));
    let message = refused["error"]["message"].as_str().expect("text");
    assert!(message.contains("it can be removed from 20"), "{message}");
    let tenure = site.tenure(&[]);
    let refused = tenure.call(&["workers", "remove", &two]);
    let printed = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{printed}");
    assert!(printed.contains("it can be removed from 20"), "{printed}");

    // As if two minutes had passed.
    site.sql("update workers set seen_at = seen_at - interval '2 minutes' where host <> 'one'");
    let (status, left) = remove(&two);
    assert_eq!(
        (status, left["workers"].as_array().map(Vec::len)),
        (200, Some(2)),
        "{left}"
    );
    tenure.ok(&["workers", "remove", &three, "--reason", "scaled down"]);
    assert_eq!(hosts(&first), [("one".to_owned(), false)]);
    let (status, unknown) = remove(&two);
    assert_eq!(
        (status, &unknown["error"]["code"]),
        (404, &json!("unknown_worker"))
    );
    let entries = tenure.json(&["audit", "--action", "worker"]);
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            [
                &entry["target"],
                &entry["how"],
                &entry["reason"],
                &entry["details"]["host"],
            ]
        })
        .collect();
    assert_eq!(
        entries,
        [
            [
                &json!(three),
                &json!("cli"),
                &json!("scaled down"),
                &json!("three")
            ],
            [
                &json!(two),
                &json!("http"),
                &json!("the machine is gone"),
                &json!("two")
            ],
        ]
    );
    assert!(first.stop().success());
}

/// The backup has the workers of its time.
#[test]
fn a_restored_store_has_no_workers_of_the_time_of_its_backup() {
    let site = Site::new("presence_restored");
    let before = worker(&site, "before");
    before.wait_until("listed", || listed(&before).len() == 1);
    // SIGKILL.
    drop(before);
    assert_eq!(site.count("workers"), 1);
    let tenure = site.tenure(&[]);
    tenure.ok(&["restored", "--reason", "a test"]);
    assert_eq!(site.count("workers"), 0);
    let entry = &tenure.json(&["audit", "--action", "restored"])[0];
    assert_eq!(entry["details"]["workers"], 1, "{entry}");
    let after = worker(&site, "after");
    after.wait_until("listed", || hosts(&after) == [("after".to_owned(), false)]);
    assert!(after.stop().success());
}

#[test]
fn a_command_whose_clock_is_wrong_measures_ages_by_the_clock_of_the_database() {
    let site = Site::new("presence_clock");
    let running = worker(&site, "one");
    running.wait_until("listed", || listed(&running).len() == 1);
    let folder = tempfile::tempdir().expect("a folder");
    for shift in ["+2h", "-2h"] {
        let clock = folder.path().join("clock");
        std::fs::write(&clock, shift).expect("a file");
        let shifted = faketime::env(&clock);
        let shifted: Vec<(&str, &str)> = shifted
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let tenure = site.tenure(&shifted);
        assert_eq!(tenure.json(&["workers", "list"])[0]["gone"], false, "{shift}");
        let figures = &tenure.json(&["top"])[0];
        let moment = |value: &Value| -> DateTime<Utc> {
            value
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a moment")
        };
        let age = moment(&figures["now"]) - moment(&figures["workers"][0]["seen_at"]);
        assert!(age.abs() < TimeDelta::minutes(1), "{shift}: {figures}");
    }
    assert!(running.stop().success());
}

/// It consumes and publishes as before, and is listed once the store accepts its record again.
#[test]
fn a_worker_that_cannot_record_itself_works() {
    let site = Site::new("presence_refused");
    site.tenure(&[]).ok(&["migrate"]);
    site.sql("alter table workers rename to elsewhere");
    let running = worker(&site, "one");
    let (status, answer) = running.add_client("shop");
    assert!(status < 300, "{answer}");
    running.wait_until("published", || {
        running.metric("tenure_event_to_publish_seconds_count") > 0.5
    });
    assert_eq!(running.get("/readyz").0, 200);
    site.sql("alter table elsewhere rename to workers");
    running.wait_until("listed", || hosts(&running) == [("one".to_owned(), false)]);
    site.sql("alter table workers rename to elsewhere");
    assert!(running.stop().success(), "it stops without its record");
}

/// The events that were applied in the last hour, as a worker counts them.
fn applied(by: &Running) -> u64 {
    let (status, body) = by.get("/v1/activity");
    assert_eq!(status, 200, "{body}");
    let activity: Value = serde_json::from_str(&body).expect("JSON");
    let minutes = activity["minutes"].as_array().expect("minutes");
    minutes
        .iter()
        .filter_map(|minute| minute["applied"].as_u64())
        .sum()
}

#[test]
fn each_worker_counts_the_events_of_all_and_one_with_a_wrong_clock_removes_none() {
    let site = Site::new("presence_counts");
    let first = worker(&site, "one");
    let (status, answer) = first.add_client("shop-1");
    assert!(status < 300, "{answer}");
    assert_eq!(applied(&first), 1, "its own at once");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+2d").expect("a file");
    let shifted = faketime::env(&clock);
    let mut settings: Vec<(&str, &str)> = shifted
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    settings.push(("HOSTNAME", "two"));
    // It is not ready, because its clock is wrong.
    let ahead = site.tenure(&settings).start();
    ahead.wait_until("open", || ahead.get("/v1/activity").0 == 200);
    ahead.wait_until("the event of the other worker", || applied(&ahead) == 1);
    let (status, answer) = ahead.add_client("shop-2");
    assert!(status < 300, "{answer}");
    assert_eq!(applied(&ahead), 2);
    first.wait_until("the event of the other worker", || applied(&first) == 2);
    // What a worker has counted stays when it stops, and when it is killed.
    assert!(ahead.stop().success());
    assert_eq!(applied(&first), 2);
    // SIGKILL.
    drop(first);
    let later = worker(&site, "three");
    assert_eq!(applied(&later), 2);
    assert!(later.stop().success());
}

#[test]
fn a_worker_that_cannot_record_its_counts_says_so_once_and_is_not_gone_when_it_stops() {
    let site = Site::new("presence_uncounted");
    let running = worker(&site, "one");
    running.wait_until("listed", || listed(&running).len() == 1);
    site.sql("alter table activity rename to elsewhere");
    let fails = "cannot record the event counts of this worker";
    let (status, answer) = running.add_client("shop-1");
    assert!(status < 300, "{answer}");
    running.wait_until("a line of the log", || running.log().contains(fails));
    // It tries again every two seconds.
    std::thread::sleep(Duration::from_secs(5));
    site.sql("alter table elsewhere rename to activity");
    let works = "the event counts of this worker are recorded again";
    running.wait_until("a line of the log", || running.log().contains(works));
    assert_eq!(running.log().matches(fails).count(), 1);
    site.sql("alter table activity rename to elsewhere");
    let (status, answer) = running.add_client("shop-2");
    assert!(status < 300, "{answer}");
    assert!(running.stop().success());
    assert_eq!(site.count("workers"), 0);
}
