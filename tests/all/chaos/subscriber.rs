//! A subscriber to `tenure.changes` with a durable queue, which survives outages of the broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use tokio::runtime::Runtime;

/// How long to wait for the next change before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// The received changes, in order of their first arrival.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub changes: Vec<Value>,
    /// The place of the last arrival of each id.
    last: HashMap<String, usize>,
    repeats: usize,
}

impl Received {
    /// The changes in order of their last arrival.
    pub fn by_last_time(&self) -> Vec<&Value> {
        let mut changes: Vec<&Value> = self.changes.iter().collect();
        changes.sort_by_key(|change| self.last.get(change["id"].as_str().unwrap_or_default()));
        changes
    }

    fn add(&mut self, body: &[u8]) {
        let change: Value = serde_json::from_slice(body).expect("JSON");
        let id = change["id"].as_str().expect("an id").to_owned();
        let place = self.changes.len() + self.repeats;
        if self.last.insert(id, place).is_none() {
            self.changes.push(change);
        } else {
            self.repeats += 1;
        }
    }

    pub fn figures(&self) -> String {
        format!(
            "{} changes received, {} repeats",
            self.changes.len(),
            self.repeats
        )
    }
}

pub struct Subscriber {
    received: Arc<Mutex<Received>>,
    _runtime: Runtime,
}

impl Subscriber {
    /// Returns when the queue exists, so that no change is missed.
    pub fn start(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let connection = Connection::connect(&url, ConnectionProperties::default())
                .await
                .expect("a connection");
            declare(&connection.create_channel().await.expect("a channel"))
                .await
                .expect("a queue");
        });
        let received = Arc::<Mutex<Received>>::default();
        let ours = received.clone();
        runtime.spawn(async move {
            loop {
                let _ = listen(&url, &ours).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self {
            received,
            _runtime: runtime,
        }
    }

    /// Waits until it has received as many changes as the journal has lines, and returns them.
    pub fn all(&self, journal_length: impl Fn() -> usize) -> Received {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let received = self
                .received
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let expected = journal_length();
            if received.changes.len() == expected {
                return received;
            }
            if received.changes.len() != before {
                (before, since) = (received.changes.len(), Instant::now());
            }
            assert!(
                since.elapsed() < PATIENCE,
                "received {before} changes and no more; the journal has {expected}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

async fn declare(channel: &Channel) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let changes = "tenure.changes";
    channel
        .exchange_declare(
            changes.into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel
        .queue_declare("subscriber".into(), QueueDeclareOptions::durable(), quorum)
        .await?;
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(
            "subscriber".into(),
            changes.into(),
            "#".into(),
            options,
            arguments,
        )
        .await
}

async fn listen(url: &str, received: &Mutex<Received>) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(500, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel
        .basic_consume("subscriber".into(), "test".into(), options, arguments)
        .await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(&delivery.data);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
