//! The setup of the RabbitMQ tests: an engine on a store of its own, and a vhost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tenure::broker::{self, BrokerState};
use tenure::clock::SystemClock;
use tenure::config::{BrokerSettings, SecretUrl, TlsFiles};
use tenure::domain::{ClientKey, Policy};
use tenure::engine::Engine;
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Census, DeadLetterFilter, DeadLetterRecord, Recorded, Upkeep, hex};
use tenure::wire::Limits;
use tokio_util::sync::CancellationToken;

use crate::fault_injecting::{FaultInjectingStore, Faults};

use crate::support::servers::{RabbitMq, name_in};

/// The limit for every wait. Heartbeats find a changed route after 20 s, or after 40 s more.
pub const PATIENCE: Duration = Duration::from_mins(4);

pub const STRUCTURED: &str = "application/cloudevents+json";

pub fn settings(url: &str) -> BrokerSettings {
    BrokerSettings {
        url: Some(SecretUrl::new(url)),
        tls: TlsFiles::default(),
        lanes: 1,
        prefetch: 200,
        prefetch_bytes: 64 << 20,
        batch_max: 50,
        concurrency: 2,
        // Queues hold what a test puts into them.
        heartbeat: Duration::from_hours(1),
        relay: true,
        declare: true,
    }
}

/// An engine on a fault-injecting store.
pub struct Tenure {
    pub engine: Arc<Engine>,
    pub limits: Limits,
    pub faults: Arc<Faults>,
    _folder: TempDir,
}

impl Tenure {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FaultInjectingStore::new(Arc::new(SqliteStore::open(folder.path().join("tenure.db"))));
        store.migrate().await.expect("migrated");
        let faults = store.faults.clone();
        let engine = Engine::start(Arc::new(store), Arc::new(SystemClock), &Policy::default())
            .await
            .expect("an engine");
        Self {
            engine: Arc::new(engine),
            limits: Limits {
                max_event_bytes: 10_000,
                ..Limits::default()
            },
            faults,
            _folder: folder,
        }
    }

    /// Starts to work with a broker; returns once it is connected.
    pub async fn work(&self, settings: BrokerSettings) -> Worker {
        let worker = self.start(settings);
        tokio::time::timeout(PATIENCE, worker.state.connected())
            .await
            .unwrap_or_else(|_| panic!("not connected: {:?}", worker.state.status()));
        worker
    }

    pub fn start(&self, settings: BrokerSettings) -> Worker {
        let (state, stop) = (BrokerState::default(), CancellationToken::new());
        let (engine, written) = (self.engine.clone(), stop.clone());
        let run = broker::run(
            settings,
            self.limits,
            engine,
            state.clone(),
            stop.clone(),
            written,
        );
        Worker {
            state,
            stop,
            run: tokio::spawn(run),
        }
    }

    pub async fn census(&self) -> Census {
        self.engine.store().census().await.expect("a census")
    }

    pub async fn wait_for_events(&self, expected: i64) {
        wait_for(&format!("{expected} events in the log"), async || {
            self.census().await.events == expected
        })
        .await;
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetterRecord> {
        let all = DeadLetterFilter::default();
        let store = self.engine.store();
        let mut dead_letters = Vec::new();
        for line in store.dead_letters(&all, 0, 1000).await.expect("dead letters") {
            dead_letters.extend(store.dead_letter(line.id).await.expect("a dead letter"));
        }
        dead_letters
    }

    pub async fn wait_for_letters(&self, expected: usize) -> Vec<DeadLetterRecord> {
        wait_for(&format!("{expected} dead letters"), async || {
            self.dead_letters().await.len() == expected
        })
        .await;
        self.dead_letters().await
    }

    pub async fn journal(&self, client: &str) -> Vec<Recorded> {
        let key = ClientKey::new("acme", client).expect("a key");
        self.engine
            .store()
            .journal(&key, 0, 1000)
            .await
            .expect("a journal")
    }

    /// Waits until this many more transactions were attempted: the worker has then considered the messages it has.
    pub async fn wait_for_attempts(&self, more: u32) {
        self.wait_for_calls("begin", more).await;
    }

    /// Waits until this method of the store was called this many times more.
    pub async fn wait_for_calls(&self, method: &str, more: u32) {
        let before = self.faults.calls(method);
        wait_for(&format!("{more} more calls of {method}"), async || {
            self.faults.calls(method) >= before + more
        })
        .await;
    }

    pub fn set_away(&self, away: bool) {
        self.faults.unavailable.store(away, Ordering::SeqCst);
    }

    pub fn set_reject_writes(&self, reject_writes: bool) {
        self.faults.reject_writes.store(reject_writes, Ordering::SeqCst);
    }

    pub fn set_reject_cursor(&self, reject_cursor: bool) {
        self.faults.reject_cursor.store(reject_cursor, Ordering::SeqCst);
    }
}

pub struct Worker {
    pub state: BrokerState,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<Result<(), broker::BrokerError>>,
}

impl Worker {
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.run).await;
        ended.expect("it ends").expect("no panic").expect("no error");
    }

    /// Waits until it is not connected for a reason that has these words.
    pub async fn wait_for_reason(&self, words: &str) {
        wait_for(words, async || {
            self.state
                .status()
                .reason
                .is_some_and(|reason| reason.contains(words))
        })
        .await;
    }
}

pub async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits, without holding up what else runs here, until a queue holds as many messages as expected.
pub async fn wait_for_depth(url: &str, queue: &str, expected: u64) {
    let (vhost, queue) = (name_in(url).to_owned(), queue.to_owned());
    tokio::task::spawn_blocking(move || {
        RabbitMq::shared().wait_for_depth(&vhost, &queue, expected, PATIENCE);
    })
    .await
    .expect("the depth");
}

/// An upstream app, which publishes events.
pub struct Upstream {
    pub channel: Channel,
    _connection: Connection,
}

impl Upstream {
    pub async fn at(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        Self {
            channel,
            _connection: connection,
        }
    }

    pub async fn publish(&self, properties: BasicProperties, body: &[u8]) {
        self.publish_to("tenure.events", "any", properties, body).await;
    }

    pub async fn publish_to(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), mandatory, body, properties)
            .await
            .expect("published")
            .await
            .expect("confirmed");
        assert!(confirm.is_ack());
        assert!(confirm.take_message().is_none(), "it reached no queue");
    }

    pub async fn structured(&self, event: &Value) {
        let subject = event["subject"].as_str().unwrap_or_default();
        let properties = BasicProperties::default()
            .with_content_type(STRUCTURED.into())
            .with_headers(table(&[("partitionkey", subject)]));
        self.publish(properties, event.to_string().as_bytes()).await;
    }

    pub async fn consume(&self, queue: &str) -> Consumer {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        self.channel
            .basic_consume(queue.into(), "test".into(), options, arguments)
            .await
            .expect("a consumer")
    }

    pub async fn add(&self, id: &str, client: &str) {
        self.structured(&added(id, client)).await;
    }
}

pub fn added(id: &str, client: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/space", "type": "client.added",
        "subject": format!("acme/{client}"), "time": "2026-01-01T12:00:00Z",
        "data": {"name": format!("Client {client}")},
    })
}

/// The body of a heartbeat without a partition key, signed with the store's key.
pub async fn heartbeat(tenure: &Tenure, at: &str) -> Vec<u8> {
    let key = tenure.engine.store().heartbeat_key().await.expect("a key");
    let signature = hex(&Sha256::digest(format!("{key}\n{at}\n\n{key}")));
    format!("{at} {signature}").into_bytes()
}

pub fn table(pairs: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

/// A subscriber with its own queue of changes.
pub struct Subscriber {
    url: String,
}

impl Subscriber {
    pub async fn at(url: &str) -> Self {
        Self::with_queue(url, FieldTable::default()).await
    }

    pub async fn with_queue(url: &str, arguments: FieldTable) -> Self {
        let upstream = Upstream::at(url).await;
        let channel = &upstream.channel;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .exchange_declare(
                "tenure.changes".into(),
                ExchangeKind::Topic,
                durable,
                FieldTable::default(),
            )
            .await
            .expect("the exchange");
        channel
            .queue_declare("subscriber".into(), QueueDeclareOptions::durable(), arguments)
            .await
            .expect("a queue");
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(
                "subscriber".into(),
                "tenure.changes".into(),
                "#".into(),
                options,
                arguments,
            )
            .await
            .expect("a binding");
        Self { url: url.into() }
    }

    /// Receives changes in order, up to and including the first one that satisfies the condition.
    pub async fn receive_until(&self, last: impl Fn(&Value) -> bool) -> Vec<(BasicProperties, Value)> {
        let upstream = Upstream::at(&self.url).await;
        let mut consumer = upstream.consume("subscriber").await;
        let mut received = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            let delivery = next
                .unwrap_or_else(|_| {
                    panic!(
                        "the last change did not arrive; received {} others",
                        received.len()
                    )
                })
                .expect("a delivery")
                .expect("no error");
            delivery
                .ack(BasicAckOptions::default())
                .await
                .expect("acknowledged");
            let change: Value = serde_json::from_slice(&delivery.data).expect("JSON");
            let done = last(&change);
            received.push((delivery.properties.clone(), change));
            if done {
                return received;
            }
        }
    }
}
