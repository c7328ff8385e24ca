//! Why a message is not a valid event. The display of an error is the reason of the dead letter.

use std::str::Utf8Error;

use super::STRUCTURED;
use super::explain::JsonError;
use crate::domain::ActorKind;
use crate::domain::actor::MAX_ACTOR_CHARS;
use crate::domain::event::OWN_SOURCE;
use crate::domain::id::IdError;

/// Why a message is not a valid event. Text of the message is clipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("the body has the content encoding `{0}`, which Tenure does not decode; send it without one")]
    ContentEncoding(String),
    #[error("the event is {bytes} bytes long; {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("{what} is not UTF-8, from byte {} on", source.valid_up_to())]
    NotUtf8 { what: &'static str, source: Utf8Error },
    #[error("the message is a batch, but one event is expected; send the events one by one")]
    UnexpectedBatch,
    #[error(
        "the message {} and no header for `specversion`: an event has the content type {STRUCTURED}, or its attributes in \
         headers (cloudEvents_id … or ce-id …)",
        found(.content_type.as_deref())
    )]
    NoEvent { content_type: Option<String> },
    #[error("the batch is not a JSON array of events: {0}")]
    NotABatch(#[source] JsonError),

    #[error("the event is empty")]
    Empty,
    #[error("the event is JSON, but not an object")]
    NotAnObject,
    #[error("the event {0}")]
    NotJson(#[source] JsonError),
    #[error("the event: {0}")]
    Envelope(#[source] JsonError),
    #[error("the event has both `data` and `data_base64`")]
    TwoData,
    #[error("the event's `data_base64` is not base64")]
    NotBase64,

    #[error("the attribute `{0}` is missing")]
    MissingAttribute(&'static str),
    #[error("the attribute `{0}` is empty")]
    EmptyAttribute(&'static str),
    #[error("the attribute `sequence` is empty; leave it out")]
    EmptySequence,
    #[error("the attribute `{name}` is {bytes} bytes long; {limit} are allowed")]
    LongAttribute {
        name: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("the attribute `actor` is {chars} characters long; {MAX_ACTOR_CHARS} are allowed")]
    LongActor { chars: usize },
    #[error("the attribute `actorkind` is `{given}`; expected {}", ActorKind::NAMES.join(", "))]
    UnknownActorKind { given: String },
    #[error("the attribute `{0}` is given twice; send one header for it")]
    RepeatedAttribute(String),
    #[error(
        "the attribute `{name}` is not a quoted string: the header `{header}` begins with a double quote; end it with one, \
         or write %22"
    )]
    UnquotedAttribute { name: String, header: String },
    #[error("the attribute `{0}` is not UTF-8")]
    AttributeNotUtf8(String),
    #[error("the `specversion` is `{0}`; Tenure reads CloudEvents 1.0")]
    Version(String),
    #[error("unknown event type `{given}`{}", nearest.map(|name| format!("; `{name}` is one")).unwrap_or_default())]
    UnknownType {
        given: String,
        /// The type that may be meant.
        nearest: Option<&'static str>,
    },
    #[error(
        "the source `{0}` is Tenure's own: `{OWN_SOURCE}` and whatever begins with `{OWN_SOURCE}:` is reserved; send another \
         source"
    )]
    ReservedSource(String),
    #[error(transparent)]
    Subject(#[from] IdError),
    #[error(
        "the attribute `time` is `{given}`, not an RFC 3339 time such as 2026-03-01T12:00:00Z ({})",
        if given.parse::<chrono::NaiveDateTime>().is_ok() { "the time zone is missing".to_owned() } else { source.to_string() }
    )]
    Time {
        given: String,
        source: chrono::ParseError,
    },
    #[error(
        "the data is `{0}`; Tenure reads JSON: application/json, or another type that ends in /json or +json"
    )]
    DataType(String),

    #[error(
        "the attribute `dataschema` is `{0}`, not a URI such as urn:example:client-added; leave it out, or send a URI"
    )]
    DataSchema(String),

    #[error("the data is not a JSON object")]
    DataNotAnObject,
    #[error("the data {0}")]
    DataNotJson(#[source] JsonError),
    #[error("the data of {kind}: {source}")]
    Data { kind: String, source: JsonError },
    /// PostgreSQL cannot store it in text, and both stores must hold the same.
    #[error(
        "{place} `{name}` has a NUL character (U+0000), which a database cannot store in text; remove the character"
    )]
    Nul { place: &'static str, name: String },
    #[error("`{0}` is outside the years 1 to 9999 (UTC)")]
    OutOfRange(&'static str),
}

fn found(content_type: Option<&str>) -> String {
    content_type.map_or_else(
        || "has no content type".to_owned(),
        |text| format!("has the content type `{text}`"),
    )
}
