//! The text form of a moment: RFC 3339 in UTC, the same in all JSON, tables and messages.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// RFC 3339 in UTC, with as many digits of the second as the moment needs.
#[must_use]
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// For `#[serde(serialize_with)]`: the moment in the form of [`rfc3339`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*time))
}

/// For `#[serde(serialize_with)]`: the moment in the form of [`rfc3339`], or null.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_optional<S: Serializer>(time: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.serialize_str(&rfc3339(*time)),
        None => to.serialize_none(),
    }
}
