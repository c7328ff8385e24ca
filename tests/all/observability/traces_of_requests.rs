//! Traces of requests that send events over HTTP, and where their spans are sent.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lapin::types::FieldTable;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::collector::{Collector, attribute};
use super::event;
use super::traces::{STRUCTURED, assert_attributes, consume, count, header, hex, is_of_event, sender};
use crate::support::site::Site;
use crate::support::tenure::Tenure;

const BATCH: &str = "application/cloudevents-batch+json";
const REQUEST: &str = "POST /v1/events";
const PROCESS: &str = "process /v1/events";

/// Sends events over HTTP with another header, and returns the response.
fn post_with_header(port: u16, content_type: &str, header: &str, body: &Value) -> String {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\nuser-agent: test\r\n{header}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

fn named(client: &str) -> Value {
    event(client, "client.added", client, &json!({"name": client}))
}

/// The span of the request in the trace with this digit as its name.
fn request(collector: &Collector, digit: char) -> Span {
    let trace = digit.to_string().repeat(32);
    let requests = collector.spans(REQUEST);
    let of_trace = requests.into_iter().find(|span| hex(&span.trace_id) == trace);
    of_trace.unwrap_or_else(|| panic!("no request in trace {digit}"))
}

/// The span of an event. Its id is the name of the client.
fn processed(collector: &Collector, client: &str) -> Span {
    let spans = collector.spans(PROCESS);
    let of_client =
        |span: &&Span| attribute(&span.attributes, "messaging.message.id").as_deref() == Some(client);
    spans.iter().find(of_client).expect("a span").clone()
}

/// The batch that the span of an event links.
fn batch_of(collector: &Collector, event: &Span) -> Span {
    let spans = collector.spans(PROCESS);
    let linked = |span: &&Span| span.span_id == event.links[0].span_id;
    spans.iter().find(linked).expect("a batch").clone()
}

/// Asserts that the change continues the trace of an event, whose span is a child of this one.
fn assert_continued(
    collector: &Collector,
    (trace_id, parent): (&str, &str),
    client: &str,
    (headers, change): &(FieldTable, Value),
) {
    let event = processed(collector, client);
    assert_eq!(
        (&*hex(&event.trace_id), &*hex(&event.parent_span_id)),
        (trace_id, parent),
        "{client}"
    );
    let published = collector.spans("publish tenure.changes");
    let mut of_event = published
        .iter()
        .filter(|span| span.parent_span_id == event.span_id);
    let kind = |span: &&Span| {
        attribute(&span.attributes, "cloudevents.event_type").as_deref() == Some("client.named")
    };
    let publication = of_event.find(kind).expect("a publication");
    let expected = format!("00-{trace_id}-{}-01", hex(&publication.span_id));
    assert_eq!(change["traceparent"], *expected, "{client}");
    assert_eq!(header(headers, "traceparent"), Some(expected));
}

/// From the headers of a request with one event and of one with several, to the changes and the log.
#[test]
fn a_trace_goes_from_a_request_through_its_events_to_the_changes() {
    let site = Site::new("traces_of_requests");
    let collector = Collector::start();
    let tenure = site.tenure(&[
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", &collector.url()),
        // Only the traces that the senders record.
        ("TENURE_TELEMETRY__SAMPLING_RATIO", "0"),
        ("TENURE_LOG__FORMAT", "json"),
    ]);
    let worker = tenure.run();
    tenure.ok(&["subscribe", "traced", "--type", "client.named"]);
    let parent = |digit| {
        format!(
            "TraceParent: {}\r\ntracestate: vendor={digit}",
            sender(digit, true)
        )
    };
    let answer = post_with_header(worker.port, STRUCTURED, &parent('1'), &named("a"));
    assert!(answer.contains("applied"), "{answer}");
    let mut own = named("c");
    own["traceparent"] = sender('3', true).into();
    let unreadable = json!({"specversion": "1.0", "id": "unreadable"});
    let batch = json!([named("b"), own, unreadable]);
    let answer = post_with_header(worker.port, BATCH, &parent('2'), &batch);
    assert!(answer.contains("200 OK"), "{answer}");
    // The request is not recorded, its event is.
    let mut recorded = named("d");
    recorded["traceparent"] = sender('5', true).into();
    let unrecorded = format!("traceparent: {}", sender('4', false));
    let answer = post_with_header(worker.port, STRUCTURED, &unrecorded, &recorded);
    assert!(answer.contains("applied"), "{answer}");
    let runtime = Runtime::new().expect("threads");
    let mut changes = runtime.block_on(consume(&site.amqp, "traced", 4));
    changes.sort_by_key(|(_, change)| change["subject"].to_string());
    worker.wait_until("exported", || {
        let events = collector.spans(PROCESS).into_iter().filter(is_of_event).count();
        let published = collector.spans("publish tenure.changes");
        events == 4 && published.len() >= 4 && collector.spans(REQUEST).len() == 2
    });

    let (one, several) = (request(&collector, '1'), request(&collector, '2'));
    assert_eq!(hex(&one.parent_span_id), "1".repeat(16));
    assert_eq!(one.kind, SpanKind::Server as i32);
    assert_attributes(
        &one,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/v1/events"),
            ("http.response.status_code", "200"),
            ("url.path", "/v1/events"),
            ("url.scheme", "http"),
            ("user_agent.original", "test"),
        ],
    );
    let of = |span: &Span| (hex(&span.trace_id), hex(&span.span_id));
    for ((trace, parent), client, change) in [
        (of(&one), "a", &changes[0]),
        (of(&several), "b", &changes[1]),
        // The attribute of an event comes before its request.
        (("3".repeat(32), "3".repeat(16)), "c", &changes[2]),
        (("5".repeat(32), "5".repeat(16)), "d", &changes[3]),
    ] {
        assert_continued(&collector, (&trace, &parent), client, change);
    }
    assert_eq!(changes[1].1["tracestate"], "vendor=2");

    // The batch of a request is its child, and links the event that has another parent.
    let batch = batch_of(&collector, &processed(&collector, "b"));
    assert_eq!(batch.parent_span_id, several.span_id);
    assert_eq!(batch, batch_of(&collector, &processed(&collector, "c")));
    let linked: Vec<String> = batch.links.iter().map(|link| hex(&link.trace_id)).collect();
    assert_eq!(linked, ["3".repeat(32)]);
    for name in ["decide", "commit"] {
        let children = collector.spans(name);
        assert!(
            children.iter().any(|child| child.parent_span_id == batch.span_id),
            "{name}"
        );
    }
    let alone = batch_of(&collector, &processed(&collector, "d"));
    assert!(alone.parent_span_id.is_empty(), "{alone:?}");
    let log = worker.log();
    let dead = log.lines().find(|line| line.contains("became a dead letter"));
    let dead: Value = serde_json::from_str(dead.expect("a line")).expect("JSON");
    assert_eq!(dead["trace.id"], "2".repeat(32), "{dead}");
    assert!(worker.stop().success());
}

#[test]
fn the_span_of_a_request_has_its_status_and_only_a_fault_of_the_server_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let tenure = Tenure::new(
        folder.path(),
        &[("TENURE_TELEMETRY__OTLP_ENDPOINT", &collector.url())],
    );
    // The tables are created before, so that the write-ahead log is short and only grows.
    assert!(tenure.run().stop().success());
    let worker = tenure.start_with_file_limit();
    worker.wait_until("ready", || worker.get("/readyz").0 == 200);
    assert_eq!(worker.add_client("before").0, 200);
    assert_eq!(worker.post("/v1/events?dry_run=true", "text/plain", "x").0, 415);
    let log = std::fs::metadata(folder.path().join("tenure.db-wal")).expect("a write-ahead log");
    worker.limit_files(Some(log.len()));
    worker.wait_until("failing", || worker.add_client("meanwhile").0 == 503);
    worker.limit_files(None);
    let with_status = |status: &str| {
        let requests = collector.spans(REQUEST);
        let has =
            |span: &Span| attribute(&span.attributes, "http.response.status_code").as_deref() == Some(status);
        requests.into_iter().find(has)
    };
    worker.wait_until("exported", || {
        ["200", "415", "503"]
            .iter()
            .all(|status| with_status(status).is_some())
    });
    let span = |status| with_status(status).expect("a span");
    let is_error = |span: &Span| span.status.as_ref().map(|status| status.code);
    for status in ["200", "415"] {
        assert_ne!(
            is_error(&span(status)),
            Some(StatusCode::Error as i32),
            "{status}"
        );
        assert_eq!(attribute(&span(status).attributes, "error.type"), None);
    }
    assert_eq!(
        attribute(&span("415").attributes, "url.query").as_deref(),
        Some("dry_run=true")
    );
    assert_eq!(is_error(&span("503")), Some(StatusCode::Error as i32));
    assert_eq!(
        attribute(&span("503").attributes, "error.type").as_deref(),
        Some("503")
    );
    // Requests that only read have no spans.
    let received = collector.received();
    assert!(received.spans.iter().all(|span| !span.name.contains("GET")));
    assert!(worker.stop().success());
}

/// The spans of its events end at once, and are more than the queue has room for.
#[test]
fn no_span_of_a_large_batch_is_lost() {
    const EVENTS: usize = 9_000;
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let url = collector.url();
    let settings = [
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url),
        ("TENURE_HTTP__TIMEOUT", "5m"),
    ];
    let worker = Tenure::new(folder.path(), &settings).run();
    let events: Vec<Value> = (0..EVENTS).map(|n| named(&n.to_string())).collect();
    let (status, answer) = worker.post("/v1/events", BATCH, &json!(events).to_string());
    assert_eq!(status, 200, "{answer}");
    let ids = || -> BTreeSet<String> {
        let spans = collector.spans(PROCESS).into_iter();
        let ids = spans.filter_map(|span| attribute(&span.attributes, "messaging.message.id"));
        ids.collect()
    };
    worker.wait_until("exported", || ids().len() == EVENTS);
    assert!(count(&worker, "dropped").total_cmp(&0.0).is_eq());
    assert!(worker.stop().success());
}

/// The log names the trace of a request, also without an endpoint.
#[test]
fn without_an_endpoint_the_log_names_the_trace_of_a_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = Tenure::new(folder.path(), &[("TENURE_LOG__FORMAT", "json")]).run();
    let unreadable = json!([{"specversion": "1.0", "id": "unreadable"}, named("a")]);
    let parent = format!("traceparent: {}", sender('1', true));
    let answer = post_with_header(worker.port, BATCH, &parent, &unreadable);
    assert!(answer.contains("200 OK"), "{answer}");
    let log = worker.log();
    let dead = log.lines().find(|line| line.contains("became a dead letter"));
    let dead: Value = serde_json::from_str(dead.expect("a line")).expect("JSON");
    assert_eq!(dead["trace.id"], "1".repeat(32), "{dead}");
    assert!(worker.stop().success());
}

/// As OpenTelemetry's specification says, except that Tenure's own settings come first.
#[test]
fn variables_for_traces_override_those_for_all_signals_and_only_one_set_of_headers_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let exact = format!("{}/tenant/spans", collector.url());
    let of_traces = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &exact),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1,x-both=all"),
    ];
    let send = |more: &[(&str, &str)]| {
        let before = collector.received().spans.len();
        let worker = Tenure::new(folder.path(), &[&of_traces, more].concat()).run();
        assert_eq!(worker.add_client("a").0, 200);
        worker.wait_until("exported", || collector.received().spans.len() > before);
        assert!(worker.stop().success());
        let received = collector.received();
        let text = |name: &str| {
            let value = received.headers.get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        let headers = ["x-all", "x-both", "x-traces", "x-own"].map(text);
        (received.path, headers)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        send(&[]),
        ("/tenant/spans".to_owned(), [some("1"), some("all"), None, None])
    );
    let traces_headers = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-traces=1,x-both=traces");
    assert_eq!(
        send(&[traces_headers]),
        (
            "/tenant/spans".to_owned(),
            [None, some("traces"), some("1"), None]
        )
    );
    let own = [
        traces_headers,
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", &collector.url()),
        ("TENURE_TELEMETRY__OTLP_HEADERS", "x-own=1,x-both=a%20b"),
    ];
    assert_eq!(
        send(&own),
        ("/v1/traces".to_owned(), [None, some("a b"), None, some("1")])
    );
}
