//! The exchanges, queues and bindings that Tenure declares.

use std::collections::BTreeSet;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;

use super::given::*;
use crate::support::servers::{RabbitMq, name_in};

/// Exchanges, queues and bindings of a vhost, without what differs from server to server.
fn declared(url: &str) -> BTreeSet<String> {
    let definitions = RabbitMq::shared().definitions(name_in(url));
    ["exchanges", "queues", "bindings"]
        .iter()
        .flat_map(|part| {
            let items = definitions[part].as_array().cloned().unwrap_or_default();
            items.into_iter().map(move |item| format!("{part} {item}"))
        })
        .collect()
}

fn bindings(url: &str) -> BTreeSet<String> {
    let definitions = RabbitMq::shared().definitions(name_in(url));
    definitions["bindings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|binding| {
            let text = |name: &str| binding[name].as_str().unwrap().to_owned();
            format!(
                "{} -{}-> {}",
                text("source"),
                text("routing_key"),
                text("destination")
            )
        })
        .collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_equal_definitions_json_and_are_repeatable() {
    let url = RabbitMq::shared().vhost("declared");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let once = declared(&url);
    tenure.work(settings(&url)).await.stop().await;
    assert_eq!(declared(&url), once);

    let imported = RabbitMq::shared().vhost("imported");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rabbitmq/definitions.json");
    let mut definitions: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    definitions.as_object_mut().unwrap().remove("vhosts");
    for items in definitions.as_object_mut().unwrap().values_mut() {
        for item in items.as_array_mut().unwrap() {
            item["vhost"] = name_in(&imported).into();
        }
    }
    RabbitMq::shared().import_definitions(&definitions);
    assert_eq!(declared(&imported), once);
    // And with that, nothing has to be declared.
    let mut undeclared = settings(&imported);
    undeclared.declare = false;
    let worker = tenure.work(undeclared).await;
    Upstream::at(&imported).await.add("1", "a").await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
    assert_eq!(declared(&imported), once);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_lanes_are_added_and_removed() {
    let url = RabbitMq::shared().vhost("lanes");
    let tenure = Tenure::new().await;
    let lanes = |lanes| {
        let mut settings = settings(&url);
        settings.lanes = lanes;
        settings
    };
    let mut sent = 0;
    for (number, expected) in [
        (1, &["tenure.events -#-> tenure.events.0"][..]),
        (
            3,
            &[
                "tenure.events -#-> tenure.events.lanes",
                "tenure.events.lanes -1-> tenure.events.0",
                "tenure.events.lanes -1-> tenure.events.1",
                "tenure.events.lanes -1-> tenure.events.2",
            ],
        ),
        (
            2,
            &[
                "tenure.events -#-> tenure.events.lanes",
                "tenure.events.lanes -1-> tenure.events.0",
                "tenure.events.lanes -1-> tenure.events.1",
            ],
        ),
        (1, &["tenure.events -#-> tenure.events.0"]),
    ] {
        let worker = tenure.work(lanes(number)).await;
        // What the lanes before still held is read too.
        tenure.wait_for_events(sent).await;
        worker.stop().await;
        assert_eq!(bindings(&url), set(expected), "{number} lanes");
        let upstream = Upstream::at(&url).await;
        for _ in 0..30 {
            sent += 1;
            upstream.add(&sent.to_string(), &format!("c{sent}")).await;
        }
        if number == 3 {
            for queue in ["tenure.events.0", "tenure.events.1", "tenure.events.2"] {
                wait_for(queue, async || {
                    let depth = RabbitMq::shared().queue_depth(name_in(&url), queue);
                    depth.is_some_and(|depth| depth > 0)
                })
                .await;
            }
        }
    }
    let worker = tenure.work(lanes(1)).await;
    tenure.wait_for_events(sent).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_reported_with_the_remedy() {
    let url = RabbitMq::shared().vhost("otherwise");
    let upstream = Upstream::at(&url).await;
    let declare = |queue: &'static str| {
        upstream.channel.queue_declare(
            queue.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
    };
    declare("tenure.events.0").await.unwrap();
    let tenure = Tenure::new().await;
    let worker = tenure.start(settings(&url));
    worker
        .wait_for_reason("tenure.events.0: PRECONDITION_FAILED")
        .await;
    worker
        .wait_for_reason("wait until it is empty and delete it")
        .await;
    // The remedy works without a restart.
    upstream
        .channel
        .queue_delete("tenure.events.0".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    worker.state.connected().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_reported_when_tenure_may_not_declare() {
    let url = RabbitMq::shared().vhost("undeclared");
    let tenure = Tenure::new().await;
    let mut undeclared = settings(&url);
    undeclared.declare = false;
    let worker = tenure.start(undeclared);
    worker
        .wait_for_reason("import config/rabbitmq/definitions.json")
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_password_is_reported_and_not_shown() {
    let url = RabbitMq::shared()
        .vhost("password")
        .replace("guest:guest", "guest:wrong");
    let tenure = Tenure::new().await;
    let worker = tenure.start(settings(&url));
    worker.wait_for_reason("ACCESS_REFUSED").await;
    assert!(!worker.state.status().reason.unwrap().contains("wrong"));
    worker.stop().await;
}
