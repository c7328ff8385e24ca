//! Workers on one database list each other. One that is killed is gone, and one that stops is not listed.

use serde_json::{Value, json};

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
