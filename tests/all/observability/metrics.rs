//! Metrics of a real worker, from its start on.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::event;
use crate::operations::{declared, queried};
use crate::support::packages;
use crate::support::site::Site;
use crate::support::tenure::{Running, wait_until};

/// The value of a series, written with its labels.
fn value(page: &str, series: &str) -> Option<f64> {
    let rest = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(rest.parse().expect("a number"))
}

fn page(worker: &Running) -> String {
    let (status, page) = worker.get("/metrics");
    assert_eq!(status, 200, "{page}");
    page
}

#[test]
fn every_counter_and_histogram_is_there_from_the_start() {
    let site = Site::new("metrics_from_the_start");
    let worker = site.tenure(&[]).run();
    worker.wait_until("connected", || worker.metric("tenure_broker_connected") > 3.5);
    let page = page(&worker);
    let typed: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    // Endpoints of webhooks and expected sources have metrics once there are any.
    let later = |name: &str| name.starts_with("tenure_webhook_");
    for (name, kind) in declared() {
        if kind != "gauge" && !later(&name) {
            assert!(
                typed.contains(&(name.clone(), kind.clone())),
                "no {kind} {name} in {page}"
            );
        }
    }
    for series in [
        r#"tenure_events_total{outcome="applied"}"#,
        r#"tenure_events_total{outcome="dead"}"#,
        r#"tenure_refusals_total{code="name_taken"}"#,
        r#"tenure_access_decisions_total{reason="unknown_account"}"#,
        r#"tenure_broker_quarantined_total{queue="tenure.events.0"}"#,
        r#"tenure_broker_quarantined_total{queue="tenure.dead"}"#,
        r#"tenure_broker_connections_lost_total{connection="tenure relay"}"#,
        r#"tenure_publish_nacked_total{exchange="tenure.changes"}"#,
        r#"tenure_sweep_runs_total{sweep="request-lapse",status="failed"}"#,
        r#"tenure_pruned_total{table="dead_letters"}"#,
        r#"tenure_http_requests_total{method="POST",route="/v1/events",status="503"}"#,
        r#"tenure_http_requests_total{method="GET",route="/clients/{partner}/{client}",status="200"}"#,
        r#"tenure_http_requests_total{method="POST",route="/sweeps/{sweep}/pause",status="303"}"#,
        r#"tenure_http_requests_total{method="POST",route="/sign-in",status="401"}"#,
        r#"tenure_http_requests_total{method="GET",route="/assets/{file}",status="200"}"#,
        r#"tenure_http_request_duration_seconds_count{route="/dead-letters"}"#,
        "tenure_event_to_commit_seconds_count",
        "tenure_event_to_publish_seconds_count",
        "tenure_policy_held_back",
        "tenure_retention_failing",
        r#"tenure_source_events_total{source="other"}"#,
    ] {
        assert_eq!(value(&page, series), Some(0.0), "{series} in {page}");
    }
    assert!(worker.stop().success());
}

/// The rules of Prometheus for names, types and help texts.
#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_of_a_worker() {
    let site = Site::new("metrics_by_promtool");
    let tenure = site.tenure(&[("TENURE_SOURCES", "/space=1h")]);
    let worker = tenure.run();
    let file = site.file([event("1", "client.added", "a", &json!({"name": "A"}))]);
    tenure.ok(&["publish", &file]);
    worker.wait_until("published", || {
        worker.metric("tenure_event_to_publish_seconds_count") > 0.5
    });
    worker.wait_until("with the depth of its queues", || {
        page(&worker).contains("tenure_broker_queue_messages{")
    });
    let page = page(&worker);
    let described = |line: &str, what: &str| {
        let name = line.split(['{', ' ']).next().expect("a name");
        let of_histogram = ["_bucket", "_sum", "_count"];
        let base = of_histogram.iter().find_map(|end| name.strip_suffix(end));
        [Some(name), base]
            .into_iter()
            .flatten()
            .any(|name| page.contains(&format!("# {what} {name} ")))
    };
    for line in page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        assert!(described(line, "HELP") && described(line, "TYPE"), "{line}");
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return packages::skip("promtool is not installed (Debian: prometheus)");
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(page.as_bytes()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let printed = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.is_empty(), "{printed}");
    assert!(worker.stop().success());
}

/// What alerts and the dashboard ask for is what a worker answers, and not only what the code declares.
#[test]
fn every_metric_of_the_alerts_and_the_dashboard_is_on_the_page_of_a_worker() {
    let site = Site::new("metrics_of_queries");
    let tenure = site.tenure(&[("TENURE_SOURCES", "/space=1h")]);
    tenure.ok(&["migrate"]);
    tenure.ok(&["webhook", "add", "try", "http://localhost:9/"]);
    let worker = tenure.run();
    let file = site.file([event("1", "client.added", "a", &json!({"name": "A"}))]);
    tenure.ok(&["publish", &file]);
    let queried = queried();
    let missing = || -> Vec<&String> {
        let (_, page) = worker.get("/metrics");
        let names: BTreeSet<&str> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        queried
            .iter()
            .filter(|name| !names.contains(name.as_str()))
            .collect()
    };
    let complete = wait_until(Duration::from_mins(1), || missing().is_empty());
    assert!(complete.is_ok(), "{:?}", missing());
    assert!(worker.stop().success());
}

#[test]
fn a_worker_reports_its_program_its_process_and_its_pool() {
    let site = Site::new("metrics_of_process");
    let worker = site.tenure(&[("TENURE_STORE__MAX_CONNECTIONS", "7")]).run();
    let page = page(&worker);
    let build = format!(r#"tenure_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&page, &build), Some(1.0), "{page}");
    let number = |series: &str| value(&page, series).unwrap_or_else(|| panic!("no {series} in {page}"));
    assert!(number("process_resident_memory_bytes") > 1e6);
    assert!(number("process_open_fds") > 3.0 && number("process_open_fds") < number("process_max_fds"));
    assert!(number("process_start_time_seconds") > 1.7e9);
    assert!(number("process_cpu_seconds_total") >= 0.0);
    assert!(number("tenure_store_connections_max").total_cmp(&7.0).is_eq());
    let (used, idle) = (
        r#"tenure_store_connections{state="in_use"}"#,
        r#"tenure_store_connections{state="idle"}"#,
    );
    assert!((1.0..=7.0).contains(&(number(used) + number(idle))));
    assert!(worker.stop().success());
}

#[test]
fn events_are_measured_up_to_their_commit_and_their_publication_and_counted_by_source() {
    let site = Site::new("metrics_of_events");
    let tenure = site.tenure(&[("TENURE_BROKER__HEARTBEAT", "100ms")]);
    let worker = tenure.run();
    let file = site.file([
        event("1", "client.added", "a", &json!({"name": "A"})),
        event("2", "client.added", "b", &json!({"name": "A"})),
        event("2", "client.added", "b", &json!({"name": "A"})),
    ]);
    tenure.ok(&["publish", &file]);
    worker.wait_until("published", || {
        worker.metric("tenure_event_to_publish_seconds_count") > 0.5
    });
    worker.wait_until("committed", || worker.metric("tenure_events_total") > 2.5);
    let page = page(&worker);
    assert_eq!(
        value(&page, "tenure_event_to_commit_seconds_count"),
        Some(2.0),
        "{page}"
    );
    // The event happened long ago.
    assert_eq!(
        value(&page, r#"tenure_event_to_commit_seconds_bucket{le="86400"}"#),
        Some(0.0)
    );
    assert_eq!(
        value(&page, r#"tenure_source_events_total{source="/space"}"#),
        Some(3.0),
        "{page}"
    );
    worker.wait_until("with the depth of its queues", || {
        let (_, page) = worker.get("/metrics");
        let lane = value(&page, r#"tenure_broker_queue_messages{queue="tenure.events.0"}"#);
        lane.is_some() && value(&page, r#"tenure_broker_queue_messages{queue="tenure.dead"}"#) == Some(0.0)
    });
    worker.wait_until("without lag", || {
        let (_, page) = worker.get("/metrics");
        value(&page, r#"tenure_lane_lag_seconds{lane="tenure.events.0"}"#) == Some(0.0)
    });
    assert!(worker.stop().success());
}

#[test]
fn the_age_of_the_last_successful_sweep_grows_while_the_store_is_away() {
    let site = Site::alone("metrics_of_sweeps_away");
    let tenure = site.tenure(&[]);
    let worker = tenure.run();
    tenure.ok(&["sweep", "run", "stalled-invitations"]);
    let read = || {
        let page = page(&worker);
        let age = value(
            &page,
            r#"tenure_sweep_success_age_seconds{sweep="stalled-invitations"}"#,
        );
        (value(&page, "tenure_store_up") == Some(1.0), age.expect("an age"))
    };
    worker.wait_until("a store", || read().0);
    site.server().stop_immediate();
    worker.wait_until("no store", || !read().0);
    let (_, before) = read();
    worker.wait_until("an older success", || {
        let (is_up, age) = read();
        assert!(!is_up && age >= before, "{age} after {before}");
        age > before + 1.0
    });
    site.server().start();
    worker.wait_until("the store again", || read().0);
    assert!(worker.stop().success());
}

#[test]
fn the_age_of_the_last_successful_sweep_falls_when_one_succeeds() {
    let site = Site::new("metrics_of_sweeps");
    // Workers run it when they start at most.
    let yearly = ("TENURE_SWEEPS__STALLED_INVITATIONS__CRON", "0 0 0 1 1 *");
    let tenure = site.tenure(&[("TENURE_SWEEPS__REQUEST_LAPSE__ENABLED", "false"), yearly]);
    let worker = tenure.run();
    let age_of = |worker: &Running, sweep: &str| {
        let series = format!(r#"tenure_sweep_success_age_seconds{{sweep="{sweep}"}}"#);
        value(&worker.get("/metrics").1, &series)
    };
    let age = |worker: &Running| age_of(worker, "stalled-invitations");
    worker.wait_until("an old success", || age(&worker).is_some_and(|age| age > 12.0));
    // It runs on no worker, so it is not overdue.
    assert_eq!(age_of(&worker, "request-lapse"), None);
    tenure.ok(&["sweep", "run", "stalled-invitations"]);
    // A worker reads the store every five seconds.
    worker.wait_until("a younger success", || age(&worker).is_some_and(|age| age < 8.0));
    worker.wait_until("an old success", || age(&worker).is_some_and(|age| age > 12.0));
    let other = site.tenure(&[yearly]).run();
    // Another worker reports it too, although it ran no sweep, and has just started.
    let (mine, others) = (age(&worker).expect("an age"), age(&other).expect("an age"));
    assert!(others >= mine && others < mine + 60.0, "{others} and {mine}");
    assert!(other.stop().success());
    assert!(worker.stop().success());
}
