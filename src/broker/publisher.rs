//! Publishing with confirms: a message counts as published once RabbitMQ confirms it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};

use super::address::{self, Address};
use super::error::BrokerError;
use super::link::{self, Link, open_channel};
use super::{metrics, topology};
use crate::backoff::Backoff;
use crate::config;
use crate::domain::Event;
use crate::store::Recorded;
use crate::wire::{self, SchemaUris, TRACEPARENT, TRACESTATE, TraceContext};

/// Messages that may wait for their confirms.
const WINDOW: usize = 500;
/// How long a publisher retries: to connect, to reconnect, and to publish a message that RabbitMQ rejects. In a cluster
/// that has lost a node, queues reject messages until they elect a new leader.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// How often the relay publishes a rejected change before it reconnects.
pub(super) const ATTEMPTS: u32 = 6;
/// Delivery mode 2: RabbitMQ writes the message to disk before it confirms.
pub(super) const PERSISTENT: u8 = 2;

/// The header of a change that `tenure replay` published.
pub const REPLAYED_HEADER: &str = "tenure-replayed";

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Outgoing {
    exchange: &'static str,
    routing_key: ShortString,
    /// Whether it must reach a queue: an unroutable event is lost, an unroutable change has no subscribers.
    mandatory: bool,
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Outgoing {
    /// An event in its encoded form.
    #[must_use]
    pub fn event(event: &Event, body: Vec<u8>) -> Self {
        let subject = event.key.to_string();
        Self {
            exchange: topology::EVENTS,
            routing_key: event.kind.type_name().into(),
            mandatory: true,
            properties: properties(&event.id, Some(&subject)),
            body,
        }
    }

    /// Bytes that may not be a valid event.
    #[must_use]
    pub fn bytes(body: Vec<u8>) -> Self {
        Self {
            exchange: topology::EVENTS,
            routing_key: "unchecked".into(),
            mandatory: true,
            properties: properties("", None),
            body,
        }
    }

    /// A journal line, published in an epoch, and the trace that it belongs to.
    #[must_use]
    pub fn change(epoch: i64, line: &Recorded, schemas: &SchemaUris, trace: Option<&TraceContext>) -> Self {
        let subject = line.entry.key.to_string();
        let mut properties = properties(&wire::change_id(epoch, line), Some(&subject));
        if let Some(trace) = trace {
            properties = traced(properties, trace);
        }
        let happened = u64::try_from(line.entry.time.timestamp()).ok();
        Self {
            exchange: topology::CHANGES,
            routing_key: line.entry.change.kind().as_str().into(),
            mandatory: false,
            properties: match happened {
                Some(seconds) => properties.with_timestamp(seconds),
                None => properties,
            },
            body: wire::traced_change(epoch, line, schemas, trace),
        }
    }

    /// The same message to one queue only, marked as replayed. It is an error if there is no such queue.
    #[must_use]
    pub fn replayed_to(mut self, queue: &str) -> Self {
        self.exchange = "";
        self.routing_key = queue.into();
        self.mandatory = true;
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert(REPLAYED_HEADER.into(), AMQPValue::Boolean(true));
        self.properties = self.properties.with_headers(headers);
        self
    }

    /// Sends it to RabbitMQ. The returned confirm resolves when RabbitMQ responds ([`is_confirmed`]).
    pub(super) async fn hand_over(&self, channel: &Channel) -> Result<PublisherConfirm, BrokerError> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            immediate: false,
        };
        let (exchange, key) = (self.exchange.into(), self.routing_key.clone());
        channel
            .basic_publish(exchange, key, options, &self.body, self.properties.clone())
            .await
            .map_err(|error| topology::advise(&error, self.exchange))
    }
}

/// Opens a channel with publisher confirms.
pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = open_channel(connection).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Waits for RabbitMQ's response to a message. Returns false for a nack.
pub(super) async fn is_confirmed(
    confirm: PublisherConfirm,
    exchange: &'static str,
) -> Result<bool, BrokerError> {
    let confirmation = confirm
        .await
        .map_err(|error| topology::advise(&error, exchange))?;
    match confirmation {
        Confirmation::Nack(_) => {
            ::metrics::counter!(metrics::NACKED, "exchange" => exchange).increment(1);
            Ok(false)
        }
        Confirmation::Ack(Some(returned)) => Err(BrokerError::Unroutable {
            exchange: exchange.to_owned(),
            routing_key: returned.routing_key.to_string(),
            hint: "start `tenure run` once with broker.declare = true, or import \
                   config/rabbitmq/definitions.json",
        }),
        Confirmation::Ack(None) | Confirmation::NotRequested => {
            ::metrics::counter!(metrics::CONFIRMED, "exchange" => exchange).increment(1);
            Ok(true)
        }
    }
}

/// The error after RabbitMQ has rejected messages for too long.
pub(super) fn rejects_all() -> BrokerError {
    BrokerError::Refused("it currently rejects messages: a bound queue is full or unavailable".into())
}

fn properties(id: &str, subject: Option<&str>) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_type(wire::STRUCTURED.into())
        .with_delivery_mode(PERSISTENT)
        .with_app_id("tenure".into());
    // AMQP allows 255 bytes. This copy is for people only; the body contains the event's id.
    if let (Ok(id), false) = (ShortString::try_new(id), id.is_empty()) {
        properties = properties.with_message_id(id);
    }
    if let Some(subject) = subject {
        let mut headers = FieldTable::default();
        headers.insert(
            topology::HASHED_HEADER.into(),
            AMQPValue::LongString(subject.into()),
        );
        properties = properties.with_headers(headers);
    }
    properties
}

/// Adds the headers by which libraries for tracing pass on a trace.
fn traced(properties: BasicProperties, trace: &TraceContext) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    let mut add = |name: &str, value: String| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    add(TRACEPARENT, trace.traceparent());
    if !trace.state.is_empty() {
        add(TRACESTATE, trace.state.clone());
    }
    properties.with_headers(headers)
}

/// Publishes in order, with many messages in flight. After a nack, that message and all later messages are published
/// again, so the last copies are in order: subscribers may receive duplicates, but never in an order that stays wrong.
pub struct Publisher {
    channel: Channel,
    /// Present if the publisher owns its connection.
    home: Option<Home>,
    flight: VecDeque<(Outgoing, PublisherConfirm)>,
    confirmed: u64,
}

/// The publisher's own connection, and how to replace it when it is lost.
struct Home {
    connection: Link,
    address: Address,
    /// How many lanes to declare. None: nothing is declared.
    lanes: Option<u16>,
}

impl Home {
    async fn connect(address: &Address, lanes: Option<u16>) -> Result<Link, BrokerError> {
        let connection = address.connect("tenure publish", None).await?;
        if let Some(lanes) = lanes {
            topology::declare(&connection, lanes).await?;
        }
        Ok(connection)
    }
}

impl Publisher {
    /// Opens its own connection. Declares the topology first, if the settings allow it, because unroutable events would
    /// be lost. When the connection is lost, the publisher connects to any available host of the URL and publishes the
    /// unconfirmed messages again.
    pub async fn connect(url: &str, settings: &config::BrokerSettings) -> Result<Self, BrokerError> {
        let address = Address::parse(url, &settings.tls)?;
        let lanes = settings.declare.then_some(settings.lanes);
        let connection = Home::connect(&address, lanes).await?;
        let mut publisher = Self::on(&connection).await?;
        publisher.home = Some(Home {
            connection,
            address,
            lanes,
        });
        Ok(publisher)
    }

    /// Publishes on a borrowed connection.
    pub async fn on(connection: &Connection) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: confirming_channel(connection).await?,
            home: None,
            flight: VecDeque::with_capacity(WINDOW),
            confirmed: 0,
        })
    }

    /// Publishes an encoded event.
    pub async fn publish_event(&mut self, event: &Event, body: Vec<u8>) -> Result<(), BrokerError> {
        self.publish(Outgoing::event(event, body)).await
    }

    /// Publishes bytes that may not be a valid event to the events exchange.
    pub async fn publish_bytes(&mut self, body: Vec<u8>) -> Result<(), BrokerError> {
        self.publish(Outgoing::bytes(body)).await
    }

    /// Sends a message; returns once the number of unconfirmed messages is within bounds.
    pub async fn publish(&mut self, message: Outgoing) -> Result<(), BrokerError> {
        while self.flight.len() >= WINDOW {
            self.confirm().await?;
        }
        let Err(error) = self.send(message.clone()).await else {
            return Ok(());
        };
        let mut messages = self.under_way();
        messages.push(message);
        self.recover(error, messages).await
    }

    /// How many messages RabbitMQ has confirmed, counted from the first without a gap.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Waits until all are confirmed.
    pub async fn flush(&mut self) -> Result<(), BrokerError> {
        while !self.flight.is_empty() {
            self.confirm().await?;
        }
        Ok(())
    }

    /// Waits until all are confirmed, closes the publisher's own connection, and returns how many were published.
    pub async fn finish(mut self) -> Result<u64, BrokerError> {
        self.flush().await?;
        let _ = self.channel.close(200, "OK".into()).await;
        if let Some(home) = &self.home {
            address::close(&home.connection).await;
        }
        Ok(self.confirmed)
    }

    async fn send(&mut self, message: Outgoing) -> Result<(), BrokerError> {
        let confirm = message.hand_over(&self.channel).await?;
        self.flight.push_back((message, confirm));
        Ok(())
    }

    /// Processes the oldest message up to its confirm.
    async fn confirm(&mut self) -> Result<(), BrokerError> {
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        while let Some((message, confirm)) = self.flight.pop_front() {
            let confirmed = tokio::select! {
                confirmed = is_confirmed(confirm, message.exchange) => confirmed,
                // lapin may never respond on a lost connection.
                () = self.lost() => Err(BrokerError::Unreachable("the connection is gone".into())),
            };
            match confirmed {
                Ok(true) => {
                    self.confirmed += 1;
                    return Ok(());
                }
                Ok(false) if began.elapsed() > GIVE_UP_AFTER => return Err(rejects_all()),
                Ok(false) => {
                    tokio::time::sleep(backoff.pause()).await;
                    self.again(message).await?;
                }
                Err(error) => {
                    let messages = [message].into_iter().chain(self.under_way()).collect();
                    self.recover(error, messages).await?;
                }
            }
        }
        Ok(())
    }

    /// Publishes a message and all later messages again. The first round is out of order if one of them was rejected;
    /// the last round is in order.
    async fn again(&mut self, first: Outgoing) -> Result<(), BrokerError> {
        // Confirmed, or lost with the connection: they are published again either way.
        tokio::select! {
            _ = self.channel.wait_for_confirms() => {}
            () = self.lost() => {}
        }
        let messages: Vec<Outgoing> = [first].into_iter().chain(self.under_way()).collect();
        let sent = async {
            self.change_channel().await?;
            self.send_all(&messages).await
        };
        match sent.await {
            Err(error) => self.recover(error, messages).await,
            Ok(()) => Ok(()),
        }
    }

    /// A channel that saw a quorum queue reject messages because its leader was lost may never see the new leader
    /// (RabbitMQ 3.10).
    async fn change_channel(&mut self) -> Result<(), BrokerError> {
        if let Some(home) = &self.home {
            let before = std::mem::replace(&mut self.channel, confirming_channel(&home.connection).await?);
            let _ = before.close(200, "OK".into()).await;
        }
        Ok(())
    }

    /// Returns when the publisher's own connection is lost.
    async fn lost(&self) {
        match &self.home {
            Some(home) => link::ended(&home.connection).await,
            None => std::future::pending().await,
        }
    }

    /// Removes and returns the unconfirmed messages.
    fn under_way(&mut self) -> Vec<Outgoing> {
        self.flight.drain(..).map(|(message, _)| message).collect()
    }

    /// Reconnects after a lost connection, and publishes all unconfirmed messages again.
    async fn recover(&mut self, error: BrokerError, messages: Vec<Outgoing>) -> Result<(), BrokerError> {
        if self.home.is_none() || !matches!(error, BrokerError::Unreachable(_)) {
            return Err(error);
        }
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            match self.resume(&messages).await {
                Err(BrokerError::Unreachable(_)) if began.elapsed() < GIVE_UP_AFTER => {
                    tokio::time::sleep(backoff.pause()).await;
                }
                done => return done,
            }
        }
    }

    async fn resume(&mut self, messages: &[Outgoing]) -> Result<(), BrokerError> {
        if let Some(home) = &mut self.home {
            home.connection = Home::connect(&home.address, home.lanes).await?;
            self.channel = confirming_channel(&home.connection).await?;
        }
        self.flight.clear();
        self.send_all(messages).await
    }

    async fn send_all(&mut self, messages: &[Outgoing]) -> Result<(), BrokerError> {
        for message in messages {
            self.send(message.clone()).await?;
        }
        Ok(())
    }
}
