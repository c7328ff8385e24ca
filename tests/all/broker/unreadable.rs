//! Messages that the client library cannot read: text in their properties that is not UTF-8, and content headers that
//! RabbitMQ made larger than a frame.

use futures_util::StreamExt;
use lapin::options::BasicNackOptions;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::ClientKey;
use tenure::wire::{Decoder, Limits};

use super::given::*;
use crate::support::raw_amqp::{RawMessage, RawPublisher, table, text};
use crate::support::servers::{RabbitMq, name_in};

/// Not UTF-8: `größe` as Latin-1.
const LATIN_1: &[u8] = b"gr\xf6\xdfe";

fn event(client: &str) -> RawMessage {
    RawMessage {
        routing_key: b"client.added".to_vec(),
        content_type: Some(STRUCTURED.into()),
        body: added(client, client).to_string().into_bytes(),
        ..Default::default()
    }
}

/// A message for each place where AMQP has a short string, with one there that is not UTF-8.
fn unreadable() -> Vec<(&'static str, RawMessage)> {
    let bytes = || Some(LATIN_1.to_vec());
    let x = || text(b"x");
    vec![
        (
            "routing key",
            RawMessage {
                routing_key: LATIN_1.to_vec(),
                ..event("b0")
            },
        ),
        (
            "content type",
            RawMessage {
                content_type: Some(b"application/cloudevents+json; x=\xe4".to_vec()),
                ..event("b1")
            },
        ),
        (
            "content encoding",
            RawMessage {
                content_encoding: bytes(),
                ..event("b2")
            },
        ),
        (
            "header",
            RawMessage {
                headers: vec![(b"a".to_vec(), x()), (LATIN_1.to_vec(), x())],
                ..event("b3")
            },
        ),
        (
            "header",
            RawMessage {
                headers: vec![(b"outer".to_vec(), table(&[(LATIN_1.to_vec(), x())]))],
                ..event("b4")
            },
        ),
        (
            "correlation id",
            RawMessage {
                correlation_id: bytes(),
                ..event("b5")
            },
        ),
        (
            "reply to",
            RawMessage {
                reply_to: bytes(),
                ..event("b6")
            },
        ),
        (
            "message id",
            RawMessage {
                message_id: bytes(),
                ..event("b7")
            },
        ),
        (
            "type",
            RawMessage {
                kind: Some(b"\xff\xfe".to_vec()),
                ..event("b8")
            },
        ),
        (
            "app id",
            RawMessage {
                app_id: Some(b"cut off \xe2\x82".to_vec()),
                ..event("b9")
            },
        ),
    ]
}

async fn publish(url: &str, messages: Vec<RawMessage>) {
    let url = url.to_owned();
    let published = tokio::task::spawn_blocking(move || {
        let mut publisher = RawPublisher::at(&url);
        for message in &messages {
            publisher.publish(message);
        }
    });
    published.await.expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_utf8_becomes_a_dead_letter_and_blocks_nothing() {
    let url = RabbitMq::shared().vhost("not_utf8");
    let tenure = Tenure::new().await;
    // Half of it waits in the queue when the worker starts.
    tenure.work(settings(&url)).await.stop().await;
    let all = unreadable();
    let mut waiting = vec![event("g1")];
    waiting.extend(all.iter().map(|(_, message)| message.clone()));
    waiting.push(event("g2"));
    publish(&url, waiting).await;
    let worker = tenure.work(settings(&url)).await;
    let since = worker.state.status().since;
    publish(&url, all.iter().map(|(_, message)| message.clone()).collect()).await;
    publish(&url, vec![event("g3")]).await;
    tenure.wait_for_events(3).await;
    let dead_letters = tenure.wait_for_letters(all.len()).await;
    wait_for_depth(&url, "tenure.events.0", 0).await;
    wait_for_depth(&url, "tenure.dead", 0).await;
    for (place, message) in &all {
        let dead_letter = dead_letters
            .iter()
            .find(|record| record.dead_letter.body == message.body)
            .unwrap_or_else(|| panic!("{place}: {dead_letters:?}"));
        let reason = &dead_letter.dead_letter.reason;
        assert!(
            reason.contains("not UTF-8") && reason.contains(place),
            "{place}: {reason}"
        );
        assert_eq!(dead_letter.times_seen, 2, "{place}");
    }
    assert_eq!(worker.state.status().since, since, "no connection was lost");
    worker.stop().await;
}

/// The library's table of headers has one of each name.
#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_in_two_headers_is_a_dead_letter_also_on_redrive() {
    let url = RabbitMq::shared().vhost("attribute_twice");
    let tenure = Tenure::new().await;
    let header = |name: &str, value: &str| (name.as_bytes().to_vec(), text(value.as_bytes()));
    let binary = |ids: &[&str]| {
        let mut headers = vec![
            header("cloudEvents_specversion", "1.0"),
            header("cloudEvents_source", "/space"),
            header("cloudEvents_type", "client.added"),
            header("cloudEvents_subject", "acme/twice"),
            header("cloudEvents_time", "2025-01-05T09:00:00Z"),
        ];
        headers.extend(ids.iter().map(|id| header("cloudEvents_id", id)));
        RawMessage {
            routing_key: b"client.added".to_vec(),
            content_type: Some(b"application/json".to_vec()),
            headers,
            body: b"{\"name\":\"Twice\"}".to_vec(),
            ..Default::default()
        }
    };
    let worker = tenure.work(settings(&url)).await;
    publish(&url, vec![binary(&["one", "two"])]).await;
    wait_for("a dead letter or an event", async || {
        tenure.dead_letters().await.len() == 1 || tenure.census().await.events == 1
    })
    .await;
    let dead_letters = tenure.dead_letters().await;
    if dead_letters.is_empty() {
        // RabbitMQ 4 keeps one header of each name, so the message that it delivers is an event.
        worker.stop().await;
        return;
    }
    let reason = &dead_letters[0].dead_letter.reason;
    assert!(reason.contains("`id` is given twice"), "{reason}");
    let decoder = Decoder::new(Limits::default(), SystemClock.now());
    let again = decoder.again(&dead_letters[0].dead_letter);
    let reason = &again[0].as_ref().unwrap_err().reason;
    assert!(reason.contains("`id` is given twice"), "redriven: {reason}");
    publish(&url, vec![binary(&["three"])]).await;
    tenure.wait_for_events(1).await;
    worker.stop().await;
}

/// RabbitMQ adds `x-death` to the headers of a message that it moves to the dead queue, and `x-delivery-count` to those
/// of one that it delivers again.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_grow_larger_than_a_frame_are_read() {
    let url = RabbitMq::shared().vhost("larger_than_a_frame");
    let tenure = Tenure::new().await;
    tenure.work(settings(&url)).await.stop().await;
    let frame_max = 131_072;
    let mut expires = event("expires");
    expires.expiration = Some(b"1".to_vec());
    expires.fill_frame(frame_max, 0);
    publish(&url, vec![expires]).await;
    wait_for_depth(&url, "tenure.dead", 1).await;

    let mut returned = event("returned");
    returned.fill_frame(frame_max, 0);
    publish(&url, vec![returned]).await;
    let upstream = Upstream::at(&url).await;
    let mut consumer = upstream.consume("tenure.events.0").await;
    let delivery = consumer.next().await.expect("a delivery").expect("no error");
    let again = BasicNackOptions {
        requeue: true,
        ..Default::default()
    };
    delivery.nack(again).await.expect("returned to the queue");
    drop((consumer, upstream));

    let worker = tenure.work(settings(&url)).await;
    let since = worker.state.status().since;
    publish(&url, vec![event("after")]).await;
    for client in ["after", "returned", "expires"] {
        let key = ClientKey::new("acme", client).unwrap();
        wait_for(client, async || {
            tenure.engine.client(&key, None).await.unwrap().is_some()
        })
        .await;
    }
    wait_for_depth(&url, "tenure.events.0", 0).await;
    wait_for_depth(&url, "tenure.dead", 0).await;
    assert_eq!(worker.state.status().since, since, "no connection was lost");
    assert_eq!(
        RabbitMq::shared().queue_depth(name_in(&url), "tenure.dead"),
        Some(0)
    );
    worker.stop().await;
}
