//! The ids of partners, clients and holdings, and the key of a client.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest partner or client id, in characters.
pub const MAX_ID_CHARS: usize = 128;
/// Longest id of a holding (subscription, assignment, user …), in characters.
pub const MAX_HOLDING_ID_CHARS: usize = 200;

/// The key of a client: one partner's record of one business. Two partners may look after the same business; these are two
/// clients. Every change repeats the key, so clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey {
    pub partner: Arc<str>,
    pub client: Arc<str>,
}

impl ClientKey {
    /// # Errors
    /// If either id is not 1–128 characters out of `A–Z a–z 0–9 . _ ~ : @ -`, or is `.` or `..`.
    pub fn new(partner: &str, client: &str) -> Result<Self, IdError> {
        check_id("partner", partner)?;
        check_id("client", client)?;
        Ok(Self {
            partner: partner.into(),
            client: client.into(),
        })
    }

    /// Reads `{partner}/{client}`, the `subject` of an event.
    ///
    /// # Errors
    /// If it is not two ids with one slash between them.
    pub fn from_subject(subject: &str) -> Result<Self, IdError> {
        let (partner, client) = subject
            .split_once('/')
            .ok_or_else(|| IdError::Subject(clip(subject)))?;
        Self::new(partner, client)
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partner, self.client)
    }
}

/// As text: `{partner}/{client}`.
impl Serialize for ClientKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let subject = String::deserialize(from)?;
        Self::from_subject(&subject).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not the id of a partner or of a client, or not a subject. `what` is `partner` or `client`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("the subject `{0}` is not `{{partner}}/{{client}}`")]
    Subject(String),
    #[error("the {what} id is empty")]
    Empty { what: &'static str },
    #[error("the {what} id is longer than {MAX_ID_CHARS} characters")]
    TooLong { what: &'static str },
    /// HTTP clients resolve these two path segments, even percent-encoded (RFC 3986, WHATWG), so no URL can contain them.
    #[error("the {what} id is `{id}`, which cannot be part of a URL path; send another id")]
    Dots { what: &'static str, id: String },
    #[error("the {what} id `{id}` has the character {found:?}; allowed are A-Z a-z 0-9 . _ ~ : @ -")]
    Character {
        what: &'static str,
        id: String,
        found: char,
    },
}

/// # Errors
/// If `id` is not 1–128 characters out of `A–Z a–z 0–9 . _ ~ : @ -`, or is `.` or `..`. The message calls it `what`.
pub fn check_id(what: &'static str, id: &str) -> Result<(), IdError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | ':' | '@' | '-');
    if id.is_empty() {
        return Err(IdError::Empty { what });
    }
    if id.chars().count() > MAX_ID_CHARS {
        return Err(IdError::TooLong { what });
    }
    if matches!(id, "." | "..") {
        return Err(IdError::Dots {
            what,
            id: id.to_owned(),
        });
    }
    match id.chars().find(|&c| !fits(c)) {
        Some(found) => Err(IdError::Character {
            what,
            id: clip(id),
            found,
        }),
        None => Ok(()),
    }
}

/// The id of a holding: 1–200 characters of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Id(Box<str>);

impl Id {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not the id of a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldingIdError {
    #[error("an id is empty")]
    Empty,
    #[error("an id is longer than {MAX_HOLDING_ID_CHARS} characters")]
    TooLong,
}

impl TryFrom<String> for Id {
    type Error = HoldingIdError;

    fn try_from(id: String) -> Result<Self, HoldingIdError> {
        match id.chars().count() {
            0 => Err(HoldingIdError::Empty),
            n if n > MAX_HOLDING_ID_CHARS => Err(HoldingIdError::TooLong),
            _ => Ok(Self(id.into_boxed_str())),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "HoldingId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_HOLDING_ID_CHARS})
    }
}

/// Shortens untrusted text that an error message quotes.
#[must_use]
pub fn clip(text: &str) -> String {
    const KEEP: usize = 80;
    if text.chars().count() <= KEEP {
        return text.to_owned();
    }
    text.chars().take(KEEP).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_two_ids() {
        assert_eq!(
            ClientKey::from_subject("acme/c-1").unwrap(),
            ClientKey::new("acme", "c-1").unwrap()
        );
        for bad in [
            "", "acme", "acme/", "/c", "a/b/c", "a b/c", "a/ü", "a/.", "a/..", "./c", "../c",
        ] {
            assert!(ClientKey::from_subject(bad).is_err(), "{bad}");
        }
        assert!(ClientKey::new("...", ".a").is_ok());
        assert!(ClientKey::new(&"a".repeat(128), "c").is_ok());
        assert!(ClientKey::new(&"a".repeat(129), "c").is_err());
    }
}
