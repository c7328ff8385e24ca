//! Heartbeats: messages that go through each lane's own queue and say when they were sent. When one comes out,
//! everything that was in the queue before it has come out too: that is the lane's watermark.
//!
//! One is under way in a lane at a time, whatever the number of workers: a queue that nobody reads does not fill up with
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio_util::sync::CancellationToken;

use super::error::BrokerError;
use super::publisher::{self, PERSISTENT};
use super::state::Part;
use super::{Context, metrics};
use crate::domain::view::rfc3339;
use crate::engine::ClockWatch;
use crate::store::{LaneProgress, Watermark};

const CONTENT_TYPE: &str = "application/vnd.tenure.heartbeat";
/// How long one is waited for before another is sent after it; and how long for RabbitMQ to confirm it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends heartbeats until told to stop, or until the connection is lost.
pub(super) async fn session(
    context: &Context,
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let channel = publisher::confirming_channel(connection).await?;
    context.state.up(Part::Heartbeat, context.engine.now());
    let mut sent = BTreeMap::new();
    loop {
        let pause = tokio::time::sleep(context.settings.heartbeat);
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(());
        }
        match context.engine.store().lanes().await {
            Ok(lanes) => {
                let beats = beat(context, &channel, &lanes, &mut sent);
                match stop.run_until_cancelled(beats).await {
                    Some(done) => done?,
                    None => return Ok(()),
                }
            }
            Err(error) => tracing::debug!(%error, "the lanes cannot be asked for"),
        }
    }
}

async fn beat(
    context: &Context,
    channel: &Channel,
    lanes: &[LaneProgress],
    sent: &mut BTreeMap<String, DateTime<Utc>>,
) -> Result<(), BrokerError> {
    if context.engine.clock().ahead().is_some() {
        // What it says would be taken for the present.
        return Ok(());
    }
    for lane in lanes {
        let now = context.engine.now().trunc_subsecs(6);
        tell_lag(lane, now);
        if is_due(
            lane,
            sent.get(&lane.lane).copied(),
            now,
            context.settings.heartbeat,
        ) {
            send(channel, &lane.lane, now).await?;
            sent.insert(lane.lane.clone(), now);
        }
    }
    Ok(())
}

/// Not while one is under way, nor when another worker's has just come out.
fn is_due(lane: &LaneProgress, sent: Option<DateTime<Utc>>, now: DateTime<Utc>, interval: Duration) -> bool {
    let within = |then: DateTime<Utc>, span: Duration| {
        let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        (TimeDelta::zero()..span).contains(&(now - then))
    };
    let under_way = sent.is_some_and(|sent| lane.watermark < Some(sent) && within(sent, PATIENCE));
    let just_come = lane.watermark.is_some_and(|at| within(at, interval / 2));
    !under_way && !just_come
}

async fn send(channel: &Channel, lane: &str, now: DateTime<Utc>) -> Result<(), BrokerError> {
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        // It survives a restart of the broker, as what is in the queue before it does.
        .with_delivery_mode(PERSISTENT)
        .with_app_id("tenure".into());
    // Without an exchange between: whoever may only publish events cannot forge one.
    let confirm = channel
        .basic_publish(
            "".into(),
            lane.into(),
            BasicPublishOptions {
                mandatory: true,
                immediate: false,
            },
            rfc3339(now).as_bytes(),
            properties,
        )
        .await?;
    let Ok(confirmed) = tokio::time::timeout(PATIENCE, confirm).await else {
        tracing::debug!(broker.queue = lane, "RabbitMQ does not confirm a heartbeat");
        return Ok(());
    };
    match confirmed? {
        Confirmation::Ack(Some(_)) => tracing::debug!(broker.queue = lane, "no queue for the heartbeat"),
        Confirmation::Nack(_) => tracing::debug!(broker.queue = lane, "the queue is full"),
        Confirmation::Ack(None) | Confirmation::NotRequested => {}
    }
    Ok(())
}

fn tell_lag(lane: &LaneProgress, now: DateTime<Utc>) {
    let Some(watermark) = lane.watermark else { return };
    let lag = (now - watermark).to_std().unwrap_or_default();
    ::metrics::gauge!(metrics::LANE_LAG, "lane" => lane.lane.clone()).set(lag.as_secs_f64());
}

/// Whether a message is a heartbeat, of whatever lane.
pub(super) fn is_heartbeat(delivery: &Delivery) -> bool {
    delivery.exchange.as_str().is_empty()
        && delivery
            .properties
            .content_type()
            .as_ref()
            .map(ShortString::as_str)
            == Some(CONTENT_TYPE)
}

/// What a heartbeat of a lane says. A clock that is well ahead of ours is not believed at all: how long ago it was sent is not
/// known.
pub(super) fn watermark(
    queue: &str,
    delivery: &Delivery,
    now: DateTime<Utc>,
    clock: &ClockWatch,
) -> Option<Watermark> {
    let sent_at: DateTime<Utc> = std::str::from_utf8(&delivery.data).ok()?.parse().ok()?;
    if clock.is_to_come(sent_at) {
        return None;
    }
    Some(Watermark {
        lane: queue.to_owned(),
        at: sent_at.min(now).trunc_subsecs(6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn one_heartbeat_is_under_way_at_a_time() {
        for (watermark, sent, now, due) in [
            (None, None, 0, true),
            // Under way.
            (None, Some(0), 5, false),
            (Some(0), Some(10), 15, false),
            // It came out.
            (Some(10), Some(10), 15, true),
            // Another worker's came out just now.
            (Some(13), Some(10), 15, false),
            (Some(13), None, 15, false),
            // Lost, or waiting behind a long backlog: another one does no harm.
            (Some(0), Some(10), 70, true),
            // The clock was set back.
            (Some(100), Some(100), 50, true),
        ] {
            let lane = LaneProgress {
                lane: "tenure.events.0".into(),
                watermark: watermark.map(at),
                recorded_at: at(0),
            };
            let is = is_due(&lane, sent.map(at), at(now), Duration::from_secs(5));
            assert_eq!(is, due, "{watermark:?} {sent:?} {now}");
        }
    }
}
