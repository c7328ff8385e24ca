//! Heartbeats: messages that follow the route of events and carry their send time. Once a lane consumes a heartbeat, it
//! has consumed every earlier message in its queue: this is the lane's watermark. A missing heartbeat shows that events
//! do not get through either.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection, PublisherConfirm};
use tokio_util::sync::CancellationToken;

use super::beat::Beats;
use super::clock::BrokerClock;
use super::error::BrokerError;
use super::publisher;
use super::routes::{Due, Routes};
use super::state::{Part, Severity};
use super::{Context, metrics, topology};
use crate::domain::time::rfc3339;
use crate::store::{LaneProgress, StoreError};

/// The routing key of heartbeats; the routing key of an event is its type.
const ROUTING_KEY: &str = "tenure.heartbeat";
/// How long RabbitMQ may take to confirm heartbeats. It accepts none during a memory alarm.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// A watermark is on time while it is younger than this many intervals.
const ON_TIME_BEATS: u32 = 2;
/// How long RabbitMQ may take to count messages. Heartbeats wait for it.
const COUNT_WITHIN: Duration = Duration::from_secs(2);
/// A lane that has delivered nothing for this long is checked.
const OVERDUE: Duration = Duration::from_mins(1);
/// The lane must also have missed this many intervals, which matters when intervals are long.
const OVERDUE_BEATS: u32 = 4;

/// Sends heartbeats until a stop request, until the connection is lost, or until heartbeats do not reach their lanes.
pub(super) async fn session(
    context: &Context,
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let settings = &context.settings;
    let channel = publisher::confirming_channel(connection).await?;
    let mut session = Session {
        context,
        connection,
        channel,
        is_rejected: false,
        routes: Routes::new(settings.lanes, settings.heartbeat),
        movements: BTreeMap::new(),
        beats: None,
    };
    // After lost heartbeats, one must get through before the part counts as healthy.
    let mut is_proven = !context.heartbeats_lost.swap(false, Ordering::Relaxed);
    if is_proven {
        context.state.up(Part::Heartbeat, context.engine.now());
    } else {
        session.declare().await?;
    }
    let mut pause = if is_proven {
        settings.heartbeat
    } else {
        Duration::ZERO
    };
    let mut clock = BrokerClock::of(context);
    loop {
        let compared = clock.compare(context, connection);
        if stop.run_until_cancelled(compared).await.is_none() {
            return Ok(());
        }
        let next = async {
            tokio::time::sleep(pause).await;
            session.beat().await
        };
        match stop.run_until_cancelled(next).await {
            None => return Ok(()),
            Some(Ok(())) if !is_proven => {
                is_proven = true;
                context.state.up(Part::Heartbeat, context.engine.now());
            }
            Some(Ok(())) => {}
            Some(Err(Failure::Store(error))) => {
                tracing::debug!(%error, "the lanes cannot be read from the store");
            }
            Some(Err(Failure::Broker(error))) => {
                context.heartbeats_lost.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        pause = settings.heartbeat;
    }
}

enum Failure {
    Store(StoreError),
    Broker(BrokerError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

struct Session<'a> {
    context: &'a Context,
    connection: &'a Connection,
    channel: Channel,
    /// A heartbeat was rejected.
    is_rejected: bool,
    routes: Routes,
    /// When each lane last moved.
    movements: BTreeMap<String, Movement>,
    /// None until the key is read from the store.
    beats: Option<Beats>,
}

/// The evidence that a lane moves, and its time.
#[derive(Clone, Copy)]
struct Movement {
    watermark: Option<DateTime<Utc>>,
    since: Instant,
    /// Messages in the queue at the last check, and when their number last fell.
    waiting: u32,
    drained: Option<Instant>,
}

impl Session<'_> {
    async fn beat(&mut self) -> Result<(), Failure> {
        if self.context.engine.clock().ahead().is_some() {
            // Receivers would take the time of this heartbeat for the present.
            tracing::debug!("no heartbeat is sent: the clock is ahead");
            return Ok(());
        }
        let store = self.context.engine.store();
        if self.beats.is_none() {
            self.beats = Some(Beats::new(store.heartbeat_key().await?));
        }
        let lanes = store.lanes().await?;
        let now = self.context.engine.now().trunc_subsecs(6);
        for lane in &lanes {
            show_lag(lane, now, self.context.settings.heartbeat);
        }
        let due = self.routes.due(&lanes, now, random_key);
        if due.is_lost {
            // Recreates deleted objects; existing objects stay unchanged.
            self.declare().await?;
        }
        self.send(due, now).await?;
        self.check_lanes(&lanes).await?;
        self.count_waiting().await?;
        Ok(())
    }

    /// Counts the messages in each queue, for people and for metrics. RabbitMQ does not answer during a resource alarm: then the
    /// counts are as old as they say.
    async fn count_waiting(&self) -> Result<(), BrokerError> {
        let queues: Vec<String> = metrics::queues(self.context.settings.lanes).collect();
        let counting = topology::depths(self.connection, queues.iter().map(String::as_str));
        match tokio::time::timeout(COUNT_WITHIN, counting).await {
            Ok(Ok(counted)) => {
                for (queue, waiting) in &counted {
                    ::metrics::gauge!(metrics::QUEUE_MESSAGES, "queue" => queue.clone()).set(*waiting);
                }
                self.context.engine.note_depths(counted);
            }
            // A queue is missing, which the check of its lane reports.
            Ok(Err(BrokerError::Refused(why))) => tracing::debug!(why, "a queue cannot be counted"),
            Ok(Err(error)) => return Err(error),
            Err(_) => tracing::debug!("RabbitMQ does not say how many messages wait"),
        }
        Ok(())
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        if self.context.settings.declare {
            let declared = topology::declare(self.connection, self.context.settings.lanes);
            // A missing response means that RabbitMQ has a resource alarm; the lanes are checked anyway.
            if let Ok(declared) = tokio::time::timeout(CONFIRM_WITHIN, declared).await {
                declared?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, due: Due, now: DateTime<Utc>) -> Result<(), BrokerError> {
        if std::mem::take(&mut self.is_rejected) {
            // A channel that saw a quorum queue reject messages because its leader was lost may never see the new
            // leader (RabbitMQ 3.10).
            // During a resource alarm, RabbitMQ reads nothing from this connection and opens no channel.
            let opened = publisher::confirming_channel(self.connection);
            let Ok(channel) = tokio::time::timeout(CONFIRM_WITHIN, opened).await else {
                self.is_rejected = true;
                return Ok(());
            };
            let before = std::mem::replace(&mut self.channel, channel?);
            // The response does not matter, and may never arrive.
            let _ = tokio::time::timeout(CONFIRM_WITHIN, before.close(200, "OK".into())).await;
        }
        let Some(beats) = &self.beats else { return Ok(()) };
        let mut confirms = Vec::new();
        for key in due.keys {
            let message = beats.write(now, Some(&key));
            confirms.push(self.publish(topology::EVENTS, ROUTING_KEY, message).await?);
        }
        for queue in due.left_over {
            let message = beats.write(now, None);
            confirms.push(self.publish("", &queue, message).await?);
        }
        let confirmed = async {
            let mut is_rejected = false;
            for confirm in confirms {
                // A full lane rejects it. The check of the lane reports that.
                is_rejected |= !publisher::is_confirmed(confirm, topology::EVENTS).await?;
            }
            Ok::<_, BrokerError>(is_rejected)
        };
        self.is_rejected = tokio::time::timeout(CONFIRM_WITHIN, confirmed)
            .await
            .unwrap_or_else(|_| {
                tracing::debug!("RabbitMQ does not confirm heartbeats");
                Ok(true)
            })?;
        Ok(())
    }

    async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        (properties, body): (BasicProperties, Vec<u8>),
    ) -> Result<PublisherConfirm, BrokerError> {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        self.channel
            .basic_publish(exchange.into(), routing_key.into(), options, &body, properties)
            .await
            .map_err(|error| topology::advise(&error, exchange))
    }

    /// Reports the lanes that do not move.
    async fn check_lanes(&mut self, lanes: &[LaneProgress]) -> Result<(), BrokerError> {
        let limit = OVERDUE.max(self.context.settings.heartbeat * OVERDUE_BEATS);
        self.movements
            .retain(|lane, _| lanes.iter().any(|known| known.lane == *lane));
        for lane in lanes {
            let now = Instant::now();
            let movement = self.movements.entry(lane.lane.clone()).or_insert(Movement {
                watermark: lane.watermark,
                since: now,
                waiting: 0,
                drained: None,
            });
            if movement.watermark != lane.watermark {
                *movement = Movement {
                    watermark: lane.watermark,
                    since: now,
                    ..*movement
                };
            }
            let trouble = if movement.since.elapsed() > limit {
                Some(self.overdue(lane, limit).await?)
            } else {
                None
            };
            self.context.state.report(&lane.lane, trouble);
        }
        self.context.state.retain_problems(|lane| {
            !lane.starts_with(topology::EVENTS) || lanes.iter().any(|known| known.lane == lane)
        });
        Ok(())
    }

    /// Explains why a lane's watermark does not advance.
    async fn overdue(
        &mut self,
        lane: &LaneProgress,
        limit: Duration,
    ) -> Result<(Severity, String), BrokerError> {
        let queue = lane.lane.as_str();
        let ago = |at: Instant| at.elapsed() <= limit;
        let since = lane.watermark.map_or_else(
            || "no heartbeat has arrived through it yet".to_owned(),
            |at| format!("no heartbeat has arrived through it since {}", rfc3339(at)),
        );
        let consumed_here = self.context.engine.vitals().of(queue, Instant::now()).succeeded;
        if consumed_here.is_some_and(|ago| ago <= limit) {
            let why = format!("{since}: it is consumed, but lags behind");
            return Ok((Severity::Warning, why));
        }
        let depth = topology::depth(self.connection, queue);
        let (waiting, consumers) = match tokio::time::timeout(CONFIRM_WITHIN, depth).await {
            Ok(Ok(depth)) => depth,
            Ok(Err(BrokerError::Refused(why))) => return Ok((Severity::Failure, why)),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let why = format!(
                    "{since}, and timers wait for it: RabbitMQ does not answer on the connection of the heartbeats; it may \
                     have a memory or disk alarm (`rabbitmqctl status` shows alarms)"
                );
                return Ok((Severity::Failure, why));
            }
        };
        let mut is_drained = false;
        if let Some(movement) = self.movements.get_mut(queue) {
            if waiting < movement.waiting {
                movement.drained = Some(Instant::now());
            }
            movement.waiting = waiting;
            is_drained = movement.drained.is_some_and(ago);
        }
        Ok(if consumers == 0 {
            let why = format!("{since}, and no worker consumes it: start one, or check its log");
            (Severity::Failure, why)
        } else if is_drained {
            (
                Severity::Warning,
                format!("{since}: another worker consumes it, but lags behind"),
            )
        } else {
            let why = format!(
                "{since}, and timers wait for it: check that it is still bound to {} (`rabbitmqctl list_bindings`), and \
                 that the worker that consumes it can write to the store",
                topology::EVENTS
            );
            (Severity::Failure, why)
        })
    }
}

/// Any text is a valid partition key.
fn random_key() -> String {
    format!("tenure-heartbeat-{:016x}", rand::random::<u64>())
}

/// The watermark of a lane without delay is up to one interval old when the next heartbeat is due.
fn show_lag(lane: &LaneProgress, now: DateTime<Utc>, heartbeat: Duration) {
    let Some(watermark) = lane.watermark else { return };
    let age = (now - watermark).to_std().unwrap_or_default();
    let lag = if age <= heartbeat * ON_TIME_BEATS {
        Duration::ZERO
    } else {
        age
    };
    ::metrics::gauge!(metrics::LANE_LAG, "lane" => lane.lane.clone()).set(lag.as_secs_f64());
}
