//! The `data` of an event: decoded directly into the event kind, without an intermediate tree of JSON values.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, MapAccess};

use super::attributes::{in_range, nul};
use super::explain::explain;
use crate::domain::EventKind;

/// Decodes the data of an event of a known type.
pub(super) fn read(kind: &str, data: Option<&str>) -> Result<EventKind, String> {
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
    let mut read = EventKind::deserialize(parts)
        .map_err(|error| format!("the data of {kind}: {}", explain(data, &error)))?;
    if data.contains("\\u0000") {
        refuse_nul(&read)?;
    }
    read = read.cut();
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

fn not_an_object(data: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(data) {
        Ok(_) => "the data is not a JSON object".into(),
        Err(error) => format!("the data {}", explain(data, &error)),
    }
}

/// Called only if the bytes contain the escape of a NUL. The escape may be in an unknown field (which is not stored, so
/// it does no harm), or be an escaped backslash and four zeros.
fn refuse_nul(kind: &EventKind) -> Result<(), String> {
    let Ok(serde_json::Value::Object(tagged)) = serde_json::to_value(kind) else {
        return Ok(());
    };
    let fields = tagged.get("data").and_then(serde_json::Value::as_object);
    let found = fields
        .into_iter()
        .flatten()
        .find(|(_, value)| value.as_str().is_some_and(|text| text.contains('\0')));
    found.map_or(Ok(()), |(field, _)| Err(nul("the data's", field)))
}

fn paid_until(kind: &EventKind) -> Option<DateTime<Utc>> {
    match kind {
        EventKind::SubscriptionAdded { paid_until, .. } => *paid_until,
        EventKind::SubscriptionRenewed { paid_until, .. } => Some(*paid_until),
        _ => None,
    }
}
