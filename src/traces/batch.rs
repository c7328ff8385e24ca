//! The spans of a batch of messages: of the batch, of what is done for all of it, and of each message with a trace context.

use std::sync::Arc;

use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use super::{PROCESS, Traces, below, messaging, propagated, remote};
use crate::domain::Event;
use crate::store::{EventTrace, TraceHeaders};
use crate::wire::TraceContext;

/// A message of a batch.
pub struct TracedMessage<'a> {
    /// None: it is not a valid event.
    pub event: Option<&'a Event>,
    /// The span that its sender names. None: it names none.
    pub sender: Option<TraceContext>,
}

/// The spans of a batch while it is ingested. They end when this is dropped.
pub struct BatchTrace {
    traces: Arc<Traces>,
    /// Has the span of the batch.
    context: Context,
    /// The span of each message that has one.
    messages: Vec<Option<Span>>,
}

/// A span of work for a whole batch. It ends when this is dropped.
pub struct Child(#[expect(dead_code, reason = "its drop ends the span")] Span);

impl BatchTrace {
    /// Begins the spans of a batch. `origin`: where the messages come from, as in a dead letter. `request`: the span of the request
    /// that sent all of them; it is the parent of those whose sender names none.
    #[must_use]
    pub fn begin(
        traces: &Arc<Traces>,
        origin: &str,
        request: Option<&TraceContext>,
        messages: &[TracedMessage<'_>],
    ) -> Self {
        let (system, destination) = place(origin);
        let senders = messages.iter().filter_map(|message| message.sender.as_ref());
        let is_any_sampled = senders.clone().any(|sender| sender.is_sampled);
        let links: Vec<Link> = senders.map(|sender| Link::with_context(remote(sender))).collect();
        let mut builder = messaging(SpanKind::Consumer, PROCESS, system, destination).with_links(links);
        let count = KeyValue::new(
            "messaging.batch.message_count",
            i64::try_from(messages.len()).unwrap_or(i64::MAX),
        );
        builder.attributes.get_or_insert_default().push(count);
        // As a child of a request that is not recorded, the batch would not be, although a sender records its trace.
        let parent = request.filter(|request| request.is_sampled || !is_any_sampled);
        let batch = traces.span(builder, &below(parent));
        let batch_link = Link::with_context(batch.span_context().clone());
        let messages = messages.iter().map(|message| {
            let parent = message.sender.as_ref().or(request)?;
            let event = message.event?;
            let builder = of_event(
                messaging(SpanKind::Consumer, PROCESS, system, destination)
                    .with_links(vec![batch_link.clone()]),
                event,
            );
            Some(traces.span(builder, &below(Some(parent))))
        });
        let messages = messages.collect();
        Self {
            traces: traces.clone(),
            context: Context::new().with_span(batch),
            messages,
        }
    }

    /// Begins a span of work for the whole batch.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Child {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal);
        Child(self.traces.span(builder, &self.context))
    }

    /// The contexts of these events, for whoever publishes their changes. Each event has its place in the batch.
    #[must_use]
    pub fn stored<'e>(&self, events: impl IntoIterator<Item = (usize, &'e Event)>) -> Vec<EventTrace> {
        let stored = |(place, event): (usize, &Event)| {
            let span = self.messages.get(place)?.as_ref()?;
            let context = propagated(span.span_context());
            Some(EventTrace {
                client: event.key.clone(),
                source: event.source.clone(),
                id: event.id.clone(),
                headers: TraceHeaders {
                    traceparent: context.traceparent(),
                    tracestate: context.state,
                },
            })
        };
        events.into_iter().filter_map(stored).collect()
    }

    /// The batch is committed, with these outcomes.
    pub fn succeed(mut self, outcomes: impl Iterator<Item = &'static str>) {
        for (span, outcome) in self.messages.iter_mut().zip(outcomes) {
            if let Some(span) = span {
                span.set_attribute(KeyValue::new("tenure.outcome", outcome));
            }
        }
    }

    /// The batch is not committed, and its messages are tried again.
    pub fn fail(mut self, error: &impl ToString) {
        self.context.span().set_status(Status::error(error.to_string()));
        for span in self.messages.iter_mut().flatten() {
            span.set_status(Status::error("the batch was not committed"));
        }
    }
}

impl Drop for BatchTrace {
    fn drop(&mut self) {
        // The batch ends first.
        self.context = Context::new();
        let spans = std::mem::take(&mut self.messages).into_iter().flatten();
        self.traces.large.end(spans.collect());
    }
}

/// Adds the attributes of CloudEvents.
fn of_event(mut builder: SpanBuilder, event: &Event) -> SpanBuilder {
    builder.attributes.get_or_insert_default().extend([
        KeyValue::new("messaging.message.id", event.id.clone()),
        KeyValue::new("cloudevents.event_id", event.id.clone()),
        KeyValue::new("cloudevents.event_source", event.source.clone()),
        KeyValue::new("cloudevents.event_type", event.kind.type_name()),
        KeyValue::new("cloudevents.event_subject", event.key.to_string()),
    ]);
    builder
}

/// The system and the destination of an origin such as `amqp:tenure.events.0`, `http` or `file:events.ndjson:17`.
fn place(origin: &str) -> (&'static str, &str) {
    match origin.split_once(':') {
        Some(("amqp", queue)) => ("rabbitmq", queue),
        Some(("file", _)) => ("file", "file"),
        _ => ("http", "/v1/events"),
    }
}
