//! Where RabbitMQ is, and how to connect to it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{ConnectionProperties, ErrorKind, Event};
use rand::seq::SliceRandom;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::BrokerError;
use super::link::{self, Link};
use crate::config::{TlsFiles, amqp};

/// Connect timeout. lapin sets none of its own.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Timeout for an orderly close of a connection or a channel.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// AMQP heartbeat interval in seconds; a server that is silent for twice as long counts as lost. The URL may override
/// it.
const HEARTBEAT_SECONDS: u16 = 20;

/// With several hosts, an unresponsive host must not delay the attempts at the others.
const CONNECT_ONE_OF_SEVERAL_WITHIN: Duration = Duration::from_secs(5);

/// A parsed URL: one host, or the hosts of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// At least one. They differ only in host and port.
    hosts: Vec<AMQPUri>,
    tls: TlsFiles,
}

impl Address {
    pub fn parse(url: &str, tls: &TlsFiles) -> Result<Self, BrokerError> {
        let wrong = |what: &str| {
            BrokerError::Settings(format!(
                "broker.url {what}; it looks like amqp://user:password@host:5672/vhost, amqps://… for TLS, or \
                 amqp://user:password@a:5672,b:5672/vhost for the hosts of a cluster"
            ))
        };
        let urls = amqp::each_host(url).filter(|urls| !urls.is_empty());
        let urls = urls.ok_or_else(|| wrong("does not name its hosts"))?;
        let hosts = urls
            .iter()
            .map(|url| host(url).map_err(wrong))
            .collect::<Result<_, _>>()?;
        let tls = tls.clone();
        let address = Self { hosts, tls };
        // At startup, bad TLS files are a configuration error; later, reconnects wait for them as for the server.
        address.tls()?;
        Ok(address)
    }

    /// The TLS settings besides the host name, from the current contents of the files.
    fn tls(&self) -> Result<OwnedTLSConfig, BrokerError> {
        let wrong = |key: &str, path: &Path, why: &dyn Display| {
            BrokerError::Settings(format!("{key}: {} cannot be used: {why}", path.display()))
        };
        let read = |key: &str, path: &Path| std::fs::read(path).map_err(|error| wrong(key, path, &error));
        let mut config = OwnedTLSConfig::default();
        if let Some(path) = &self.tls.ca {
            let pem = read("broker.ca_file", path)?;
            // The client skips certificates that it cannot parse, and would then trust no server.
            match CertificateDer::pem_slice_iter(&pem).next() {
                Some(Ok(_)) => config.cert_chain = Some(String::from_utf8_lossy(&pem).into_owned()),
                _ => return Err(wrong("broker.ca_file", path, &"it holds no certificate (PEM)")),
            }
        }
        if let Some((certificate, key)) = &self.tls.identity {
            config.identity = Some(OwnedIdentity::PKCS8 {
                pem: read("broker.cert_file", certificate)?,
                key: read("broker.key_file", key)?,
            });
        }
        Ok(config)
    }

    /// Opens a connection under a name that RabbitMQ's management UI shows, with `frame_max` as the frame limit unless
    /// the URL sets one. Tries the hosts in random order, which spreads workers over a cluster.
    pub async fn connect(&self, name: &str, frame_max: Option<u32>) -> Result<Link, BrokerError> {
        install_crypto();
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        order.shuffle(&mut rand::rng());
        let mut failures = BTreeMap::new();
        for place in order {
            match self.connect_to(&self.hosts[place], name, frame_max).await {
                Ok(connection) => return Ok(connection),
                Err(error @ BrokerError::Settings(_)) => return Err(error),
                Err(error) => failures.insert(place, error),
            };
        }
        Err(none_of(failures.into_values()))
    }

    async fn connect_to(
        &self,
        host: &AMQPUri,
        name: &str,
        frame_max: Option<u32>,
    ) -> Result<Link, BrokerError> {
        let mut uri = host.clone();
        uri.query.frame_max = uri.query.frame_max.or(frame_max);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let usual = if self.hosts.len() > 1 {
            CONNECT_ONE_OF_SEVERAL_WITHIN
        } else {
            CONNECT_WITHIN
        };
        let limit = host.query.connection_timeout.map_or(usual, Duration::from_millis);
        let connecting = Link::open(uri, self.tls()?, properties);
        let at = at(host);
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(connected)) => {
                tracing::debug!(broker.host = at, broker.connection = name, "connected");
                Ok(connected)
            }
            Ok(Err(error)) => Err(match advise(host, &error) {
                BrokerError::Unreachable(why) => BrokerError::Unreachable(format!("{at}: {why}")),
                BrokerError::Refused(why) => BrokerError::Refused(format!("{at}: {why}")),
                other => other,
            }),
            Err(_) => Err(BrokerError::Unreachable(format!(
                "{at}: no answer within {limit:?}"
            ))),
        }
    }
}

fn host(url: &str) -> Result<AMQPUri, &'static str> {
    // The parser's own message would quote the URL, including the password.
    let mut uri: AMQPUri = url.trim().parse().map_err(|_| "is no AMQP URL")?;
    // Literally, this is the vhost with the empty name, which hardly any server has and many URLs contain.
    if uri.vhost.is_empty() {
        uri.vhost = "/".into();
    }
    if uri.vhost.len() > 255 {
        return Err("has a vhost of more than 255 bytes");
    }
    // The parser supports only names, and turns an IPv6 address into localhost.
    if let Some(address) = ipv6(url) {
        address.clone_into(&mut uri.authority.host);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// A server that requires a client certificate may disconnect before its alert arrives: with TLS 1.3 it checks the
/// certificate after the client considers the handshake complete, and data that the client has already sent makes the
/// server's host reset the connection.
fn advise(host: &AMQPUri, error: &lapin::Error) -> BrokerError {
    let hung_up = match error.kind() {
        ErrorKind::IOError(io) => matches!(
            io.kind(),
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
        ),
        _ => false,
    };
    let asks_for_tls = host.scheme == AMQPScheme::AMQPS;
    match BrokerError::while_opening(error, &host.authority.userinfo.username, &host.vhost) {
        BrokerError::Unreachable(why) if hung_up && asks_for_tls => BrokerError::Unreachable(format!(
            "{why} during the handshake: the server may require a client certificate that it trusts; set it and its \
             key with broker.cert_file and broker.key_file"
        )),
        other => other,
    }
}

/// Every host has failed. A refusal outranks an unreachable host: waiting does not fix it.
fn none_of(failures: impl Iterator<Item = BrokerError>) -> BrokerError {
    let (mut refused, mut unreachable) = (Vec::new(), Vec::new());
    for failure in failures {
        match failure {
            // The hosts of a cluster share their users and vhosts.
            login @ BrokerError::Login(_) => return login,
            BrokerError::Refused(why) => refused.push(why),
            BrokerError::Unreachable(why) => unreachable.push(why),
            other => unreachable.push(other.to_string()),
        }
    }
    if refused.is_empty() {
        BrokerError::Unreachable(unreachable.join("; "))
    } else {
        BrokerError::Refused(refused.join("; "))
    }
}

/// Host and port, as in a URL.
fn at(uri: &AMQPUri) -> String {
    let (host, port) = (&uri.authority.host, uri.authority.port);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// For logs: everything but the password.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            ..
        } = &self.hosts[0];
        let hosts: Vec<String> = self.hosts.iter().map(at).collect();
        write!(
            f,
            "{scheme}://{}@{}/{}",
            authority.userinfo.username,
            hosts.join(","),
            vhost.replace('/', "%2F")
        )
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns the reason when the connection ends. Meanwhile, reports when RabbitMQ blocks publishers.
pub(super) async fn lost(connection: &Link) -> BrokerError {
    let mut events = std::pin::pin!(connection.events_listener());
    // lapin reports only events that occur while a listener exists: the connection may have ended before.
    let mut ended = std::pin::pin!(link::ended(connection));
    loop {
        let event = tokio::select! {
            // Prefer the reported event: it has the reason.
            biased;
            event = events.next() => event,
            () = &mut ended => break,
        };
        let Some(event) = event else { break };
        match event {
            // Channel errors arrive here too; the user of the channel handles them.
            Event::Error(error) if !connection.status().connected() => return error.into(),
            Event::ConnectionBlocked(why) => {
                tracing::warn!(
                    why,
                    "RabbitMQ has a resource alarm and currently accepts no messages"
                );
            }
            Event::ConnectionUnblocked => tracing::info!("RabbitMQ accepts messages again"),
            _ => {}
        }
    }
    BrokerError::Unreachable("the connection is gone".into())
}

/// Closes the connection if it is still open.
pub(super) async fn close(connection: &Link) {
    if connection.status().connected() {
        let closed = tokio::time::timeout(CLOSE_WITHIN, connection.close(200, "OK".into())).await;
        tracing::debug!(?closed, "connection closed");
    }
}

/// Tenure and its libraries may link two crypto providers; rustls then requires a default. The first caller has set it.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn ipv6(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, BrokerError> {
        Address::parse(url, &TlsFiles::default())
    }

    fn shown(url: &str) -> String {
        parse(url).unwrap().to_string()
    }

    #[test]
    fn addresses_are_shown_without_the_password() {
        assert_eq!(shown("amqp://u:secret@host:1234/v"), "amqp://u@host:1234/v");
        assert_eq!(
            shown("amqps://u:s@host/%2Fa?heartbeat=5"),
            "amqps://u@host:5671/%2Fa"
        );
        assert!(!format!("{:?}", parse("amqp://u:secret@h").unwrap()).contains("secret"));
        let error = parse("http://u:secret@host").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn the_default_vhost_with_and_without_a_slash() {
        assert_eq!(shown("amqp://localhost"), "amqp://guest@localhost:5672/%2F");
        assert_eq!(shown("amqp://localhost/"), "amqp://guest@localhost:5672/%2F");
    }

    #[test]
    fn ipv6_addresses_are_accepted() {
        assert_eq!(shown("amqp://u:p@[::1]:5673/v"), "amqp://u@[::1]:5673/v");
        assert_eq!(
            shown("amqp://[2001:db8::7]"),
            "amqp://guest@[2001:db8::7]:5672/%2F"
        );
    }

    #[test]
    fn a_heartbeat_is_negotiated_unless_the_url_sets_it() {
        let heartbeat = |url| parse(url).unwrap().hosts[0].query.heartbeat;
        assert_eq!(heartbeat("amqp://h"), Some(HEARTBEAT_SECONDS));
        assert_eq!(heartbeat("amqp://h?heartbeat=7"), Some(7));
    }

    #[test]
    fn several_hosts_are_shown_with_their_default_ports_and_without_the_password() {
        assert_eq!(
            shown("amqp://u:se,cret@a:1234,b,[::1]/v"),
            "amqp://u@a:1234,b:5672,[::1]:5672/v"
        );
        assert_eq!(shown("amqps://u:s@a,b"), "amqps://u@a:5671,b:5671/%2F");
        for url in [
            "amqp://u:secret@a,,b/v",
            "amqp://u:secret@a/v,amqp://u:secret@b/v",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(
                error.contains("a:5672,b:5672") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_refusal_takes_precedence_over_an_unreachable_host() {
        let away = || BrokerError::Unreachable("a:1: connection refused".into());
        let refused = BrokerError::Refused("b:1: ACCESS_REFUSED".into());
        assert_eq!(none_of([away(), refused.clone()].into_iter()), refused);
        assert_eq!(none_of([away()].into_iter()), away());
    }
}
