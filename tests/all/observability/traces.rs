//! Traces: a real worker sends its spans to a receiver for OTLP.

use std::thread::sleep;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tenure::config::Settings;
use tenure::traces::Traces;
use tokio::runtime::Runtime;

use super::collector::{Collector, attribute};
use super::event;
use crate::support::servers::free_port;
use crate::support::site::Site;
use crate::support::tenure::{Running, Tenure};

pub const STRUCTURED: &str = "application/cloudevents+json";

/// The span of a sender, whose trace has this digit as its name.
pub fn sender(digit: char, is_sampled: bool) -> String {
    let digits = |length| digit.to_string().repeat(length);
    format!("00-{}-{}-0{}", digits(32), digits(16), u8::from(is_sampled))
}

pub fn hex(bytes: &[u8]) -> String {
    tenure::store::hex(bytes)
}

/// Messages of a queue, each with its headers.
pub async fn consume(url: &str, queue: &str, messages: usize) -> Vec<(FieldTable, Value)> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("RabbitMQ");
    let channel = connection.create_channel().await.expect("a channel");
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume(queue.into(), "test".into(), options, FieldTable::default());
    let mut consumer = consumer.await.expect("a consumer");
    let mut received = Vec::new();
    while received.len() < messages {
        let delivery = consumer.next().await.expect("a message").expect("a delivery");
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        received.push((headers, serde_json::from_slice(&delivery.data).expect("JSON")));
    }
    received
}

/// Publishes an event in binary mode.
async fn publish_binary(url: &str, event: &Value, more: &[(&str, &str)]) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("RabbitMQ");
    let channel = connection.create_channel().await.expect("a channel");
    let mut headers = FieldTable::default();
    let attributes = event.as_object().expect("an object").iter();
    for (name, value) in attributes.filter(|(name, _)| *name != "data") {
        let value = AMQPValue::LongString(value.as_str().expect("text").into());
        headers.insert(format!("cloudEvents_{name}").into(), value);
    }
    for (name, value) in more {
        headers.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers);
    let body = event["data"].to_string();
    let (exchange, key) = (
        "tenure.events".into(),
        event["type"].as_str().expect("text").into(),
    );
    let published = channel.basic_publish(
        exchange,
        key,
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties,
    );
    published.await.expect("published").await.expect("confirmed");
}

pub fn header(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn count(worker: &Running, outcome: &str) -> f64 {
    worker.metric(&format!("tenure_trace_spans_total{{outcome=\"{outcome}\"}}"))
}

pub fn is_named(span: &Span) -> bool {
    attribute(&span.attributes, "cloudevents.event_type").as_deref() == Some("client.named")
}

pub fn is_of_event(span: &Span) -> bool {
    attribute(&span.attributes, "messaging.message.id").is_some()
}

pub fn assert_attributes(span: &Span, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(
            attribute(&span.attributes, name).as_deref(),
            Some(*value),
            "{name} of {span:?}"
        );
    }
}

/// Asserts that the trace with this digit as its name has the spans of its event, in a batch, and of the change that it caused.
fn assert_trace(collector: &Collector, digit: char, client: &str, (headers, change): &(FieldTable, Value)) {
    let (trace, parent) = (digit.to_string().repeat(32), digit.to_string().repeat(16));
    let process = collector.spans("process tenure.events.0");
    let message = process
        .iter()
        .find(|span| hex(&span.trace_id) == trace)
        .expect("a span");
    assert_eq!(hex(&message.parent_span_id), parent);
    assert_eq!(message.kind, SpanKind::Consumer as i32);
    assert_attributes(
        message,
        &[
            ("messaging.system", "rabbitmq"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "tenure.events.0"),
            ("messaging.message.id", &digit.to_string()),
            ("cloudevents.event_source", "/space"),
            ("cloudevents.event_type", "client.added"),
            ("cloudevents.event_subject", client),
            ("tenure.outcome", "applied"),
        ],
    );
    // The batch links the span of the sender, and the span of the message links the batch.
    let links_sender = |span: &&Span| span.links.iter().any(|link| hex(&link.trace_id) == trace);
    let batch = process.iter().find(links_sender).expect("a batch");
    assert!(batch.links.iter().any(|link| hex(&link.span_id) == parent));
    assert!(attribute(&batch.attributes, "messaging.batch.message_count").is_some());
    assert_eq!(message.links[0].span_id, batch.span_id);
    for name in ["decide", "commit"] {
        let children = collector.spans(name);
        assert!(
            children.iter().any(|child| child.parent_span_id == batch.span_id),
            "{name}"
        );
    }
    let published = collector.spans("publish tenure.changes");
    let mut of_trace = published.iter().filter(|span| hex(&span.trace_id) == trace);
    let publication = of_trace.find(|span| is_named(span)).expect("a span");
    assert_eq!(publication.parent_span_id, message.span_id);
    assert_eq!(publication.kind, SpanKind::Producer as i32);
    assert_attributes(
        publication,
        &[
            ("messaging.operation.name", "publish"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "tenure.changes"),
            ("messaging.rabbitmq.destination.routing_key", "client.named"),
        ],
    );
    let expected = format!("00-{trace}-{}-01", hex(&publication.span_id));
    assert_eq!(change["traceparent"], *expected);
    assert_eq!(header(headers, "traceparent"), Some(expected));
}

/// From the attributes of events in structured and in binary mode, or the header of a message, to the changes.
#[test]
fn a_trace_goes_from_an_event_through_its_batch_to_the_change() {
    let site = Site::new("traces");
    let collector = Collector::start();
    let runtime = Runtime::new().expect("threads");
    let tenure = site.tenure(&[
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", &collector.url()),
        ("TENURE_TELEMETRY__OTLP_HEADERS", "x-tenant=acme%20inc"),
        ("TENURE_TELEMETRY__SERVICE_NAME", "billing-tenure"),
        // Only the traces that the senders record.
        ("TENURE_TELEMETRY__SAMPLING_RATIO", "0"),
    ]);
    let worker = tenure.run();
    tenure.ok(&["subscribe", "traced", "--type", "client.named"]);
    let mut structured = event("1", "client.added", "a", &json!({"name": "A"}));
    structured["traceparent"] = sender('1', true).into();
    structured["tracestate"] = "vendor=x".into();
    let file = site.file([structured]);
    tenure.ok(&["publish", &file]);
    let mut binary = event("2", "client.added", "b", &json!({"name": "B"}));
    binary["traceparent"] = sender('2', true).into();
    let by_header = event("3", "client.added", "c", &json!({"name": "C"}));
    let mut unsampled = event("4", "client.added", "d", &json!({"name": "D"}));
    unsampled["traceparent"] = sender('4', false).into();
    let untraced = event("5", "client.added", "e", &json!({"name": "E"}));
    let (other, third) = (sender('f', true), sender('3', true));
    let changes = runtime.block_on(async {
        publish_binary(
            &site.amqp,
            &binary,
            &[("traceparent", &other), ("tracestate", "of=another")],
        )
        .await;
        publish_binary(
            &site.amqp,
            &by_header,
            &[("traceparent", &third), ("tracestate", "vendor=y")],
        )
        .await;
        publish_binary(&site.amqp, &unsampled, &[]).await;
        publish_binary(&site.amqp, &untraced, &[]).await;
        let mut changes = consume(&site.amqp, "traced", 5).await;
        changes.sort_by_key(|(_, change)| change["subject"].to_string());
        changes
    });
    worker.wait_until("exported", || {
        let (published, processed) = (
            collector.spans("publish tenure.changes"),
            collector.spans("process tenure.events.0"),
        );
        published.iter().filter(|span| is_named(span)).count() == 3
            && processed.iter().filter(|span| is_of_event(span)).count() == 3
    });
    let received = collector.received();
    assert_eq!(
        attribute(&received.resource, "service.name").as_deref(),
        Some("billing-tenure")
    );
    assert_eq!(received.headers["x-tenant"], "acme inc");
    assert_eq!(received.path, "/v1/traces");
    for (digit, client, change) in [
        ('1', "p/a", &changes[0]),
        ('2', "p/b", &changes[1]),
        ('3', "p/c", &changes[2]),
    ] {
        assert_trace(&collector, digit, client, change);
    }
    let state = |place: usize| header(&changes[place].0, "tracestate");
    let attributes = [0, 1, 2].map(|place: usize| changes[place].1["tracestate"].as_str());
    assert_eq!(attributes, [Some("vendor=x"), None, Some("vendor=y")]);
    assert_eq!(
        [state(0).as_deref(), state(1).as_deref(), state(2).as_deref()],
        attributes
    );
    // A trace that its sender does not record goes on, without spans.
    let (headers, change) = &changes[3];
    let parent = change["traceparent"].as_str().expect("a trace");
    assert!(
        parent.starts_with(&sender('4', false)[..36]) && parent.ends_with("-00"),
        "{parent}"
    );
    assert_eq!(header(headers, "traceparent").as_deref(), Some(parent));
    assert!(
        received
            .spans
            .iter()
            .all(|span| hex(&span.trace_id) != "4".repeat(32))
    );
    let (headers, change) = &changes[4];
    assert_eq!(
        (change.get("traceparent"), header(headers, "traceparent")),
        (None, None)
    );
    assert!(worker.stop().success());
}

#[test]
fn a_trace_that_begins_in_tenure_is_recorded_by_the_ratio() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    // As for any other service.
    let worker = Tenure::new(
        folder.path(),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())],
    )
    .run();
    assert_eq!(worker.add_client("a").0, 200);
    worker.wait_until("exported", || !collector.spans("process /v1/events").is_empty());
    let batch = &collector.spans("process /v1/events")[0];
    assert_eq!(
        attribute(&batch.attributes, "messaging.batch.message_count").as_deref(),
        Some("1")
    );
    assert!(batch.links.is_empty());
    worker.wait_until("with the request", || {
        !collector.spans("POST /v1/events").is_empty()
    });
    let request = &collector.spans("POST /v1/events")[0];
    assert!(request.parent_span_id.is_empty());
    assert_eq!(batch.parent_span_id, request.span_id);

    let unreadable = json!({"specversion": "1.0", "id": "3", "traceparent": sender('2', true)});
    assert_eq!(
        worker.post("/v1/events", STRUCTURED, &unreadable.to_string()).0,
        422
    );
    worker.wait_until("with a link", || {
        let links = |span: &Span| {
            span.links
                .iter()
                .any(|link| hex(&link.trace_id) == "2".repeat(32))
        };
        collector.spans("process /v1/events").iter().any(links)
    });
    // Its last spans are sent before it ends.
    assert_eq!(worker.add_client("c").0, 200);
    let before = collector.received().spans.len();
    assert!(worker.stop().success());
    assert!(collector.received().spans.len() > before);
}

#[test]
fn an_endpoint_that_is_away_holds_up_nothing_and_is_logged_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let settings = [
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", &*url),
        ("TENURE_LOG__FORMAT", "json"),
    ];
    let worker = Tenure::new(folder.path(), &settings).run();
    let lines = |message: &str| worker.log().lines().filter(|line| line.contains(message)).count();
    assert_eq!(worker.add_client("a").0, 200);
    worker.wait_until("a failed batch", || count(&worker, "failed") > 0.5);
    for client in ["b", "c"] {
        assert_eq!(worker.add_client(client).0, 200);
    }
    assert_eq!(worker.get("/readyz").0, 200);
    assert_eq!(lines("spans cannot be sent"), 1, "{}", worker.log());
    let collector = Collector::at(port);
    worker.wait_until("exported", || {
        worker.add_client("d");
        sleep(Duration::from_millis(100));
        count(&worker, "exported") > 0.5
    });
    assert!(!collector.received().spans.is_empty());
    assert_eq!(
        (
            lines("spans cannot be sent"),
            lines("the endpoint accepts spans again")
        ),
        (1, 1)
    );
    assert!(worker.stop().success());
}

/// An endpoint that never answers must not delay the end of a worker for longer than the last spans may take.
#[test]
fn an_endpoint_that_never_answers_does_not_keep_a_worker_from_ending() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let worker = Tenure::new(folder.path(), &[("TENURE_TELEMETRY__OTLP_ENDPOINT", &url)]).run();
    assert_eq!(worker.add_client("a").0, 200);
    let (_request, _) = silent.accept().expect("a request");
    let began = std::time::Instant::now();
    assert!(worker.stop().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn without_an_endpoint_there_is_nothing_that_makes_spans_and_wrong_settings_are_named() {
    let makes_spans = |env: &[(&str, &str)]| {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Settings::load(None, env).expect("settings");
        let traces = Traces::start(&settings.telemetry).expect("an exporter");
        traces.is_some()
    };
    let others = [
        ("TENURE_TELEMETRY__SAMPLING_RATIO", "1"),
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme"),
    ];
    assert!(!makes_spans(&others));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    assert!(makes_spans(&[endpoint]));

    let folder = tempfile::tempdir().expect("a folder");
    let worker = Tenure::new(folder.path(), &[]).run();
    let mut named = event("1", "client.added", "a", &json!({"name": "A"}));
    named["traceparent"] = sender('1', true).into();
    assert_eq!(worker.post("/v1/events", STRUCTURED, &named.to_string()).0, 200);
    let (_, changes) = worker.get("/v1/changes");
    assert!(
        changes.contains("client.named") && !changes.contains("traceparent"),
        "{changes}"
    );
    assert!(worker.stop().success());
    // What a worker stores of an event that it traces.
    let file = folder.path().join("tenure.db");
    let stored = Runtime::new().expect("threads").block_on(async {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.expect("the store");
        let rows = sqlx::query_scalar::<_, i64>("select count(*) from event_traces");
        rows.fetch_one(&mut connection).await.expect("a number")
    });
    assert_eq!(stored, 0);
    for (variable, value, named) in [
        (
            "TENURE_TELEMETRY__OTLP_ENDPOINT",
            "localhost:4317",
            "telemetry.otlp_endpoint",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "ftp://localhost",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "localhost",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ),
        (
            "TENURE_TELEMETRY__SAMPLING_RATIO",
            "1.5",
            "telemetry.sampling_ratio",
        ),
        (
            "TENURE_TELEMETRY__OTLP_HEADERS",
            "s3cret",
            "telemetry.otlp_headers",
        ),
    ] {
        let output = Tenure::new(folder.path(), &[(variable, value)]).call(&["run"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(named) && !error.contains("s3cret"), "{error}");
    }
}
