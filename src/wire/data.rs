//! The `data` of an event: decoded directly into the event kind, without an intermediate tree of JSON values.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, MapAccess};

use super::attributes::in_range;
use super::{EventError, JsonError};
use crate::domain::EventKind;

/// Decodes the data of an event of a known type.
pub(super) fn read(kind: &str, data: Option<&str>) -> Result<EventKind, EventError> {
    let data = data.unwrap_or("{}");
    // Check before serde does: derived deserializers accept an array as an object, field by field.
    if !data.trim_ascii_start().starts_with('{') {
        return Err(not_an_object(data));
    }
    let parts = MapAccessDeserializer::new(Parts {
        kind,
        data,
        next: Part::Type,
    });
    let mut read = EventKind::deserialize(parts).map_err(|error| EventError::Data {
        kind: kind.to_owned(),
        source: JsonError::explained(data, error),
    })?;
    if data.contains("\\u0000") {
        refuse_nul(&read)?;
    }
    read = read.truncate();
    if let Some(paid_until) = paid_until(&read) {
        in_range("paid_until", paid_until)?;
    }
    Ok(read)
}

/// Presents an event's type and data in the form that the deserializer of [`EventKind`] expects: an object of both, the
/// type first.
struct Parts<'a> {
    kind: &'a str,
    data: &'a str,
    next: Part,
}

enum Part {
    Type,
    Data,
    End,
}

impl<'de> MapAccess<'de> for Parts<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let key = match self.next {
            Part::Type => "type",
            Part::Data => "data",
            Part::End => return Ok(None),
        };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        if matches!(self.next, Part::Type) {
            self.next = Part::Data;
            return seed.deserialize(BorrowedStrDeserializer::new(self.kind));
        }
        self.next = Part::End;
        let mut json = serde_json::Deserializer::from_str(self.data);
        let value = seed.deserialize(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

fn not_an_object(data: &str) -> EventError {
    match serde_json::from_str::<serde::de::IgnoredAny>(data) {
        Ok(_) => EventError::DataNotAnObject,
        Err(error) => EventError::DataNotJson(JsonError::explained(data, error)),
    }
}

/// Called only if the bytes contain the escape of a NUL. The escape may be in an unknown field (which is not stored, so
/// it does no harm), or be an escaped backslash and four zeros.
fn refuse_nul(kind: &EventKind) -> Result<(), EventError> {
    let Ok(serde_json::Value::Object(tagged)) = serde_json::to_value(kind) else {
        return Ok(());
    };
    let fields = tagged.get("data").and_then(serde_json::Value::as_object);
    let found = fields
        .into_iter()
        .flatten()
        .find(|(_, value)| value.as_str().is_some_and(|text| text.contains('\0')));
    match found {
        Some((field, _)) => Err(EventError::Nul {
            place: "the data's",
            name: field.clone(),
        }),
        None => Ok(()),
    }
}

fn paid_until(kind: &EventKind) -> Option<DateTime<Utc>> {
    match kind {
        EventKind::SubscriptionAdded { paid_until, .. } => *paid_until,
        EventKind::SubscriptionRenewed { paid_until, .. } => Some(*paid_until),
        _ => None,
    }
}
