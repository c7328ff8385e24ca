//! The headers of a message, whatever its transport keeps them in.

use std::borrow::Cow;

use super::text::percent_decode;

/// The headers of a message. Read in binary mode only, and kept with a dead letter.
pub trait Headers {
    /// The value of a CloudEvents attribute, without its prefix and decoded. None: not there.
    fn attribute(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// All that is worth keeping, as text.
    fn kept(&self) -> Vec<(String, String)>;
}

/// Headers as names and values: those of HTTP, and those of a dead letter, which may have come by HTTP or
/// by AMQP. Names are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The headers of an HTTP request that may be kept: CloudEvents attributes and what helps to find the
    /// sender. All else is dropped at once, above all credentials.
    pub fn of_http<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        const KEPT: [&str; 3] = ["traceparent", "tracestate", "user-agent"];
        let kept = |name: &str| {
            starts_with_ignore_case(name, "ce-") || KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
        };
        Self(
            headers
                .into_iter()
                .filter(|(name, _)| kept(name))
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
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
    fn attribute(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find_map(|(header, value)| {
            let is = |prefix: &str| {
                starts_with_ignore_case(header, prefix) && header[prefix.len()..].eq_ignore_ascii_case(name)
            };
            if is("ce-") {
                Some(Cow::Owned(percent_decode(value.as_bytes())))
            } else if is("cloudEvents_") || is("cloudEvents:") {
                Some(Cow::Borrowed(value.as_bytes()))
            } else {
                None
            }
        })
    }

    fn kept(&self) -> Vec<(String, String)> {
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
        let attribute = |name| pairs.attribute(name).map(Cow::into_owned);
        assert_eq!(attribute("id").unwrap(), b"a b");
        assert_eq!(attribute("source").unwrap(), b"a%20b");
        assert_eq!(attribute("type").unwrap(), b"x");
        assert_eq!(attribute("time"), None);
    }

    #[test]
    fn credentials_are_not_kept() {
        let pairs = Pairs::of_http([
            ("authorization", &b"Bearer secret"[..]),
            ("cookie", b"secret"),
            ("ce-id", b"1"),
            ("User-Agent", b"curl"),
        ]);
        assert_eq!(
            pairs.kept(),
            [("ce-id", "1"), ("User-Agent", "curl")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }
}
