//! Records in RabbitMQ which change was published last: the queue `tenure.published` holds a single message with it.
//!
//! The store has the same record. A restore of the store from a backup rolls that record back but not this one, which
//! reveals that the store would assign the same numbers again.

use std::time::Duration;

use chrono::DateTime;
use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};
use serde::{Deserialize, Serialize};

use super::error::BrokerError;
use super::link::open_channel;
use super::publisher::PERSISTENT;
use super::topology;
use crate::store::{Cursor, Published};

#[derive(Serialize, Deserialize)]
struct Message {
    epoch: i64,
    transaction: i64,
    sequence: i64,
    /// Microseconds since 1970.
    recorded_at: i64,
}

/// The pause before an empty queue is read. RabbitMQ 3.10 closes the connection with `INTERNAL_ERROR` when a quorum queue is
/// read moments after its declaration.
const NEW_QUEUE: Duration = Duration::from_millis(500);

pub(super) struct PublishedRecord {
    /// None: the queue does not exist, and nothing is recorded.
    channel: Option<Channel>,
}

impl PublishedRecord {
    /// Opens the record. Declares the queue if Tenure may declare it.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        let channel = open_channel(connection).await?;
        let passive = QueueDeclareOptions::default().passive();
        let found = channel.queue_declare(topology::PUBLISHED.into(), passive, FieldTable::default());
        match found.await {
            Ok(queue) => {
                if queue.message_count() == 0 {
                    tokio::time::sleep(NEW_QUEUE).await;
                }
                Ok(Self {
                    channel: Some(channel),
                })
            }
            Err(error) if error.is_amqp_soft_error() => {
                tracing::warn!(
                    why = %topology::advise(&error, topology::PUBLISHED),
                    "RabbitMQ does not record which change was published last: after a backup of the store is restored, run \
                     `tenure restored`"
                );
                Ok(Self { channel: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The change that any worker published last.
    pub async fn read(&self) -> Result<Option<Published>, BrokerError> {
        let Some(channel) = &self.channel else {
            return Ok(None);
        };
        let got = channel
            .basic_get(topology::PUBLISHED.into(), BasicGetOptions::default())
            .await?;
        let Some(message) = got else {
            return Ok(None);
        };
        let published = decode(&message.data);
        if published.is_none() {
            tracing::warn!(
                broker.queue = topology::PUBLISHED,
                "the record of the last published change cannot be read; the next published change replaces it"
            );
        }
        let back = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        message.acker.nack(back).await?;
        Ok(published)
    }

    /// Records a change that RabbitMQ has confirmed. Nothing waits for a confirm of the record: the next record
    /// supersedes it.
    pub async fn write(&self, published: &Published) -> Result<(), BrokerError> {
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        let message = Message {
            epoch: published.epoch,
            transaction: published.cursor.transaction,
            sequence: published.cursor.sequence,
            recorded_at: published.recorded_at.timestamp_micros(),
        };
        let body = serde_json::to_vec(&message).unwrap_or_default();
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("tenure".into());
        // The default exchange routes by queue name.
        let (key, options) = (topology::PUBLISHED.into(), BasicPublishOptions::default());
        channel
            .basic_publish("".into(), key, options, &body, properties)
            .await?;
        Ok(())
    }
}

fn decode(body: &[u8]) -> Option<Published> {
    let message: Message = serde_json::from_slice(body).ok()?;
    Some(Published {
        epoch: message.epoch,
        cursor: Cursor {
            transaction: message.transaction,
            sequence: message.sequence,
        },
        recorded_at: DateTime::from_timestamp_micros(message.recorded_at)?,
    })
}
