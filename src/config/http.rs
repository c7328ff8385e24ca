//! The `[http]` section: where to listen, who may call, and limits.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::TimeDelta;

use super::error::SettingsError;
use super::hosts;
use super::reader::{Reader, SESSION, TIMEOUT};
use super::tokens::{self, AccessToken};

#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// None: no HTTP.
    pub listen: Option<SocketAddr>,
    /// Empty: no authentication.
    pub tokens: Vec<AccessToken>,
    /// Whether to serve the console.
    pub console: bool,
    /// How long a browser stays signed in at most.
    pub session: TimeDelta,
    /// How long a browser stays signed in that sends no request.
    pub session_idle: TimeDelta,
    /// Accepted host names in lower case, in addition to loopback and `listen`.
    pub hosts: Vec<String>,
    /// Where other programs reach the API, without a slash at its end. None: at the host that they name.
    pub public_url: Option<String>,
    /// Maximum size of a request body, in bytes.
    pub body_limit: usize,
    /// Maximum number of events in one batch.
    pub max_events: usize,
    /// Maximum number of open connections.
    pub max_connections: usize,
    pub timeout: Duration,
    /// The most that a snapshot may take to be sent.
    pub snapshot_timeout: Duration,
}

pub(super) fn read(from: &Reader) -> Result<HttpSettings, SettingsError> {
    let tokens = tokens::read(from)?;
    let listen = listen(from, "http.listen")?;
    if listen.is_some_and(|address| !address.ip().to_canonical().is_loopback()) && tokens.is_empty() {
        return Err(from.invalid(
            "http.listen",
            "a loopback address such as 127.0.0.1:8080, because no token protects other addresses; to listen on this \
             one, set http.tokens, http.token or http.token_file",
        ));
    }
    Ok(HttpSettings {
        listen,
        tokens,
        console: from.flag("http.console")?,
        session: from.span("http.session", SESSION)?,
        session_idle: from.span("http.session_idle", SESSION)?,
        hosts: hosts::read(from, "http.hosts")?,
        public_url: public_url(from, "http.public_url")?,
        body_limit: from.number("http.body_limit", 1024..=1_073_741_824)?,
        max_events: from.number("http.max_events", 1..=1_000_000)?,
        max_connections: from.number("http.max_connections", 8..=100_000)?,
        timeout: from.duration("http.timeout", TIMEOUT)?,
        snapshot_timeout: from.duration("http.snapshot_timeout", TIMEOUT)?,
    })
}

fn listen(from: &Reader, key: &str) -> Result<Option<SocketAddr>, SettingsError> {
    let text = from.text(key)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // `localhost` is the only name that needs no resolver.
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse(),
    };
    address.map(Some).map_err(|_| {
        from.invalid(
            key,
            "an IP address and a port such as 127.0.0.1:8080 or [::1]:8080, or an empty value for no HTTP",
        )
    })
}

fn public_url(from: &Reader, key: &str) -> Result<Option<String>, SettingsError> {
    let text = from.text(key)?;
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'"' | b'<' | b'>');
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(fits) => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(from.invalid(
            key,
            "a URL such as https://tenure.example.com, without query and fragment, or an empty value",
        )),
    }
}
