//! A subscriber to the published changes.

use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use tenure::broker::topology;

pub struct Subscriber {
    _connection: Connection,
    pub consumer: Consumer,
}

impl Subscriber {
    pub const QUEUE: &str = "subscriber";

    /// Declares a quorum queue, like Tenure's own, that receives all changes and has no consumer.
    pub async fn durable_queue(vhost: &str) {
        let (connection, channel) = connect(vhost).await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        declare(
            &channel,
            Self::QUEUE,
            QueueDeclareOptions::durable(),
            arguments,
            "#",
        )
        .await;
        connection.close(200, "OK".into()).await.expect("closed");
    }

    /// A consumer that receives changes of one type as they are published.
    pub async fn live(vhost: &str, change: &str) -> Self {
        let (connection, channel) = connect(vhost).await;
        let options = QueueDeclareOptions::exclusive();
        declare(&channel, Self::QUEUE, options, FieldTable::default(), change).await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(Self::QUEUE.into(), "bench".into(), options, FieldTable::default())
            .await
            .expect("a consumer");
        Self {
            _connection: connection,
            consumer,
        }
    }
}

async fn connect(vhost: &str) -> (Connection, Channel) {
    let connection = Connection::connect(vhost, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn declare(
    channel: &Channel,
    queue: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
    key: &str,
) {
    channel
        .queue_declare(queue.into(), options, arguments)
        .await
        .expect("a queue");
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(
            queue.into(),
            topology::CHANGES.into(),
            key.into(),
            options,
            arguments,
        )
        .await
        .expect("a binding");
}
