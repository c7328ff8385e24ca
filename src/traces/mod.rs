//! Traces: spans by OpenTelemetry's conventions for messaging and HTTP, sent over OTLP. Without an endpoint there is no [`Traces`],
//! and nothing is read, made or stored for an event.
//!
//! A batch of messages is a span that links the spans of their senders. A message with a trace context also has a span of its own,
//! in the trace of its sender. The store has the context of that span, so that the worker that publishes the changes of the event
//! continues the trace. A request that sends events is a span in the trace of its sender, and the parent of everything else that it
//! causes.

mod batch;
mod export;
mod publication;
mod request;
mod sampler;

use std::sync::Arc;

use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

pub use batch::{BatchTrace, Child, TracedMessage};
pub use export::{Export, ExportError, declare_counters};
pub use publication::Publication;
pub use request::{Request, Serving};

use crate::config::TelemetrySettings;
use crate::wire::TraceContext;
use export::LargeBatches;

/// The most messages that the span of a batch links.
const MOST_LINKS: u32 = 1_024;

/// Makes spans.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    large: LargeBatches,
}

impl Traces {
    /// None: the settings name no endpoint. The export must run for spans to be sent.
    ///
    /// # Errors
    /// When the settings make no exporter.
    pub fn start(settings: &TelemetrySettings) -> Result<Option<(Arc<Self>, Export)>, ExportError> {
        let Some(url) = &settings.traces_url else {
            return Ok(None);
        };
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let (queue, large, export) = export::open(url, settings, &resource)?;
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler::sampler(settings.sampling_ratio))
            .with_resource(resource)
            .with_max_links_per_span(MOST_LINKS)
            .with_span_processor(queue)
            .build();
        let traces = Self {
            tracer: provider.tracer("tenure"),
            large,
        };
        Ok(Some((Arc::new(traces), export)))
    }

    fn span(&self, builder: SpanBuilder, parent: &Context) -> Span {
        self.tracer.build_with_context(builder, parent)
    }
}

/// A span by the conventions for messaging.
fn messaging(kind: SpanKind, operation: Operation, system: &'static str, destination: &str) -> SpanBuilder {
    SpanBuilder::from_name(format!("{} {destination}", operation.name))
        .with_kind(kind)
        .with_attributes([
            KeyValue::new("messaging.system", system),
            KeyValue::new("messaging.operation.name", operation.name),
            KeyValue::new("messaging.operation.type", operation.kind),
            KeyValue::new("messaging.destination.name", destination.to_owned()),
        ])
}

/// An operation, as the conventions and as RabbitMQ name it.
#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    kind: &'static str,
}

const PROCESS: Operation = Operation {
    name: "process",
    kind: "process",
};
const PUBLISH: Operation = Operation {
    name: "publish",
    kind: "send",
};

/// The place below a span, or at the top of a new trace.
fn below(parent: Option<&TraceContext>) -> Context {
    let top = Context::new();
    match parent {
        Some(parent) => top.with_remote_span_context(remote(parent)),
        None => top,
    }
}

/// A span of another process.
fn remote(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::new(u8::from(context.is_sampled)),
        true,
        context.state.parse().unwrap_or_default(),
    )
}

/// A span as messages carry it to other processes.
fn propagated(span: &SpanContext) -> TraceContext {
    TraceContext {
        trace_id: span.trace_id().to_bytes(),
        span_id: span.span_id().to_bytes(),
        is_sampled: span.is_sampled(),
        state: span.trace_state().header(),
    }
}
