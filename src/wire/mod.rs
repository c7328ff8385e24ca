//! How events and changes look on the wire: CloudEvents 1.0, read and written. Pure: bytes in, values out.
//!
//! Reading never fails as such. What cannot be an event comes out as a [`DeadLetter`] with its bytes, its
//! headers and a reason in words, because nothing that was sent to us may be lost, or hold up what
//! comes after it.
//!
//! Decided here, because CloudEvents leaves it open:
//! - A known name that is given twice in one JSON object makes a dead letter: nobody can tell which of the
//!   two was meant. An unknown name may be given twice; it is not looked at.
//! - An attribute, or `data`, that is `null` is absent. `data` that is absent is `{}`.
//! - `sequence` may be a whole number in JSON; it stands for its digits. A whole number in `data` may be written
//!   `100.0` or `1e2`.
//! - A body with a content encoding (gzip) is not decoded. Over HTTP it is answered with 415, over AMQP it is a dead letter.
//! - A byte order mark before JSON is skipped; editors on Windows put it there.

mod attributes;
mod batch;
mod data;
mod decode;
mod encode;
mod explain;
mod headers;
mod members;
mod structured;
mod text;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub use batch::{DEFAULT_MAX_EVENTS, TooManyEvents};
pub use decode::{Message, plain};
pub use encode::{change, change_id, event};
pub(crate) use headers::{CONTENT_ENCODING, find, is_attribute, stored_value};
pub use headers::{Headers, Pairs, is_plain_encoding};
pub use members::Members;

#[cfg(doc)]
use crate::store::DeadLetter;

/// The content type of one event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The content type of a JSON array of events.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Longest `id` and `source`, in bytes: they are a key in the store.
pub const MAX_NAME_BYTES: usize = 512;
/// Longest `sequence`, in bytes: it is part of an index in the store.
pub const MAX_SEQUENCE_BYTES: usize = 128;

/// What is still taken as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest event, in bytes as sent, without the transport's headers.
    pub max_event_bytes: usize,
    /// How far `time` may be ahead of our clock: clocks differ, but tomorrow has not happened yet.
    pub max_clock_skew: Duration,
}

impl Default for Limits {
    /// As in `config/default.toml`, which a test compares.
    fn default() -> Self {
        Self {
            max_event_bytes: 256 << 10,
            max_clock_skew: Duration::from_mins(5),
        }
    }
}

/// Reads events as of one moment.
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

    /// With another bound on the number of events in a batch than [`DEFAULT_MAX_EVENTS`].
    #[must_use]
    pub fn with_max_events(self, max_events: usize) -> Self {
        Self { max_events, ..self }
    }
}
