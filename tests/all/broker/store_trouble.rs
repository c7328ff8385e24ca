//! A store that is away, or refuses: nothing is acknowledged that is not kept, and nothing stands still for ever.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lapin::BasicProperties;

use super::fault_injecting::{DEADLY, POISON};
use super::given::*;
use crate::support::servers::{RabbitMq, name_in};

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_the_store_is_away() {
    let url = RabbitMq::shared().vhost("away");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    let upstream = Upstream::at(&url).await;
    tenure.set_away(true);
    for n in 0..20 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let depth = RabbitMq::shared().queue_depth(name_in(&url), "tenure.events.0");
    assert_eq!(depth, Some(20), "acknowledged, and not kept");
    assert!(worker.state.status().connected);
    tenure.set_away(false);
    tenure.wait_for_events(20).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_before_the_store_answers() {
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
async fn a_stop_does_not_wait_for_a_store_that_is_away() {
    let url = RabbitMq::shared().vhost("away_at_stop");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_away(true);
    Upstream::at(&url).await.add("1", "a").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    worker.stop().await;
    tenure.set_away(false);
    let worker = tenure.work(settings(&url)).await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_event_is_put_aside_alone() {
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

/// Neither a lane nor the queue of what RabbitMQ gave up stands still for it, and its bytes are not lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_even_be_a_dead_letter_is_kept_in_hexadecimal() {
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
    // From both queues the same bytes are the same letter.
    assert_eq!(in_hex.len(), 1, "{dead_letters:?}");
    assert_eq!(
        in_hex[0].dead_letter.body,
        tenure::store::hex(DEADLY.as_bytes()).as_bytes()
    );
    assert_eq!(in_hex[0].times_seen, 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_everything_is_waited_for() {
    let url = RabbitMq::shared().vhost("locked_up");
    let tenure = Tenure::new().await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_reject_writes(true);
    let upstream = Upstream::at(&url).await;
    for n in 0..10 {
        upstream.add(&n.to_string(), &format!("c{n}")).await;
    }
    wait_for("several attempts", async || {
        tenure.mood.begun.load(Ordering::SeqCst) > 12
    })
    .await;
    wait_for_depth(&url, "tenure.dead", 0).await;
    wait_for_depth(&url, "tenure.events.0", 10).await;
    tenure.set_reject_writes(false);
    tenure.wait_for_events(10).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    assert!(tenure.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_does_not_make_the_relay_tell_all_the_time() {
    let url = RabbitMq::shared().vhost("forgetful");
    let tenure = Tenure::new().await;
    let listener = Listener::at(&url).await;
    let worker = tenure.work(settings(&url)).await;
    tenure.set_reject_cursor(true);
    let upstream = Upstream::at(&url).await;
    upstream.add("1", "a").await;
    tenure.wait_for_events(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    tenure.set_reject_cursor(false);
    wait_for("an empty backlog", async || {
        tenure.engine.store().relay_backlog().await.unwrap() == 0
    })
    .await;
    upstream.add("2", "b").await;
    let heard = listener
        .hear_until(|change| change["subject"] == "acme/b" && change["type"] == "service.pending_assigning")
        .await;
    let told = |change: &str| heard.iter().filter(|(_, heard)| heard["type"] == change).count();
    // The pauses between double from a fifth of a second on: after 3 s it is the sixth time or so, not the twentieth.
    let times = told("link.draft") - 1;
    assert!((2..10).contains(&times), "told {times} times");
    worker.stop().await;
}
