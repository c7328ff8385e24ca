//! The span of publishing a change, in the trace of the event that caused it.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status};
use opentelemetry_sdk::trace::Span;

use super::{PUBLISH, Traces, below, messaging, propagated};
use crate::store::Recorded;
use crate::wire::{self, TraceContext};

/// A change while it is published. The span ends when this is dropped.
pub struct Publication {
    span: Span,
    /// What the change carries.
    pub context: TraceContext,
}

impl Traces {
    /// Begins to publish a line of the journal. `event`: the context of the event that caused it.
    #[must_use]
    pub fn publish(&self, exchange: &str, epoch: i64, line: &Recorded, event: &TraceContext) -> Publication {
        let kind = line.entry.change.kind().as_str();
        let id = wire::change_id(epoch, line);
        let mut builder = messaging(SpanKind::Producer, PUBLISH, "rabbitmq", exchange);
        builder.attributes.get_or_insert_default().extend([
            KeyValue::new("messaging.rabbitmq.destination.routing_key", kind),
            KeyValue::new("messaging.message.id", id.clone()),
            KeyValue::new("cloudevents.event_id", id),
            KeyValue::new("cloudevents.event_type", kind),
            KeyValue::new("cloudevents.event_subject", line.entry.key.to_string()),
        ]);
        let span = self.span(builder, &below(Some(event)));
        let context = propagated(span.span_context());
        Publication { span, context }
    }
}

impl Publication {
    /// RabbitMQ rejected the change.
    pub fn fail(mut self) {
        self.span.set_status(Status::error("RabbitMQ rejected it"));
    }
}
