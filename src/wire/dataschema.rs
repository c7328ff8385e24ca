//! The URIs of the schemas of events and changes: values of the CloudEvents attribute `dataschema`.
//!
//! A type has one schema for as long as it exists: a new version may add fields and accept more, and an incompatible change is a
//! new type. So the URI names the type and has no version.

use std::sync::Arc;

use super::EventError;
use crate::domain::event::TYPES;
use crate::domain::id::clip;

/// The path under which a worker serves the schemas.
pub const SCHEMAS_PATH: &str = "/v1/schemas";

const URN: &str = "urn:tenure:schemas";

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaFamily {
    Events,
    Changes,
}

impl SchemaFamily {
    /// Its name in paths, URIs and folders.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Changes => "changes",
        }
    }
}

/// Makes the URIs of schemas. With `http.public_url` they are URLs at which this API serves the schemas, otherwise URNs. All ways
/// of publishing a change use the same settings, so a change has the same `dataschema` everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaUris {
    /// Without a slash at its end. None: URNs.
    public_url: Option<Arc<str>>,
}

impl SchemaUris {
    /// `public_url`: without a slash at its end.
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        Self {
            public_url: public_url.map(Into::into),
        }
    }

    /// The URI of the schema of a whole CloudEvent of this type.
    #[must_use]
    pub fn whole(&self, family: SchemaFamily, kind: &str) -> String {
        let family = family.as_str();
        match &self.public_url {
            Some(url) => format!("{url}{SCHEMAS_PATH}/{family}/{kind}"),
            None => format!("{URN}:{family}:{kind}"),
        }
    }

    /// The URI of the schema of its `data`: the value of `dataschema`.
    #[must_use]
    pub fn data(&self, family: SchemaFamily, kind: &str) -> String {
        let end = if self.public_url.is_some() {
            "/data"
        } else {
            ":data"
        };
        self.whole(family, kind) + end
    }
}

/// The event type whose schema of `data` a URI names, wherever a worker may serve it. None: it is not a schema of Tenure.
pub(super) fn event_type_of(uri: &str) -> Option<&'static str> {
    let urn = uri
        .strip_prefix(URN)
        .and_then(|rest| rest.strip_prefix(":events:")?.strip_suffix(":data"));
    let kind = urn.or_else(|| {
        let (_, rest) = uri.rsplit_once(SCHEMAS_PATH)?;
        rest.strip_prefix("/events/")?.strip_suffix("/data")
    })?;
    TYPES.iter().copied().find(|known| *known == kind)
}

/// Checks that a text is an absolute URI (RFC 3986): a scheme, a colon, and characters that a URI may have.
///
/// # Errors
/// If it is not.
pub(super) fn check(uri: &str) -> Result<(), EventError> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    let fits = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            )
    };
    match uri.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && !rest.is_empty() && rest.bytes().all(fits) => Ok(()),
        _ => Err(EventError::DataSchema(clip(uri))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_urls_below_the_public_url_and_urns_without_one() {
        let changes = SchemaFamily::Changes;
        let default = SchemaUris::default();
        assert_eq!(
            default.data(changes, "link.active"),
            "urn:tenure:schemas:changes:link.active:data"
        );
        let urls = SchemaUris::new(Some("https://tenure.example.com/api"));
        assert_eq!(
            urls.whole(changes, "link.active"),
            "https://tenure.example.com/api/v1/schemas/changes/link.active"
        );
        for uris in [default, urls] {
            for kind in TYPES {
                assert_eq!(event_type_of(&uris.data(SchemaFamily::Events, kind)), Some(*kind));
                assert_eq!(event_type_of(&uris.whole(SchemaFamily::Events, kind)), None);
                assert_eq!(event_type_of(&uris.data(changes, kind)), None);
            }
        }
        assert_eq!(event_type_of("https://schemas.example.com/client.added/3"), None);
    }

    #[test]
    fn only_absolute_uris_pass() {
        for uri in [
            "urn:a:b",
            "https://example.com/a?b#c",
            "x:y",
            "a+b-c.1://[::1]/%20",
        ] {
            assert_eq!(check(uri), Ok(()), "{uri}");
        }
        for text in [
            "",
            "a",
            "/schemas/1",
            "a:",
            ":a",
            "1a:b",
            "a b:c",
            "a:b c",
            "a:ü",
            "a:<b>",
            "ä:b",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
