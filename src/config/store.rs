//! The `[store]` section: which database, and its limits.

use std::fmt;
use std::path::PathBuf;

use super::error::SettingsError;
use super::reader::{Reader, TIMEOUT};
use super::redact::may_hold_a_secret;
use super::secret::SecretUrl;
use super::url_parameters;
use crate::store::postgres::{self, PostgresOptions};

/// The embedded store, in the working directory.
const EMBEDDED: &str = "tenure.db";

/// The parameters that sqlx reads, and `target_session_attrs`, which [`postgres`] reads.
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

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    /// Unused with SQLite.
    pub postgres: PostgresOptions,
}

/// The kind of store and its location.
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

pub(super) fn read(from: &Reader) -> Result<StoreSettings, SettingsError> {
    Ok(StoreSettings {
        url: url(from, "store.url")?,
        postgres: PostgresOptions {
            // One to write, one to read.
            max_connections: from.number("store.max_connections", 2..=1000)?,
            statement_timeout: from.duration("store.statement_timeout", TIMEOUT)?,
            lock_timeout: from.duration("store.lock_timeout", TIMEOUT)?,
            ..PostgresOptions::default()
        },
    })
}

fn url(from: &Reader, key: &str) -> Result<StoreUrl, SettingsError> {
    let url = from.text(key)?;
    let url = url.trim();
    if url.is_empty() {
        return Ok(StoreUrl::Sqlite(EMBEDDED.into()));
    }
    let invalid = || {
        from.invalid(
            key,
            "postgres://user:password@host:5432/name (several hosts: host,other:5433, optionally with \
             target_session_attrs=read-write), sqlite://path/to/file.db without user, host or parameters \
             (sqlite:///path for an absolute path), or an empty value for the embedded store",
        )
    };
    let (scheme, rest) = url.split_once(':').ok_or_else(invalid)?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            // Each connection to an in-memory database would see a database of its own.
            let is_file = !path.is_empty() && !path.contains(['?', '\0']) && !may_hold_a_secret(path);
            if !is_file || path.contains(":memory:") {
                return Err(invalid());
            }
            Ok(StoreUrl::Sqlite(path.into()))
        }
        "postgres" | "postgresql" => {
            url_parameters::check(from, key, url, &POSTGRES_PARAMETERS)?;
            match postgres::check_url(url) {
                Ok(()) => Ok(StoreUrl::Postgres(SecretUrl::new(url))),
                Err(_) => Err(invalid()),
            }
        }
        _ => Err(invalid()),
    }
}
