//! URLs of endpoints: https, or http to this machine.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// The longest URL, in bytes.
const LONGEST: usize = 2_048;

/// A URL that webhooks may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// Why a text is not such a URL. The message does not contain it: it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointUrlError {
    #[error("expected a URL such as https://crm.example.com/hooks/tenure, of at most {LONGEST} bytes")]
    Malformed,
    #[error("expected https: http is only allowed to localhost, 127.0.0.1 or [::1]")]
    Plain,
    #[error("a user name or a password in the URL is not allowed; the signature shows who sends")]
    UserInfo,
    #[error("a fragment (#…) in the URL is not allowed; it is never sent")]
    Fragment,
}

impl EndpointUrl {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, EndpointUrlError> {
        if text.len() > LONGEST {
            return Err(EndpointUrlError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| EndpointUrlError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointUrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(EndpointUrlError::Fragment);
        }
        let url = Self(url);
        match url.0.scheme() {
            "https" if url.0.has_host() => Ok(url),
            "http" if url.names_this_machine() => Ok(url),
            "http" if url.0.has_host() => Err(EndpointUrlError::Plain),
            _ => Err(EndpointUrlError::Malformed),
        }
    }

    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The address, if the URL has one instead of a name. No resolver is asked for it.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// Whether whoever wrote the URL named this machine: `localhost`, or an address of loopback. A name that resolves to such an
    /// address does not.
    #[must_use]
    pub fn names_this_machine(&self) -> bool {
        match self.address() {
            Some(address) => address.to_canonical().is_loopback(),
            None => self.0.host_str() == Some(Self::LOCALHOST),
        }
    }

    /// The only name that stands for this machine.
    pub const LOCALHOST: &'static str = "localhost";
}

/// Without the query, which may have a token.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.query().is_some() {
            shown.set_query(Some("***"));
        }
        shown.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_allowed() {
        use EndpointUrlError::{Fragment, Malformed, Plain, UserInfo};
        for (url, expected) in [
            ("https://crm.example.com/hooks?key=1", Ok(())),
            ("https://10.0.0.1/", Ok(())),
            ("http://localhost:8081/hook", Ok(())),
            ("http://127.0.0.1:8081", Ok(())),
            ("http://127.1/", Ok(())),
            ("http://[::1]/", Ok(())),
            ("http://crm.example.com/", Err(Plain)),
            ("http://10.0.0.1/", Err(Plain)),
            ("http://localhost.example.com/", Err(Plain)),
            ("http://app.localhost/", Err(Plain)),
            ("https://user@crm.example.com/", Err(UserInfo)),
            ("https://:secret@crm.example.com/", Err(UserInfo)),
            ("https://crm.example.com/#top", Err(Fragment)),
            ("ftp://crm.example.com/", Err(Malformed)),
            ("crm.example.com", Err(Malformed)),
            ("https://", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            assert_eq!(EndpointUrl::parse(url).map(|_| ()), expected, "{url}");
        }
        let long = format!("https://crm.example.com/{}", "a".repeat(LONGEST));
        assert_eq!(EndpointUrl::parse(&long).err(), Some(Malformed));
    }

    #[test]
    fn a_url_is_shown_without_its_query() {
        let shown = |url| EndpointUrl::parse(url).unwrap().to_string();
        assert_eq!(shown("https://a.example/h?key=secret"), "https://a.example/h?***");
        assert_eq!(shown("https://a.example/h"), "https://a.example/h");
    }
}
