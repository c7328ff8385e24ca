//! A lane: consumes its queue and distributes the deliveries to its workers by client.
//!
//! Nothing is acknowledged before it is committed; RabbitMQ redelivers everything else. A prefetch limits what the lane
//! holds, in messages and in bytes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures_util::StreamExt;
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ack_tracker::AckTracker;
use super::address::CLOSE_WITHIN;
use super::beat::{Beat, Beats};
use super::error::BrokerError;
use super::flight::{Flight, Prefetches};
use super::lane_worker::{Heartbeat, Item, LaneWorker, Message};
use super::link::{Link, open_channel};
use super::message::{Source, salvage};
use super::outage::StoreWatch;
use super::pressure::Pressure;
use super::{Context, metrics, topology};
use crate::engine::{Engine, Incoming};
use crate::wire::{Decoder, Limits};

/// How a lane consumes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    /// Maximum number of messages in flight.
    pub prefetch: u16,
    /// Maximum number of bytes in flight, or a single message.
    pub prefetch_bytes: usize,
    /// Maximum number of messages in a batch.
    pub batch_max: usize,
    /// Maximum number of concurrent batches, at least 1.
    pub workers: usize,
    pub limits: Limits,
}

impl LaneSettings {
    /// Number of messages in flight above which one worker does not keep up: half of the largest batch, or less if the
    /// prefetch is small.
    fn behind_at(&self, prefetch: u16) -> usize {
        (self.batch_max / 2).min(usize::from(prefetch) / 4)
    }
}

pub(super) struct Lane {
    link: Link,
    source: Arc<Source>,
    beats: Arc<Beats>,
    engine: Arc<Engine>,
    watch: StoreWatch,
    pressure: Pressure,
    prefetches: Prefetches,
    settings: LaneSettings,
    stop: CancellationToken,
    subscription: Subscription,
    is_spread: bool,
}

/// A channel with a consumer of the lane's queue.
struct Subscription {
    prefetch: u16,
    flight: Arc<Flight>,
    acks: Arc<AckTracker>,
    consumer: Consumer,
}

/// Why a subscription ends.
enum End {
    Stopped,
    /// The lane subscribes again with this prefetch.
    Resized(u16),
}

impl Lane {
    pub async fn open(
        context: &Context,
        link: &Link,
        queue: &str,
        settings: LaneSettings,
        beats: Arc<Beats>,
        stop: CancellationToken,
    ) -> Result<Self, BrokerError> {
        let prefetch = context.prefetches.of(queue, settings.prefetch);
        Ok(Self {
            link: link.clone(),
            source: Arc::new(Source::of_queue(queue)),
            beats,
            engine: context.engine.clone(),
            watch: context.watch.clone(),
            pressure: context.pressure.clone(),
            prefetches: context.prefetches.clone(),
            settings,
            stop,
            subscription: subscribe(link, queue, settings, prefetch, &context.pressure).await?,
            is_spread: false,
        })
    }

    /// Consumes until a stop request. When messages become too large or small enough for another prefetch, the lane
    /// subscribes again with that prefetch.
    pub async fn run(mut self) -> Result<(), BrokerError> {
        while let End::Resized(prefetch) = self.work().await? {
            let queue = self.source.queue.clone();
            tracing::info!(
                broker.queue = queue,
                broker.prefetch = prefetch,
                broker.prefetch_before = self.subscription.prefetch,
                "the prefetch follows the size of the messages"
            );
            self.prefetches.set(&queue, prefetch);
            let (settings, pressure) = (self.settings, &self.pressure);
            let subscribed = subscribe(&self.link, &queue, settings, prefetch, pressure);
            let Some(subscribed) = self.stop.run_until_cancelled(subscribed).await else {
                return Ok(());
            };
            self.subscription = subscribed?;
            self.is_spread = false;
        }
        Ok(())
    }

    /// Runs one subscription. All deliveries that arrived before its end are processed, so that all of them can be
    /// acknowledged.
    ///
    /// The subscription ends by closing the channel. The close arrives after the last acknowledgement, and returns
    /// later deliveries to the head of the queue, in order. Cancelling the consumer first would let the next worker
    /// consume the queue while this worker still processes earlier messages.
    async fn work(&mut self) -> Result<End, BrokerError> {
        // A worker that fails stops the others, each after its current batch.
        let failed = CancellationToken::new();
        let (mut running, workers) = self.start_workers(&failed);
        let flight = self.subscription.flight.clone();
        let mut smaller = None;
        let mut result = tokio::select! {
            read = self.read(&workers) => read,
            // The workers' input is still open, so a worker that ends here has failed.
            Some(ended) = running.join_next() => flatten(ended).map(|()| End::Stopped),
            () = flight.overflowed() => {
                smaller = Some(flight.smaller_prefetch());
                Ok(End::Stopped)
            }
        };
        drop(workers);
        if smaller.is_some() {
            // Cancel now: everything in memory is returned, including messages that the store currently rejects.
            failed.cancel();
            self.close().await;
        }
        loop {
            if result.is_err() {
                failed.cancel();
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            if let (Ok(_), Err(error)) = (&result, flatten(ended)) {
                result = Err(error);
            }
        }
        if let Some(prefetch) = smaller {
            if let Err(error) = result {
                tracing::debug!(%error, "returned to the queue");
            }
            return Ok(End::Resized(prefetch));
        }
        if self.stop.is_cancelled() {
            if result.is_err() {
                self.give_back().await;
            }
            self.close().await;
        } else if let Ok(End::Resized(_)) = result {
            self.close().await;
        }
        result
    }

    fn start_workers(
        &self,
        failed: &CancellationToken,
    ) -> (JoinSet<Result<(), BrokerError>>, Vec<UnboundedSender<Item>>) {
        let mut running = JoinSet::new();
        let mut workers = Vec::new();
        for _ in 0..self.settings.workers {
            let (sender, receiver) = unbounded_channel();
            workers.push(sender);
            let worker = LaneWorker {
                source: self.source.clone(),
                acks: self.subscription.acks.clone(),
                engine: self.engine.clone(),
                watch: self.watch.clone(),
                batch_max: self.settings.batch_max,
                limits: self.settings.limits,
                stop: self.stop.clone(),
                failed: failed.clone(),
            };
            running.spawn(worker.run(receiver));
        }
        (running, workers)
    }

    async fn close(&self) {
        let channel = self.subscription.acks.channel();
        let _ = tokio::time::timeout(CLOSE_WITHIN, channel.close(200, "OK".into())).await;
    }

    /// Returns the messages that the store did not accept, without counting against their delivery limit where RabbitMQ
    /// supports it: since 4.3, a message returned by `basic.nack` does not count, but a message whose channel closes
    /// does. The consumer is cancelled first; otherwise RabbitMQ would redeliver all of them to it.
    async fn give_back(&self) {
        let Subscription { acks, consumer, .. } = &self.subscription;
        let all = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        let giving = async {
            let now = BasicCancelOptions { nowait: true };
            acks.channel().basic_cancel(consumer.tag(), now).await?;
            acks.channel().basic_nack(0, all).await
        };
        let given = tokio::time::timeout(CLOSE_WITHIN, giving).await;
        tracing::debug!(
            ?given,
            broker.queue = self.source.queue,
            "unacknowledged messages are returned to the queue"
        );
    }

    /// Distributes deliveries until a stop request, or until a larger prefetch is possible.
    async fn read(&mut self, workers: &[UnboundedSender<Item>]) -> Result<End, BrokerError> {
        let received = ::metrics::counter!(metrics::RECEIVED, "queue" => self.source.queue.clone());
        let redelivered = ::metrics::counter!(metrics::REDELIVERED, "queue" => self.source.queue.clone());
        let stop = self.stop.clone();
        let (prefetch, most) = (self.subscription.prefetch, self.settings.prefetch);
        while let Some(next) = stop.run_until_cancelled(self.subscription.consumer.next()).await {
            let Some(delivery) = next.transpose()? else {
                return Err(BrokerError::Refused(format!(
                    "{} stopped delivering: it was deleted, or its node went down",
                    self.source.queue
                )));
            };
            received.increment(1);
            redelivered.increment(u64::from(delivery.redelivered));
            if stop.run_until_cancelled(self.spread()).await.is_none() {
                break;
            }
            self.subscription.acks.deliver(delivery.delivery_tag).await;
            self.hand_out(delivery, workers);
            if let Some(larger) = self.subscription.flight.larger_prefetch(prefetch, most) {
                return Ok(End::Resized(larger));
            }
        }
        Ok(End::Stopped)
    }

    /// Decides whether events are spread over the workers or all go to the first worker. Two workers write half-size
    /// batches, which doubles the work on a quiet queue, so a single worker handles everything as long as it keeps up.
    /// A client's events stay in order because the mode changes only while nothing is in flight.
    async fn spread(&mut self) {
        match self.subscription.acks.waiting().await {
            0 => self.is_spread = false,
            waiting if !self.is_spread && waiting > self.settings.behind_at(self.subscription.prefetch) => {
                self.subscription.acks.empty().await;
                self.is_spread = true;
            }
            _ => {}
        }
    }

    /// A closed channel means that the worker has failed. The whole lane then ends, and RabbitMQ redelivers the
    /// message.
    fn hand_out(&self, mut delivery: Delivery, workers: &[UnboundedSender<Item>]) {
        let now = self.engine.clock().present();
        let withheld = self
            .link
            .withheld()
            .take(self.subscription.acks.channel().id(), delivery.delivery_tag);
        let flaw = withheld.and_then(|properties| salvage(&self.source, properties, &mut delivery));
        // A dead-lettered heartbeat says nothing about the dead queue, which is not a recorded lane.
        let clock = self.engine.clock();
        if let Some(Beat { watermark }) = self.beats.read(&self.source.queue, &delivery, now, clock) {
            let heartbeat = Arc::new(Heartbeat::new(delivery.delivery_tag, watermark, workers.len()));
            for worker in workers {
                let _ = worker.send(Item::Heartbeat(heartbeat.clone()));
            }
            return;
        }
        let decoder = Decoder::new(self.settings.limits, now);
        let read = self.source.read(&decoder, &delivery, flaw.as_deref());
        // Warnings are not reported again when the message is decoded for another attempt.
        let incoming = self
            .engine
            .incoming(read, || self.source.dead(&delivery, String::new()));
        if self.source.is_dead() && matches!(incoming, Incoming::Event(_)) {
            ::metrics::counter!(metrics::RETRIED, "queue" => self.source.queue.clone()).increment(1);
        }
        let worker = if self.is_spread {
            place(&incoming, &delivery, workers.len())
        } else {
            0
        };
        let _ = workers[worker].send(Item::Message(Box::new(Message {
            delivery,
            flaw,
            incoming: Some(incoming),
        })));
    }
}

async fn subscribe(
    link: &Link,
    queue: &str,
    settings: LaneSettings,
    prefetch: u16,
    pressure: &Pressure,
) -> Result<Subscription, BrokerError> {
    let channel = open_channel(link).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let flight = link.flights().open(channel.id(), settings.prefetch_bytes);
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel
        .basic_consume(queue.into(), "tenure".into(), options, arguments)
        .await
        .map_err(|error| topology::advise(&error, queue))?;
    let behind_at = settings.behind_at(prefetch);
    let acks = AckTracker::new(channel, flight.clone(), pressure.clone(), behind_at);
    Ok(Subscription {
        prefetch,
        flight,
        acks: Arc::new(acks),
        consumer,
    })
}

/// A client's events go to one worker and so stay in order. A message without a client may go to any worker.
fn place(incoming: &Incoming, delivery: &Delivery, workers: usize) -> usize {
    let number = match incoming {
        Incoming::Event(event) => {
            let mut hasher = DefaultHasher::new();
            event.key.hash(&mut hasher);
            hasher.finish()
        }
        Incoming::Dead(_) => delivery.delivery_tag,
    };
    usize::try_from(number % workers as u64).unwrap_or_default()
}

fn flatten(ended: Result<Result<(), BrokerError>, tokio::task::JoinError>) -> Result<(), BrokerError> {
    ended.unwrap_or_else(|panic| {
        tracing::error!(%panic, "a lane worker panicked; this is a bug: report it with the log");
        Err(BrokerError::Unreachable("a worker of the lane panicked".into()))
    })
}
