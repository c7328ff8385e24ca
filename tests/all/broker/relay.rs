//! The relay: publishes the journal.

use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::AMQPValue;
use serde_json::Value;
use tenure::store::Cursor;
use tenure::wire::{self, SchemaUris};

use super::given::*;
use crate::support::servers::RabbitMq;

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_receive_the_journal_in_order() {
    let url = RabbitMq::shared().vhost("relay");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    for n in 0..50 {
        upstream.add(&format!("a{n}"), &format!("c{n}")).await;
    }
    for n in 0..50 {
        let mut event = added(&format!("b{n}"), &format!("c{n}"));
        event["type"] = "assignment.added".into();
        event["time"] = "2026-01-02T12:00:00Z".into();
        event["data"] = serde_json::json!({"assignment_id": "x"});
        upstream.structured(&event).await;
    }
    tenure.wait_for_events(100).await;
    let mut journal = Vec::new();
    for n in 0..50 {
        journal.extend(tenure.journal(&format!("c{n}")).await);
    }
    journal.sort_by_key(|line| line.cursor);
    assert!(journal.len() >= 200);
    let outbox = tenure.engine.store().unpublished(Cursor::default(), None, 0);
    let epoch = outbox.await.unwrap().epoch;
    let last = wire::change_id(epoch, journal.last().unwrap());
    let received = subscriber
        .receive_until(|change| change["id"] == last.as_str())
        .await;
    let expected: Vec<Value> = journal
        .iter()
        .map(|line| serde_json::from_slice(&wire::change(epoch, line, &SchemaUris::default())).unwrap())
        .collect();
    let changes: Vec<Value> = received.iter().map(|(_, change)| change.clone()).collect();
    assert_eq!(changes, expected);

    let (properties, change) = &received[0];
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), STRUCTURED);
    assert_eq!(
        properties.message_id().as_ref().unwrap().as_str(),
        change["id"].as_str().unwrap()
    );
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.timestamp(), Some(1_767_268_800));
    let key = AMQPValue::LongString(change["subject"].as_str().unwrap().into());
    assert_eq!(
        properties.headers().as_ref().unwrap().inner().get("partitionkey"),
        Some(&key)
    );
    worker.stop().await;
    assert_eq!(tenure.engine.store().count_unpublished().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_until_a_relay_runs() {
    let url = RabbitMq::shared().vhost("relay_later");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    let mut silent = settings(&url);
    silent.relay = false;
    let worker = tenure.work(silent).await;
    Upstream::at(&url).await.add("1", "a").await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
    assert!(tenure.engine.store().count_unpublished().await.unwrap() > 0);
    let worker = tenure.work(settings(&url)).await;
    let received = subscriber
        .receive_until(|change| change["type"] == "service.pending_assigning")
        .await;
    assert_eq!(received[0].1["type"], "link.draft");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_waits_for_a_subscriber_whose_queue_is_full() {
    let url = RabbitMq::shared().vhost("full");
    let tenure = Tenure::new().await;
    let mut full = table(&[("x-overflow", "reject-publish")]);
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    let subscriber = Subscriber::with_queue(&url, full).await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    for n in 0..10 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    // Events go on, changes wait.
    tenure.wait_for_events(10).await;
    worker.wait_for_reason("a bound queue is full").await;
    assert!(tenure.engine.store().count_unpublished().await.unwrap() > 0);
    upstream
        .channel
        .queue_purge("subscriber".into(), QueuePurgeOptions::default())
        .await
        .unwrap();
    upstream
        .channel
        .queue_delete("subscriber".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    drop(subscriber);
    worker.state.connected().await;
    wait_for("an empty backlog", async || {
        tenure.engine.store().count_unpublished().await.unwrap() == 0
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_published_without_a_record_of_the_last() {
    let url = RabbitMq::shared().vhost("unrecorded");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    tenure.work(settings(&url)).await.stop().await;
    let upstream = Upstream::at(&url).await;
    let deleted = upstream
        .channel
        .queue_delete("tenure.published".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let mut undeclared = settings(&url);
    undeclared.declare = false;
    let worker = tenure.work(undeclared).await;
    upstream.add("1", "a").await;
    subscriber
        .receive_until(|change| change["subject"] == "acme/a" && change["type"] == "link.draft")
        .await;
    worker.stop().await;
}
