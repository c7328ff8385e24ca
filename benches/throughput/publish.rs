//! Publishes with confirms through the client library alone: the upper limit for filling a queue.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use tenure::broker::topology;

use crate::environment::{Environment, Vhost};
use crate::messages::Message;

/// Maximum number of unconfirmed messages.
pub const WINDOW: usize = 1_000;

/// Publishes each message once to the events exchange, waits for all confirms, and returns how long that took.
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

/// Sends a message; the returned confirm resolves when RabbitMQ responds.
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

/// Waits until RabbitMQ confirms that the message is in a queue.
pub async fn confirmed(confirm: PublisherConfirm) {
    let confirmation = confirm.await.expect("an answer");
    assert_eq!(
        confirmation,
        Confirmation::Ack(None),
        "RabbitMQ must confirm it, and route it to a queue"
    );
}
