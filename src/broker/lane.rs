//! A lane: takes what its queue delivers, batch by batch, and acknowledges a batch when it is committed.
//!
//! Nothing is acknowledged before; whatever happens in between, RabbitMQ delivers it again. A batch that the
//! store cannot take now is held and tried again; prefetch bounds what is held. What the store will never take is
//! searched for by halves, and put aside alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio_util::sync::CancellationToken;

use super::address::CLOSE_WITHIN;
use super::backoff::Backoff;
use super::error::BrokerError;
use super::message::Source;
use super::outage::StoreWatch;
use super::{heartbeat, metrics, topology};
use crate::engine::{Engine, Incoming};
use crate::store::{StoreError, Watermark, body_digest};
use crate::wire::{Decoder, Limits};

/// How often a batch is tried before it is asked whether the store fails over it alone.
const PATIENCE: u32 = 4;
/// Bytes of a batch after which it waits for no more: whatever the messages are, a statement stays of a size that a
/// server takes.
const BATCH_BYTES: usize = 16 << 20;

/// Bytes that are kept of a message which the store takes in no other way.
const LAST_RESORT: usize = 64 << 10;

/// How a lane reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    /// Messages under way unacknowledged at most. lapin hands over whatever arrives, so this alone bounds memory.
    pub prefetch: u16,
    /// Messages of a batch at most.
    pub batch_max: usize,
    /// How long a message waits for others.
    pub batch_wait: Duration,
    pub limits: Limits,
}

pub(super) struct Lane {
    source: Source,
    channel: Channel,
    consumer: Consumer,
    /// The consumer has delivered its last.
    ended: bool,
    engine: Arc<Engine>,
    watch: StoreWatch,
    settings: LaneSettings,
    stop: CancellationToken,
}

impl Lane {
    pub async fn open(
        connection: &Connection,
        queue: &str,
        settings: LaneSettings,
        engine: Arc<Engine>,
        watch: StoreWatch,
        stop: CancellationToken,
    ) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(settings.prefetch, BasicQosOptions::default())
            .await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(queue.into(), "tenure".into(), options, arguments)
            .await
            .map_err(|error| topology::advise(&error, queue))?;
        Ok(Self {
            source: Source::of_queue(queue),
            channel,
            consumer,
            ended: false,
            engine,
            watch,
            settings,
            stop,
        })
    }

    /// Reads until told to stop; a batch in hand is seen through.
    ///
    /// The end is to close the channel. It arrives behind the last acknowledgement, and gives back what was not begun, to
    /// the head of the queue and in its order. Cancelling the consumer first would hand the queue to the next worker
    /// while this one is still at earlier messages.
    pub async fn run(mut self) -> Result<(), BrokerError> {
        while !self.ended {
            let Some(next) = self.stop.run_until_cancelled(self.consumer.next()).await else {
                let _ = tokio::time::timeout(CLOSE_WITHIN, self.channel.close(200, "OK".into())).await;
                return Ok(());
            };
            let Some(first) = next.transpose()? else { break };
            let began = Instant::now();
            let batch = self.gather(first).await?;
            self.count(&batch);
            self.settle(&batch).await?;
            ::metrics::histogram!(metrics::BATCH_SECONDS, "queue" => self.source.queue.clone())
                .record(began.elapsed());
        }
        let queue = &self.source.queue;
        Err(BrokerError::Refused(format!(
            "{queue} delivers no more: it was deleted, or its node went down"
        )))
    }

    /// The first message and those that are there, or come within a moment; when told to stop, no more.
    async fn gather(&mut self, first: Delivery) -> Result<Vec<Delivery>, BrokerError> {
        let end = tokio::time::Instant::now() + self.settings.batch_wait;
        let mut bytes = first.data.len();
        let mut batch = vec![first];
        while batch.len() < self.settings.batch_max && bytes < BATCH_BYTES {
            let next = tokio::time::timeout_at(end, self.consumer.next());
            match self.stop.run_until_cancelled(next).await {
                Some(Ok(Some(delivery))) => {
                    let delivery = delivery?;
                    bytes += delivery.data.len();
                    batch.push(delivery);
                }
                Some(Ok(None)) => {
                    self.ended = true;
                    break;
                }
                Some(Err(_)) | None => break,
            }
        }
        Ok(batch)
    }

    /// Sees a batch through to its acknowledgement, in order.
    async fn settle(&self, batch: &[Delivery]) -> Result<(), BrokerError> {
        let mut backoff = Backoff::default();
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let Err(refusal) = self.take(part.len(), || self.read(part)).await? else {
                self.acknowledge(part).await?;
                continue;
            };
            if part.len() > 1 {
                let (before, after) = part.split_at(part.len() / 2);
                parts.extend([after, before]);
            } else if !self.put_aside(part, &refusal).await? {
                if backoff.is_fresh() {
                    let queue = &self.source.queue;
                    tracing::error!(broker.queue = queue, why = %refusal, "the store refuses everything; waiting");
                }
                self.wait(&mut backoff).await?;
                parts.push(part);
            }
        }
        Ok(())
    }

    fn read(&self, part: &[Delivery]) -> (Vec<Incoming>, Option<Watermark>) {
        let now = self.engine.now();
        let decoder = Decoder::new(self.settings.limits, now);
        let (heartbeats, messages): (Vec<&Delivery>, Vec<&Delivery>) = part
            .iter()
            .partition(|delivery| heartbeat::is_heartbeat(delivery));
        let incoming = messages
            .into_iter()
            .map(|delivery| self.source.read(&decoder, delivery))
            .collect();
        let watermark = heartbeats
            .into_iter()
            .filter_map(|delivery| heartbeat::watermark(&self.source.queue, delivery, now))
            .max_by_key(|watermark| watermark.at);
        (incoming, watermark)
    }

    /// Has a batch taken, however long the store is away. The inner error is one that waiting does not help.
    /// What is to be taken is read anew for every attempt: the clock has gone on.
    ///
    /// A store that answers, and yet fails again and again over these messages, may fail over their number: more than
    /// one are given back to be halved.
    async fn take(
        &self,
        messages: usize,
        incoming: impl Fn() -> (Vec<Incoming>, Option<Watermark>),
    ) -> Result<Result<(), StoreError>, BrokerError> {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            let (incoming, watermark) = incoming();
            match self.engine.take_from_lane(incoming, watermark).await {
                Ok(_) => {
                    self.watch.answered();
                    return Ok(Ok(()));
                }
                Err(error) if error.is_transient() => {
                    self.watch.failed(&error);
                    failures += 1;
                    if failures >= PATIENCE && messages > 1 && self.engine.store().ping().await.is_ok() {
                        return Ok(Err(error));
                    }
                    self.wait(&mut backoff).await?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Waits before a batch in hand is tried again; an error when that is not worth while any more.
    async fn wait(&self, backoff: &mut Backoff) -> Result<(), BrokerError> {
        if !backoff.wait(&self.stop).await || !self.channel.status().connected() {
            return Err(BrokerError::Unreachable(format!(
                "{} was given up with messages in hand, which RabbitMQ delivers again",
                self.source.queue
            )));
        }
        Ok(())
    }

    /// One message that the store refuses: as a dead letter it mostly can be kept. If even that is refused, there is
    /// something about it that the store does not take, and it is kept in hexadecimal, without its headers; in the last
    /// resort only its beginning. False: it is still in hand, because the store refuses everything (no right to the
    /// tables, or other tables than ours).
    async fn put_aside(&self, alone: &[Delivery], refusal: &StoreError) -> Result<bool, BrokerError> {
        let [delivery] = alone else { return Ok(true) };
        let reason = format!("the store refused it: {refusal}");
        let letter = || {
            (
                vec![Incoming::Dead(self.source.dead(delivery, reason.clone()))],
                None,
            )
        };
        let hex = |most: usize| {
            (
                vec![Incoming::Dead(self.source.hex(delivery, most, &reason))],
                None,
            )
        };
        let kept = if self.take(1, letter).await?.is_ok() {
            "it is kept as a dead letter"
        } else if self.take(1, || hex(usize::MAX)).await?.is_ok() {
            "it is kept as a dead letter in hexadecimal, without its headers"
        } else if self.take(1, || hex(LAST_RESORT)).await?.is_ok() {
            "ONLY ITS BEGINNING is kept, as a dead letter in hexadecimal; have its sender send it again"
        } else {
            return Ok(false);
        };
        self.tell_put_aside(delivery, refusal, kept);
        self.acknowledge(alone).await?;
        Ok(true)
    }

    fn tell_put_aside(&self, delivery: &Delivery, refusal: &StoreError, what: &str) {
        let queue = self.source.queue.as_str();
        ::metrics::counter!(metrics::PUT_ASIDE, "queue" => queue.to_owned()).increment(1);
        tracing::error!(
            broker.queue = queue,
            message.bytes = delivery.data.len(),
            message.sha256 = body_digest(&delivery.data),
            why = %refusal,
            "the store refused a message: {what}"
        );
    }

    /// Everything before the last of these is settled already, so one answer stands for all.
    async fn acknowledge(&self, part: &[Delivery]) -> Result<(), BrokerError> {
        let Some(last) = part.last() else { return Ok(()) };
        let options = BasicAckOptions { multiple: true };
        Ok(self.channel.basic_ack(last.delivery_tag, options).await?)
    }

    fn count(&self, batch: &[Delivery]) {
        let queue = || self.source.queue.clone();
        let redelivered = batch.iter().filter(|delivery| delivery.redelivered).count();
        ::metrics::counter!(metrics::RECEIVED, "queue" => queue()).increment(batch.len() as u64);
        ::metrics::counter!(metrics::REDELIVERED, "queue" => queue()).increment(redelivered as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch is not that long")]
        ::metrics::histogram!(metrics::BATCH_MESSAGES, "queue" => queue()).record(batch.len() as f64);
    }
}
