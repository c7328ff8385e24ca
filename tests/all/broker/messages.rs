//! Incoming messages: every content mode, malformed ones, and those that RabbitMQ dead-lettered.

use futures_util::StreamExt;
use lapin::options::{BasicNackOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use tenure::broker::publisher::Publisher;
use tenure::domain::ClientKey;
use tenure::wire::{Decoder, Limits};

use super::given::*;
use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{RabbitMq, free_port};

fn binary(prefix: &str, id: &str, client: &str) -> BasicProperties {
    let name = |attribute: &str| format!("{prefix}{attribute}");
    let subject = format!("acme/{client}");
    BasicProperties::default()
        .with_content_type("application/json; charset=utf-8".into())
        .with_headers(table(&[
            (&name("specversion"), "1.0"),
            (&name("id"), id),
            (&name("source"), "/space"),
            (&name("type"), "client.added"),
            (&name("subject"), &subject),
            (&name("time"), "2026-01-01T12:00:00Z"),
        ]))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_every_mode_are_ingested_and_acknowledged() {
    let url = RabbitMq::shared().vhost("modes");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    let mut structured = added("1", "a");
    structured["actor"] = "u-1".into();
    structured["actorkind"] = "partner".into();
    upstream.structured(&structured).await;
    let properties = binary("cloudEvents_", "2", "b");
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in [("cloudEvents_actor", "u-1"), ("cloudEvents_actorkind", "partner")] {
        headers.insert(name.into(), lapin::types::AMQPValue::LongString(value.into()));
    }
    upstream
        .publish(properties.with_headers(headers), br#"{"name": "B"}"#)
        .await;
    upstream
        .publish(binary("cloudEvents:", "3", "c"), br#"{"name": "C"}"#)
        .await;
    tenure.wait_for_events(3).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    for client in ["a", "b", "c"] {
        let key = ClientKey::new("acme", client).unwrap();
        assert!(
            tenure.engine.client(&key, None).await.unwrap().is_some(),
            "{client}"
        );
        let journal = tenure.engine.journal(&key, 0, 1).await.unwrap();
        let cause = serde_json::to_value(&journal[0].cause).unwrap();
        let expected = if client == "c" {
            [None, None]
        } else {
            [Some("u-1"), Some("partner")]
        };
        assert_eq!(
            [cause["actor"].as_str(), cause["actorkind"].as_str()],
            expected,
            "{client}"
        );
    }
    assert!(tenure.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_is_ignored_and_counted_in_both_modes() {
    let url = RabbitMq::shared().vhost("unknown_fields");
    let metrics = tenure::telemetry::metrics().expect("a recorder");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    let mut careless = added("1", "a");
    careless["source"] = "/careless-app".into();
    careless["data"]["imprted"] = true.into();
    upstream.structured(&careless).await;
    let properties = binary("cloudEvents_", "2", "b");
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(
        "cloudEvents_source".into(),
        lapin::types::AMQPValue::LongString("/careless-app".into()),
    );
    upstream
        .publish(properties.with_headers(headers), br#"{"name": "B", "colour": 1}"#)
        .await;
    tenure.wait_for_events(2).await;
    assert!(tenure.dead_letters().await.is_empty());
    let counted = metrics.render();
    assert!(
        counted.contains(r#"tenure_event_warnings_total{source="/careless-app"} 2"#),
        "{counted}"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_message_becomes_a_dead_letter_and_blocks_nothing() {
    let url = RabbitMq::shared().vhost("broken");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    let structured = BasicProperties::default()
        .with_content_type(STRUCTURED.into())
        .with_headers(table(&[("partitionkey", "acme/a")]));
    upstream.publish(structured.clone(), b"{oops").await;
    upstream.publish(structured.clone(), &[b' '; 10_001]).await;
    upstream.publish(BasicProperties::default(), b"\xff\x00").await;
    upstream.add("1", "a").await;
    tenure.wait_for_events(1).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    let dead_letters = tenure.wait_for_letters(3).await;
    let reasons: Vec<&str> = dead_letters
        .iter()
        .map(|record| record.dead_letter.reason.as_str())
        .collect();
    assert!(reasons[0].starts_with("the event is not JSON: "), "{reasons:?}");
    assert_eq!(reasons[1], "the event is 10001 bytes long; 10000 are allowed");
    assert!(
        reasons[2].starts_with("the message has no content type"),
        "{reasons:?}"
    );
    let first = &dead_letters[0].dead_letter;
    assert_eq!(first.origin, "amqp:tenure.events.0");
    assert_eq!(first.body, b"{oops");
    assert_eq!(first.headers, [("partitionkey".to_owned(), "acme/a".to_owned())]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_the_id_of_another_is_a_dead_letter_and_the_same_event_is_not() {
    let url = RabbitMq::shared().vhost("reused_id");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    upstream.structured(&added("1", "a")).await;
    tenure.wait_for_events(1).await;
    // The same event in the other content mode is a duplicate, and another is a mistake.
    let data = added("1", "a")["data"].to_string();
    upstream
        .publish(binary("cloudEvents_", "1", "a"), data.as_bytes())
        .await;
    upstream
        .publish(binary("cloudEvents:", "1", "b"), br#"{"name": "B"}"#)
        .await;
    upstream.structured(&added("2", "c")).await;
    tenure.wait_for_events(2).await;
    let dead_letters = tenure.wait_for_letters(1).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    let [record] = &dead_letters[..] else {
        panic!("{dead_letters:?}");
    };
    let dead_letter = &record.dead_letter;
    assert_eq!(
        dead_letter.reason,
        "another event has this source and id: client.added of acme/a at 2026-01-01T12:00:00Z, which differs in subject and data; \
         send each event with an id of its own"
    );
    assert_eq!(dead_letter.origin, "amqp:tenure.events.0");
    assert_eq!(dead_letter.body, br#"{"name": "B"}"#);
    let subject = ("cloudEvents:subject".to_owned(), "acme/b".to_owned());
    assert!(dead_letter.headers.contains(&subject), "{dead_letter:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_rabbitmq_dead_lettered_are_ingested_or_stored() {
    let url = RabbitMq::shared().vhost("given_up");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let upstream = Upstream::at(&url).await;
    upstream.add("1", "a").await;
    let structured = BasicProperties::default().with_content_type(STRUCTURED.into());
    upstream.publish(structured, b"{oops").await;
    let properties = BasicProperties::default().with_content_type("application/vnd.tenure.heartbeat".into());
    let body = heartbeat(&tenure, "2026-01-01T12:00:00Z").await;
    upstream
        .publish_to("", "tenure.events.0", properties, &body)
        .await;
    // A worker that returns the messages until RabbitMQ dead-letters them.
    let crashing = Upstream::at(&url).await;
    let mut consumer = crashing.consume("tenure.events.0").await;
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    let returning = async {
        while let Some(message) = consumer.next().await {
            message.unwrap().nack(requeue).await.unwrap();
        }
    };
    tokio::select! {
        () = returning => panic!("the consumer has ended"),
        () = wait_for_depth(&url, "tenure.dead", 3) => {}
    }
    drop((consumer, crashing));
    wait_for_depth(&url, "tenure.events.0", 0).await;
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(1).await;
    let dead_letters = tenure.wait_for_letters(1).await;
    let dead_letter = &dead_letters[0].dead_letter;
    assert_eq!(dead_letter.origin, "amqp:tenure.dead");
    assert!(
        dead_letter
            .reason
            .contains("tenure.events.0 delivered it repeatedly"),
        "{}",
        dead_letter.reason
    );
    assert_eq!(dead_letter.content_type.as_deref(), Some(STRUCTURED));
    assert_eq!(dead_letter.body, b"{oops");
    wait_for_depth(&url, "tenure.dead", 0).await;
    let key = ClientKey::new("acme", "a").unwrap();
    assert!(tenure.engine.client(&key, None).await.unwrap().is_some());
    // The heartbeat among them says nothing of a lane.
    let lanes = tenure.engine.store().lanes().await.unwrap();
    assert!(lanes.iter().all(|lane| lane.watermark.is_none()), "{lanes:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_the_work_in_progress() {
    let url = RabbitMq::shared().vhost("stopping");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let upstream = Upstream::at(&url).await;
    for n in 0..400 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    let worker = tenure.work(settings(&url)).await;
    wait_for("a first batch", async || tenure.census().await.events > 0).await;
    worker.stop().await;
    let taken = u64::try_from(tenure.census().await.events).unwrap();
    wait_for_depth(&url, "tenure.events.0", 400 - taken).await;
    drop(upstream);
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(400).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_events_arrive_and_unroutable_events_are_reported() {
    let url = RabbitMq::shared().vhost("publisher");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let declared = config(&[("TENURE_BROKER__LANES", "1")]);
    let mut publisher = Publisher::connect(&url, &declared.broker).await.unwrap();
    let decoder = Decoder::new(Limits::default(), tenure.engine.now());
    for n in 0..2_000 {
        let body = added(&n.to_string(), &format!("c{n}")).to_string().into_bytes();
        let event = decoder.structured(&body).unwrap();
        publisher.publish_event(&event, body).await.unwrap();
    }
    publisher.publish_bytes(b"oops".to_vec()).await.unwrap();
    assert_eq!(publisher.finish().await.unwrap(), 2_001);
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(2_000).await;
    tenure.wait_for_letters(1).await;
    worker.stop().await;

    let empty = RabbitMq::shared().vhost("publisher_empty");
    let upstream = Upstream::at(&empty).await;
    let undeclared = config(&[("TENURE_BROKER__DECLARE", "false")]);
    let mut publisher = Publisher::connect(&empty, &undeclared.broker).await.unwrap();
    publisher.publish_bytes(b"oops".to_vec()).await.unwrap();
    let error = publisher.finish().await.unwrap_err().to_string();
    assert!(error.contains("no exchange 'tenure.events'"), "{error}");
    upstream
        .channel
        .exchange_declare(
            "tenure.events".into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions {
                durable: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut publisher = Publisher::connect(&empty, &undeclared.broker).await.unwrap();
    publisher.publish_bytes(b"oops".to_vec()).await.unwrap();
    let error = publisher.finish().await.unwrap_err().to_string();
    assert!(
        error.starts_with("no queue receives messages of tenure.events"),
        "{error}"
    );
}

#[test]
fn a_publisher_that_loses_its_host_connects_to_another() {
    let url = RabbitMq::shared().vhost("hosts");
    let wire = Proxy::to(RabbitMq::shared().port());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(publish_while_hosts_are_lost(&url, &wire));
}

async fn publish_while_hosts_are_lost(url: &str, wire: &Proxy) {
    // Nobody listens on one of the three ports, and connections to the others are cut.
    let host = format!("127.0.0.1:{}", RabbitMq::shared().port());
    let by_wire = wire.url(url);
    let wire_host = by_wire
        .rsplit_once('@')
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap();
    let hosts = format!(
        "127.0.0.1:{},{wire_host},localhost:{}",
        free_port(),
        wire_host.rsplit(':').next().unwrap()
    );
    let several = url.replace(&host, &hosts);
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&several)).await;
    let declared = config(&[("TENURE_BROKER__LANES", "1")]);
    let mut publisher = Publisher::connect(&several, &declared.broker).await.unwrap();
    let decoder = Decoder::new(Limits::default(), tenure.engine.now());
    for n in 0..2_000 {
        if n % 500 == 250 {
            wire.cut(Cut::Reset);
        }
        let body = added(&n.to_string(), &format!("c{n}")).to_string().into_bytes();
        let event = decoder.structured(&body).unwrap();
        publisher.publish_event(&event, body).await.unwrap();
    }
    assert_eq!(publisher.finish().await.unwrap(), 2_000);
    tenure.wait_for_events(2_000).await;
    worker.state.connected().await;
    worker.stop().await;

    let nobody = url.replace(&host, &format!("127.0.0.1:{},[::1]:{}", free_port(), free_port()));
    let Err(error) = Publisher::connect(&nobody, &declared.broker).await else {
        panic!("nobody is there");
    };
    let error = error.to_string();
    assert!(
        error.contains("127.0.0.1:") && error.contains("[::1]:") && !error.contains("guest"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_many_frames_arrives_whole() {
    let url = RabbitMq::shared().vhost("large");
    let mut tenure = Tenure::new().await;
    tenure.limits.max_event_bytes = 2_000_000;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    let mut event = added("1", "a");
    event["padding"] = "x".repeat(1_000_000).into();
    upstream.structured(&event).await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

fn config(environment: &[(&str, &str)]) -> tenure::config::Settings {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    tenure::config::Settings::load(None, environment).unwrap()
}
