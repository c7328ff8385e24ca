//! The names of the broker's metrics; `telemetry/metrics.rs` describes each.

use super::state::Part;
use super::topology;

/// Messages received, by queue.
pub(super) const RECEIVED: &str = "tenure_broker_received_total";
/// Of these, redelivered messages, by queue.
pub(super) const REDELIVERED: &str = "tenure_broker_redelivered_total";
/// Messages whose properties the client library cannot read, by queue.
pub(super) const UNREADABLE: &str = "tenure_broker_unreadable_total";
/// Dead-lettered messages that were retried as events, by queue.
pub(super) const RETRIED: &str = "tenure_broker_retried_total";
/// Messages of a batch, by queue.
pub(super) const BATCH_MESSAGES: &str = "tenure_broker_batch_messages";
/// Time from a batch's first message to its acknowledgement, by queue.
pub(super) const BATCH_SECONDS: &str = "tenure_broker_batch_seconds";
/// Messages that the store refused and that were quarantined, by queue.
pub(super) const QUARANTINED: &str = "tenure_broker_quarantined_total";
/// Messages that RabbitMQ confirmed, by exchange.
pub(super) const CONFIRMED: &str = "tenure_publish_confirmed_total";
/// Messages that RabbitMQ rejected and that were published again, by exchange.
pub(super) const NACKED: &str = "tenure_publish_nacked_total";
/// Age of the oldest change that is being published; 0 when none waits.
pub(super) const RELAY_LAG: &str = "tenure_relay_lag_seconds";
/// 1 when connected, by connection.
pub(super) const CONNECTED: &str = "tenure_broker_connected";
/// Connections lost, by connection.
pub(super) const LOST: &str = "tenure_broker_connections_lost_total";
/// How far a lane is behind the clock, by its last heartbeat.
pub(super) const LANE_LAG: &str = "tenure_lane_lag_seconds";
/// Messages that wait in a queue, by queue.
pub(super) const QUEUE_MESSAGES: &str = "tenure_broker_queue_messages";
/// Time from an event to the confirmed publication of its changes.
pub(super) const EVENT_TO_PUBLISH: &str = "tenure_event_to_publish_seconds";

/// Declares the metrics with the labels that these lanes and parts need.
pub(super) fn declare(lanes: u16, parts: &[Part]) {
    for queue in queues(lanes) {
        for counter in [RECEIVED, REDELIVERED, UNREADABLE, QUARANTINED] {
            ::metrics::counter!(counter, "queue" => queue.clone()).increment(0);
        }
        for histogram in [BATCH_MESSAGES, BATCH_SECONDS] {
            let _ = ::metrics::histogram!(histogram, "queue" => queue.clone());
        }
    }
    ::metrics::counter!(RETRIED, "queue" => topology::DEAD).increment(0);
    for part in parts {
        ::metrics::counter!(LOST, "connection" => part.connection_name()).increment(0);
        ::metrics::gauge!(CONNECTED, "connection" => part.connection_name()).increment(0);
    }
    let exchanges = [
        (Part::Heartbeat, topology::EVENTS),
        (Part::Relay, topology::CHANGES),
    ];
    for (_, exchange) in exchanges.into_iter().filter(|(part, _)| parts.contains(part)) {
        for counter in [CONFIRMED, NACKED] {
            ::metrics::counter!(counter, "exchange" => exchange).increment(0);
        }
    }
    if parts.contains(&Part::Relay) {
        ::metrics::gauge!(RELAY_LAG).increment(0);
        let _ = ::metrics::histogram!(EVENT_TO_PUBLISH);
    }
}

/// The queues that this worker consumes.
pub(super) fn queues(lanes: u16) -> impl Iterator<Item = String> {
    (0..lanes).map(topology::lane).chain([topology::DEAD.to_owned()])
}
