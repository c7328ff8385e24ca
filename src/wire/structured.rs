//! Structured mode: the whole event in one JSON object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::attributes::Attributes;
use super::text::base64_decode;
use super::{Decoded, Decoder, EventError, JsonError};
use crate::domain::{Event, WHOLE, of_float};

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    specversion: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    subject: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    sequence: Option<TextOrNumber<'a>>,
    #[serde(borrow)]
    actor: Option<Text<'a>>,
    #[serde(borrow)]
    actorkind: Option<Text<'a>>,
    #[serde(borrow)]
    datacontenttype: Option<Text<'a>>,
    #[serde(borrow)]
    dataschema: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Text<'a>>,
}

/// Borrows text that has no escapes; serde does that for a bare `Cow`, but not inside an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The same, or an integer, whose value is its digits: CloudEvents has attributes of the type Integer.
struct TextOrNumber<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for TextOrNumber<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        // May have more digits than any number type of the library.
        if raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let mut reader = serde_json::Deserializer::from_str(raw);
        let read = reader.deserialize_any(TextOrNumberVisitor).map_err(|error| {
            let place = format!(" at line {} column {}", error.line(), error.column());
            let full = error.to_string();
            D::Error::custom(full.strip_suffix(&place).unwrap_or(&full))
        });
        read.map(Self)
    }
}

struct TextOrNumberVisitor;

impl<'de> Visitor<'de> for TextOrNumberVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text, or {WHOLE}")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        of_float(number)
            .map(|number| Cow::Owned(number.to_string()))
            .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl Decoder {
    /// Decodes an event in structured mode.
    ///
    /// # Errors
    /// If the JSON is not a valid event.
    pub fn structured(&self, json: &[u8]) -> Result<Event, EventError> {
        self.decode_structured(json).map(|decoded| decoded.event)
    }

    pub(super) fn decode_structured(&self, json: &[u8]) -> Result<Decoded, EventError> {
        self.check_size(json)?;
        let json = utf8("the event", json)?;
        if !json.trim_ascii_start().starts_with('{') {
            return Err(not_an_object(json));
        }
        let envelope: Envelope = serde_json::from_str(json).map_err(|error| {
            let error = JsonError::explained(json, error);
            if error.is_not_json() {
                EventError::NotJson(error)
            } else {
                EventError::Envelope(error)
            }
        })?;
        let decoded;
        let data = match (envelope.data, envelope.data_base64) {
            (Some(_), Some(_)) => return Err(EventError::TwoData),
            (Some(data), None) => Some(data.get()),
            (None, Some(Text(base64))) => {
                decoded = base64_decode(&base64).ok_or(EventError::NotBase64)?;
                Some(utf8("the event's `data_base64`", &decoded)?)
            }
            (None, None) => None,
        };
        // Base64 marks the data as binary, whatever it holds; Tenure's data must be JSON anyway.
        let attributes = Attributes {
            specversion: text(envelope.specversion),
            id: text(envelope.id),
            source: text(envelope.source),
            kind: text(envelope.kind),
            subject: text(envelope.subject),
            time: text(envelope.time),
            sequence: envelope.sequence.map(|TextOrNumber(text)| text),
            actor: text(envelope.actor),
            actorkind: text(envelope.actorkind),
            datacontenttype: text(envelope.datacontenttype),
            dataschema: text(envelope.dataschema),
        };
        attributes.event(data)
    }

    pub(super) fn check_size(&self, body: &[u8]) -> Result<(), EventError> {
        let limit = self.limits.max_event_bytes;
        if body.len() > limit {
            return Err(EventError::TooLarge {
                bytes: body.len(),
                limit,
            });
        }
        Ok(())
    }
}

fn text(text: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    text.map(|Text(text)| text)
}

/// Decodes bytes as text, without a byte order mark.
pub(super) fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, EventError> {
    let text = std::str::from_utf8(bytes).map_err(|source| EventError::NotUtf8 { what, source })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn not_an_object(json: &str) -> EventError {
    if json.trim_ascii_start().is_empty() {
        return EventError::Empty;
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => EventError::NotAnObject,
        Err(error) => EventError::NotJson(JsonError::explained(json, error)),
    }
}
