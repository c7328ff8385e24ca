//! The `[broker]` section: RabbitMQ, lanes and batches.

use std::path::PathBuf;
use std::time::Duration;

use lapin::uri::AMQPUri;

use super::amqp;
use super::error::SettingsError;
use super::reader::{INTERVAL, Reader};
use super::secret::SecretUrl;
use super::url_parameters;

/// The parameters that lapin reads.
const AMQP_PARAMETERS: [&str; 5] = [
    "heartbeat",
    "connection_timeout",
    "frame_max",
    "channel_max",
    "auth_mechanism",
];

#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// None: no broker.
    pub url: Option<SecretUrl>,
    pub tls: TlsFiles,
    /// Number of queues that events are distributed over, 1 to 64.
    pub lanes: u16,
    /// Maximum number of unacknowledged messages per lane.
    pub prefetch: u16,
    /// Maximum bytes of unacknowledged messages per lane; one larger message is accepted.
    pub prefetch_bytes: usize,
    /// Maximum number of events in a batch.
    pub batch_max: usize,
    /// Maximum number of batches that a lane writes concurrently, 1 to 16.
    pub concurrency: u16,
    /// Interval of the heartbeats through every lane.
    pub heartbeat: Duration,
    /// Whether to declare exchanges, queues and bindings.
    pub declare: bool,
    /// Whether this worker may publish the journal.
    pub relay: bool,
}

/// PEM files for `amqps`. They are read at every connection, because certificates are renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate authorities to trust in addition to those of the system.
    pub ca: Option<PathBuf>,
    /// Client certificate and its private key, for a server that requires one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

pub(super) fn read(from: &Reader) -> Result<BrokerSettings, SettingsError> {
    Ok(BrokerSettings {
        url: url(from, "broker.url")?,
        tls: tls_files(from)?,
        lanes: from.number("broker.lanes", 1..=64)?,
        prefetch: from.number("broker.prefetch", 1..=65_535)?,
        prefetch_bytes: from.number("broker.prefetch_bytes", 1_048_576..=4_294_967_296)?,
        batch_max: from.number("broker.batch_max", 1..=10_000)?,
        concurrency: from.number("broker.concurrency", 1..=16)?,
        heartbeat: from.duration("broker.heartbeat", INTERVAL)?,
        declare: from.flag("broker.declare")?,
        relay: from.flag("broker.relay")?,
    })
}

fn url(from: &Reader, key: &str) -> Result<Option<SecretUrl>, SettingsError> {
    let url = from.text(key)?;
    match url.trim() {
        "" => Ok(None),
        url if is_amqp(url) => {
            url_parameters::check(from, key, url, &AMQP_PARAMETERS)?;
            Ok(Some(SecretUrl::new(url)))
        }
        _ => Err(from.invalid(
            key,
            "amqp://user:password@host:5672/vhost, amqps://… for TLS, a:5672,b:5672,c:5672 for the hosts of a cluster, \
             or an empty value for no broker",
        )),
    }
}

fn is_amqp(url: &str) -> bool {
    amqp::each_host(url).is_some_and(|urls| urls.iter().all(|url| url.parse::<AMQPUri>().is_ok()))
}

fn tls_files(from: &Reader) -> Result<TlsFiles, SettingsError> {
    let identity = match (from.file("broker.cert_file")?, from.file("broker.key_file")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(from.invalid("broker.key_file", "the private key of broker.cert_file"));
        }
        (None, Some(_)) => {
            return Err(from.invalid("broker.cert_file", "the certificate of broker.key_file"));
        }
    };
    Ok(TlsFiles {
        ca: from.file("broker.ca_file")?,
        identity,
    })
}
