//! The wire format of events and changes: CloudEvents 1.0, decoded and encoded. Pure: bytes in, values out.
//!
//! Decoding returns no errors. Input that is not a valid event becomes a [`DeadLetter`] with its bytes, its headers
//! and a reason in words, because no input may be lost or block later input.
//!
//! CloudEvents leaves these points open; this module decides them:
//! - A duplicate known name in a JSON object makes a dead letter: the intended value is ambiguous. A duplicate unknown
//!   name is ignored.
//! - An attribute, or `data`, that is `null` is absent. Absent `data` is `{}`.
//! - `sequence` may be a JSON integer; its value is the digits. An integer in `data` may be written `100.0` or `1e2`.
//! - A body with a content encoding (gzip) is not decoded. Over HTTP the response is 415; over AMQP it is a dead
//!   letter.
//! - A byte order mark before JSON is skipped; editors on Windows write it.

pub mod archive;
mod attributes;
mod batch;
mod data;
mod dataschema;
mod decode;
mod described;
mod encode;
mod error;
mod explain;
mod headers;
mod members;
mod structured;
mod text;
mod trace;
mod unknown_fields;
pub mod webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::Event;

pub use batch::{DEFAULT_MAX_EVENTS, TooManyEvents};
pub use dataschema::{SCHEMAS_PATH, SchemaFamily, SchemaUris};
pub use decode::{Message, dead_event, plain};
pub use described::Described;
pub(crate) use encode::traced_change;
pub use encode::{change, change_id, event, id_of_change};
pub use error::EventError;
pub use explain::JsonError;
pub(crate) use headers::{CONTENT_ENCODING, find, is_attribute, stored_value};
pub use headers::{Headers, Pairs, is_plain_encoding};
pub use members::Members;
pub(crate) use text::percent_decode;
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext};
pub use unknown_fields::Warning;

#[cfg(doc)]
use crate::store::DeadLetter;

/// The content type of one event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The content type of a JSON array of events.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Maximum length of `id` and `source` in bytes: they form a key in the store.
pub const MAX_NAME_BYTES: usize = 512;
/// Maximum length of `sequence` in bytes: it is part of an index in the store.
pub const MAX_SEQUENCE_BYTES: usize = 128;

/// The limits on valid events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of an event in bytes as sent, without the transport's headers.
    pub max_event_bytes: usize,
    /// How far `time` may be ahead of the local clock: clocks differ, but tomorrow has not happened yet.
    pub max_clock_skew: Duration,
}

impl Default for Limits {
    /// As in `config/default.toml`; a test compares them.
    fn default() -> Self {
        Self {
            max_event_bytes: 256 << 10,
            max_clock_skew: Duration::from_mins(5),
        }
    }
}

/// An event as it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub event: Event,
    /// What the sender should know about the event. It changes nothing about its effect.
    pub warnings: Vec<Warning>,
}

/// Decodes events as of one moment.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    limits: Limits,
    now: DateTime<Utc>,
    max_events: usize,
}

impl Decoder {
    #[must_use]
    pub fn new(limits: Limits, now: DateTime<Utc>) -> Self {
        Self {
            limits,
            now,
            max_events: DEFAULT_MAX_EVENTS,
        }
    }

    /// Replaces the bound on the number of events in a batch, [`DEFAULT_MAX_EVENTS`].
    #[must_use]
    pub fn with_max_events(self, max_events: usize) -> Self {
        Self { max_events, ..self }
    }
}
