//! The publisher of the chaos test: seeded messages in disorder, with confirms, across restarts of the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tenure::clock::{Clock as _, SystemClock};
use tenure::demo::{Arriving, Shape, World};
use tenure::domain::Event;
use tenure::wire;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long to wait for a response of the broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most messages without a confirm.
const WINDOW: usize = 100;

#[derive(Clone, Debug)]
pub struct Message {
    pub body: Vec<u8>,
    /// `None` if it is not a valid event.
    pub event: Option<Event>,
}

/// The past year. The messages are late, doubled and broken as in `World`; some are then doubled again and stretches
/// shuffled.
pub fn messages(seed: u64, clients: usize) -> Vec<Message> {
    let shape = Shape {
        seed,
        clients,
        start: Event::truncate(SystemClock.now() - TimeDelta::days(366)),
        ..Shape::default()
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut messages = Vec::new();
    for delivery in World::new(&shape).deliveries {
        let message = match delivery.what {
            Arriving::Event(event) => Message {
                body: wire::event(&event),
                event: Some(event),
            },
            Arriving::Broken(body) => Message { body, event: None },
        };
        if rng.random_bool(0.05) {
            messages.push(message.clone());
        }
        messages.push(message);
    }
    for chunk in messages.chunks_mut(200) {
        if rng.random_bool(0.3) {
            chunk.shuffle(&mut rng);
        }
    }
    messages
}

/// A running publisher.
pub struct Flow {
    released: watch::Sender<usize>,
    confirmed: Arc<AtomicUsize>,
    republished: Arc<AtomicUsize>,
    total: usize,
    _runtime: Runtime,
}

impl Flow {
    pub fn start(url: String, messages: Vec<Message>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (released, allowed) = watch::channel(0);
        let (confirmed, republished) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let total = messages.len();
        let upstream = Upstream {
            url,
            messages,
            allowed,
            confirmed: confirmed.clone(),
            republished: republished.clone(),
        };
        runtime.spawn(upstream.run());
        Self {
            released,
            confirmed,
            republished,
            total,
            _runtime: runtime,
        }
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// Allows the first `upto` messages to be published.
    pub fn release(&self, upto: usize) {
        self.released.send_replace(upto);
    }

    pub fn confirmed(&self) -> usize {
        self.confirmed.load(Ordering::SeqCst)
    }

    /// The number of messages that were published again because the broker went down before it confirmed them.
    pub fn republished(&self) -> usize {
        self.republished.load(Ordering::SeqCst)
    }
}

struct Upstream {
    url: String,
    messages: Vec<Message>,
    allowed: watch::Receiver<usize>,
    confirmed: Arc<AtomicUsize>,
    republished: Arc<AtomicUsize>,
}

impl Upstream {
    /// Publishes the unconfirmed messages of a connection again on the next one.
    async fn run(mut self) {
        while self.confirmed.load(Ordering::SeqCst) < self.messages.len() {
            if self.session().await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    async fn session(&mut self) -> Result<(), lapin::Error> {
        let connecting = Connection::connect(&self.url, ConnectionProperties::default());
        // A broker that is killed at this moment may neither answer nor close the connection.
        let Ok(connection) = timeout(PATIENCE, connecting).await else {
            return Ok(());
        };
        let connection = connection?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut flight = VecDeque::new();
        let mut next = self.confirmed.load(Ordering::SeqCst);
        loop {
            let allowed = (*self.allowed.borrow_and_update()).min(self.messages.len());
            while next < allowed && flight.len() < WINDOW {
                flight.push_back(publish(&channel, &self.messages[next]).await?);
                next += 1;
            }
            let Some(confirm) = flight.pop_front() else {
                if next == self.messages.len() {
                    return Ok(());
                }
                if self.allowed.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            };
            match timeout(PATIENCE, confirm).await {
                Ok(Ok(Confirmation::Ack(None))) => {
                    self.confirmed.fetch_add(1, Ordering::SeqCst);
                }
                // Rejected, unanswered or unroutable: publish all messages from here on again.
                other => {
                    self.republished.fetch_add(flight.len() + 1, Ordering::SeqCst);
                    return other.unwrap_or(Ok(Confirmation::NotRequested)).map(drop);
                }
            }
        }
    }
}

async fn publish(channel: &Channel, message: &Message) -> Result<lapin::PublisherConfirm, lapin::Error> {
    let (mut key, mut headers) = ("unchecked", FieldTable::default());
    let subject = message.event.as_ref().map(|event| event.key.to_string());
    if let (Some(event), Some(subject)) = (&message.event, subject) {
        key = event.kind.type_name();
        headers.insert("partitionkey".into(), AMQPValue::LongString(subject.into()));
    }
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_headers(headers);
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    channel
        .basic_publish(
            "tenure.events".into(),
            key.into(),
            mandatory,
            &message.body,
            properties,
        )
        .await
}
