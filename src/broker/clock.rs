//! Reads the clock of the RabbitMQ node. AMQP has no operation for it, but RabbitMQ dead-letters an expired message
//! with its expiry time in whole seconds: a message that expires immediately and returns reveals the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};

use super::Context;
use crate::engine::{ClockWatch, Reference};

/// How often the clock is read.
pub(super) const EVERY: Duration = Duration::from_mins(1);
/// Timeout of a reading. A slower response would be too imprecise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the clock is readable on a connection: false once RabbitMQ has refused access.
pub(super) struct BrokerClock {
    is_readable: bool,
    read: Option<std::time::Instant>,
}

impl BrokerClock {
    pub fn of(context: &Context) -> Self {
        Self {
            // A reading declares two temporary queues.
            is_readable: context.settings.declare,
            read: None,
        }
    }

    /// Compares the local clock with the node's, unless a recent comparison exists.
    pub async fn compare(&mut self, context: &Context, connection: &Connection) {
        let is_recent = self.read.is_some_and(|read| read.elapsed() < EVERY);
        if !self.is_readable || is_recent {
            return;
        }
        self.read = Some(std::time::Instant::now());
        let read = tokio::time::timeout(PATIENCE, read(connection, context.engine.clock())).await;
        match read {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::debug!("RabbitMQ does not say when a message expired: its clock cannot be read");
                self.is_readable = false;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "RabbitMQ's clock cannot be read");
                self.is_readable = false;
            }
            Err(_) => tracing::debug!("RabbitMQ's clock cannot be read in time"),
        }
    }
}

/// Returns false if the response lacks the time.
async fn read(connection: &Connection, clock: &ClockWatch) -> Result<bool, lapin::Error> {
    let channel = connection.create_channel().await?;
    let done = ask(&channel, clock).await;
    // Closing the channel ends the consumer, which deletes the reply queue.
    let _ = channel.close(200, "OK".into()).await;
    done
}

async fn ask(channel: &Channel, clock: &ClockWatch) -> Result<bool, lapin::Error> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let answers = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?;
    let consume = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let mut consumer = channel
        .basic_consume(answers.name().clone(), "".into(), consume, FieldTable::default())
        .await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(0));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    let key = AMQPValue::LongString(answers.name().as_str().into());
    arguments.insert("x-dead-letter-routing-key".into(), key);
    let asks = channel.queue_declare("".into(), options, arguments).await?;
    let asked = clock.elapsed();
    let (publish, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    // No confirms on this channel: the reply is the confirmation.
    drop(
        channel
            .basic_publish("".into(), asks.name().clone(), publish, b"", properties)
            .await?,
    );
    let answer = consumer.next().await.transpose()?;
    let answered = clock.elapsed();
    channel
        .queue_delete(asks.name().clone(), QueueDeleteOptions::default())
        .await?;
    let Some(expired) = answer.as_ref().and_then(expired_at) else {
        return Ok(false);
    };
    // The time is truncated to whole seconds: the true time is half a second later, plus or minus half a second.
    let half = TimeDelta::milliseconds(500);
    clock.compare(Reference::Broker, expired + half, asked, answered, half);
    Ok(true)
}

/// When a message was dead-lettered.
fn expired_at(delivery: &Delivery) -> Option<DateTime<Utc>> {
    let headers = delivery.properties.headers().as_ref()?;
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else {
        return None;
    };
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
        return None;
    };
    let AMQPValue::Timestamp(seconds) = death.inner().get("time")? else {
        return None;
    };
    DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0)
}
