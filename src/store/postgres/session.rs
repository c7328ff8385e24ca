//! Transactions on connections that may stop answering: every call has a time limit, and a connection that owes an
//! answer is closed.
//!
//! When a host vanishes, its server sends nothing, and TCP notices after two hours, or never. sqlx sets no keepalive
//! and does not expose the socket. So every call has a limit here, longer than the server's own; the pool checks a
//! session before it is used again, with a limit too.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::PgConnection;

use super::sessions::{Lease, Need, Sessions};
use crate::store::{Result, StoreError};

/// How long the server may take for an immediate answer.
pub(super) const AT_ONCE: Duration = Duration::from_secs(5);

/// Waits for an answer within the limit. An abandoned call must not leave a transaction open: use a [`Session`] for
/// those.
pub(super) async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(silent(limit)))
}

fn silent(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!(
        "PostgreSQL did not answer within {}; check its host and the network",
        humantime::format_duration(limit)
    ))
}

/// The limit of a call, for the server's limit of a statement.
pub(super) fn limit(statement_timeout: Duration) -> Duration {
    statement_timeout + AT_ONCE
}

/// A transaction on a session of the pool. It may be dropped at any moment.
pub(super) struct Session {
    /// None: the session is back in the pool.
    connection: Option<Lease>,
    /// A statement was sent, and its answer has not arrived.
    owes: bool,
    limit: Duration,
}

impl Session {
    pub async fn begin(sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        Self::begin_for(Need::Write, sessions, limit, begin).await
    }

    /// Begins a transaction that only reads. A read-only server suffices if there is no other.
    pub async fn begin_reading(sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        Self::begin_for(Need::Any, sessions, limit, begin).await
    }

    async fn begin_for(need: Need, sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        let mut session = Self {
            connection: Some(sessions.acquire_for(need).await?),
            owes: false,
            limit,
        };
        session.run(begin).await?;
        Ok(session)
    }

    /// Lends the connection. Await its use through the [`Debt`].
    pub fn lend(&mut self) -> Result<(&mut PgConnection, Debt<'_>)> {
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| StoreError::Unavailable("the transaction has ended".into()))?;
        let (owes, limit) = (&mut self.owes, self.limit);
        Ok((connection, Debt { owes, limit }))
    }

    /// Ends the transaction: `commit` or `rollback`.
    pub async fn end(mut self, how: &'static str) -> Result<()> {
        let ended = self.run(how).await;
        if ended.is_err() {
            self.give_up().await;
        } else {
            self.connection = None;
        }
        ended
    }

    /// Rolls back and waits for that, if the connection still answers.
    pub async fn give_up(mut self) {
        if !self.owes && self.run("rollback").await.is_ok() {
            self.connection = None;
        }
    }

    /// Runs a statement without arguments or rows.
    pub async fn run(&mut self, statement: &str) -> Result<()> {
        let (connection, debt) = self.lend()?;
        let asked = async {
            connection.execute(statement).await?;
            Ok(())
        };
        debt.paid_by(asked).await
    }
}

/// The answer to a statement that was sent on a connection and is not read yet.
pub(super) struct Debt<'a> {
    owes: &'a mut bool,
    limit: Duration,
}

impl Debt<'_> {
    /// Waits for the answer. After a timeout, or if the caller stops waiting, the connection is lost.
    pub async fn paid_by<T>(self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        *self.owes = true;
        let Ok(answer) = tokio::time::timeout(self.limit, asked).await else {
            return Err(silent(self.limit));
        };
        // After an error that the statement did not cause, the state of the session is unknown, and it is not used
        // again.
        *self.owes = matches!(answer, Err(StoreError::Unavailable(_)));
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut lease) = self.connection.take() else {
            return;
        };
        // Until it is rolled back. The server rolls back itself when the connection ends.
        lease.give_up();
        if self.owes {
            return;
        }
        tokio::spawn(async move {
            let done = tokio::time::timeout(AT_ONCE, lease.execute("rollback")).await;
            if matches!(done, Ok(Ok(_))) {
                lease.keep();
            }
        });
    }
}
