//! What can go wrong with a store, and what to do about it.

use crate::tls;

/// Parameters of `store.url`.
const TLS: tls::Names = tls::Names {
    authority: "sslrootcert=FILE in store.url",
    client: "sslcert=FILE and sslkey=FILE in store.url",
    plain: "sslmode=disable in store.url where plain text is meant",
};

/// An error of the store. Each says itself whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction was faster, or the server asked to try again.
    #[error("another transaction was faster ({0}); the batch is tried again")]
    Conflict(String),
    /// The server cannot be reached, or is starting, stopping or full.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The address of the store is not one.
    #[error("`store.url` cannot be used: {0}")]
    Url(String),
    /// What is stored cannot be read: a bug, or someone wrote to the tables.
    #[error("{table}: the {column} of {key} cannot be read: {reason}; `tenure verify` lists such rows")]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        key: String,
        reason: String,
    },
    /// The tables are newer than this program, or a migration failed.
    #[error("the tables cannot be brought to this version: {0}")]
    Migration(String),
    #[error("the store refused a statement: {0}")]
    Statement(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                match code.as_str() {
                    // PostgreSQL: unique violation, serialization failure, deadlock, lock not
                    // available. SQLite: constraint on a key, busy, locked.
                    "23505" | "40001" | "40P01" | "55P03" | "1555" | "2067" | "5" | "6" | "261" | "517" => {
                        Self::Conflict(database.message().to_owned())
                    }
                    // PostgreSQL: connection trouble, no resources, operator intervention (a stop
                    // or a statement that took too long).
                    code if ["08", "53", "57"]
                        .iter()
                        .any(|class| code.len() == 5 && code.starts_with(class)) =>
                    {
                        Self::Unavailable(database.message().to_owned())
                    }
                    // PostgreSQL lets this user in with no password that we know.
                    code if code.len() == 5 && code.starts_with("28") => Self::Url(format!(
                        "{}; see to the user and the password in it",
                        database.message()
                    )),
                    // PostgreSQL: ended a transaction that did nothing for long. SQLite: the disk is
                    // full, the file cannot be opened.
                    "25P03" | "13" | "14" => Self::Unavailable(database.message().to_owned()),
                    _ => Self::Statement(error),
                }
            }
            sqlx::Error::Io(io) => {
                Self::Unavailable(tls::explain(io, &TLS).unwrap_or_else(|| error.to_string()))
            }
            sqlx::Error::Tls(why) => Self::Unavailable(format!(
                "TLS: {why}; set `ssl = on` in the server's postgresql.conf, or sslmode=disable in store.url where \
                 plain text is meant"
            )),
            sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            _ => Self::Statement(error),
        }
    }
}
