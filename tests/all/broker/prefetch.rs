//! Prefetch: the bytes that a lane holds while the store is unavailable are bounded.

use lapin::BasicProperties;

use super::given::*;
use crate::support::servers::{RabbitMq, name_in};

const BOUND: usize = 4 << 20;
const LARGE: usize = 200_000;
const MESSAGES: usize = 150;

/// How many messages of the lane are delivered and not acknowledged.
fn in_flight(url: &str) -> Option<usize> {
    let queue = RabbitMq::shared().queue(name_in(url), "tenure.events.0")?;
    usize::try_from(queue["messages_unacknowledged"].as_u64()?).ok()
}

/// The prefetch of the lane's consumer.
fn prefetch(url: &str) -> Option<usize> {
    let queue = RabbitMq::shared().queue(name_in(url), "tenure.events.0")?;
    let [consumer] = queue["consumer_details"].as_array()?.as_slice() else {
        return None;
    };
    usize::try_from(consumer["prefetch_count"].as_u64()?).ok()
}

async fn publish_large(url: &str) {
    let upstream = Upstream::at(url).await;
    for n in 0..MESSAGES {
        let mut event = added(&format!("large-{n}"), &format!("c{n}"));
        event["padding"] = "x".repeat(LARGE).into();
        let properties = BasicProperties::default().with_content_type(STRUCTURED.into());
        upstream.publish(properties, event.to_string().as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_prefetched_up_to_a_bound_in_bytes() {
    let url = RabbitMq::shared().vhost("prefetch_bytes");
    let mut tenure = Tenure::new().await;
    let mut bounded = settings(&url);
    bounded.prefetch = 2_000;
    bounded.prefetch_bytes = BOUND;
    tenure.limits.max_event_bytes = 1 << 20;
    let worker = tenure.work(bounded).await;
    let upstream = Upstream::at(&url).await;
    // While they are small, as many are taken as the settings say.
    tenure.set_away(true);
    for n in 0..MESSAGES {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    wait_for("all in flight", async || in_flight(&url) == Some(MESSAGES)).await;
    tenure.set_away(false);
    wait_for_depth(&url, "tenure.events.0", 0).await;

    tenure.set_away(true);
    publish_large(&url).await;
    let most = BOUND / LARGE;
    wait_for("a smaller prefetch", async || {
        prefetch(&url).is_some_and(|prefetch| prefetch <= most)
    })
    .await;
    // RabbitMQ holds back the others.
    wait_for("few in flight", async || {
        in_flight(&url).is_some_and(|held| prefetch(&url) == Some(held))
    })
    .await;
    assert!(worker.state.status().connected);
    tenure.set_away(false);
    tenure.wait_for_events(2 * i64::try_from(MESSAGES).unwrap()).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    assert!(tenure.dead_letters().await.is_empty());

    // Small again: the prefetch grows.
    let small = 1_200;
    for n in 0..small {
        upstream.add(&format!("small-{n}"), &format!("c{n}")).await;
    }
    wait_for_depth(&url, "tenure.events.0", 0).await;
    tenure.set_away(true);
    for n in 0..MESSAGES {
        upstream.add(&format!("last-{n}"), &format!("c{n}")).await;
    }
    // The large ones still count in the average.
    wait_for("more in flight", async || in_flight(&url) > Some(2 * most)).await;
    tenure.set_away(false);
    wait_for_depth(&url, "tenure.events.0", 0).await;
    worker.stop().await;
}
