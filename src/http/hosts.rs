//! Rejects requests for unexpected hosts, which protects against DNS rebinding.
//!
//! A web page can point a domain name of its own at this machine. A browser then treats a worker on the loopback address as
//! part of that page, which may read and send anything. Such a request still carries the page's name in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Api, ApiError};
use crate::config::HttpSettings;
use crate::domain::id::clip;

/// Probes use the address of a pod, which is unknown in advance, and these paths reveal nothing.
const OPEN_PATHS: [&str; 2] = ["/livez", "/readyz"];

pub(super) struct Hosts {
    listen: Option<IpAddr>,
    named: Vec<String>,
    /// The host of `http.public_url`.
    public: Option<String>,
    /// Whether any host is accepted: a page does not know the token.
    any: bool,
}

impl Hosts {
    pub(super) fn of(settings: &HttpSettings) -> Self {
        Self {
            listen: settings.listen.map(|address| address.ip()),
            named: settings.hosts.clone(),
            public: settings.public_url.as_deref().and_then(host_of_url),
            any: settings.hosts.is_empty() && !settings.tokens.is_empty(),
        }
    }

    /// Whether a `Host`, with or without a port, is accepted. Any port is, because ports are forwarded.
    fn allow(&self, host: &str) -> bool {
        self.any || self.names(host)
    }

    /// Whether a `Host` is loopback, the address in `listen`, or configured. A browser with a session must use such a host.
    pub(super) fn names(&self, host: &str) -> bool {
        let is_configured = |host: &String| self.named.contains(host) || self.public.as_ref() == Some(host);
        match Host::of(host) {
            Some(Host::Address(address)) => {
                let address = address.to_canonical();
                address.is_loopback()
                    || self.listen.is_some_and(|listen| listen.to_canonical() == address)
                    || is_configured(&address.to_string())
            }
            Some(Host::Name(name)) => name == "localhost" || is_configured(&name),
            None => false,
        }
    }

    /// Whether a web page of this origin may change something: its host must be accepted.
    fn allow_origin(&self, origin: &str) -> bool {
        self.any
            || origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                .is_some_and(|host| self.allow(host))
    }
}

/// Whether a `Host` is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    match Host::of(host) {
        Some(Host::Address(address)) => address.to_canonical().is_loopback(),
        Some(Host::Name(name)) => name == "localhost",
        None => false,
    }
}

/// The host of a URL, in lower case.
fn host_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    match Host::of(rest.split('/').next()?)? {
        Host::Address(address) => Some(address.to_canonical().to_string()),
        Host::Name(name) => Some(name),
    }
}

enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    /// Reads a host with or without a port: `localhost:8080`, `127.0.0.1`, `[::1]:8080`.
    fn of(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self::Address(address.ip()));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(address) = bare {
            return address.parse().ok().map(Self::Address);
        }
        let name = match text.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return None,
            None => text,
        };
        if let Ok(address) = name.parse() {
            return Some(Self::Address(address));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

pub(super) async fn check(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !OPEN_PATHS.contains(&request.uri().path()) {
        check_host(&api.hosts, &request)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            check_origin(&api.hosts, request.headers())?;
        }
    }
    Ok(next.run(request).await)
}

fn check_host(hosts: &Hosts, request: &Request) -> Result<(), ApiError> {
    // A target in absolute form overrides `Host` (RFC 9112, section 3.2.2), so both must be accepted.
    let target = request.uri().authority().map(Authority::as_str);
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Err(ApiError::header("host", "it occurs twice; send it once"));
    }
    // HTTP/1.1 requires it, and every browser sends it.
    if host.is_none() && target.is_none() && request.version() == Version::HTTP_11 {
        return Err(ApiError::header("host", "it is missing; HTTP/1.1 requires it"));
    }
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()));
    for host in target.into_iter().chain(host.as_deref()) {
        if !hosts.allow(host) {
            return Err(ApiError::UnknownHost(clip(host)));
        }
    }
    Ok(())
}

/// A browser names the page that sends a request that may change something, even if it hides the response from it.
fn check_origin(hosts: &Hosts, headers: &HeaderMap) -> Result<(), ApiError> {
    for origin in headers.get_all(header::ORIGIN) {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        if !hosts.allow_origin(&origin) {
            return Err(ApiError::ForeignOrigin(clip(&origin)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(named: &[&str], listen: &str) -> Hosts {
        Hosts {
            listen: Some(listen.parse().unwrap()),
            named: named.iter().map(|name| (*name).to_owned()).collect(),
            public: None,
            any: false,
        }
    }

    #[test]
    fn loopback_the_listening_address_and_configured_hosts_are_accepted() {
        let accepted = hosts(&["tenure.example", "2001:db8::7"], "10.0.0.7");
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:80",
            "127.0.0.1",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "10.0.0.7:8080",
            "Tenure.Example:443",
            "[2001:db8::7]:1",
        ] {
            assert!(accepted.allow(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "169.254.169.254",
            "0.0.0.0",
            "[::]",
            "10.0.0.8",
            "localhost@evil.example",
            "localhost:80:80",
            "2130706433",
            "x.tenure.example",
        ] {
            assert!(!accepted.allow(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_accepted_if_its_host_is() {
        let accepted = hosts(&[], "127.0.0.1");
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"] {
            assert!(accepted.allow_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "file://",
            "localhost",
            "chrome-extension://localhost",
        ] {
            assert!(!accepted.allow_origin(origin), "{origin}");
        }
    }
}
