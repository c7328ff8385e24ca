//! Settings: the compiled-in `config/default.toml` < a file < the environment. Read once, at the
//! start; what cannot be meant stops it with a sentence that names key, value and origin.

pub mod amqp;
mod cron;
mod duration;
mod error;
mod hosts;
mod layers;
mod level;
mod links;
mod policy;
mod read;
mod retention;
mod secret;
mod shown;
mod urls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cron::CronLine;
pub use error::SettingsError;
pub use layers::{DEFAULTS, environment, keys};
pub use level::{LogLevelError, log_directives};
pub use retention::RetentionSettings;
pub use secret::Secret;
pub use shown::Shown;
pub use urls::{SecretUrl, StoreUrl};

use chrono::TimeDelta;

use crate::domain::{Policy, Sweep};
use read::Reader;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub store: StoreSettings,
    pub broker: BrokerSettings,
    pub events: EventSettings,
    pub clock: ClockSettings,
    pub http: HttpSettings,
    pub sweeps: SweepSettings,
    pub retention: RetentionSettings,
    pub log: LogSettings,
    pub shutdown: ShutdownSettings,
    policy: Policy,
    shown: Vec<Shown>,
    service_links: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    pub max_connections: u32,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// None: no broker.
    pub url: Option<SecretUrl>,
    pub tls: TlsFiles,
    /// 1 to 64.
    pub lanes: u8,
    pub prefetch: u16,
    /// Bytes of them at most, for each lane.
    pub prefetch_bytes: usize,
    /// Events in one batch at most.
    pub batch_max: usize,
    /// Batches of a lane that are written beside each other, 1 to 16.
    pub concurrency: u16,
    /// How often each lane is asked how far it has come.
    pub heartbeat: Duration,
    /// Whether to declare the topology.
    pub declare: bool,
    /// Whether to publish the journal.
    pub relay: bool,
}

/// PEM files for `amqps`. They are read at every connection, since certificates are renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, for a server that asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Debug)]
pub struct EventSettings {
    /// Longest body of a message, in bytes.
    pub max_bytes: usize,
    /// How far an event's time may be ahead of the clock.
    pub max_clock_skew: Duration,
}

/// How far clocks may differ.
#[derive(Clone, Copy, Debug)]
pub struct ClockSettings {
    /// From those of others, before this one counts as wrong.
    pub max_difference: TimeDelta,
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// None: no HTTP.
    pub listen: Option<SocketAddr>,
    /// None: nobody is asked.
    pub token: Option<Secret>,
    /// Hosts that requests may name, in lower case, beside the loopback ones and the address that is listened on.
    pub hosts: Vec<String>,
    /// Longest body of a request, in bytes.
    pub body_limit: usize,
    /// Events in one request at most.
    pub max_events: usize,
    /// Open connections at most.
    pub max_connections: usize,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct SweepSettings {
    /// Clients in one transaction at most.
    pub chunk: u32,
    pub breaker: BreakerSettings,
    /// One for each of [`Sweep::ALL`].
    pub schedules: BTreeMap<Sweep, Schedule>,
}

/// How much a sweep, or another policy, may change at once without a person's word: what passes both bounds is stopped.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// Of those that it looks at, 1 to 100.
    pub percent: u32,
    /// Clients.
    pub clients: u64,
}

/// When a sweep runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub cron: CronLine,
    pub enabled: bool,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

#[derive(Clone, Copy, Debug)]
pub struct ShutdownSettings {
    /// How long what is in hand may take to finish.
    pub timeout: Duration,
}

impl Settings {
    /// Reads the settings; `env` is the environment, of which only ours is looked at.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or a value is impossible.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let (settings, service_links) = layers::merge(file, env)?;
        Ok(Self {
            service_links,
            ..Self::read(&Reader::new(settings))?
        })
    }

    fn read(from: &Reader) -> Result<Self, SettingsError> {
        Ok(Self {
            store: StoreSettings {
                url: urls::store(from, "store.url")?,
                // One to write, one to answer.
                max_connections: from.number("store.max_connections", 2..=1000)?,
                statement_timeout: from.duration("store.statement_timeout", read::TIMEOUT)?,
                lock_timeout: from.duration("store.lock_timeout", read::TIMEOUT)?,
            },
            broker: BrokerSettings {
                url: urls::broker(from, "broker.url")?,
                tls: tls_files(from)?,
                lanes: from.number("broker.lanes", 1..=64)?,
                prefetch: from.number("broker.prefetch", 1..=65_535)?,
                prefetch_bytes: from.number("broker.prefetch_bytes", 1_048_576..=4_294_967_296)?,
                batch_max: from.number("broker.batch_max", 1..=10_000)?,
                concurrency: from.number("broker.concurrency", 1..=16)?,
                heartbeat: from.duration("broker.heartbeat", read::INTERVAL)?,
                declare: from.flag("broker.declare")?,
                relay: from.flag("broker.relay")?,
            },
            events: EventSettings {
                max_bytes: from.number("events.max_bytes", 1024..=16_777_216)?,
                max_clock_skew: from.duration("events.max_clock_skew", read::GRACE)?,
            },
            clock: ClockSettings {
                max_difference: from.span("clock.max_difference", read::DIFFERENCE)?,
            },
            http: http(from)?,
            sweeps: sweeps(from)?,
            retention: retention::read(from)?,
            log: LogSettings {
                format: from.choice(
                    "log.format",
                    &[("human", LogFormat::Human), ("json", LogFormat::Json)],
                )?,
                level: level(from)?,
            },
            shutdown: ShutdownSettings {
                timeout: from.duration("shutdown.timeout", read::TIMEOUT)?,
            },
            policy: policy::read(from)?,
            shown: shown::all(from),
            service_links: Vec::new(),
        })
    }

    /// Variables of the environment that begin as ours do, and that Kubernetes or Docker set for a service beside this
    /// container. They are ignored.
    #[must_use]
    pub fn service_links(&self) -> &[String] {
        &self.service_links
    }

    /// What timers are computed from.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy.clone()
    }

    /// Every setting with its value and where it came from, in key order, without secrets.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The settings in force as one object, sections nested, without secrets.
    #[must_use]
    pub fn redacted(&self) -> serde_json::Value {
        shown::nested(&self.shown)
    }

    /// The same as a TOML file that says where each value came from.
    #[must_use]
    pub fn redacted_toml(&self) -> String {
        shown::toml(&self.shown)
    }
}

fn tls_files(from: &Reader) -> Result<TlsFiles, SettingsError> {
    let file = |key| match from.text(key)?.as_str() {
        "" => Ok(None),
        path => match std::fs::File::open(path) {
            Ok(_) => Ok(Some(PathBuf::from(path))),
            Err(error) => Err(from.refuse(key, &format!("a file that can be read ({error})"))),
        },
    };
    let identity = match (file("broker.cert_file")?, file("broker.key_file")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(from.refuse("broker.key_file", "the key of broker.cert_file")),
        (None, Some(_)) => return Err(from.refuse("broker.cert_file", "the certificate of broker.key_file")),
    };
    Ok(TlsFiles {
        ca: file("broker.ca_file")?,
        identity,
    })
}

fn http(from: &Reader) -> Result<HttpSettings, SettingsError> {
    let token = secret::token(from, "http.token", "http.token_file")?;
    let listen = urls::listen(from, "http.listen")?;
    if listen.is_some_and(|address| !address.ip().to_canonical().is_loopback()) && token.is_none() {
        return Err(from.refuse(
            "http.listen",
            "a loopback address such as 127.0.0.1:8080, unless http.token or http.token_file is set: \
             others than this machine could ask",
        ));
    }
    Ok(HttpSettings {
        listen,
        token,
        hosts: hosts::read(from, "http.hosts")?,
        body_limit: from.number("http.body_limit", 1024..=1_073_741_824)?,
        max_events: from.number("http.max_events", 1..=1_000_000)?,
        max_connections: from.number("http.max_connections", 8..=100_000)?,
        timeout: from.duration("http.timeout", read::TIMEOUT)?,
    })
}

fn sweeps(from: &Reader) -> Result<SweepSettings, SettingsError> {
    let schedule = |sweep: Sweep| {
        let cron = format!("sweeps.{sweep}.cron");
        Ok(Schedule {
            cron: from
                .text(&cron)?
                .parse()
                .map_err(|reason: String| from.refuse(&cron, &reason))?,
            enabled: from.flag(&format!("sweeps.{sweep}.enabled"))?,
        })
    };
    Ok(SweepSettings {
        chunk: from.number("sweeps.chunk", 1..=10_000)?,
        breaker: BreakerSettings {
            percent: from.number("sweeps.breaker.percent", 1..=100)?,
            clients: from.number("sweeps.breaker.clients", 0..=i64::MAX)?,
        },
        schedules: Sweep::ALL
            .into_iter()
            .map(|sweep| Ok((sweep, schedule(sweep)?)))
            .collect::<Result<_, SettingsError>>()?,
    })
}

fn level(from: &Reader) -> Result<String, SettingsError> {
    const KEY: &str = "log.level";
    level::log_directives(&from.text(KEY)?)
        .map_err(|why| from.refuse(KEY, &format!("{}; {why}", LogLevelError::EXPECTED)))
}
