//! The exchanges, queues and bindings that Tenure needs. `config/rabbitmq/definitions.json` defines the same for one
//! lane, and a test compares the two.

use std::collections::BTreeMap;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::error::BrokerError;
use super::link::open_channel;

/// Upstream apps publish their events here; the routing key is the event's type.
pub const EVENTS: &str = "tenure.events";
/// Subscribers bind their queues here; the routing key is the change's type.
pub const CHANGES: &str = "tenure.changes";
/// Spreads events over lanes, when there are several.
pub const LANES: &str = "tenure.events.lanes";
/// Holds a single message: the change published last.
pub const PUBLISHED: &str = "tenure.published";
/// Messages that RabbitMQ has dead-lettered.
pub const DEAD: &str = "tenure.dead";

/// The header whose hash spreads events: the client of the event. Messages without it are ingested too, all by the same
/// lane.
pub const HASHED_HEADER: &str = "partitionkey";

/// How often a lane's message is delivered before RabbitMQ dead-letters it: a message that crashes a worker must not do
/// so forever.
pub(super) const DELIVERY_LIMIT: i64 = 20;

/// By default, RabbitMQ 4 dead-letters messages of any quorum queue after 20 deliveries; `tenure.dead` has no
/// dead-letter exchange, so RabbitMQ would drop its messages.
const NO_LIMIT: i64 = 1_000_000_000;

/// The queue of a lane, counted from 0.
#[must_use]
pub fn lane(number: u16) -> String {
    format!("{EVENTS}.{number}")
}

/// Declares everything, and returns the lanes to consume: the configured lanes, and those left over from a larger
/// number of lanes. The leftover lanes receive no new messages and are drained.
pub(super) async fn declare(connection: &Connection, lanes: u16) -> Result<Vec<String>, BrokerError> {
    let channel = open_channel(connection).await?;
    declare_exchange(&channel, EVENTS, ExchangeKind::Topic, FieldTable::default()).await?;
    declare_changes(&channel).await?;
    declare_queue(&channel, DEAD, dead_arguments()).await?;
    let mut queues: Vec<String> = (0..lanes).map(lane).collect();
    for queue in &queues {
        declare_queue(&channel, queue, lane_arguments()).await?;
    }
    // Bind the new objects before unbinding the old ones: an event may arrive twice meanwhile, which is harmless, but
    // none is lost.
    if lanes == 1 {
        bind_straight(&channel, &queues[0]).await?;
        let deleted = channel.exchange_delete(LANES.into(), ExchangeDeleteOptions::default());
        deleted.await.map_err(|error| advise(&error, LANES))?;
    } else {
        bind_lanes(&channel, &queues).await?;
        let unbound = channel.queue_unbind(lane(0).into(), EVENTS.into(), "#".into(), FieldTable::default());
        unbound.await.map_err(|error| advise(&error, &queues[0]))?;
    }
    let _ = channel.close(200, "OK".into()).await;
    queues.extend(left_over(connection, lanes).await?);
    Ok(queues)
}

/// Declares the queue of dead messages.
pub(super) async fn declare_dead(connection: &Connection) -> Result<(), BrokerError> {
    let channel = open_channel(connection).await?;
    declare_queue(&channel, DEAD, dead_arguments()).await?;
    let _ = channel.close(200, "OK".into()).await;
    Ok(())
}

/// Declares the topology of the relay.
pub(super) async fn declare_changes(channel: &Channel) -> Result<(), BrokerError> {
    declare_exchange(channel, CHANGES, ExchangeKind::Topic, FieldTable::default()).await?;
    declare_queue(channel, PUBLISHED, published_arguments()).await
}

/// How many messages wait in a queue, and how many consumers it has.
pub(super) async fn depth(connection: &Connection, queue: &str) -> Result<(u32, u32), BrokerError> {
    // A passive declare of a missing queue closes the channel.
    let channel = open_channel(connection).await?;
    let passive = QueueDeclareOptions::default().passive();
    let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let answer = asked.await.map_err(|error| advise(&error, queue))?;
    let _ = channel.close(200, "OK".into()).await;
    Ok((answer.message_count(), answer.consumer_count()))
}

/// How many messages wait in each of these queues.
pub(super) async fn depths<'q>(
    connection: &Connection,
    queues: impl Iterator<Item = &'q str>,
) -> Result<BTreeMap<String, u32>, BrokerError> {
    let channel = open_channel(connection).await?;
    let passive = QueueDeclareOptions::default().passive();
    let mut depths = BTreeMap::new();
    for queue in queues {
        let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        let answer = asked.await.map_err(|error| advise(&error, queue))?;
        depths.insert(queue.to_owned(), answer.message_count());
    }
    let _ = channel.close(200, "OK".into()).await;
    Ok(depths)
}

/// What an error about an exchange or a queue means, and how to fix it.
pub(super) fn advise(error: &lapin::Error, name: &str) -> BrokerError {
    let ErrorKind::ProtocolError(protocol) = error.kind() else {
        return error.clone().into();
    };
    let text = protocol.get_message().as_str();
    let advice = match protocol.get_id() {
        403 => {
            "give Tenure's user permission for it; or, to let Tenure declare nothing, import \
                config/rabbitmq/definitions.json and set broker.declare = false"
        }
        404 => "import config/rabbitmq/definitions.json, or let Tenure declare it with broker.declare = true",
        _ if text.contains("exchange type") => {
            "several lanes need the consistent hash exchange: run `rabbitmq-plugins enable \
             rabbitmq_consistent_hash_exchange`, or set broker.lanes = 1"
        }
        406 => {
            "it exists with other settings: wait until it is empty and delete it, and Tenure declares it again; or \
                keep it with broker.declare = false"
        }
        _ => return error.clone().into(),
    };
    BrokerError::Refused(format!("{name}: {text}: {advice}"))
}

async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(name.into(), kind, options, arguments)
        .await
        .map_err(|error| advise(&error, name))
}

pub(super) async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .map(drop)
        .map_err(|error| advise(&error, name))
}

async fn bind_straight(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.into(), EVENTS.into(), "#".into(), options, arguments)
        .await
        .map_err(|error| advise(&error, queue))
}

async fn bind_lanes(channel: &Channel, queues: &[String]) -> Result<(), BrokerError> {
    let kind = ExchangeKind::Custom("x-consistent-hash".into());
    let hashed = arguments(&[("hash-header", text(HASHED_HEADER))]);
    declare_exchange(channel, LANES, kind, hashed).await?;
    for queue in queues {
        // The routing key is a weight here: every lane gets the same share.
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(
                queue.as_str().into(),
                LANES.into(),
                "1".into(),
                options,
                arguments,
            )
            .await
            .map_err(|error| advise(&error, queue))?;
    }
    let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
    channel
        .exchange_bind(LANES.into(), EVENTS.into(), "#".into(), options, arguments)
        .await
        .map_err(|error| advise(&error, LANES))
}

/// Lanes above the configured number, from a time with more lanes. They are unbound, so that they drain.
async fn left_over(connection: &Connection, lanes: u16) -> Result<Vec<String>, BrokerError> {
    let mut found = Vec::new();
    for queue in (lanes..).map(lane) {
        // A passive declare of a missing queue closes the channel.
        let channel = open_channel(connection).await?;
        let passive = QueueDeclareOptions::default().passive();
        match channel
            .queue_declare(queue.as_str().into(), passive, FieldTable::default())
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_amqp_soft_error() => break,
            Err(error) => return Err(error.into()),
        }
        if lanes > 1 {
            let unbound = channel.queue_unbind(
                queue.as_str().into(),
                LANES.into(),
                "1".into(),
                FieldTable::default(),
            );
            unbound.await.map_err(|error| advise(&error, &queue))?;
        }
        let _ = channel.close(200, "OK".into()).await;
        found.push(queue);
    }
    Ok(found)
}

pub(super) fn dead_arguments() -> FieldTable {
    arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(NO_LIMIT)),
    ])
}

fn published_arguments() -> FieldTable {
    arguments(&[
        ("x-queue-type", text("quorum")),
        // A newer message replaces the previous one.
        ("x-max-length", AMQPValue::LongLongInt(1)),
        // Each starting relay reads the message and returns it.
        ("x-delivery-limit", AMQPValue::LongLongInt(NO_LIMIT)),
    ])
}

fn lane_arguments() -> FieldTable {
    arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(DEAD)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // At-least-once delivery requires this: a full lane rejects publishes and drops nothing.
        ("x-overflow", text("reject-publish")),
    ])
}

pub(super) fn arguments(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(super) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    fn advice(kind: AMQPErrorKind, text: &str) -> String {
        let error = ErrorKind::ProtocolError(AMQPError::new(kind, text.into()));
        advise(&error.into(), "tenure.events.0").to_string()
    }

    #[test]
    fn refusals_say_what_to_do() {
        let soft = AMQPErrorKind::Soft;
        for (kind, text, expected) in [
            (
                soft(AMQPSoftError::ACCESSREFUSED),
                "configure access refused",
                "give Tenure's user permission",
            ),
            (soft(AMQPSoftError::NOTFOUND), "no queue", "broker.declare = true"),
            (
                soft(AMQPSoftError::PRECONDITIONFAILED),
                "inequivalent arg",
                "wait until it is empty and delete it",
            ),
            // RabbitMQ 3 and RabbitMQ 4.
            (
                AMQPErrorKind::Hard(AMQPHardError::COMMANDINVALID),
                "unknown exchange type 'x-consistent-hash'",
                "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange",
            ),
            (
                soft(AMQPSoftError::PRECONDITIONFAILED),
                "invalid exchange type 'x-consistent-hash'",
                "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange",
            ),
        ] {
            let error = advice(kind, text);
            assert!(
                error.contains("tenure.events.0") && error.contains(text) && error.contains(expected),
                "{error}"
            );
        }
    }
}
