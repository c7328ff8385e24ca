//! Sends one message to an endpoint: signed, bounded in time and size, without redirects and without proxies, and only to addresses
//! that are allowed.
//!
//! The address is checked where it is used: a name is resolved once for each connection, the resolver returns only allowed
//! addresses, and the connection is made to one of those. A name that resolves to another address a moment later changes nothing.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, redirect};

use crate::config::WebhookSettings;
use crate::wire;
use crate::wire::webhook::{EndpointUrl, Networks, NotPublic, SigningKey, signatures};

/// How much of a response is read, in bytes. More is not needed, and the connection is closed instead.
const RESPONSE_BYTES: usize = 4 << 10;
/// How much of a response is shown, in characters.
const EXCERPT: usize = 500;

/// Sends messages to endpoints; clones share connections.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    networks: Networks,
}

/// Why the settings make no sender.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    #[error("webhooks.ca_file cannot be read: {0}")]
    Authority(#[source] io::Error),
    #[error("webhooks.ca_file has no certificate in PEM: {0}")]
    Certificate(#[source] reqwest::Error),
    #[error("the HTTP client for webhooks cannot be created: {0}")]
    Client(#[source] reqwest::Error),
}

/// A message, the same at each attempt.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub id: &'a str,
    /// An event in JSON.
    pub body: &'a [u8],
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// How long the receiver asks to wait. None: it does not ask.
    pub retry_after: Option<Duration>,
    /// The beginning of its body, for people.
    pub excerpt: String,
}

impl Response {
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there was no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("not sent: {0}")]
    NotPublic(#[from] NotPublic),
    #[error("no response in time (webhooks.timeout)")]
    TimedOut,
    /// The name does not resolve, nothing listens, TLS failed, or the connection ended early.
    #[error("{0}")]
    Unreachable(String),
}

impl Sender {
    /// # Errors
    /// When the file of certificate authorities cannot be used.
    pub fn new(settings: &WebhookSettings) -> Result<Self, SenderError> {
        // reqwest uses the default of the process. Another part may have set the same one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authorities = Vec::new();
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(SenderError::Authority)?;
            authorities = Certificate::from_pem_bundle(&pem).map_err(SenderError::Certificate)?;
        }
        let networks = settings.allow_networks.clone();
        let client = Client::builder()
            .user_agent(concat!("Tenure/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // A proxy would resolve names itself.
            .no_proxy()
            .retry(reqwest::retry::never())
            .timeout(settings.timeout)
            .tls_certs_merge(authorities)
            .dns_resolver(Resolver(networks.clone()))
            .build()
            .map_err(SenderError::Client)?;
        Ok(Self { client, networks })
    }

    /// Sends a message once, signed with each of the keys at this time.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn send(
        &self,
        url: &EndpointUrl,
        message: Message<'_>,
        keys: &[SigningKey],
        now: DateTime<Utc>,
    ) -> Result<Response, SendError> {
        self.networks.check(url)?;
        let timestamp = now.timestamp();
        let sent = self
            .client
            .post(url.as_url().clone())
            .header(CONTENT_TYPE, wire::STRUCTURED)
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp)
            .header(
                "webhook-signature",
                signatures(keys, message.id, timestamp, message.body),
            )
            .body(message.body.to_vec())
            .send()
            .await;
        let mut response = sent.map_err(|error| explain(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now);
        let mut body = Vec::new();
        // The status counts, whatever happens to the body.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > RESPONSE_BYTES {
                break;
            }
        }
        body.truncate(RESPONSE_BYTES);
        Ok(Response {
            status,
            retry_after,
            excerpt: String::from_utf8_lossy(&body).chars().take(EXCERPT).collect(),
        })
    }
}

/// Resolves names with the resolver of the system, to allowed addresses only.
#[derive(Clone, Debug)]
struct Resolver(Networks);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(resolve(name, self.0.clone()))
    }
}

async fn resolve(name: Name, networks: Networks) -> Result<Addrs, Box<dyn StdError + Send + Sync>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
    let permitted = allowed(name.as_str(), found, &networks)?;
    Ok(Box::new(permitted.into_iter()))
}

/// The addresses of a name that requests may go to.
fn allowed(
    name: &str,
    found: impl IntoIterator<Item = SocketAddr>,
    networks: &Networks,
) -> Result<Vec<SocketAddr>, NotPublic> {
    let permits = |address: &SocketAddr| match name {
        EndpointUrl::LOCALHOST => address.ip().to_canonical().is_loopback(),
        _ => networks.permit(address.ip()),
    };
    let (permitted, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(permits);
    match refused.first() {
        Some(address) if permitted.is_empty() => Err(NotPublic(address.ip())),
        _ => Ok(permitted),
    }
}

/// Why there was no response, without the URL.
fn explain(error: &reqwest::Error) -> SendError {
    let mut causes = Vec::new();
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotPublic>() {
            return (*refused).into();
        }
        let text = inner.to_string();
        if !causes.contains(&text) {
            causes.push(text);
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        return SendError::TimedOut;
    }
    if causes.is_empty() {
        causes.push("the request could not be sent".into());
    }
    SendError::Unreachable(causes.join(": "))
}

/// Seconds, or a date (RFC 9110).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    (date.with_timezone(&Utc) - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_resolves_to_allowed_addresses_only() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
            texts.iter().map(address).collect()
        };
        let none = Networks::default();
        let resolved = |name, found: &[&str], networks| allowed(name, addresses(found), networks);
        let refused = |text: &str| Err(NotPublic(text.parse().unwrap()));
        assert_eq!(
            resolved("a.example", &["10.0.0.1", "1.1.1.1"], &none),
            Ok(addresses(&["1.1.1.1"]))
        );
        assert_eq!(
            resolved("a.example", &["127.0.0.1", "::1"], &none),
            refused("127.0.0.1")
        );
        assert_eq!(
            resolved("localhost", &["127.0.0.1", "::1"], &none),
            Ok(addresses(&["127.0.0.1", "::1"]))
        );
        assert_eq!(resolved("localhost", &["1.1.1.1"], &none), refused("1.1.1.1"));
        let some = Networks::parse(["10.0.0.0/8"]).unwrap();
        assert_eq!(
            resolved("a.example", &["10.0.0.1"], &some),
            Ok(addresses(&["10.0.0.1"]))
        );
        assert_eq!(resolved("a.example", &[], &none), Ok(Vec::new()));
    }

    #[test]
    fn a_receiver_asks_to_wait_in_seconds_or_until_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z")
            .unwrap()
            .with_timezone(&Utc);
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 01 Mar 2026 12:01:00 GMT", Some(60)),
            ("Sun, 01 Mar 2026 11:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
