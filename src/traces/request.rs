//! The span of an HTTP request, by the conventions for HTTP.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status};
use opentelemetry_sdk::trace::Span;

use super::{Traces, below, propagated};
use crate::wire::TraceContext;

/// A request that a span describes.
pub struct Request<'a> {
    pub method: &'static str,
    /// The route that it matches: the path with its parameters unnamed.
    pub route: &'static str,
    /// Without the question mark. It has no secret.
    pub query: Option<&'a str>,
    pub user_agent: Option<&'a str>,
}

/// A request while it is served. The span ends when this is dropped.
pub struct Serving {
    span: Span,
    /// What the events of the request continue.
    pub context: TraceContext,
}

impl Traces {
    /// Begins to serve a request. `sender`: the span that it names. None: a new trace begins.
    #[must_use]
    pub fn serve(&self, request: &Request<'_>, sender: Option<&TraceContext>) -> Serving {
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method),
            KeyValue::new("http.route", request.route),
            KeyValue::new("url.path", request.route),
            KeyValue::new("url.scheme", "http"),
        ];
        let more = [
            ("url.query", request.query),
            ("user_agent.original", request.user_agent),
        ];
        for (name, value) in more {
            attributes.extend(value.map(|value| KeyValue::new(name, value.to_owned())));
        }
        let builder = SpanBuilder::from_name(format!("{} {}", request.method, request.route))
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        let span = self.span(builder, &below(sender));
        let context = propagated(span.span_context());
        Serving { span, context }
    }
}

impl Serving {
    /// The response has this status.
    pub fn respond(mut self, status: u16) {
        let code = KeyValue::new("http.response.status_code", i64::from(status));
        self.span.set_attribute(code);
        // The mistakes of a client are no errors of a server.
        if status >= 500 {
            self.span
                .set_attribute(KeyValue::new("error.type", status.to_string()));
            self.span.set_status(Status::error(""));
        }
    }
}
