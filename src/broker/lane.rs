//! A lane: reads what its queue delivers, and hands it to its workers by client.
//!
//! Nothing is acknowledged before it is committed; whatever happens in between, RabbitMQ delivers it again. What is held is
//! bounded by a prefetch, in messages and in bytes.

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

/// How a lane reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    /// Messages in flight at most.
    pub prefetch: u16,
    /// Bytes of them at most, or one message.
    pub prefetch_bytes: usize,
    /// Messages of a batch at most.
    pub batch_max: usize,
    /// Batches under way beside each other at most, at least 1.
    pub workers: usize,
    pub limits: Limits,
}

impl LaneSettings {
    /// Messages under way with which one worker does not keep up: half of the largest batch, or what a small prefetch
    /// allows.
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
    /// With another prefetch it is made anew.
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

    /// Reads until told to stop. Whenever messages are larger or smaller than the prefetch is made for, it begins anew with
    /// another.
    pub async fn run(mut self) -> Result<(), BrokerError> {
        while let End::Resized(prefetch) = self.work().await? {
            let queue = self.source.queue.clone();
            tracing::info!(
                broker.queue = queue,
                prefetch,
                before = self.subscription.prefetch,
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

    /// Works with one subscription. What was delivered when it ends is seen through, so that all of it can be acknowledged.
    ///
    /// The end is to close the channel. It arrives behind the last acknowledgement, and gives back what came meanwhile, to
    /// the head of the queue and in its order. Cancelling the consumer first would hand the queue to the next worker
    /// while this one is still at earlier messages.
    async fn work(&mut self) -> Result<End, BrokerError> {
        // One that fails takes the others with it, each after the batch in hand.
        let failed = CancellationToken::new();
        let (mut running, workers) = self.start_workers(&failed);
        let flight = self.subscription.flight.clone();
        let mut smaller = None;
        let mut result = tokio::select! {
            read = self.read(&workers) => read,
            // Before it is told that there is no more, a worker ends only when it fails.
            Some(ended) = running.join_next() => flatten(ended).map(|()| End::Stopped),
            () = flight.overflowed() => {
                smaller = Some(flight.smaller_prefetch());
                Ok(End::Stopped)
            }
        };
        drop(workers);
        if smaller.is_some() {
            // At once: what is in memory is given back, also what the store does not take for now.
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
                tracing::debug!(%error, "given back");
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

    /// Gives back what the store did not take, without using up its delivery limit where RabbitMQ makes that difference:
    /// from 4.3 on a message that is returned by `basic.nack` does not count, and one whose channel is closed does. The
    /// consumer is cancelled before, or all of it would be delivered here again.
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
            "messages in hand are given back"
        );
    }

    /// Hands out what is delivered, until told to stop or until a larger prefetch is possible.
    async fn read(&mut self, workers: &[UnboundedSender<Item>]) -> Result<End, BrokerError> {
        let received = ::metrics::counter!(metrics::RECEIVED, "queue" => self.source.queue.clone());
        let redelivered = ::metrics::counter!(metrics::REDELIVERED, "queue" => self.source.queue.clone());
        let stop = self.stop.clone();
        let (prefetch, most) = (self.subscription.prefetch, self.settings.prefetch);
        while let Some(next) = stop.run_until_cancelled(self.subscription.consumer.next()).await {
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
            self.subscription.acks.deliver(delivery.delivery_tag).await;
            self.hand_out(delivery, workers);
            if let Some(larger) = self.subscription.flight.larger_prefetch(prefetch, most) {
                return Ok(End::Resized(larger));
            }
        }
        Ok(End::Stopped)
    }

    /// Whether events are spread over the workers or go to the first of them. Two workers write half batches each, which
    /// on a quiet queue is twice the work: so one does it all as long as it keeps up. A client's events stay in order,
    /// because nothing is under way when that changes.
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

    /// A worker that is gone has failed, and everything ends; what it was to get is delivered again.
    fn hand_out(&self, mut delivery: Delivery, workers: &[UnboundedSender<Item>]) {
        let now = self.engine.clock().present();
        let withheld = self
            .link
            .withheld()
            .take(self.subscription.acks.channel().id(), delivery.delivery_tag);
        let flaw = withheld.and_then(|properties| salvage(&self.source, properties, &mut delivery));
        // One that RabbitMQ gave up says nothing of the dead queue, which is no lane that is kept.
        let clock = self.engine.clock();
        if let Some(Beat { watermark }) = self.beats.read(&self.source.queue, &delivery, now, clock) {
            let heartbeat = Arc::new(Heartbeat::new(delivery.delivery_tag, watermark, workers.len()));
            for worker in workers {
                let _ = worker.send(Item::Heartbeat(heartbeat.clone()));
            }
            return;
        }
        let decoder = Decoder::new(self.settings.limits, now);
        let incoming = self.source.read(&decoder, &delivery, flaw.as_deref());
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

/// A client's events are in one worker, and so in order. What has no client may be anywhere.
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
        tracing::error!(%panic, "a worker of the lane panicked; this is a fault in Tenure");
        Err(BrokerError::Unreachable("a worker of the lane panicked".into()))
    })
}
