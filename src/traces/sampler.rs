//! Which traces are recorded.

use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// OpenTelemetry's `parentbased_traceidratio`, except for batches: a span with a parent is recorded if its parent is. Of the others,
/// this fraction of traces is, and every batch with a message whose sender records its trace: the span of a batch has links in place
/// of a parent.
pub(super) fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(LinkBased(Sampler::TraceIdRatioBased(ratio))))
}

#[derive(Clone, Debug)]
struct LinkBased(Sampler);

impl ShouldSample for LinkBased {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if links.iter().any(|link| link.span_context.is_sampled()) {
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}
