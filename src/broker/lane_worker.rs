//! A worker of a lane: commits its messages batch by batch, concurrently with the lane's other workers.
//!
//! A batch holds the messages that arrived while the previous batch was written: a quiet queue gives small batches, a
//! backlog large batches. The worker retries a batch when the store is unavailable. It finds a message that the store
//! always rejects by bisection, and quarantines only that message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lapin::message::Delivery;
use lapin::types::DeliveryTag;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::ack_tracker::AckTracker;
use super::error::BrokerError;
use super::message::Source;
use super::metrics;
use super::outage::StoreWatch;
use crate::backoff::Backoff;
use crate::engine::{Engine, Incoming, MakeDead};
use crate::store::{DeadLetter, StoreError, Watermark, body_digest};
use crate::wire::{Decoder, Limits, TraceContext};

/// How many attempts a batch gets before the worker checks whether the store fails on this batch only.
const PATIENCE: u32 = 4;
/// Bytes of messages in a transaction, with a slight overshoot: limits a statement to a size that the server accepts,
/// whatever the messages hold.
const BATCH_BYTES: usize = 16 << 20;
/// Bytes stored of a message that the store accepts in no other form.
const LAST_RESORT: usize = 64 << 10;

/// An item in a worker's queue.
pub(super) enum Item {
    Message(Box<Message>),
    /// Sent to every worker of the lane, between earlier and later deliveries.
    Heartbeat(Arc<Heartbeat>),
}

/// A delivery and its decoded content.
pub(super) struct Message {
    pub delivery: Delivery,
    /// Why its properties are invalid.
    pub flaw: Option<String>,
    /// None after the first attempt: a retry decodes the message again, because the clock has advanced.
    pub incoming: Option<Incoming>,
}

/// A heartbeat of the lane that passes through all workers.
pub(super) struct Heartbeat {
    tag: DeliveryTag,
    watermark: Option<Watermark>,
    /// Workers that have not finished the messages before it.
    waiting: AtomicUsize,
}

impl Heartbeat {
    pub fn new(tag: DeliveryTag, watermark: Option<Watermark>, workers: usize) -> Self {
        Self {
            tag,
            watermark,
            waiting: AtomicUsize::new(workers),
        }
    }

    /// Every worker but the caller has passed it.
    fn is_waiting_for_one(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 1
    }

    /// A worker has passed it. Returns true for the last worker.
    fn pass(&self) -> bool {
        self.waiting.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

pub(super) struct LaneWorker {
    pub source: Arc<Source>,
    pub acks: Arc<AckTracker>,
    pub engine: Arc<Engine>,
    pub watch: StoreWatch,
    /// Maximum number of messages in a batch.
    pub batch_max: usize,
    pub limits: Limits,
    /// The worker must end: it finishes its current batch, but does not wait for an unavailable store.
    pub stop: CancellationToken,
    /// Another part of the lane has failed: no new work begins.
    pub failed: CancellationToken,
}

impl LaneWorker {
    /// Runs until its input closes.
    pub async fn run(self, mut items: UnboundedReceiver<Item>) -> Result<(), BrokerError> {
        let queue = || self.source.queue.clone();
        let lengths = ::metrics::histogram!(metrics::BATCH_MESSAGES, "queue" => queue());
        let seconds = ::metrics::histogram!(metrics::BATCH_SECONDS, "queue" => queue());
        let mut batch = Vec::new();
        loop {
            let next = items.recv_many(&mut batch, self.batch_max);
            let Some(length @ 1..) = self.failed.run_until_cancelled(next).await else {
                return Ok(());
            };
            let began = Instant::now();
            #[expect(clippy::cast_precision_loss, reason = "a batch is not that long")]
            lengths.record(length as f64);
            self.ingest_batch(batch.drain(..)).await?;
            seconds.record(began.elapsed());
            self.engine.vitals().succeeded(&self.source.queue, Instant::now());
        }
    }

    /// Processes a batch up to its acknowledgement.
    async fn ingest_batch(&self, batch: impl Iterator<Item = Item>) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        let mut heartbeats = Vec::new();
        for item in batch {
            match item {
                Item::Message(message) => messages.push(*message),
                Item::Heartbeat(heartbeat) => heartbeats.push(heartbeat),
            }
        }
        // Heartbeats that wait only for this batch are recorded with it.
        let (with_batch, later): (Vec<_>, Vec<_>) = heartbeats
            .into_iter()
            .partition(|heartbeat| heartbeat.is_waiting_for_one());
        self.ingest_messages(&mut messages, latest(&with_batch)).await?;
        let mut passed: Vec<DeliveryTag> = with_batch.iter().map(|heartbeat| heartbeat.tag).collect();
        let last: Vec<_> = later.into_iter().filter(|heartbeat| heartbeat.pass()).collect();
        if let Some(watermark) = latest(&last) {
            self.ingest_messages(&mut [], Some(watermark)).await?;
        }
        passed.extend(last.iter().map(|heartbeat| heartbeat.tag));
        if passed.is_empty() {
            return Ok(());
        }
        self.acks.acknowledge(passed).await
    }

    async fn ingest_messages(
        &self,
        messages: &mut [Message],
        mut watermark: Option<Watermark>,
    ) -> Result<(), BrokerError> {
        let mut backoff = Backoff::default();
        let mut parts = by_size(messages);
        if parts.is_empty() && watermark.is_some() {
            parts.push(&mut []);
        }
        while let Some(part) = parts.pop() {
            let reached = if parts.is_empty() { watermark.take() } else { None };
            let Err(refusal) = self.ingest(part, reached.as_ref()).await? else {
                self.note_accepted(&mut backoff);
                self.acks.acknowledge(tags(part)).await?;
                continue;
            };
            if parts.is_empty() {
                watermark = reached;
            }
            if part.len() > 1 {
                let (before, after) = part.split_at_mut(part.len() / 2);
                parts.extend([after, before]);
            } else if !self.quarantine(part, &refusal).await? {
                if backoff.is_fresh() {
                    let queue = &self.source.queue;
                    tracing::error!(broker.queue = queue, why = %refusal, "the store rejects every message; waiting");
                }
                self.wait(&mut backoff).await?;
                parts.push(part);
            } else {
                self.note_accepted(&mut backoff);
                if parts.is_empty() && watermark.is_some() {
                    parts.push(&mut []);
                }
            }
        }
        Ok(())
    }

    /// Ends the time in which the store rejected every message, if there was one.
    fn note_accepted(&self, backoff: &mut Backoff) {
        if !backoff.is_fresh() {
            tracing::info!(
                broker.queue = self.source.queue,
                "the store accepts messages again"
            );
            backoff.reset();
        }
    }

    /// Ingests messages, however long the store is unavailable. The inner error is one that a retry does not fix.
    async fn ingest(
        &self,
        messages: &mut [Message],
        watermark: Option<&Watermark>,
    ) -> Result<Result<(), StoreError>, BrokerError> {
        let length = messages.len();
        let mut first: Option<Vec<Incoming>> = messages
            .iter_mut()
            .map(|message| message.incoming.take())
            .collect();
        let messages = &*messages;
        let incoming = || first.take().unwrap_or_else(|| self.read(messages));
        let dead =
            |place: usize, reason: &str| self.source.dead(&messages[place].delivery, reason.to_owned());
        self.ingest_incoming(length, watermark, incoming, &dead).await
    }

    /// A store that responds but keeps failing on these messages may fail because of their number: a batch of more than
    /// one message is returned for bisection.
    async fn ingest_incoming(
        &self,
        messages: usize,
        watermark: Option<&Watermark>,
        mut incoming: impl FnMut() -> Vec<Incoming>,
        make_dead: MakeDead<'_>,
    ) -> Result<Result<(), StoreError>, BrokerError> {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        let mut failing = None;
        loop {
            let ingested = self
                .engine
                .ingest_messages(incoming(), make_dead, watermark.cloned());
            match ingested.await {
                Ok(_) => {
                    drop(failing.take());
                    self.watch.written();
                    return Ok(Ok(()));
                }
                Err(error) if error.is_transient() => {
                    self.watch.failed(&error);
                    failing.get_or_insert_with(|| self.watch.failing());
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

    fn read(&self, messages: &[Message]) -> Vec<Incoming> {
        let decoder = Decoder::new(self.limits, self.engine.clock().present());
        let read = |message: &Message| {
            let flaw = message.flaw.as_deref();
            self.source.read(&decoder, &message.delivery, flaw).into()
        };
        messages.iter().map(read).collect()
    }

    /// Waits before the next attempt at the current batch. Returns an error when a retry is no longer worthwhile.
    async fn wait(&self, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let waited = self.failed.run_until_cancelled(backoff.wait(&self.stop)).await;
        if waited != Some(true) || !self.acks.channel().status().connected() {
            return Err(BrokerError::Unreachable(format!(
                "the consumer of {} ended with unacknowledged messages, which RabbitMQ delivers again",
                self.source.queue
            )));
        }
        Ok(())
    }

    /// Quarantines a single message that the store refuses. The store usually accepts it as a dead letter. If the store
    /// refuses that too, the content itself is unacceptable: the message is stored in hexadecimal without its headers,
    /// and as a last resort only its beginning. Returns false if the message remains unprocessed because the store
    /// refuses everything (missing table privileges, or a foreign schema).
    async fn quarantine(&self, alone: &[Message], refusal: &StoreError) -> Result<bool, BrokerError> {
        let [Message { delivery, .. }] = alone else {
            return Ok(true);
        };
        let reason = format!("the store refused it: {refusal}");
        let whole = || self.source.dead(delivery, reason.clone());
        let hex = |most: usize| self.source.hex(delivery, most, &reason);
        let stored = if self.store_dead(whole).await?.is_ok() {
            "it is stored as a dead letter; `tenure dead list` shows it"
        } else if self.store_dead(|| hex(usize::MAX)).await?.is_ok() {
            "it is stored as a dead letter in hexadecimal, without its headers; `tenure dead list` shows it"
        } else if self.store_dead(|| hex(LAST_RESORT)).await?.is_ok() {
            "ONLY ITS BEGINNING is stored, as a dead letter in hexadecimal; ask the sender to send it again"
        } else {
            return Ok(false);
        };
        self.report_quarantined(delivery, refusal, stored);
        self.acks.acknowledge(tags(alone)).await?;
        Ok(true)
    }

    async fn store_dead(
        &self,
        dead_letter: impl Fn() -> DeadLetter + Sync,
    ) -> Result<Result<(), StoreError>, BrokerError> {
        let incoming = || vec![Incoming::Dead(dead_letter())];
        self.ingest_incoming(1, None, incoming, &|_, _| dead_letter())
            .await
    }

    fn report_quarantined(&self, delivery: &Delivery, refusal: &StoreError, stored: &str) {
        let queue = self.source.queue.as_str();
        ::metrics::counter!(metrics::QUARANTINED, "queue" => queue.to_owned()).increment(1);
        tracing::error!(
            broker.queue = queue,
            message.bytes = delivery.data.len(),
            message.sha256 = body_digest(&delivery.data),
            trace.id = TraceContext::of(&self.source.dead(delivery, String::new()))
                .map(|context| context.trace_id_text()),
            why = %refusal,
            "the store refused a message: {stored}"
        );
    }
}

/// The highest watermark of the heartbeats. A heartbeat from a wrong clock has no watermark and is only acknowledged.
fn latest(heartbeats: &[Arc<Heartbeat>]) -> Option<Watermark> {
    heartbeats
        .iter()
        .filter_map(|heartbeat| heartbeat.watermark.clone())
        .max_by_key(|watermark| watermark.at)
}

fn tags(messages: &[Message]) -> impl Iterator<Item = DeliveryTag> {
    messages.iter().map(|message| message.delivery.delivery_tag)
}

/// Splits messages into parts of limited size in bytes, or of one message. The parts are in reverse order, to pop them
/// from the end.
fn by_size(mut messages: &mut [Message]) -> Vec<&mut [Message]> {
    let mut parts = Vec::new();
    while !messages.is_empty() {
        let mut bytes = 0;
        let length = messages
            .iter()
            .take_while(|message| {
                let fits = bytes < BATCH_BYTES;
                bytes += message.delivery.data.len();
                fits
            })
            .count();
        let (part, rest) = messages.split_at_mut(length);
        parts.push(part);
        messages = rest;
    }
    parts.reverse();
    parts
}
