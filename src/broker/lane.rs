//! A lane: reads what its queue delivers, and hands it to its strands by client.
//!
//! Nothing is acknowledged before it is committed; whatever happens in between, RabbitMQ delivers it again. Prefetch
//! bounds what is held.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures_util::StreamExt;
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::address::CLOSE_WITHIN;
use super::error::BrokerError;
use super::ledger::Ledger;
use super::link::{Link, open_channel};
use super::message::{Source, salvage};
use super::outage::StoreWatch;
use super::properties::Withheld;
use super::strand::{Heartbeat, Item, Message, Strand};
use super::{Context, heartbeat, metrics, topology};
use crate::engine::{Engine, Incoming};
use crate::wire::{Decoder, Limits};

/// How a lane reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    /// Messages under way unacknowledged at most. lapin hands over whatever arrives, so this alone bounds memory.
    pub prefetch: u16,
    /// Messages of a batch at most.
    pub batch_max: usize,
    /// Batches under way beside each other at most, at least 1.
    pub strands: usize,
    pub limits: Limits,
}

impl LaneSettings {
    /// Messages under way with which one strand does not keep up: half of the largest batch, or what a small prefetch
    /// allows.
    fn behind_at(&self) -> usize {
        (self.batch_max / 2).min(usize::from(self.prefetch) / 4)
    }
}

pub(super) struct Lane {
    source: Arc<Source>,
    withheld: Withheld,
    ledger: Arc<Ledger>,
    consumer: Consumer,
    engine: Arc<Engine>,
    watch: StoreWatch,
    settings: LaneSettings,
    is_spread: bool,
    stop: CancellationToken,
}

impl Lane {
    pub async fn open(
        context: &Context,
        connection: &Link,
        queue: &str,
        settings: LaneSettings,
        stop: CancellationToken,
    ) -> Result<Self, BrokerError> {
        let channel = open_channel(connection).await?;
        channel
            .basic_qos(settings.prefetch, BasicQosOptions::default())
            .await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(queue.into(), "tenure".into(), options, arguments)
            .await
            .map_err(|error| topology::advise(&error, queue))?;
        Ok(Self {
            source: Arc::new(Source::of_queue(queue)),
            withheld: connection.withheld().clone(),
            ledger: Arc::new(Ledger::new(
                channel,
                context.pressure.clone(),
                settings.behind_at(),
            )),
            consumer,
            engine: context.engine.clone(),
            watch: context.watch.clone(),
            settings,
            is_spread: false,
            stop,
        })
    }

    /// Reads until told to stop; what was delivered by then is seen through, so that all of it can be acknowledged.
    ///
    /// The end is to close the channel. It arrives behind the last acknowledgement, and gives back what came meanwhile, to
    /// the head of the queue and in its order. Cancelling the consumer first would hand the queue to the next worker
    /// while this one is still at earlier messages.
    pub async fn run(mut self) -> Result<(), BrokerError> {
        // One that fails takes the others with it, each after the batch in hand.
        let failed = CancellationToken::new();
        let mut running = JoinSet::new();
        let mut strands = Vec::new();
        for _ in 0..self.settings.strands {
            let (sender, receiver) = unbounded_channel();
            strands.push(sender);
            let strand = Strand {
                source: self.source.clone(),
                ledger: self.ledger.clone(),
                engine: self.engine.clone(),
                watch: self.watch.clone(),
                batch_max: self.settings.batch_max,
                limits: self.settings.limits,
                stop: self.stop.clone(),
                failed: failed.clone(),
            };
            running.spawn(strand.run(receiver));
        }
        let mut result = tokio::select! {
            read = self.read(&strands) => read,
            // Before it is told that there is no more, a strand ends only when it fails.
            Some(ended) = running.join_next() => flatten(ended),
        };
        drop(strands);
        loop {
            if result.is_err() {
                failed.cancel();
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            result = result.and(flatten(ended));
        }
        if self.stop.is_cancelled() {
            let channel = self.ledger.channel();
            let _ = tokio::time::timeout(CLOSE_WITHIN, channel.close(200, "OK".into())).await;
        }
        result
    }

    /// Hands out what is delivered. Without an error: told to stop.
    async fn read(&mut self, strands: &[UnboundedSender<Item>]) -> Result<(), BrokerError> {
        let received = ::metrics::counter!(metrics::RECEIVED, "queue" => self.source.queue.clone());
        let redelivered = ::metrics::counter!(metrics::REDELIVERED, "queue" => self.source.queue.clone());
        let stop = self.stop.clone();
        while let Some(next) = stop.run_until_cancelled(self.consumer.next()).await {
            let Some(delivery) = next.transpose()? else {
                return Err(BrokerError::Refused(format!(
                    "{} delivers no more: it was deleted, or its node went down",
                    self.source.queue
                )));
            };
            received.increment(1);
            redelivered.increment(u64::from(delivery.redelivered));
            if stop.run_until_cancelled(self.spread()).await.is_none() {
                break;
            }
            self.ledger.deliver(delivery.delivery_tag).await;
            self.hand_out(delivery, strands);
        }
        Ok(())
    }

    /// Whether events are spread over the strands or go to the first of them. Two strands write half batches each, which
    /// on a quiet queue is twice the work: so one does it all as long as it keeps up. A client's events stay in order,
    /// because nothing is under way when that changes.
    async fn spread(&mut self) {
        match self.ledger.waiting().await {
            0 => self.is_spread = false,
            waiting if !self.is_spread && waiting > self.settings.behind_at() => {
                self.ledger.empty().await;
                self.is_spread = true;
            }
            _ => {}
        }
    }

    /// A strand that is gone has failed, and everything ends; what it was to get is delivered again.
    fn hand_out(&self, mut delivery: Delivery, strands: &[UnboundedSender<Item>]) {
        let now = self.engine.now();
        let withheld = self
            .withheld
            .take(self.ledger.channel().id(), delivery.delivery_tag);
        let flaw = withheld.and_then(|properties| salvage(&self.source, properties, &mut delivery));
        if heartbeat::is_heartbeat(&delivery) {
            // One that RabbitMQ gave up says nothing of the dead queue.
            let is_ours = !self.source.is_dead();
            let watermark = is_ours
                .then(|| heartbeat::watermark(&self.source.queue, &delivery, now, self.engine.clock()));
            let watermark = watermark.flatten();
            let heartbeat = Arc::new(Heartbeat::new(delivery.delivery_tag, watermark, strands.len()));
            for strand in strands {
                let _ = strand.send(Item::Heartbeat(heartbeat.clone()));
            }
            return;
        }
        let decoder = Decoder::new(self.settings.limits, now);
        let incoming = self.source.read(&decoder, &delivery, flaw.as_deref());
        if self.source.is_dead() && matches!(incoming, Incoming::Event(_)) {
            ::metrics::counter!(metrics::RETRIED, "queue" => self.source.queue.clone()).increment(1);
        }
        let strand = if self.is_spread {
            place(&incoming, &delivery, strands.len())
        } else {
            0
        };
        let _ = strands[strand].send(Item::Message(Box::new(Message {
            delivery,
            flaw,
            incoming: Some(incoming),
        })));
    }
}

/// A client's events are in one strand, and so in order. What has no client may be anywhere.
fn place(incoming: &Incoming, delivery: &Delivery, strands: usize) -> usize {
    let number = match incoming {
        Incoming::Event(event) => {
            let mut hasher = DefaultHasher::new();
            event.key.hash(&mut hasher);
            hasher.finish()
        }
        Incoming::Dead(_) => delivery.delivery_tag,
    };
    usize::try_from(number % strands as u64).unwrap_or_default()
}

fn flatten(ended: Result<Result<(), BrokerError>, tokio::task::JoinError>) -> Result<(), BrokerError> {
    ended.unwrap_or_else(|panic| {
        tracing::error!(%panic, "a strand panicked; this is a fault in Tenure");
        Err(BrokerError::Unreachable("a strand panicked".into()))
    })
}
