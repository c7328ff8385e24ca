//! The trace that a request with events belongs to (W3C Trace Context).

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use crate::traces::{self, Serving};
use crate::wire::{TRACEPARENT, TRACESTATE, TraceContext};

/// The route that sends events. Others have no spans.
const EVENTS: &str = "/v1/events";
/// Bytes of the header `user-agent` that a span has: spans wait in memory.
const LONGEST_AGENT: usize = 256;

/// The span of a request. A request has it as an extension if traces are on.
#[derive(Clone)]
pub(super) struct RequestSpan(pub TraceContext);

/// Makes a span of each authenticated request that sends events. One that is cut off by the time limit has no status.
pub(super) async fn trace(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let Some(serving) = begin(&api, &request) else {
        return next.run(request).await;
    };
    request
        .extensions_mut()
        .insert(RequestSpan(serving.context.clone()));
    let response = next.run(request).await;
    serving.respond(response.status().as_u16());
    response
}

/// None: traces are off, or the request sends no events.
fn begin(api: &Api, request: &Request) -> Option<Serving> {
    let traces = api.engine.get()?.traces()?;
    let route = request.extensions().get::<MatchedPath>()?;
    if request.method() != Method::POST || route.as_str() != EVENTS {
        return None;
    }
    let user_agent = request.headers().get(header::USER_AGENT);
    // Only ASCII is a text here, so that it may end anywhere.
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    let described = traces::Request {
        method: "POST",
        route: EVENTS,
        query: request.uri().query().filter(|query| is_known(query)),
        user_agent: user_agent.map(|text| &text[..text.len().min(LONGEST_AGENT)]),
    };
    Some(traces.serve(&described, sender(request.headers()).as_ref()))
}

/// Whether a query has only what the route knows. Another one is rejected, and may have a token by mistake.
fn is_known(query: &str) -> bool {
    matches!(query, "dry_run=true" | "dry_run=false")
}

/// The span that the sender of a request names in its headers.
pub(super) fn sender(headers: &HeaderMap) -> Option<TraceContext> {
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().ok());
    let mut parents = texts(TRACEPARENT);
    let parent = parents.next()??;
    if parents.next().is_some() {
        // It is not known which of them is meant.
        return None;
    }
    // A long list may be split into several headers.
    let states: Option<Vec<&str>> = texts(TRACESTATE).collect();
    TraceContext::parse(parent, states.map(|states| states.join(",")).as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&'static str, &str)| {
            let name: axum::http::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        };
        pairs.iter().map(parsed).collect()
    }

    #[test]
    fn a_span_has_no_query_that_may_be_secret() {
        assert!(is_known("dry_run=true") && is_known("dry_run=false"));
        for query in ["", "token=secret", "dry_run=true&token=secret", "dry_run=secret"] {
            assert!(!is_known(query), "{query}");
        }
    }

    #[test]
    fn a_request_names_one_span_and_may_split_its_state() {
        let found = sender(&headers(&[
            (TRACEPARENT, PARENT),
            (TRACESTATE, "a=1"),
            (TRACESTATE, "b=2"),
        ]))
        .unwrap();
        assert_eq!(
            (found.traceparent().as_str(), found.state.as_str()),
            (PARENT, "a=1,b=2")
        );
        assert_eq!(sender(&headers(&[(TRACEPARENT, PARENT)])).unwrap().state, "");
        assert_eq!(
            sender(&headers(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)])),
            None
        );
        assert_eq!(sender(&headers(&[(TRACESTATE, "a=1")])), None);
        let unreadable = sender(&headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "\u{e9}=1")]));
        assert_eq!(unreadable.unwrap().state, "");
    }
}
