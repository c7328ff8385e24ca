//! The headers of a message, independent of the transport.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::EventError;
use super::text::{percent_decode, unquote};
use crate::domain::id::clip;

/// The headers of a message. They are decoded in binary mode only, and stored with a dead letter. The same headers give
/// the same attributes from every source: from a transport, and from a dead letter on redrive.
pub trait Headers {
    /// The value of a CloudEvents attribute. None: the attribute is absent.
    ///
    /// # Errors
    /// If the value is unreadable, or the attribute occurs more than once.
    fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, EventError>;

    /// The encoding of the body, if stated.
    fn content_encoding(&self) -> Option<&str>;

    /// All headers worth storing, as text.
    fn stored_headers(&self) -> Vec<(String, String)>;
}

/// How a header's value encodes the value of its attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// `ce-id`: quoted and percent-encoded.
    Http,
    /// `cloudEvents_id`, `cloudEvents:id`: verbatim.
    Amqp,
}

/// The header that stores the content encoding of a message with its dead letter.
pub(crate) const CONTENT_ENCODING: &str = "content-encoding";

/// The attribute that a header carries. AMQP messages may use the headers of the HTTP binding too, so a bridge can
/// forward messages unchanged.
fn attribute_of(header: &str) -> Option<(Binding, &str)> {
    let prefixes = [
        ("ce-", Binding::Http),
        ("cloudEvents_", Binding::Amqp),
        ("cloudEvents:", Binding::Amqp),
    ];
    prefixes
        .into_iter()
        .find(|(prefix, _)| starts_with_ignore_case(header, prefix))
        .map(|(prefix, binding)| (binding, &header[prefix.len()..]))
}

/// Whether a header carries an attribute.
pub(crate) fn is_attribute(header: &str) -> bool {
    attribute_of(header).is_some()
}

/// Finds an attribute among headers of any binding.
///
/// # Errors
/// As [`Headers::attribute`].
pub(crate) fn find<'a>(
    name: &str,
    headers: impl IntoIterator<Item = (&'a str, Cow<'a, [u8]>)>,
) -> Result<Option<Cow<'a, str>>, EventError> {
    let mut found = None;
    for (header, value) in headers {
        if let Some((binding, attribute)) = attribute_of(header)
            && attribute.eq_ignore_ascii_case(name)
            && found.replace((binding, header, value)).is_some()
        {
            return Err(EventError::RepeatedAttribute(name.to_owned()));
        }
    }
    let Some((binding, header, value)) = found else {
        return Ok(None);
    };
    let value = match binding {
        Binding::Amqp => value,
        Binding::Http => match unquote(value.trim_ascii()) {
            Some(text) => Cow::Owned(percent_decode(&text)),
            None => {
                return Err(EventError::UnquotedAttribute {
                    name: name.to_owned(),
                    header: clip(header),
                });
            }
        },
    };
    let text = match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    // A dead letter stores headers as text; there, this character replaces bytes that are not UTF-8.
    text.filter(|text| binding == Binding::Http || !text.contains(char::REPLACEMENT_CHARACTER))
        .map(Some)
        .ok_or_else(|| EventError::AttributeNotUtf8(name.to_owned()))
}

/// A header's value as text for storage. Invalid UTF-8 is percent-encoded where that is equivalent, and replaced
/// elsewhere.
pub(crate) fn stored_value(header: &str, value: &[u8]) -> String {
    let is_encoded = attribute_of(header).is_some_and(|(binding, _)| binding == Binding::Http);
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        if is_encoded {
            for byte in chunk.invalid() {
                let _ = write!(text, "%{byte:02X}");
            }
        } else if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// Whether this content encoding leaves the body unchanged: some AMQP libraries set it to the character set.
#[must_use]
pub fn is_plain_encoding(encoding: &str) -> bool {
    ["", "identity", "utf-8", "utf8", "us-ascii", "binary"]
        .iter()
        .any(|plain| encoding.trim().eq_ignore_ascii_case(plain))
}

/// Headers as names and values: from HTTP, or from a dead letter, which may have arrived over HTTP or AMQP. Name
/// comparison ignores case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The headers of an HTTP request that may be stored: CloudEvents attributes and headers that help to find the
    /// sender. All others are dropped immediately, above all credentials.
    pub fn of_http<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        const STORED: [&str; 3] = ["traceparent", "tracestate", "user-agent"];
        let is_stored = |name: &str| {
            starts_with_ignore_case(name, "ce-")
                || STORED.iter().any(|stored| name.eq_ignore_ascii_case(stored))
        };
        Self(
            headers
                .into_iter()
                .filter(|(name, _)| is_stored(name))
                .map(|(name, value)| (name.to_owned(), stored_value(name, value)))
                .collect(),
        )
    }
}

impl From<Vec<(String, String)>> for Pairs {
    fn from(headers: Vec<(String, String)>) -> Self {
        Self(headers)
    }
}

impl Headers for Pairs {
    fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, EventError> {
        let headers = self.0.iter();
        find(
            name,
            headers.map(|(header, value)| (&**header, Cow::Borrowed(value.as_bytes()))),
        )
    }

    fn content_encoding(&self) -> Option<&str> {
        let is = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(CONTENT_ENCODING);
        self.0.iter().find(is).map(|(_, value)| &**value)
    }

    fn stored_headers(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_under_the_prefix_of_each_transport() {
        let pairs = Pairs::from(
            [
                ("CE-Id", "a%20b"),
                ("cloudEvents_source", "a%20b"),
                ("cloudEvents:type", "x"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        );
        let attribute = |name| pairs.attribute(name).unwrap().map(Cow::into_owned);
        assert_eq!(attribute("id").unwrap(), "a b");
        assert_eq!(attribute("source").unwrap(), "a%20b");
        assert_eq!(attribute("type").unwrap(), "x");
        assert_eq!(attribute("time"), None);
    }

    #[test]
    fn http_values_are_unquoted_and_decoded_once() {
        for (value, expected) in [
            (&b"a%20b"[..], Ok("a b")),
            (b"\"1.0\"", Ok("1.0")),
            (b"\"a \\\"b\\\" c\\\\d\"", Ok("a \"b\" c\\d")),
            (b"\"%20%2541\"", Ok(" %41")),
            (b"Euro%20%e2%82%AC", Ok("Euro €")),
            ("é".as_bytes(), Ok("é")),
            (b"a\"b\"", Ok("a\"b\"")),
            (b"\"\"", Ok("")),
            (b"a%ff", Err("not UTF-8")),
            (b"%C0%A0", Err("not UTF-8")),
            (b"a\xffb", Err("not UTF-8")),
            (b"\"a", Err("not a quoted string")),
            (b"\"", Err("not a quoted string")),
            (b"\"a\"b\"", Err("not a quoted string")),
            (b"\"a\\\"", Err("not a quoted string")),
        ] {
            let pairs = Pairs::of_http([("ce-id", value)]);
            let found = pairs.attribute("id").map(|value| value.unwrap().into_owned());
            match expected {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text), "{value:?}"),
                Err(why) => assert!(found.unwrap_err().to_string().contains(why), "{value:?}"),
            }
            // A dead letter gives the same result on redrive.
            let again = Pairs::from(pairs.stored_headers());
            assert_eq!(again.attribute("id"), pairs.attribute("id"));
        }
    }

    #[test]
    fn an_attribute_in_two_headers_is_refused() {
        for two in [
            ["ce-id", "CE-ID"],
            ["ce-id", "cloudEvents_id"],
            ["cloudEvents:id", "cloudEvents_id"],
        ] {
            let pairs = Pairs::from(two.map(|name| (name.to_owned(), "1".to_owned())).to_vec());
            let error = pairs.attribute("id").unwrap_err();
            assert!(error.to_string().contains("`id` is given twice"), "{error}");
            assert_eq!(pairs.attribute("source"), Ok(None));
        }
    }

    #[test]
    fn credentials_are_not_stored() {
        let pairs = Pairs::of_http([
            ("authorization", &b"Bearer secret"[..]),
            ("cookie", b"secret"),
            ("ce-id", b"1"),
            ("User-Agent", b"curl"),
        ]);
        assert_eq!(
            pairs.stored_headers(),
            [("ce-id", "1"), ("User-Agent", "curl")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }
}
