//! The attributes of an event, from any content mode, and their validation.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};

use super::headers::Headers;
use super::{MAX_NAME_BYTES, MAX_SEQUENCE_BYTES, data};
use crate::domain::event::{NameVerdict, OWN_SOURCE, TYPES, is_reserved_source};
use crate::domain::id::clip;
use crate::domain::{ClientKey, Event};

/// Attributes as received.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    pub specversion: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
    pub source: Option<Cow<'a, str>>,
    pub kind: Option<Cow<'a, str>>,
    pub subject: Option<Cow<'a, str>>,
    pub time: Option<Cow<'a, str>>,
    pub sequence: Option<Cow<'a, str>>,
    pub datacontenttype: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// The attributes in binary mode; the transport's content type is that of `data`.
    pub fn of_headers(
        headers: &'a (impl Headers + ?Sized),
        content_type: Option<&'a str>,
    ) -> Result<Self, String> {
        let get = |name: &str| headers.attribute(name);
        Ok(Self {
            specversion: get("specversion")?,
            id: get("id")?,
            source: get("source")?,
            kind: get("type")?,
            subject: get("subject")?,
            time: get("time")?,
            sequence: get("sequence")?,
            datacontenttype: content_type.map(Cow::Borrowed),
        })
    }

    /// Validates all attributes and builds the event; `data` is JSON, or absent.
    pub fn event(&self, data: Option<&str>) -> Result<Event, String> {
        let specversion = required("specversion", self.specversion.as_deref())?;
        if specversion != "1.0" {
            return Err(format!(
                "the `specversion` is `{}`; Tenure reads CloudEvents 1.0",
                clip(specversion)
            ));
        }
        let kind = required("type", self.kind.as_deref())?;
        if !TYPES.contains(&kind) {
            return Err(format!("the type `{}` is not one that Tenure knows", clip(kind)));
        }
        let id = storable("id", required("id", self.id.as_deref())?, MAX_NAME_BYTES)?;
        let source = storable(
            "source",
            required("source", self.source.as_deref())?,
            MAX_NAME_BYTES,
        )?;
        if is_reserved_source(source) {
            return Err(format!(
                "the source `{}` is Tenure's own: `{OWN_SOURCE}` and whatever begins with `{OWN_SOURCE}:` is reserved; \
                 send another source",
                clip(source)
            ));
        }
        let key = ClientKey::from_subject(required("subject", self.subject.as_deref())?)?;
        let time = time(required("time", self.time.as_deref())?)?;
        let sequence = match self.sequence.as_deref() {
            Some("") => return Err("the attribute `sequence` is empty; leave it out".into()),
            Some(sequence) => Some(storable("sequence", sequence, MAX_SEQUENCE_BYTES)?.into()),
            None => None,
        };
        if let Some(content_type) = self.datacontenttype.as_deref()
            && !is_json(content_type)
        {
            return Err(format!(
                "the data is `{}`; Tenure reads JSON: application/json, or another type that ends in /json or +json",
                clip(content_type)
            ));
        }
        Ok(Event {
            source: source.into(),
            id: id.into(),
            key,
            time,
            sequence,
            kind: data::read(kind, data)?,
            name_verdict: NameVerdict::Open,
        })
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        format!(
            "the attribute `time` is `{}`, not an RFC 3339 time such as 2026-03-01T12:00:00Z ({error})",
            clip(text)
        )
    })?;
    let time = Event::cut(time.to_utc());
    in_range("time", time)?;
    Ok(time)
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    match value {
        None => Err(format!("the attribute `{name}` is missing")),
        Some("") => Err(format!("the attribute `{name}` is empty")),
        Some(value) => Ok(value),
    }
}

fn storable<'a>(name: &str, value: &'a str, max_bytes: usize) -> Result<&'a str, String> {
    if value.len() > max_bytes {
        return Err(format!(
            "the attribute `{name}` is {} bytes long; {max_bytes} are allowed",
            value.len()
        ));
    }
    if value.contains('\0') {
        return Err(nul("the attribute", name));
    }
    Ok(value)
}

/// Why a NUL is rejected: PostgreSQL cannot store it in text, and both stores must hold the same.
pub(super) fn nul(what: &str, name: &str) -> String {
    format!(
        "{what} `{name}` has a NUL character (U+0000), which a database cannot keep in text: send it without"
    )
}

/// Years 1 to 9999: the range of RFC 3339, which both stores support.
pub(super) fn in_range(name: &str, time: DateTime<Utc>) -> Result<(), String> {
    if (1..=9999).contains(&time.year()) {
        return Ok(());
    }
    Err(format!("`{name}` is outside the years 1 to 9999 (UTC)"))
}

/// Whether a content type denotes JSON: any type with the subtype `json` or the suffix `+json`, ignoring parameters
/// (JSON event format, section 3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = media_type.split_once('/') else {
        return false;
    };
    let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    !kind.is_empty() && suffix.eq_ignore_ascii_case("json")
}
