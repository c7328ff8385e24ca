//! Publishing with confirms, by hand: what filling a queue takes at best.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use tenure::broker::topology;

use crate::environment::{Environment, Vhost};
use crate::messages::Message;

/// Messages that wait for their confirms.
pub const WINDOW: usize = 1_000;

/// Publishes to the events, each message once, and returns when all are confirmed: how long that took.
pub fn fill(
    environment: &Environment,
    vhost: &Vhost<'_>,
    messages: impl IntoIterator<Item = impl Borrow<Message>>,
) -> Duration {
    environment.runtime.block_on(async {
        let connection = Connection::connect(&vhost.url, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        let began = Instant::now();
        let mut flight = VecDeque::with_capacity(WINDOW);
        for message in messages {
            if flight.len() == WINDOW {
                confirmed(flight.pop_front().expect("a window of them")).await;
            }
            flight.push_back(send(&channel, message.borrow()).await);
        }
        while let Some(confirm) = flight.pop_front() {
            confirmed(confirm).await;
        }
        let took = began.elapsed();
        connection.close(200, "OK".into()).await.expect("closed");
        took
    })
}

/// Hands a message over.
pub async fn send(channel: &Channel, message: &Message) -> PublisherConfirm {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let (exchange, key) = (topology::EVENTS.into(), message.routing_key.into());
    channel
        .basic_publish(exchange, key, options, &message.body, message.properties())
        .await
        .expect("published")
}

/// Waits until RabbitMQ says that it has it, in a queue.
pub async fn confirmed(confirm: PublisherConfirm) {
    let said = confirm.await.expect("an answer");
    assert_eq!(
        said,
        Confirmation::Ack(None),
        "RabbitMQ must have it, and in a queue"
    );
}
