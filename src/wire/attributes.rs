//! The attributes of an event, from any content mode, and their validation.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};

use super::headers::Headers;
use super::{
    Decoded, EventError, MAX_NAME_BYTES, MAX_SEQUENCE_BYTES, Warning, data, dataschema, unknown_fields,
};
use crate::domain::actor::MAX_ACTOR_CHARS;
use crate::domain::event::{NameVerdict, TYPES, is_reserved_source};
use crate::domain::id::clip;
use crate::domain::{Actor, ActorKind, ClientKey, Event, nearest_name};

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
    pub actor: Option<Cow<'a, str>>,
    pub actorkind: Option<Cow<'a, str>>,
    pub datacontenttype: Option<Cow<'a, str>>,
    pub dataschema: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// The attributes in binary mode; the transport's content type is that of `data`.
    pub fn of_headers(
        headers: &'a (impl Headers + ?Sized),
        content_type: Option<&'a str>,
    ) -> Result<Self, EventError> {
        let get = |name: &str| headers.attribute(name);
        Ok(Self {
            specversion: get("specversion")?,
            id: get("id")?,
            source: get("source")?,
            kind: get("type")?,
            subject: get("subject")?,
            time: get("time")?,
            sequence: get("sequence")?,
            actor: get("actor")?,
            actorkind: get("actorkind")?,
            datacontenttype: content_type.map(Cow::Borrowed),
            dataschema: get("dataschema")?,
        })
    }

    /// Validates all attributes and builds the event; `data` is JSON, or absent.
    pub fn event(&self, data: Option<&str>) -> Result<Decoded, EventError> {
        let specversion = required("specversion", self.specversion.as_deref())?;
        if specversion != "1.0" {
            return Err(EventError::Version(clip(specversion)));
        }
        let kind = required("type", self.kind.as_deref())?;
        if !TYPES.contains(&kind) {
            return Err(EventError::UnknownType {
                given: clip(kind),
                nearest: nearest_name(kind, TYPES),
            });
        }
        let id = storable("id", required("id", self.id.as_deref())?, MAX_NAME_BYTES)?;
        let source = storable(
            "source",
            required("source", self.source.as_deref())?,
            MAX_NAME_BYTES,
        )?;
        if is_reserved_source(source) {
            return Err(EventError::ReservedSource(clip(source)));
        }
        let key = ClientKey::from_subject(required("subject", self.subject.as_deref())?)?;
        let time = time(required("time", self.time.as_deref())?)?;
        let sequence = match self.sequence.as_deref() {
            Some("") => return Err(EventError::EmptySequence),
            Some(sequence) => Some(storable("sequence", sequence, MAX_SEQUENCE_BYTES)?.into()),
            None => None,
        };
        if let Some(content_type) = self.datacontenttype.as_deref()
            && !is_json(content_type)
        {
            return Err(EventError::DataType(clip(content_type)));
        }
        if let Some(uri) = self.dataschema.as_deref() {
            dataschema::check(uri)?;
        }
        let event = Event {
            source: source.into(),
            id: id.into(),
            key,
            time,
            sequence,
            kind: data::read(kind, data)?,
            actor: self.actor()?,
            name_verdict: NameVerdict::Open,
        };
        let unknown = data.map_or_else(Vec::new, |data| unknown_fields::warnings(kind, data));
        let warnings = self.schema_warning(kind).into_iter().chain(unknown).collect();
        Ok(Decoded { event, warnings })
    }
}

impl Attributes<'_> {
    /// Tenure reads `data` by the type of the event, so the schema of another type is only worth a warning.
    fn schema_warning(&self, kind: &str) -> Option<Warning> {
        let described = dataschema::event_type_of(self.dataschema.as_deref()?)?;
        (described != kind).then_some(Warning::SchemaOfOtherType { described })
    }

    fn actor(&self) -> Result<Actor, EventError> {
        let id = match self.actor.as_deref() {
            Some("") => return Err(EventError::EmptyAttribute("actor")),
            Some(id) if id.chars().count() > MAX_ACTOR_CHARS => {
                return Err(EventError::LongActor {
                    chars: id.chars().count(),
                });
            }
            Some(id) => Some(storable("actor", id, usize::MAX)?.into()),
            None => None,
        };
        let kind = self.actorkind.as_deref().map(|name| {
            ActorKind::from_name(name).ok_or_else(|| EventError::UnknownActorKind { given: clip(name) })
        });
        Ok(Actor {
            id,
            kind: kind.transpose()?,
        })
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, EventError> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|source| EventError::Time {
        given: clip(text),
        source,
    })?;
    let time = Event::truncate(time.to_utc());
    in_range("time", time)?;
    Ok(time)
}

fn required<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, EventError> {
    match value {
        None => Err(EventError::MissingAttribute(name)),
        Some("") => Err(EventError::EmptyAttribute(name)),
        Some(value) => Ok(value),
    }
}

fn storable<'a>(name: &'static str, value: &'a str, limit: usize) -> Result<&'a str, EventError> {
    if value.len() > limit {
        return Err(EventError::LongAttribute {
            name,
            bytes: value.len(),
            limit,
        });
    }
    if value.contains('\0') {
        return Err(EventError::Nul {
            place: "the attribute",
            name: name.to_owned(),
        });
    }
    Ok(value)
}

/// Years 1 to 9999: the range of RFC 3339, which both stores support.
pub(super) fn in_range(name: &'static str, time: DateTime<Utc>) -> Result<(), EventError> {
    if (1..=9999).contains(&time.year()) {
        return Ok(());
    }
    Err(EventError::OutOfRange(name))
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
