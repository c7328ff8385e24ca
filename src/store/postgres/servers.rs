//! Connects to the writable server among those of the address.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Executor, Row};

use super::address::Host;
use super::durable;
use crate::store::{Result, StoreError, error};

/// With several hosts, how long one may take before the next is tried.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);

/// The servers of the address.
#[derive(Debug)]
pub(super) struct Servers {
    hosts: Vec<Host>,
    /// The last writable server. It is tried first.
    preferred: AtomicUsize,
    /// How long one server may take to answer.
    within: Duration,
}

/// An open connection.
pub(super) struct Opened {
    pub connection: PgConnection,
    /// None: it is writable. Otherwise why it is not.
    pub read_only: Option<StoreError>,
}

/// Why no connection could be opened.
pub(super) enum Refusal {
    /// A server accepts no more connections.
    Full(StoreError),
    Other(StoreError),
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(error) | Refusal::Other(error) => error,
        }
    }
}

impl Servers {
    pub fn new(hosts: Vec<Host>, within: Duration) -> Self {
        let within = if hosts.len() > 1 {
            within.min(ONE_OF_SEVERAL)
        } else {
            within
        };
        Self {
            hosts,
            preferred: AtomicUsize::new(0),
            within,
        }
    }

    /// Connects to the first writable server, or else to a read-only one. `settings` are statements that configure the
    /// session: a pooler would refuse connection parameters.
    pub async fn open(&self, name: &str, settings: &str) -> std::result::Result<Opened, Refusal> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut spare = None;
        let mut refusals = Vec::new();
        for n in (0..self.hosts.len()).map(|n| (preferred + n) % self.hosts.len()) {
            let host = &self.hosts[n];
            let opened = tokio::time::timeout(self.within, open_one(host, name, settings)).await;
            match opened {
                Ok(Ok((connection, true))) => {
                    if self.preferred.swap(n, Ordering::Relaxed) != n {
                        tracing::info!(
                            store.server = host.label,
                            "this server is writable; it is used from now on"
                        );
                    }
                    return Ok(Opened {
                        connection,
                        read_only: None,
                    });
                }
                Ok(Ok((connection, false))) => {
                    let read_only = Some(read_only(&host.label));
                    spare.get_or_insert(Opened {
                        connection,
                        read_only,
                    });
                }
                Ok(Err(error)) => refusals.push((host, refusal(error))),
                Err(_) => refusals.push((host, self.silent())),
            }
        }
        spare.ok_or_else(|| together(refusals))
    }

    /// A server that does not answer is gone, or makes a new session wait until another ends, as poolers do. With
    /// several hosts the first is likelier.
    fn silent(&self) -> Refusal {
        let error = StoreError::Unavailable(format!(
            "no new connection within {}; check the host and the network, and whether a pooler has a free session",
            humantime::format_duration(self.within)
        ));
        if self.hosts.len() == 1 {
            Refusal::Full(error)
        } else {
            Refusal::Other(error)
        }
    }

    /// Connects to a writable server.
    pub async fn open_to_write(
        &self,
        name: &str,
        settings: &str,
    ) -> std::result::Result<PgConnection, Refusal> {
        let Opened {
            connection,
            read_only,
        } = self.open(name, settings).await?;
        match read_only {
            None => Ok(connection),
            Some(error) => Err(Refusal::Other(error)),
        }
    }
}

async fn open_one(
    host: &Host,
    name: &str,
    settings: &str,
) -> std::result::Result<(PgConnection, bool), sqlx::Error> {
    let mut connection = host.options.clone().application_name(name).connect().await?;
    if !settings.is_empty() {
        connection.execute(settings).await?;
    }
    durable::require(&mut connection).await?;
    let is_writable = is_writable(&mut connection).await?;
    Ok((connection, is_writable))
}

/// Whether this session can write: its server is not a standby, and transactions are not read-only by default. Also
/// shows whether the session answers.
pub(super) async fn is_writable(connection: &mut PgConnection) -> std::result::Result<bool, sqlx::Error> {
    let shown = connection.fetch_all("show transaction_read_only").await?;
    let shown: Option<String> = shown.first().map(|row| row.try_get(0)).transpose()?;
    Ok(shown.as_deref() == Some("off"))
}

pub(super) fn read_only(label: &str) -> StoreError {
    StoreError::Unavailable(format!("{label} is read-only: {}", error::READ_ONLY))
}

fn refusal(error: sqlx::Error) -> Refusal {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let is_full = code.is_some_and(|code| code == "53300");
    let error = StoreError::from(error);
    if is_full {
        Refusal::Full(error)
    } else {
        Refusal::Other(error)
    }
}

/// Combines the errors of all hosts, and names them if there are several.
fn together(mut refusals: Vec<(&Host, Refusal)>) -> Refusal {
    if refusals.len() == 1 {
        return refusals.remove(0).1;
    }
    let is_full = refusals
        .iter()
        .any(|(_, refusal)| matches!(refusal, Refusal::Full(_)));
    let errors: Vec<(&Host, StoreError)> = refusals
        .into_iter()
        .map(|(host, refusal)| (host, refusal.into()))
        .collect();
    // Even if one host rejects the user or the certificate, another may recover.
    let causes: Vec<String> = errors
        .iter()
        .map(|(host, error)| format!("{}: {}", host.label, words(error)))
        .collect();
    let error = StoreError::Unavailable(causes.join("; "));
    if is_full {
        Refusal::Full(error)
    } else {
        Refusal::Other(error)
    }
}

fn words(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(why) => why.clone(),
        other => other.to_string(),
    }
}

/// Closes a connection without waiting for it.
pub(super) fn close(connection: PgConnection) {
    tokio::spawn(async move {
        let goodbye = sqlx::Connection::close(connection);
        // An error makes no difference.
        let _ = tokio::time::timeout(Duration::from_secs(5), goodbye).await;
    });
}

/// Connects to a writable server within a time limit.
pub(super) async fn to_write(servers: &Servers, name: &str, within: Duration) -> Result<PgConnection> {
    match tokio::time::timeout(within, servers.open_to_write(name, "")).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(StoreError::Unavailable(format!(
            "no connection within {}",
            humantime::format_duration(within)
        ))),
    }
}
