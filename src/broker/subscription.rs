//! A subscriber's queue: declared before the subscriber first starts, so that it misses nothing.

use lapin::options::QueueBindOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind};

use super::address::{self, Address};
use super::error::BrokerError;
use super::link::{Link, open_channel};
use super::topology::{
    CHANGES, DELIVERY_LIMIT, arguments, dead_arguments, declare_changes, declare_queue, depth, text,
};
use crate::config::BrokerSettings;

/// The queue of the messages that RabbitMQ dead-letters from a subscriber's queue.
#[must_use]
pub fn dead_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Declares a quorum queue with dead-lettering, and binds it to the changes with each of these routing keys. Changes nothing if
/// the queue is there already.
///
/// # Errors
/// The queue exists with other arguments, or RabbitMQ cannot be used.
pub async fn declare(settings: &BrokerSettings, queue: &str, keys: &[String]) -> Result<(), BrokerError> {
    let connection = connect(settings).await?;
    let channel = open_channel(&connection).await?;
    if settings.declare {
        declare_changes(&channel).await?;
    }
    let dead = dead_queue(queue);
    for (name, arguments) in [(&*dead, dead_arguments()), (queue, queue_arguments(&dead))] {
        declare_queue(&channel, name, arguments)
            .await
            .map_err(|error| exists_otherwise(error, name))?;
    }
    for key in keys {
        bind(&channel, queue, key).await?;
    }
    let _ = channel.close(200, "OK".into()).await;
    address::close(&connection).await;
    Ok(())
}

/// How many messages wait in a queue.
///
/// # Errors
/// There is no such queue, or RabbitMQ cannot be used.
pub async fn messages(settings: &BrokerSettings, queue: &str) -> Result<u32, BrokerError> {
    let connection = connect(settings).await?;
    let depth = depth(&connection, queue).await;
    address::close(&connection).await;
    Ok(depth?.0)
}

async fn connect(settings: &BrokerSettings) -> Result<Link, BrokerError> {
    let url = settings.url.as_ref().ok_or_else(|| {
        BrokerError::Settings("broker.url is empty; set AMQP_URL to the URL of RabbitMQ".into())
    })?;
    Address::parse(url.reveal(), &settings.tls)?
        .connect("tenure subscribe", None)
        .await
}

async fn bind(channel: &Channel, queue: &str, key: &str) -> Result<(), BrokerError> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(queue.into(), CHANGES.into(), key.into(), options, arguments);
    bound.await.map_err(|error| {
        let is_missing = matches!(error.kind(), ErrorKind::ProtocolError(protocol) if protocol.get_id() == 404);
        if is_missing {
            BrokerError::Refused(format!(
                "{CHANGES} does not exist; start `tenure run` once, or import config/rabbitmq/definitions.json"
            ))
        } else {
            error.into()
        }
    })
}

fn queue_arguments(dead: &str) -> FieldTable {
    arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(dead)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // At-least-once requires this.
        ("x-overflow", text("reject-publish")),
    ])
}

fn exists_otherwise(error: BrokerError, queue: &str) -> BrokerError {
    match error {
        BrokerError::Refused(why) if why.contains("inequivalent arg") => {
            let text = why.split(": it exists").next().unwrap_or(&why);
            BrokerError::Refused(format!(
                "{text}: the queue exists with other arguments; name another queue, or delete {queue} when it is empty"
            ))
        }
        other => other,
    }
}
