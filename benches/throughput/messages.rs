//! Events as messages, encoded before the measurement.

use std::sync::Arc;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use tenure::broker::topology;
use tenure::domain::Event;
use tenure::wire;

/// Delivery mode 2: RabbitMQ writes the message to disk before it confirms.
const PERSISTENT: u8 = 2;

/// An event, ready to be published.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: Arc<str>,
    /// The event's type.
    pub routing_key: &'static str,
    pub subject: String,
    /// A trace of its own, if the workers send traces.
    pub traceparent: Option<String>,
    /// CloudEvents in structured mode.
    pub body: Vec<u8>,
}

impl Message {
    pub fn of(event: &Event) -> Self {
        Self {
            id: event.id.clone(),
            routing_key: event.kind.type_name(),
            subject: event.key.to_string(),
            traceparent: is_traced().then(|| {
                format!(
                    "00-{:032x}-{:016x}-01",
                    rand::random::<u128>() | 1,
                    rand::random::<u64>() | 1
                )
            }),
            body: wire::event(event),
        }
    }

    /// The properties that `tenure publish` sets.
    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(
            topology::HASHED_HEADER.into(),
            AMQPValue::LongString(self.subject.as_str().into()),
        );
        if let Some(parent) = &self.traceparent {
            headers.insert(
                wire::TRACEPARENT.into(),
                AMQPValue::LongString(parent.as_str().into()),
            );
        }
        BasicProperties::default()
            .with_content_type(wire::STRUCTURED.into())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("tenure".into())
            .with_message_id((&*self.id).into())
            .with_headers(headers)
    }
}

fn is_traced() -> bool {
    std::env::var_os("TENURE_TELEMETRY__OTLP_ENDPOINT").is_some()
}

/// Encodes all events.
pub fn of(events: &[Event]) -> Vec<Message> {
    events.iter().map(Message::of).collect()
}

/// The mean length of a body, in bytes.
pub fn mean_bytes(messages: &[Message]) -> f64 {
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    bytes as f64 / messages.len().max(1) as f64
}
