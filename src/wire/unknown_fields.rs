//! Fields in the `data` of an event that its type does not have. Tenure ignores them and warns the sender: otherwise a misspelt
//! optional field would have no effect, and nobody would know why.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::domain::event::field_names;
use crate::domain::id::clip;
use crate::domain::nearest_name;

/// Maximum number of unknown fields of an event that are named.
const MOST: usize = 3;

/// What is unexpected about an event that was accepted nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The type has no such field.
    UnknownField {
        /// As the event spells it, clipped.
        name: String,
        /// The field that was probably intended.
        nearest: Option<&'static str>,
    },
    /// This many unknown fields are not named.
    MoreUnknownFields(usize),
    /// `dataschema` is Tenure's schema of another event type.
    SchemaOfOtherType { described: &'static str },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField {
                name,
                nearest: Some(nearest),
            } => write!(f, "`{name}` is not known; `{nearest}` is"),
            Self::UnknownField { name, nearest: None } => write!(f, "`{name}` is not known"),
            Self::SchemaOfOtherType { described } => write!(
                f,
                "`dataschema` is the schema of `{described}`, another type; the data is read by the type of the event"
            ),
            Self::MoreUnknownFields(1) => f.write_str("1 more field is not known"),
            Self::MoreUnknownFields(more) => write!(f, "{more} more fields are not known"),
        }
    }
}

/// The warnings about `data`, an object that was decoded as an event of this type.
pub(super) fn warnings(kind: &str, data: &str) -> Vec<Warning> {
    let known = field_names(kind);
    let mut reader = serde_json::Deserializer::from_str(data);
    // It was decoded before, so it is an object.
    let unknown = reader
        .deserialize_map(UnknownFields { known })
        .unwrap_or_default();
    let mut warnings = unknown.warnings;
    if unknown.more > 0 {
        warnings.push(Warning::MoreUnknownFields(unknown.more));
    }
    warnings
}

#[derive(Default)]
struct Unknown {
    warnings: Vec<Warning>,
    more: usize,
}

struct UnknownFields {
    known: &'static [&'static str],
}

/// The name of a field, borrowed if it has no escapes.
#[derive(Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for UnknownFields {
    type Value = Unknown;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Unknown, A::Error> {
        let mut unknown = Unknown::default();
        while let Some((FieldName(name), IgnoredAny)) = fields.next_entry()? {
            if self.known.contains(&name.as_ref()) {
                continue;
            }
            if unknown.warnings.len() == MOST {
                unknown.more += 1;
                continue;
            }
            unknown.warnings.push(Warning::UnknownField {
                name: clip(&name),
                nearest: nearest_name(&name, self.known),
            });
        }
        Ok(unknown)
    }
}
