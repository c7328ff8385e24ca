//! A store that is unavailable or rejects writes: Tenure acknowledges only what it has stored, and never stops for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lapin::BasicProperties;

use super::given::*;
use crate::fault_injecting::{DEADLY, POISON};
use crate::support::servers::RabbitMq;

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_the_store_is_unavailable() {
    let url = RabbitMq::shared().vhost("away");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    tenure.set_away(true);
    for n in 0..20 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    tenure.wait_for_attempts(3).await;
    // Unacknowledged messages are counted too.
    wait_for_depth(&url, "tenure.events.0", 20).await;
    assert!(worker.state.status().connected);
    tenure.set_away(false);
    tenure.wait_for_events(20).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_connects_only_when_the_store_is_available() {
    let url = RabbitMq::shared().vhost("not_yet");
    let tenure = Tenure::new().await;
    tenure.set_away(true);
    let worker = tenure.start(settings(&url));
    worker.wait_for_reason("waiting for the store").await;
    tenure.set_away(false);
    worker.state.connected().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_an_unavailable_store() {
    let url = RabbitMq::shared().vhost("away_at_stop");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_away(true);
    Upstream::at(&url).await.add("1", "a").await;
    tenure.wait_for_attempts(1).await;
    worker.stop().await;
    tenure.set_away(false);
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_alone_becomes_a_dead_letter() {
    let url = RabbitMq::shared().vhost("poison");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let upstream = Upstream::at(&url).await;
    for n in 0..40 {
        let id = if n == 17 { POISON.to_owned() } else { n.to_string() };
        upstream.add(&id, &format!("c{n}")).await;
    }
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(39).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    let dead_letters = tenure.wait_for_letters(1).await;
    assert!(
        dead_letters[0]
            .dead_letter
            .reason
            .starts_with("the store refused it: clients"),
        "{dead_letters:?}"
    );
    assert_eq!(
        dead_letters[0].dead_letter.body,
        added(POISON, "c17").to_string().as_bytes()
    );
    worker.stop().await;
}

/// It blocks neither a lane nor the queue for messages that RabbitMQ gave up on.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_store_rejects_is_stored_in_hexadecimal() {
    let url = RabbitMq::shared().vhost("deadly");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    let plain = BasicProperties::default;
    upstream.add("1", "a").await;
    upstream.publish(plain(), DEADLY.as_bytes()).await;
    upstream
        .publish_to("", "tenure.dead", plain(), DEADLY.as_bytes())
        .await;
    upstream.publish_to("", "tenure.dead", plain(), b"harmless").await;
    upstream.add("2", "b").await;
    tenure.wait_for_events(2).await;
    let dead_letters = tenure.wait_for_letters(2).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    wait_for_depth(&url, "tenure.dead", 0).await;
    let digest = tenure::store::body_digest(DEADLY.as_bytes());
    let in_hex: Vec<_> = dead_letters
        .iter()
        .filter(|record| record.dead_letter.reason.contains(&digest))
        .collect();
    // The same bytes from both queues are one dead letter.
    assert_eq!(in_hex.len(), 1, "{dead_letters:?}");
    assert_eq!(
        in_hex[0].dead_letter.body,
        tenure::store::hex(DEADLY.as_bytes()).as_bytes()
    );
    assert_eq!(in_hex[0].times_seen, 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_the_store_rejects_all_writes() {
    let url = RabbitMq::shared().vhost("locked_up");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_reject_writes(true);
    let upstream = Upstream::at(&url).await;
    for n in 0..10 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    tenure.wait_for_attempts(12).await;
    wait_for_depth(&url, "tenure.dead", 0).await;
    wait_for_depth(&url, "tenure.events.0", 10).await;
    tenure.set_reject_writes(false);
    tenure.wait_for_events(10).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    assert!(tenure.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_makes_the_relay_back_off() {
    let url = RabbitMq::shared().vhost("forgetful");
    let tenure = Tenure::new().await;
    let subscriber = Subscriber::at(&url).await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_reject_cursor(true);
    let upstream = Upstream::at(&url).await;
    let (publications, began) = (AtomicUsize::new(0), Instant::now());
    upstream.add("1", "a").await;
    subscriber
        .receive_until(|change| {
            change["type"] == "link.draft" && publications.fetch_add(1, Ordering::SeqCst) + 1 == 6
        })
        .await;
    // At least 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s: pauses double from 0.2 s, and jitter may halve each. A slow machine only makes
    // it longer.
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    tenure.set_reject_cursor(false);
    wait_for("an empty backlog", async || {
        tenure.engine.store().count_unpublished().await.unwrap() == 0
    })
    .await;
    upstream.add("2", "b").await;
    subscriber
        .receive_until(|change| {
            change["subject"] == "acme/b" && change["type"] == "service.pending_assigning"
        })
        .await;
    worker.stop().await;
}
