//! Errors of a store, each with what to do next.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use crate::tls;

/// Parameters of `store.url`.
const TLS: tls::Names = tls::Names {
    authority: "sslrootcert=FILE in store.url",
    client: "sslcert=FILE and sslkey=FILE in store.url",
    plain: "sslmode=disable in store.url for plain text",
};

/// An error of the store. It tells whether a retry can help.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction was faster, or the server asks for a retry.
    #[error("the transaction conflicts with another one ({0}); it is retried")]
    Conflict(String),
    /// The store is unreachable, or refuses writes: it is starting, stopping, full or read-only.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// The address of the store is invalid.
    #[error("`store.url` cannot be used: {0}")]
    Url(String),
    /// Tenure cannot use the database at this address. A retry does not help.
    #[error("this database cannot be used: {0}")]
    Unsuitable(String),
    /// A stored value cannot be read: a bug, or somebody changed the table by hand.
    #[error("{table}: the {column} of {key} cannot be read: {reason}; `tenure verify` lists such rows")]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        key: String,
        reason: String,
    },
    /// The tables are newer than this program, or a migration failed.
    #[error("the tables cannot be migrated: {0}")]
    Migration(String),
    /// A newer version has migrated the tables, so that writes of this one would be incomplete.
    #[error(
        "a newer version of tenure has migrated the tables: they need a writer that knows migration {required}, and this \
         one knows {known}; stop this worker and start the newer version"
    )]
    Outdated { required: i64, known: i64 },
    /// An import has begun and is not complete.
    #[error(
        "the store is incomplete and cannot be used: an import into it is still running, or was interrupted. Wait for it to finish; \
         if it was interrupted, run `tenure import` again with the whole file, or drop the store"
    )]
    Incomplete,
    /// An import into a store that is not empty.
    #[error(
        "this store already has {what}, and an import needs an empty store: name another database or file in \
         store.url (DATABASE_URL), or drop the tables or the file if nobody needs them"
    )]
    NotEmpty { what: String },
    /// A file of the SQLite store is not the one that this process opened.
    #[error(
        "the file {0} or {0}-wal was replaced, overwritten or removed while it was in use, so this process no longer writes \
         to it. Stop every worker before you restore a backup. If {0} is now a restored backup, remove {0}-wal and {0}-shm \
         before you start the workers again"
    )]
    Replaced(String),
    /// The write-ahead log of a SQLite store was not written for this database file.
    #[error(
        "{0}-wal does not belong to {0}: the database was replaced (by a backup?) while its write-ahead log had \
         transactions, and opening both would damage it. If {0} is the file to keep, remove {0}-wal and {0}-shm, then start \
         again. If not, move the database that the log belongs to back to {0}"
    )]
    ForeignLog(String),
    /// The data of a statement violates a constraint or a limit of the store: other events can still be written.
    #[error("the store rejected a statement: {0}")]
    Statement(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later: after `Outdated` and `Replaced`, in another process; after `Incomplete`, when
    /// the import is complete. The caller returns its messages to the broker.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_)
                | Self::Unavailable(_)
                | Self::Outdated { .. }
                | Self::Incomplete
                | Self::Replaced(_)
        )
    }

    /// Whether only another `store.url`, or another database, helps.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Unsuitable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let known = match database.try_downcast_ref::<PgDatabaseError>() {
                    Some(error) => postgres(error),
                    None => sqlite(&**database),
                };
                known.unwrap_or(Self::Statement(error))
            }
            sqlx::Error::Io(io) => {
                Self::Unavailable(tls::explain(io, &TLS).unwrap_or_else(|| error.to_string()))
            }
            sqlx::Error::Tls(why) => Self::Unavailable(refused_tls(&why.to_string())),
            sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // The connection is in an unexpected state.
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement => Self::Unavailable(error.to_string()),
            // A `StoreError` that passed through sqlx.
            sqlx::Error::AnyDriverError(inner) if inner.is::<Self>() => match error {
                sqlx::Error::AnyDriverError(inner) => match inner.downcast::<Self>() {
                    Ok(own) => *own,
                    Err(other) => Self::Statement(sqlx::Error::AnyDriverError(other)),
                },
                other => Self::Statement(other),
            },
            _ => Self::Statement(error),
        }
    }
}

/// Only a server without TLS has to turn it on.
fn refused_tls(why: &str) -> String {
    let advice = if why.contains("does not support TLS") {
        "set `ssl = on` in the server's postgresql.conf, or sslmode=disable in store.url for plain text"
    } else {
        "check that sslrootcert, sslcert and sslkey in store.url name certificates and a key in PEM, and that the \
         host is a name or an IP address"
    };
    format!("TLS: {why}; {advice}")
}

/// Classifies an error by SQLSTATE. None: the data of the statement is wrong, and other data may be accepted.
fn postgres(error: &PgDatabaseError) -> Option<StoreError> {
    let message = error.message();
    let with = |advice: &str| Some(StoreError::Unavailable(format!("{message}; {advice}")));
    match error.code() {
        // Unique violation, exclusion violation, serialization failure, deadlock, lock not available.
        "23505" | "23P01" | "40001" | "40P01" | "55P03" => Some(StoreError::Conflict(message.to_owned())),
        "25006" => with(READ_ONLY),
        "53100" => with("make room on the server's disk"),
        "53300" => Some(StoreError::Unavailable(too_many(message))),
        // Two clients of a pooler share a session.
        "42P05" | "26000" => Some(StoreError::Unsuitable(format!("{message}; {POOLER}"))),
        // Data or an index is damaged. No message is dead-lettered or acknowledged for it.
        "XX001" | "XX002" => with("restore the database, or have the server's administrator repair it"),
        // The server ended an idle transaction; the transaction has failed before; it is unknown whether the statement
        // ran.
        "25P02" | "25P03" | "40003" => Some(StoreError::Unavailable(message.to_owned())),
        // A template, or a database that an administrator has closed.
        "55000" if message.contains("not currently accepting connections") => Some(StoreError::Url(format!(
            "{message}; name another database in it, or run `alter database … allow_connections true`"
        ))),
        // PostgreSQL rejects the user or the password.
        code if code.starts_with("28") => Some(StoreError::Url(format!(
            "{message}; correct the user and the password in it"
        ))),
        "3D000" => Some(StoreError::Url(format!(
            "{message}; create it, or name another database in it"
        ))),
        // Lost connection, no resources, operator intervention (a stop, or a statement timeout), an error of the
        // server's operating system.
        code if ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Some(StoreError::Unavailable(message.to_owned()))
        }
        // Data exceptions, violated constraints, a value that exceeds a limit; a table that a migration wanted to create.
        code if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => None,
        "42P07" => None,
        "42501" => with("grant Tenure's role all privileges on the tables and sequences of its schema"),
        code if code.starts_with("P0") => {
            with("a trigger or function that is not Tenure's raised this; correct or drop it")
        }
        code if code.starts_with("42") => {
            with("the tables are not as `tenure migrate` made them; undo what was changed in them")
        }
        // Whatever else the server rejects, it rejects for every event.
        _ => with("see the PostgreSQL log"),
    }
}

/// What to do about a read-only server.
pub(super) const READ_ONLY: &str = "it is a standby or a demoted primary, or default_transaction_read_only is on; \
                                    promote it, or name the primary in store.url";

/// What to do about a pooler that assigns a session for each transaction.
pub(super) const POOLER: &str = "a pooler at this address changes the session between transactions (PgBouncer with \
                                 pool_mode = transaction or statement), and Tenure needs a stable session for its locks \
                                 and settings. Set pool_mode = session for this database, or name \
                                 PostgreSQL's own address in store.url";

/// What to do about a server that accepts no more connections.
pub(super) fn too_many(message: &str) -> String {
    format!(
        "{message}: too many connections; lower store.max_connections, or raise the limit of the role, the database or \
         the server (max_connections)"
    )
}

/// Classifies an error by the primary result code. None: the data of the statement is wrong, and other data may be
/// accepted.
fn sqlite(error: &dyn DatabaseError) -> Option<StoreError> {
    let code: i32 = error.code()?.parse().ok()?;
    let message = error.message();
    let with = |advice: &str| Some(StoreError::Unavailable(format!("{message}; {advice}")));
    match (code & 0xff, code) {
        // A duplicate key, a locked table, a stale snapshot.
        (_, 1555 | 2067 | 261 | 517) | (6, _) => Some(StoreError::Conflict(message.to_owned())),
        (5, _) => with("another process has locked the file; stop the process that writes for so long"),
        (3 | 8, _) => with("let this user write the store's file and its folder"),
        (7, _) => with("this machine is out of memory"),
        (10, _) => with("check the disk of the store's file, and the system's log"),
        (11, _) => {
            with("the file is damaged: restore it from a backup, or see `.recover` of the sqlite3 program")
        }
        (13, _) => with("make room on the disk of the store's file"),
        (14, _) => with("check that the file's folder exists, and that this user may write to it"),
        // Interrupted, aborted, a failed locking protocol.
        (4 | 9 | 15, _) => Some(StoreError::Unavailable(message.to_owned())),
        (26, _) => Some(StoreError::Unsuitable(format!(
            "{message}; name another file in store.url, or move this one away"
        ))),
        // Too big, a violated constraint, a mismatched type, a value out of range; a table that a migration wanted to create.
        (18 | 19 | 20 | 25, _) => None,
        _ if message.ends_with("already exists") => None,
        // Whatever else SQLite rejects, it rejects for every event.
        _ => with("the tables are not as `tenure migrate` made them; undo what was changed in them"),
    }
}
