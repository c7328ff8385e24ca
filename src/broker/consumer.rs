//! The consuming side: a lane for every queue on one connection, and the dead queue on another. The lanes continue when
//! the connection of the dead queue ends.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::beat::Beats;
use super::error::BrokerError;
use super::lane::{Lane, LaneSettings};
use super::link::Link;
use super::state::Part;
use super::{Context, topology};
use crate::backoff::Backoff;

/// Dead messages are consumed one at a time: if a message crashes the worker, no other message is in flight.
const DEAD_PREFETCH: u16 = 1;

/// Consumes until a stop request or a loss. On return, every lane has finished its current batches.
pub(super) async fn session(
    context: &Context,
    connection: &Link,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let settings = &context.settings;
    let queues = if settings.declare {
        topology::declare(connection, settings.lanes).await?
    } else {
        (0..settings.lanes).map(topology::lane).collect()
    };
    // Before a new lane ingests its first event: from now on timers wait for the lane.
    if !wait_for_store(Part::Consumers, context, stop).await || !keep_lanes(context, &queues, stop).await? {
        return Ok(());
    }
    let Some(beats) = beats(context, stop).await else {
        return Ok(());
    };
    // Set up all lanes before the first runs: a running lane is never dropped halfway.
    let mut lanes = Vec::new();
    for queue in &queues {
        let lane = lane_settings(context, queue);
        lanes.push(Lane::open(context, connection, queue, lane, beats.clone(), stop.clone()).await?);
    }
    context.state.up(Part::Consumers, context.engine.now());
    all(lanes, stop).await
}

/// Consumes the dead queue until a stop request, or until the connection is lost.
pub(super) async fn dead_session(
    context: &Context,
    connection: &Link,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    if context.settings.declare {
        topology::declare_dead(connection).await?;
    }
    if !wait_for_store(Part::Dead, context, stop).await {
        return Ok(());
    }
    let Some(beats) = beats(context, stop).await else {
        return Ok(());
    };
    let settings = lane_settings(context, topology::DEAD);
    let lane = Lane::open(context, connection, topology::DEAD, settings, beats, stop.clone()).await?;
    context.state.up(Part::Dead, context.engine.now());
    all(vec![lane], stop).await
}

/// Waits until the store accepts writes. Returns false on a stop request.
async fn wait_for_store(part: Part, context: &Context, stop: &CancellationToken) -> bool {
    context
        .state
        .waiting(part, "connected, and waiting for the store");
    context.watch.wait_for(&context.engine, stop).await;
    !stop.is_cancelled()
}

/// Records the set of lanes. Returns false on a stop request.
async fn keep_lanes(
    context: &Context,
    lanes: &[String],
    stop: &CancellationToken,
) -> Result<bool, BrokerError> {
    let mut backoff = Backoff::default();
    while let Err(error) = context.engine.set_lanes(lanes).await {
        if !error.is_transient() {
            return Err(BrokerError::Refused(format!(
                "the store cannot record the lanes: {error}"
            )));
        }
        context.watch.failed(&error);
        if !backoff.wait(stop).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the key of heartbeats. Returns None on a stop request.
async fn beats(context: &Context, stop: &CancellationToken) -> Option<Arc<Beats>> {
    let mut backoff = Backoff::default();
    loop {
        match context.engine.store().heartbeat_key().await {
            Ok(key) => return Some(Arc::new(Beats::new(key))),
            Err(error) => context.watch.failed(&error),
        }
        if !backoff.wait(stop).await {
            return None;
        }
    }
}

fn lane_settings(context: &Context, queue: &str) -> LaneSettings {
    let settings = &context.settings;
    let (prefetch, workers) = if queue == topology::DEAD {
        (settings.prefetch.min(DEAD_PREFETCH), 1)
    } else {
        (settings.prefetch, settings.concurrency)
    };
    LaneSettings {
        prefetch,
        prefetch_bytes: settings.prefetch_bytes,
        batch_max: settings.batch_max,
        workers: workers.into(),
        limits: context.limits,
    }
}

/// Runs lanes; when one ends, all end.
async fn all(lanes: Vec<Lane>, stop: &CancellationToken) -> Result<(), BrokerError> {
    let mut running = JoinSet::new();
    for lane in lanes {
        running.spawn(lane.run());
    }
    let mut result = Ok(());
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a lane panicked; this is a bug: report it with the log");
            Err(BrokerError::Unreachable("a lane panicked".into()))
        });
        result = result.and(ended);
        stop.cancel();
    }
    result
}
