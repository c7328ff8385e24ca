//! A message that crashes every worker: after its last delivery it becomes a dead letter, which can be redriven when the
//! bug is fixed. Messages that were delivered with it are ingested.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::support::servers::{RabbitMq, name_in};
use crate::support::site::Site;

const LANE: &str = "tenure.events.0";
/// How often Tenure tries a message of the dead queue as an event.
const RETRIES: usize = 3;
/// More than the limit, so that the test ends even if the limit has no effect.
const MOST: usize = 40;

fn added(client: &str) -> Value {
    json!({
        "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
        "subject": format!("p/{client}"), "time": "2026-01-05T09:00:00Z", "data": { "name": client },
    })
}

/// Consumes the first message of a queue and closes the connection without an acknowledgement. False: no message came.
async fn consume_and_crash(url: &str, queue: &str) -> bool {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let one = channel.basic_qos(1, BasicQosOptions::default());
    one.await.expect("one at a time");
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel
        .basic_consume(queue.into(), "dies".into(), options, arguments)
        .await
        .expect("a consumer");
    let came = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await;
    // RabbitMQ requeues the message, as after the crash of a worker.
    let _ = connection.close(200, "dead".into()).await;
    came.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_keeps_crashing_workers_becomes_a_dead_letter() {
    let site = Site::new("delivery_limit");
    let tenure = site.tenure(&[]);
    assert!(tenure.run().stop().success());
    tenure.ok(&["publish", &site.file([added("deadly")])]);
    let mut deaths = 0;
    let left = || RabbitMq::shared().queue_depth(name_in(&site.amqp), "tenure.dead") == Some(1);
    while deaths < MOST && consume_and_crash(&site.amqp, LANE).await {
        deaths += 1;
        // Beyond the limit the lane is empty.
        if deaths > 20 && tokio::task::block_in_place(|| has_moved(&site, left)) {
            break;
        }
    }
    assert_eq!(deaths, 21, "the first delivery, and 20 more");
    for _ in 0..RETRIES {
        assert!(consume_and_crash(&site.amqp, "tenure.dead").await);
    }

    tenure.ok(&["publish", &site.file([added("before"), added("after")])]);
    let running = tenure.run();
    running.wait_until("done", || {
        site.count("dead_letters") == 1 && site.count("event_log") == 2
    });
    site.wait_for_depth("tenure.dead", 0);
    let id = tenure.json(&["dead", "list"]).remove(0)["id"].to_string();
    let dead_letter = tenure.json(&["dead", "show", &id]).remove(0);
    assert_eq!(
        dead_letter["body"].as_str(),
        Some(added("deadly").to_string().as_str())
    );
    let reason = dead_letter["reason"].as_str().expect("a reason");
    assert!(reason.contains("delivered"), "{reason}");

    tenure.ok(&["dead", "redrive", &id]);
    assert_eq!(running.get("/v1/partners/p/clients/deadly").0, 200);
    assert_eq!(site.count("event_log where outcome = 'applied'"), 3);
    assert_eq!(site.count("dead_letters where status = 'redriven'"), 1);
    assert!(running.stop().success());
}

/// Whether the message has moved from the lane to the dead queue. It does so within moments or not at all.
fn has_moved(site: &Site, left: impl Fn() -> bool) -> bool {
    let lane = || RabbitMq::shared().queue_depth(name_in(&site.amqp), LANE);
    crate::support::tenure::wait_until(Duration::from_secs(20), || left() && lane() == Some(0)).is_ok()
}
