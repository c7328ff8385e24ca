//! Where the servers are: URLs, which may hold a password, and the address to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use lapin::uri::AMQPUri;

use super::amqp;
use super::error::SettingsError;
use super::read::Reader;
use super::secret::HIDDEN;
use crate::store::postgres;

/// The embedded store, in the working folder.
const EMBEDDED: &str = "tenure.db";

/// Those that sqlx reads, and one that [`postgres`] does.
const POSTGRES_PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "statement-cache-capacity",
    "target_session_attrs",
];
/// Parameters whose values are no secrets.
const HARMLESS: [&str; 17] = [
    "mode",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "statement-cache-capacity",
    "target_session_attrs",
    "application_name",
    "heartbeat",
    "connection_timeout",
    "frame_max",
    "channel_max",
    "auth_mechanism",
];
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];
/// Those that lapin reads.
const AMQP_PARAMETERS: [&str; 5] = [
    "heartbeat",
    "connection_timeout",
    "frame_max",
    "channel_max",
    "auth_mechanism",
];

/// A URL that may hold a password; it prints without.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole of it, for whoever connects.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which store, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(SecretUrl),
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => fmt::Display::fmt(url, f),
        }
    }
}

pub(super) fn store(from: &Reader, key: &str) -> Result<StoreUrl, SettingsError> {
    let url = from.text(key)?;
    let url = url.trim();
    if url.is_empty() {
        return Ok(StoreUrl::Sqlite(EMBEDDED.into()));
    }
    let refuse = || {
        from.refuse(
            key,
            "postgres://user:password@host:5432/name (several hosts: host,other:5433, with \
             target_session_attrs=read-write or nothing), sqlite://path/to/file.db without user, host or \
             parameters (sqlite:///path for an absolute one), or nothing for the embedded store",
        )
    };
    let (scheme, rest) = url.split_once(':').ok_or_else(refuse)?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            // A store in memory would be another one for each connection.
            let is_file = !path.is_empty() && !path.contains(['?', '\0']) && !has_authority(path);
            if !is_file || path.contains(":memory:") {
                return Err(refuse());
            }
            Ok(StoreUrl::Sqlite(path.into()))
        }
        "postgres" | "postgresql" => {
            parameters_of(url, &POSTGRES_PARAMETERS, |allowed| from.refuse(key, allowed))?;
            match postgres::check_url(url) {
                Ok(()) => Ok(StoreUrl::Postgres(SecretUrl::new(url))),
                Err(_) => Err(refuse()),
            }
        }
        _ => Err(refuse()),
    }
}

pub(super) fn broker(from: &Reader, key: &str) -> Result<Option<SecretUrl>, SettingsError> {
    let url = from.text(key)?;
    match url.trim() {
        "" => Ok(None),
        url if is_amqp(url) => {
            parameters_of(url, &AMQP_PARAMETERS, |allowed| from.refuse(key, allowed))?;
            Ok(Some(SecretUrl::new(url)))
        }
        _ => Err(from.refuse(
            key,
            "amqp://user:password@host:5672/vhost, amqps://… for TLS, several hosts of a cluster as a:5672,b:5672,c:5672, \
             or nothing for no broker",
        )),
    }
}

fn is_amqp(url: &str) -> bool {
    amqp::each_host(url).is_some_and(|urls| urls.iter().all(|url| url.parse::<AMQPUri>().is_ok()))
}

/// Looks at the parameters of a URL. The clients pass over one that they do not know, or log it with its value: but
/// it may be a misspelt password, or the file of an authority that nobody would read.
fn parameters_of(
    url: &str,
    known: &[&str],
    refuse: impl Fn(&str) -> SettingsError,
) -> Result<(), SettingsError> {
    let Some((_, query)) = url.split_once('?') else {
        return Ok(());
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !known.contains(&name) {
            return Err(refuse(&format!(
                "a URL with these parameters only: {}",
                known.join(", ")
            )));
        }
        // Written into the URL itself it is no file; with escapes in it, the client will say.
        if FILES.contains(&name)
            && !value.contains(['%', '+'])
            && let Err(error) = std::fs::File::open(value)
        {
            return Err(refuse(&format!(
                "a URL whose {name} is a file that can be read ({error})"
            )));
        }
    }
    Ok(())
}

pub(super) fn listen(from: &Reader, key: &str) -> Result<Option<SocketAddr>, SettingsError> {
    let text = from.text(key)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // The one name that is the same everywhere; any other would have to be asked for.
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse(),
    };
    address.map(Some).map_err(|_| {
        from.refuse(
            key,
            "an IP address and a port such as 127.0.0.1:8080 or [::1]:8080, or nothing for no HTTP",
        )
    })
}

/// Hides whatever may be a secret: the password before the host, and the values of parameters that are not known to be
/// harmless. Takes too much rather than too little: this is also what a URL is shown by that cannot be parsed.
pub(super) fn redact(url: &str) -> String {
    if is_plain_file(url) {
        return url.to_owned();
    }
    // A `?` or `#` before the host belongs to a password that should have been encoded.
    let after_host = url.rfind('@').map_or(0, |at| at + 1);
    let end = url[after_host..]
        .find(['?', '#'])
        .map_or(url.len(), |mark| after_host + mark);
    let (main, rest) = url.split_at(end);
    let mut shown = match (main.find("://"), main.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let (before, user) = (&main[..scheme + 3], &main[scheme + 3..at]);
            format!("{before}{}{}", redact_user(user), &main[at..])
        }
        (_, Some(_)) => HIDDEN.to_owned(),
        _ => main.to_owned(),
    };
    let (query, fragment) = rest.split_once('#').map_or((rest, None), |(q, f)| (q, Some(f)));
    if let Some(query) = query.strip_prefix('?') {
        let parameters: Vec<_> = query.split('&').map(parameter).collect();
        shown.push('?');
        shown.push_str(&parameters.join("&"));
    }
    if fragment.is_some() {
        shown.push('#');
        shown.push_str(HIDDEN);
    }
    shown
}

/// SQLite's URL with a path and nothing else: there is nowhere for a secret to be, and a path may have an `@`.
fn is_plain_file(url: &str) -> bool {
    let path = url.strip_prefix("sqlite:");
    path.is_some_and(|path| !path.contains('?') && !has_authority(path))
}

/// Whether somebody wrote a user or a host before the path of a file, as in the URL of a server.
fn has_authority(path: &str) -> bool {
    let first = path.strip_prefix("//").unwrap_or(path).split('/').next();
    first.is_some_and(|first| first.contains('@'))
}

fn redact_user(user: &str) -> String {
    // A slash and the like belong to a password, or to parameters with an `@` in them.
    let is_name = |text: &str| !text.contains(['/', '?', '#', '&', '=']);
    match user.split_once(':') {
        Some((name, _)) if is_name(name) => format!("{name}:{HIDDEN}"),
        None if is_name(user) => user.to_owned(),
        _ => HIDDEN.to_owned(),
    }
}

fn parameter(parameter: &str) -> String {
    let Some((name, value)) = parameter.split_once('=') else {
        return if parameter.is_empty() {
            String::new()
        } else {
            HIDDEN.to_owned()
        };
    };
    if HARMLESS.contains(&name) && !value.contains('@') {
        return parameter.to_owned();
    }
    let name = if name.len() <= 30
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        name
    } else {
        HIDDEN
    };
    format!("{name}={HIDDEN}")
}
