//! A consumer that only acknowledges: the upper limit for reading a queue.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use tenure::broker::topology;

use crate::bench::Bench;
use crate::environment::{Environment, Vhost};
use crate::{check, publish};

/// How long acknowledgements may take to arrive. After that the check of the section fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Consumes the same messages as the section `accessed`, with which this one is compared.
pub fn measure(bench: &mut Bench<'_>) {
    let messages = bench.touches.len();
    let vhost = bench.environment.vhost("drain");
    publish::fill(bench.environment, &vhost, &bench.touches);
    let took = drain(bench.environment, &vhost, messages);
    bench.record("drain", messages as f64 / took.as_secs_f64());
    check::nothing_waits(&vhost);
}

/// A consumer of the first lane.
pub struct Reader {
    connection: Connection,
    channel: Channel,
    pub consumer: Consumer,
}

impl Reader {
    pub async fn of(vhost: &str, prefetch: u16) -> Self {
        let connection = Connection::connect(vhost, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await
            .expect("a prefetch");
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(topology::lane(0).into(), "bench".into(), options, arguments)
            .await
            .expect("a consumer");
        Self {
            connection,
            channel,
            consumer,
        }
    }

    pub async fn next(&mut self) -> Delivery {
        self.consumer.next().await.expect("a delivery").expect("no error")
    }

    /// Acknowledges this delivery and all before it.
    pub async fn acknowledge_up_to(&self, delivery_tag: u64) {
        let options = BasicAckOptions { multiple: true };
        self.channel
            .basic_ack(delivery_tag, options)
            .await
            .expect("acknowledged");
    }

    /// Closes the connection once all acknowledgements have arrived. RabbitMQ 3.10 requeues messages when a channel
    /// closes before it has processed their acknowledgements.
    pub async fn close(self, vhost: &Vhost<'_>) {
        let limit = Instant::now() + PATIENCE;
        while vhost.depth(&topology::lane(0)) != Some(0) && Instant::now() < limit {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.connection.close(200, "OK".into()).await.expect("closed");
    }
}

/// Consumes this number of messages, acknowledges a batch at a time as Tenure does, and returns the time since the
/// first.
fn drain(environment: &Environment, vhost: &Vhost<'_>, messages: usize) -> Duration {
    let broker = &environment.defaults.broker;
    environment.runtime.block_on(async {
        let mut reader = Reader::of(&vhost.url, broker.prefetch).await;
        let mut began = None;
        for number in 1..=messages {
            let delivery = reader.next().await;
            began.get_or_insert_with(Instant::now);
            if number % broker.batch_max == 0 || number == messages {
                reader.acknowledge_up_to(delivery.delivery_tag).await;
            }
        }
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        reader.close(vhost).await;
        took
    })
}
