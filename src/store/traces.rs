//! The trace contexts of events, which the worker that publishes their changes reads.

use std::sync::Arc;

use super::outbox::Cursor;
use crate::domain::ClientKey;

/// A trace context, as W3C Trace Context writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHeaders {
    pub traceparent: String,
    /// Empty: none.
    pub tracestate: String,
}

/// The trace context of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrace {
    pub client: ClientKey,
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub headers: TraceHeaders,
}

/// The place of a line of the journal, and the context of the event that caused it.
pub(super) type TraceRow = (i64, i64, String, String);

pub(super) fn read((transaction, sequence, traceparent, tracestate): TraceRow) -> (Cursor, TraceHeaders) {
    let place = Cursor {
        transaction,
        sequence,
    };
    let headers = TraceHeaders {
        traceparent,
        tracestate,
    };
    (place, headers)
}
