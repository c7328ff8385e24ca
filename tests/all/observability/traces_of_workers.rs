//! Traces of events that one worker ingests and another one publishes.

use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::collector::Collector;
use super::event;
use super::traces::{STRUCTURED, consume, header, hex, is_named, is_of_event, sender};
use crate::support::site::Site;
use crate::support::tenure::Running;

const PROCESS: &str = "process /v1/events";
const PUBLISH: &str = "publish tenure.changes";
/// A worker that publishes nothing.
const INGESTS: (&str, &str) = ("TENURE_BROKER__RELAY", "false");

/// Sends an event of the trace with this digit as its name.
fn send(worker: &Running, digit: char) {
    let client = digit.to_string();
    let mut event = event(&client, "client.added", &client, &json!({ "name": client }));
    event["traceparent"] = sender(digit, true).into();
    event["tracestate"] = "vendor=x".into();
    let (status, answer) = worker.post("/v1/events", STRUCTURED, &event.to_string());
    assert_eq!(status, 200, "{answer}");
}

fn received(site: &Site, changes: usize) -> Vec<(FieldTable, Value)> {
    let runtime = Runtime::new().expect("threads");
    runtime.block_on(consume(&site.amqp, "traced", changes))
}

/// Asserts that the change continues the trace of the event.
fn assert_continued(
    worker: &Running,
    collector: &Collector,
    digit: char,
    (headers, change): &(FieldTable, Value),
) {
    let trace = digit.to_string().repeat(32);
    let publication = || {
        let event = collector.spans(PROCESS).into_iter().find(is_of_event)?;
        let mut published = collector.spans(PUBLISH).into_iter().filter(is_named);
        published.find(|span| span.parent_span_id == event.span_id && hex(&span.trace_id) == trace)
    };
    worker.wait_until("exported", || publication().is_some());
    let span = hex(&publication().expect("a span").span_id);
    let expected = format!("00-{trace}-{span}-01");
    assert_eq!(change["traceparent"], *expected);
    assert_eq!(change["tracestate"], "vendor=x");
    assert_eq!(header(headers, "traceparent"), Some(expected));
}

#[test]
fn a_worker_continues_the_trace_of_an_event_that_another_one_ingested() {
    let site = Site::new("traces_of_workers");
    let collector = Collector::start();
    let url = collector.url();
    let traced = ("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url);
    let tenure = site.tenure(&[traced]);
    let publisher = tenure.run();
    tenure.ok(&["subscribe", "traced", "--type", "client.named"]);
    let ingester = site.tenure(&[traced, INGESTS]).run();
    send(&ingester, '1');
    assert_continued(&publisher, &collector, '1', &received(&site, 1)[0]);
    assert!(ingester.stop().success());
    assert!(publisher.stop().success());
}

#[test]
fn a_worker_continues_the_trace_of_an_event_from_before_its_start() {
    let site = Site::new("traces_after_restart");
    let collector = Collector::start();
    let url = collector.url();
    let traced = ("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url);
    let tenure = site.tenure(&[traced]);
    tenure.ok(&["migrate"]);
    let before = site.tenure(&[traced, INGESTS]).run();
    tenure.ok(&["subscribe", "traced", "--type", "client.named"]);
    send(&before, '1');
    before.wait_until("exported", || collector.spans(PROCESS).iter().any(is_of_event));
    // SIGKILL.
    drop(before);
    let after = tenure.run();
    assert_continued(&after, &collector, '1', &received(&site, 1)[0]);
    assert!(after.stop().success());
}

#[test]
fn while_traces_are_off_no_context_is_stored_and_none_is_read() {
    let site = Site::new("traces_off");
    let tenure = site.tenure(&[]);
    let publisher = tenure.run();
    tenure.ok(&["subscribe", "traced", "--type", "client.named"]);
    send(&publisher, '1');
    assert_eq!(site.count("event_traces"), 0);

    let collector = Collector::start();
    let url = collector.url();
    let traced = ("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url);
    let ingester = site.tenure(&[traced, INGESTS]).run();
    send(&ingester, '2');
    assert_eq!(site.count("event_traces"), 1);
    for (headers, change) in received(&site, 2) {
        assert_eq!(change.get("traceparent"), None, "{change}");
        assert_eq!(header(&headers, "traceparent"), None);
    }
    // Otherwise it may remove the context itself.
    assert!(ingester.stop().success());
    site.sql("update event_traces set received_at = received_at - interval '2 hours'");
    let removed = &tenure.json(&["prune"])[0];
    assert_eq!(removed["traces"], 1, "{removed}");
    assert!(publisher.stop().success());
}

#[test]
fn a_worker_with_traces_removes_old_contexts_by_itself() {
    let site = Site::new("traces_removed");
    let collector = Collector::start();
    let url = collector.url();
    let tenure = site.tenure(&[("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url)]);
    let worker = tenure.run();
    send(&worker, '1');
    assert_eq!(site.count("event_traces"), 1);
    assert!(worker.stop().success());
    site.sql("update event_traces set received_at = received_at - interval '2 hours'");
    let worker = tenure.run();
    worker.wait_until("removed", || site.count("event_traces") == 0);
    assert!(worker.stop().success());
}
